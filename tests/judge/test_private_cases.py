"""`grade --cases DIR`: an instructor's own cases are judged with the others; of hidden ones only the title is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import grader.judge.private_cases
from grader.cli.main import main
from grader.content import load_challenge
from grader.sandbox import Sandbox

CHALLENGE = "multi_head_attention"
LEAK = """
import sys
_forward = KVCachedMultiHeadAttention.forward
def _tell(self, query, *args, **kwargs):
    print("SECRET", tuple(query.shape))
    sys.kept = getattr(sys, "kept", "") + "SECRET"
    return _forward(self, query + (query.shape[1] == 7), *args, **kwargs)
def _info(self, *args, **kwargs):
    print(getattr(sys, "kept", "nothing kept"))
    return {}
KVCachedMultiHeadAttention.forward = _tell
KVCachedMultiHeadAttention.get_cache_info = _info
"""


@pytest.fixture
def grade(
    sandbox_for: Callable[[str], Sandbox], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., int]:
    box = sandbox_for(CHALLENGE)
    monkeypatch.setattr(
        grader.judge.private_cases, "start_sandbox", lambda *_, **__: nullcontext(box)
    )
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "file.py").write_bytes(load_challenge(CHALLENGE).reference.read_bytes())
    return lambda *words: main(["grade", CHALLENGE, "file.py", "--cases", "own", *words])


def _steps(**step: Any) -> list[dict[str, Any]]:
    return [{"do": "forward", "tokens": 7, **step}]


def case(name: str, **changes: Any) -> dict[str, Any]:
    setup = {"d_model": 8, "num_heads": 2, "batch": 1, "max_cache_len": 16, "dropout": 0.0}
    return {
        "id": name,
        "title": "Seven tokens",
        "why": "SECRET reason",
        "kind": "scenario",
        "visibility": "hidden",
        "points": 5,
        "setup": setup,
        "seed": 41,
        "dtype": "float32",
        "steps": [{"do": "forward", "tokens": 7}],
    } | changes


def put(name: str, document: Any) -> None:
    Path("own", name).write_text(json.dumps(document))


def test_private_cases_count(grade: Callable[..., int], capsys: Any) -> None:
    put("a.json", case("seven"))
    put("b.json", {"cases": [case("eight", visibility="public"), case("nine")]})

    assert grade("--case", "seven", "--case", "eight", "--case", "split-heads", "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in found["cases"]] == ["split-heads", "seven", "eight"]
    assert found["max_score"] == 11


def test_a_hidden_case_tells_title_and_status_only(grade: Callable[..., int], capsys: Any) -> None:
    with Path("file.py").open("a") as stream:
        stream.write(LEAK)
    put("a.json", case("seven"))
    chosen = ("--case", "seven", "--case", "info-size", "--html", "page.html")

    assert grade(*chosen) == 1
    assert grade(*chosen, "--json") == 1

    shown = capsys.readouterr().out + Path("page.html").read_text().split("Changes against")[0]
    assert "Seven tokens" in shown
    assert "nothing kept" in shown
    assert "SECRET" not in shown
    assert "[0, 0" not in shown


@pytest.mark.parametrize(
    ("files", "says", "code"),
    [
        ({}, "holds no case", 3),
        ({"a.json": case("split-heads")}, "is taken", 3),
        ({"a.json": case("one"), "b.json": case("one")}, "b.json: $.id: 'one' is taken", 3),
        ({"a.json": case("one", seed=-1), "b.json": case("two", kind="x")}, "b.json: $.kind", 3),
        ({"a.json": case("one", steps=_steps(cache={"of": "a"}))}, "no step before saves 'a'", 3),
    ],
)
def test_refusals(
    files: dict[str, Any], says: str, code: int, grade: Callable[..., int], capsys: Any
) -> None:
    for name, document in files.items():
        put(name, document)

    assert grade() == code
    assert says in capsys.readouterr().err


def test_a_link_out_of_the_folder_is_refused(
    grade: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "elsewhere.json").write_text(json.dumps(case("one")))
    Path("own", "a.json").symlink_to(tmp_path / "elsewhere.json")

    assert grade() == 3
    assert "leads out of own" in capsys.readouterr().err

"""The kill matrix read: states, witnesses, what hides what, and the smallest covering set."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import grader.judge
from grader.author.kill_matrix_summary import state_of
from grader.author.min_set_cover import min_set_cover
from grader.cli.main import main
from grader.content import Catalogue, Challenge
from grader.judge.result import CaseResult, Cause
from grader.sandbox import Sandbox

Make = Callable[..., Challenge]
NAMES = "abcdef"


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=3), st.sets(st.sampled_from(NAMES))))
def test_the_cover_is_as_small_as_any(witnesses: dict[str, set[str]]) -> None:
    found = min_set_cover(witnesses)

    def covers(cases: Any) -> bool:
        return all(not row or row & set(cases) for row in witnesses.values())

    assert found.smallest
    assert covers(found.cases)
    smaller = combinations(NAMES, len(found.cases) - 1) if found.cases else ()
    assert not any(covers(cases) for cases in smaller)


def test_a_search_that_is_too_long_still_gives_a_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grader.author.min_set_cover.NODES", 1)
    rows = {str(pair): set(pair) for pair in combinations(NAMES, 2)}

    found = min_set_cover(rows)

    assert not found.smallest
    assert all(row & set(found.cases) for row in rows.values())


@pytest.mark.parametrize(
    ("status", "kind", "state"),
    [
        ("passed", None, "survived"),
        ("skipped", None, "skipped"),
        ("failed", "wrong_value", "killed"),
        ("failed", "raised", "raised"),
        ("failed", "timeout", "timed out"),
        ("failed", "did_not_raise", "killed"),
    ],
)
def test_states(status: str, kind: str | None, state: str) -> None:
    cause = None if status == "passed" else Cause(kind, "why")
    assert state_of(CaseResult("a", "A", status, 0, 1, 0.0, cause)) == state


@pytest.fixture
def run(
    tmp_path: Path, tiny_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    monkeypatch.setattr(grader.judge, "start_sandbox", lambda *_: nullcontext(tiny_sandbox))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["matrix", *map(str, words)], Catalogue(tmp_path))


def with_raise(files: dict[str, Any]) -> None:
    files["bugs.json"]["bugs"][1]["edits"] = [
        {"find": "    return 2 * x\n", "replace": "    return 2 * y\n"}
    ]


def test_the_document(make: Make, run: Callable[..., int], capsys: Any) -> None:
    make(with_raise)

    assert run("tiny", "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["cells"]["triples"] == dict.fromkeys(("unit-scale", "unit-add", "twice"), "raised")
    assert found["cells"]["forgets"]["unit-scale"] == "survived"
    assert found["cells"]["forgets"]["twice"] == "killed"
    assert found["cells"]["query"]["twice"] == "killed"
    forgets = found["bugs"][0]
    assert forgets["witnesses"] == ["unit-add", "twice"]
    assert forgets["hidden_by"] == ["triples"]
    assert found["bugs"][1]["hidden_by"] == []
    assert found["hide_each_other"] == []
    assert found["cases"][0]["alone"] == []
    assert found["cover"] == {"cases": ["twice"], "smallest": True}


def test_terminal_and_page(make: Make, run: Callable[..., int], capsys: Any) -> None:
    make()

    assert run("tiny", "--html", "matrix.html") == 0
    first = Path("matrix.html").read_bytes()
    assert run("tiny", "--html", "matrix.html") == 0

    said = capsys.readouterr().out
    assert "forgets   2  ·xx" in said
    assert "3 twice      scenario   2" in said
    assert "catches every bug has 1" in said
    assert Path("matrix.html").read_bytes() == first
    assert b'title="forgets / twice: killed"' in first


def test_refusals(make: Make, run: Callable[..., int], capsys: Any) -> None:
    challenge = make()

    assert run("tiny", "--html", "nowhere/matrix.html") == 2
    assert run("tyni") == 2
    challenge.golden.unlink()
    assert run("tiny") == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "Did you mean 'tiny'?" in lines[1]

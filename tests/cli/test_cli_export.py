"""`kvdojo export`: where documents go, which mistakes are told in a line, and what packages hold."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from grader.cli.main import main


def case(name: str, status: str) -> dict[str, Any]:
    words = dict.fromkeys(("help", "expected", "actual", "where"))
    kind = "wrong_value" if status == "failed" else None
    cause = None if status == "passed" else {"rationale": "Because.", "kind": kind, **words}
    made = {"id": name, "title": name, "status": status, "points": 1, "max_points": 1}
    return {**made, "points": int(status == "passed"), "seconds": 0.1, "cause": cause}


def write(path: Path, *states: str) -> Path:
    verdict = "failed" if "failed" in states else "error" if "error" in states else "passed"
    environment = {"python": "3.11.7", "torch": None, "triton": None, "device": "cpu"}
    document = {
        "schema": "kvdojo/result/v1",
        "challenge": "small",
        "submission": {"file": "f.py", "sha256": "0" * 64},
        "verdict": verdict,
        "score": states.count("passed"),
        "max_score": len(states),
        "seconds": 0.5,
        "cases": [case(f"c{number}", state) for number, state in enumerate(states)],
        "bugs": [],
        "environment": {**environment, "isolation": ["process"]},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def run(*words: object) -> int:
    return main(["export", *map(str, words)])


def test_one_result_goes_to_standard_output_or_a_file(tmp_path, capsys) -> None:
    result = write(tmp_path / "r.json", "passed", "failed")
    assert run(result, "--format", "prairielearn") == 0
    shown = capsys.readouterr().out
    assert json.loads(shown)["score"] == 0.5
    assert run(result, "--format", "prairielearn", "--out", tmp_path / "o.json") == 0
    assert (tmp_path / "o.json").read_text() == shown


def test_a_class_is_a_folder_of_documents_or_one_table(tmp_path, capsys) -> None:
    write(tmp_path / "class" / "ada.json", "passed")
    write(tmp_path / "class" / "deep" / "bob.json", "failed")
    (tmp_path / "class" / "summary.json").write_text("{}")
    out = tmp_path / "out"
    assert run(tmp_path / "class", "--format", "gradescope") == 2
    assert "name a folder with --out" in capsys.readouterr().err
    assert run(tmp_path / "class", "--format", "gradescope", "--out", out) == 0
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.json")) == [
        "ada.json",
        "deep/bob.json",
    ]
    assert run(tmp_path / "class", "--format", "csv") == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(",")[0] for row in rows] == ["learner", "ada", "deep/bob"]


def test_what_could_not_be_judged_ends_with_4_where_a_format_cannot_say_it(
    tmp_path, capsys
) -> None:
    write(tmp_path / "class" / "ada.json", "passed")
    write(tmp_path / "class" / "bob.json", "error")
    code = run(tmp_path / "class", "--format", "classroom50", "--out", tmp_path / "out")
    assert code == 4
    assert "bob: not written" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ada.json"]


def test_results_without_isolation_are_refused_on_request(tmp_path, capsys) -> None:
    result = write(tmp_path / "r.json", "passed")
    assert run(result, "--format", "prairielearn", "--require-isolation") == 0
    assert json.loads(capsys.readouterr().out)["gradable"] is False


def test_github_prints_commands_and_appends_the_summary(tmp_path, capsys, monkeypatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert run(write(tmp_path / "r.json", "failed"), "--format", "github") == 0
    assert capsys.readouterr().out.startswith(
        "::notice file=f.py,title=kvdojo::0 of 1 case passed."
    )
    assert summary.read_text().startswith("before\n<h3>")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "broken JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "kvdojo grade --json`: "),
        ('{"schema": "kvdojo/result/v1"}', "is a required property"),
        ('{"schema": "kvdojo/error/v1", "error": {}}', "not a result"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_an_invalid_result_file_is_reported_in_one_line(
    tmp_path, capsys, text: str, message: str
) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert run(path, "--format", "junit") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("nowhere.json", "--format", "csv"),
        ("--format", "csv"),
        (".",),
        (".", "--format", "csv"),
        (".", "--format", "xlsx"),
        ("--autograder", "multi_head_attention", "--format", "csv"),
        ("--autograder", "no_such_challenge"),
    ],
)
def test_mistakes_on_the_command_line_end_with_2(tmp_path, capsys, monkeypatch, words) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_place_that_cannot_be_written_is_told(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    result = write(tmp_path / "r.json", "passed")
    assert run(result, "--format", "csv", "--out", tmp_path / "file" / "x.csv") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_autograder_is_the_same_every_time_and_complete(tmp_path, capsys) -> None:
    paths = [tmp_path / name for name in ("a.zip", "b.zip")]
    for path in paths:
        assert run("--autograder", "multi_head_attention", "--out", path) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with zipfile.ZipFile(paths[0]) as archive:
        names = archive.namelist()
        modes = {item.filename: item.external_attr >> 16 & 0o777 for item in archive.infolist()}
    assert len(names) == len(set(names))
    assert {modes["setup.sh"], modes["run_autograder"]} == {0o755}
    assert {
        "grader/cli/main.py",
        "challenges/multi_head_attention/recorded/golden.safetensors",
    } <= set(names)
    assert not [
        name for name in names if "__pycache__" in name or name.startswith("challenges/static")
    ]


@pytest.mark.parametrize("name", ["workflow", "dockerfile"])
def test_packages_do_not_overwrite_unasked(tmp_path, capsys, monkeypatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(f"--{name}", "static_cache") == 0
    assert run(f"--{name}", "static_cache") == 2
    assert "exists already" in capsys.readouterr().err
    (made,) = tmp_path.iterdir()
    assert "static_cache" in made.read_text()
    assert "[[" not in made.read_text()


def test_the_workflow_follows_githubs_schema(tmp_path) -> None:
    out = tmp_path / "kvdojo.yml"
    assert run("--workflow", "static_cache", "--out", out) == 0
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
    ]
    done = subprocess.run([*check, str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

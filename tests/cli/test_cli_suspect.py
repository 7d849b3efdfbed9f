"""`kvdojo suspect` and `log`: what is remembered of an attempt, when it is judged, and what damaged files do."""

from __future__ import annotations

import json

import pytest

from grader.content import Catalogue
from grader.learner.history import HISTORY, MOST_BYTES, judged_suspicions, note, read_history
from grader.learner.work_folder import load_work_folder


@pytest.fixture
def begun(dojo, capsys):
    dojo.run("start", "small_sums")
    capsys.readouterr()
    return dojo


def work(dojo):
    return load_work_folder(dojo.file.parent)


def line_of(dojo, text: str) -> int:
    rows = dojo.file.read_text().splitlines()
    return next(number for number, row in enumerate(rows, 1) if text in row)


def judged(dojo, fixed, before=()):
    challenge = Catalogue(dojo.root).load("small_sums")
    return judged_suspicions(challenge, read_history(work(dojo)), fixed, before)


def test_a_suspicion_is_judged_when_a_bug_is_mended(begun, capsys) -> None:
    right, other = line_of(begun, "return x + 2"), line_of(begun, "return x >= 0")
    assert begun.run("suspect", "small_sums", right, "it moves too far") == 0
    assert begun.run("suspect", "small_sums", f"{other}-{other + 0}") == 0
    said = capsys.readouterr().out
    assert f"sums.py:{right}  return x + 2" in said
    assert "shift-two" not in said
    assert judged(begun, []) == []
    assert judged(begun, ["shift-two"]) == [
        f"Your suspicion of line {right} was right.",
        f"Your suspicion of line {other} was not it.",
    ]
    assert judged(begun, ["shift-two"], ["shift-two"]) == []


def test_a_decoy_is_told_and_another_bug_is_not(begun) -> None:
    begun.run("suspect", "small_sums", 1)
    begun.run("suspect", "small_sums", line_of(begun, "    return x\n".strip()))
    decoy, bug = judged(begun, ["shift-two"])
    assert decoy == "Your suspicion of line 1 was not it: what stands there is right."
    assert bug.endswith("was not it.")
    assert judged(begun, ["shift-two", "no-scale"], ["shift-two"])[-1].endswith("was right.")


@pytest.mark.parametrize(
    "words", [("0",), ("x",), ("5-3",), ("999",), ("1-99",), ("1" * 99,), ("-3",)]
)
def test_what_is_no_line_is_one_line(begun, capsys, words) -> None:
    assert begun.run("suspect", "small_sums", *words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert read_history(work(begun)).of("suspect") == []


def test_without_an_attempt_there_is_nothing_to_keep(dojo, capsys, tmp_path) -> None:
    assert dojo.run("suspect", "small_sums", 1) == 2
    (tmp_path / "mine.py").write_text("x = 1\n")
    assert dojo.run("suspect", "small_sums", 1, "--file", tmp_path / "mine.py") == 2
    assert dojo.run("log", "small_sums", tmp_path / "mine.py") == 2
    assert capsys.readouterr().err.count("kvdojo start small_sums") == 3


def test_only_a_file_that_was_changed_is_a_save(begun) -> None:
    attempt = work(begun)
    for name in "abba":
        note(attempt, "graded", file=name, passed=1, cases=4, fixed=[])
    assert read_history(attempt).saves == 3


def test_the_log_tells_what_moved(begun, capsys) -> None:
    attempt = work(begun)
    note(attempt, "graded", file="a", passed=1, cases=4, fixed=[])
    note(attempt, "rung", bug="shift-two", rung=2)
    note(attempt, "graded", file="b", passed=3, cases=4, fixed=["shift-two"])
    note(attempt, "graded", file="c", passed=1, cases=4, fixed=[])
    assert begun.run("log", "small_sums") == 0
    lines = [line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "started",
        "graded   1 of 4 cases pass",
        "rung     pattern",
        "graded   3 of 4 cases pass (+2); fixed: The title of shift-two",
        "graded   1 of 4 cases pass (-2); wrong again: The title of shift-two",
    ]


def test_hostile_lines_are_passed_over_and_counted(begun, capsys) -> None:
    good = {"at": 5, "what": "suspect", "lines": [1, 2], "text": "\x1b[2J\x9b31m", "why": ""}
    rows = [
        json.dumps(good),
        "{",
        "[" * 9999,
        "null",
        json.dumps({**good, "lines": [1]}),
        json.dumps({**good, "lines": [True, "x"]}),
        json.dumps({**good, "at": 1e300}),
        json.dumps({"at": 1, "what": "graded", "file": "", "passed": 1, "cases": 1, "fixed": [[]]}),
        json.dumps({"at": 1, "what": "no such thing"}),
        "\udcff\x00",
    ]
    data = "\n".join(rows).encode("utf-8", "surrogateescape")
    (begun.file.parent / HISTORY).write_bytes(data)
    assert begun.run("log", "small_sums") == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out
    assert said.out.count("\n") == 1
    assert "9 lines of" in said.err


@pytest.mark.parametrize("make", ["large", "folder", "link"])
def test_a_history_that_cannot_be_used_is_one_line(begun, capsys, tmp_path, make) -> None:
    path = begun.file.parent / HISTORY
    path.unlink()
    if make == "large":
        path.write_bytes(b"x" * (MOST_BYTES + 1))
    elif make == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/full")
    assert begun.run("log", "small_sums") == 2
    assert capsys.readouterr().err.count("\n") == 1
    if make != "large":
        assert begun.run("suspect", "small_sums", 1) == 2
        assert capsys.readouterr().err.count("\n") == 1

"""`kvdojo watch` around the watch itself: what it refuses, what it hands over, what its keys ask of other commands."""

from __future__ import annotations

import json

import pytest

import grader.cli.watch_command
import grader.learner.watch_loop
from grader.judge.focus import NO_FOCUS, Focus
from grader.judge.result import CaseResult, Result

CASE = CaseResult("scale-unit", "Scale", "failed", 0, 1, 0.1)


@pytest.fixture
def watched(dojo, monkeypatch):
    """Replace the watch; return the settings it was given."""
    settings = []

    def watch(setting, console):
        settings.append(setting)
        return watch.result

    watch.result = None
    settings_of = type("Watched", (), {"given": settings, "watch": watch})
    monkeypatch.setattr(grader.learner.watch_loop, "watch_file", watch)
    dojo.run("start", "small_sums")
    return settings_of


FOCUS = Focus("shift-two", "present", "scale-unit", None)


def result(verdict: str) -> Result:
    return Result("small_sums", "sums.py", "0" * 64, verdict, 0, 1, 0.1, (CASE,), (), {})


@pytest.mark.parametrize(
    ("verdict", "code"), [("passed", 0), ("failed", 1), ("error", 4), (None, 0)]
)
def test_the_last_verdict_is_the_exit_code(dojo, watched, verdict, code) -> None:
    watched.watch.result = result(verdict) if verdict else None
    assert dojo.run("watch", "small_sums", "--poll") == code
    setting = watched.given[0]
    assert setting.poll
    assert setting.isolate
    assert setting.path == dojo.file
    assert setting.planted == ("no-scale", "shift-two")


def test_a_named_file_need_not_be_started(dojo, watched, tmp_path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    assert dojo.run("watch", "small_sums", tmp_path / "mine.py", "--no-isolation") == 0
    assert watched.given[0].planted is None
    assert not watched.given[0].isolate


@pytest.mark.parametrize(
    "words", [("nothing",), ("small_sums", "no_such_file.py"), ("small_sums", ".")]
)
def test_what_cannot_be_watched_is_one_line(dojo, watched, capsys, words) -> None:
    capsys.readouterr()
    assert dojo.run("watch", *words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert watched.given == []


def test_hints_grow_plainer_and_are_remembered_with_those_of_other_commands(dojo, watched) -> None:
    dojo.run("watch", "small_sums")
    setting = watched.given[0]
    source = dojo.file.read_bytes()
    assert setting.hint(source, CASE, FOCUS) == (
        "1 of 3: shift-two: where",
        "h again for a plainer one",
    )
    dojo.file.write_text(dojo.file.read_text().replace("x + 2", "x + 1"))
    dojo.run("hint", "small_sums")
    assert setting.hint(source, CASE, FOCUS)[0] == "2 of 3: shift-two: idea"
    assert setting.hint(source, CASE, FOCUS) == ("3 of 3: shift-two: line",)
    state = json.loads((dojo.file.parent / ".kvdojo.json").read_text())
    assert state["hints"] == {"no-scale": 1, "shift-two": 3}
    assert state["rungs"] == {"no-scale": 4, "shift-two": 6}


def test_a_grading_is_remembered_for_the_next_hint(dojo, watched) -> None:
    dojo.run("watch", "small_sums")
    watched.given[0].graded(dojo.file.read_bytes(), result("failed"), FOCUS)
    kept = json.loads((dojo.file.parent / ".graded.json").read_text())
    assert kept["failed"] == ["scale-unit"]
    assert kept["focus"]["bug"] == "shift-two"


def test_no_hint_where_nothing_is_recognised(dojo, watched) -> None:
    dojo.run("watch", "small_sums")
    (said,) = watched.given[0].hint(b"x = 1\n", CASE, NO_FOCUS)
    assert "No planted bug" in said

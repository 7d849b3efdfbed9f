"""The question after a fix: what it asks, what it keeps back, what becomes of an answer."""

from __future__ import annotations

import sys

import pytest

from grader.cli import grade_command
from grader.cli.grade_command import answered
from grader.cli.main import main
from grader.content import Catalogue
from grader.judge.result import BugStatus, CaseResult, Cause, Result
from grader.learner.attempts import find_attempt
from grader.learner.history import NO_HISTORY, History, note, read_history
from grader.learner.question import ANSWERS, question_after

MHA = "multi_head_attention"


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KVDOJO_WORK", str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", Catalogue().ids())
def test_every_bug_has_a_question_that_keeps_back_what_is_left(name) -> None:
    challenge = Catalogue().load(name)
    for preset in challenge.presets.values():
        for bug in preset.bugs:
            left = set(preset.bugs) - {bug}
            asked = question_after(challenge, [bug], left, NO_HISTORY)
            if asked is None:  # a challenge with few bugs
                assert len(challenge.bugs) - len(left) < ANSWERS + 2, bug
                continue
            assert asked == question_after(challenge, [bug], left, NO_HISTORY)
            assert len(set(asked.answers)) == ANSWERS
            assert asked.answers[asked.right - 1] == challenge.bugs[bug].symptom
            kept_back = {challenge.bugs[other].symptom for other in left}
            assert not kept_back & set(asked.answers) - {challenge.bugs[bug].symptom}
            assert asked.reply(asked.right).startswith("Right. ")
            assert asked.reply(asked.right % ANSWERS + 1).startswith(f"It was {asked.right}: ")


def test_the_right_answer_stands_at_every_place() -> None:
    places = set()
    for name in Catalogue().ids():
        challenge = Catalogue().load(name)
        for bug in challenge.bugs.values():
            asked = (
                question_after(challenge, [bug.id], [], NO_HISTORY) if bug.kind == "bug" else None
            )
            places |= {asked.right} if asked else set()
    assert places == {1, 2, 3, 4}


def test_nobody_is_asked_twice_nor_about_bugs_that_nobody_wrote() -> None:
    challenge = Catalogue().load(MHA)
    bug = challenge.presets["default"].bugs[0]
    events = (
        {"at": 1, "what": "graded", "passed": 20, "cases": 79, "fixed": [], "file": ""},
        {"at": 2, "what": "answer", "bug": "another", "right": True},
    )
    asked = question_after(challenge, [bug], [], History(events))
    assert asked is not None
    assert "20 cases passed while it was there" in asked.text
    again = History((*events, {"at": 3, "what": "answer", "bug": bug, "right": False}))
    assert question_after(challenge, [bug], [], again) is None
    assert question_after(challenge, ["g-1234", "gone"], [], NO_HISTORY) is None
    assert question_after(challenge, [], [], NO_HISTORY) is None


def test_an_answer_is_kept_and_told_by_the_log(capsys) -> None:
    main(["start", MHA])
    work = find_attempt(MHA)
    challenge = Catalogue().load(MHA)
    bug = challenge.presets["default"].bugs[0]
    asked = question_after(challenge, [bug], [], NO_HISTORY)
    assert answered(work, asked, asked.right).startswith("Right")
    answered(work, asked, asked.right % 4 + 1)
    note(work, "answer", bug="gone\x1b[2J", right=True)
    capsys.readouterr()
    assert main(["log", MHA]) == 0
    said = capsys.readouterr().out
    assert f"answer   right: {challenge.bugs[bug].title}" in said
    assert f"answer   not it: {challenge.bugs[bug].title}" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("typed", "right"),
    [("right", True), ("wrong", False), ("", None), ("99", None), (EOFError, None)],
)
def test_grade_asks_at_a_terminal_alone(monkeypatch, capsys, typed, right) -> None:
    """The grader itself is replaced: only what happens around the question is looked at."""
    main(["start", MHA])
    work = find_attempt(MHA)
    challenge = Catalogue().load(MHA)
    bug, *others = challenge.presets["default"].bugs
    states = {bug: "fixed", **dict.fromkeys(others, "present")}
    bugs = tuple(BugStatus(name, name, state) for name, state in states.items())
    case = CaseResult("a", "A", "failed", 0, 1, 0.1, Cause("wrong_value", "It differs."))
    result = Result(*(MHA, "f.py", "0" * 64, "failed", 0, 1, 0.1, (case,), bugs, {}))
    monkeypatch.setattr(grade_command, "judge_file", lambda *_, **__: result)
    asked = question_after(challenge, [bug], others, NO_HISTORY)

    def type_it(prompt: str) -> str:
        if typed is EOFError:
            raise EOFError
        answers = {"right": asked.right, "wrong": asked.right % 4 + 1}
        return str(answers.get(typed, typed))

    monkeypatch.setattr("builtins.input", type_it)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert main(["grade", MHA, "--json"]) == 1
    assert read_history(work).of("answer") == []
    (work.folder / ".history.jsonl").unlink()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    capsys.readouterr()
    assert main(["grade", MHA]) == 1
    said = capsys.readouterr().out
    assert asked.text in " ".join(said.split())
    kept = [event["right"] for event in read_history(work).of("answer")]
    assert kept == ([] if right is None else [right])
    assert ("Right." in said) is (right is True)

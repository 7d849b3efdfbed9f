"""The introduction: which bugs a walk shows, which changes it offers, and what it says to an answer."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from grader.cli.main import main
from grader.content import Catalogue
from grader.content.bug_detection import bug_status
from grader.ground.errors import UserError
from grader.learner.walkthrough import MOST_CHOICES, lessons

IDS = Catalogue().ids()


@pytest.mark.parametrize("name", IDS)
def test_exactly_one_change_mends_the_bug(name: str) -> None:
    challenge = Catalogue().load(name)
    worked, left = lessons(challenge)
    assert worked.bug.id != left.bug.id
    for lesson in (worked, left):
        assert lesson.focus.scenario in challenge.cases
        assert lesson.witnesses[0] == lesson.focus.case
        choices = lesson.choices()
        assert 3 <= len(choices) <= MOST_CHOICES
        assert len({choice.change.first for choice in choices}) == len(choices)
        states = {
            choice.entry: bug_status(challenge, choice.source.decode())[lesson.bug.id]
            for choice in choices
        }
        assert states.pop(lesson.bug.id) == "fixed"
        assert set(states.values()) == {"present"}
        rows = lesson.source().decode().splitlines()
        for choice in choices:
            if choice.change.mine:
                assert rows[choice.change.first - 1].strip() == choice.change.mine[0].strip()


def test_the_default_starter_is_not_given_away() -> None:
    for name in IDS:
        challenge = Catalogue().load(name)
        planted = challenge.presets["default"].bugs
        for lesson in lessons(challenge):
            assert lesson.bug.id not in planted
            spoiled = {choice.entry for choice in lesson.choices()} - {lesson.bug.id}
            assert spoiled.isdisjoint(planted)


def test_a_challenge_without_short_bugs_is_refused() -> None:
    challenge = Catalogue().load("multi_head_attention")
    made = replace(challenge)
    made.__dict__["bugs"] = {}
    with pytest.raises(UserError, match="no bugs"):
        lessons(made)


def number_of(right: bool) -> int:
    lesson = lessons(Catalogue().load("multi_head_attention"))[1]
    entries = [choice.entry == lesson.bug.id for choice in lesson.choices()]
    return entries.index(right) + 1


def test_a_walk_from_symptom_to_proof(capsys) -> None:
    assert main(["walk", "--answer", str(number_of(False)), "--answer", str(number_of(True))]) == 0
    said = capsys.readouterr().out
    parts = ["The symptom", "The place", "The idea", "The change", "The proof", "Your turn"]
    places = [said.index(part) for part in [*parts, "Not this one", "Right"]]
    assert places == sorted(places)
    assert said.count("12 of 12 cases that it failed pass now.") == 2
    assert "still fails. What stands there" in said
    assert "kvdojo start multi_head_attention" in said
    assert all(row == row.rstrip() for row in said.splitlines())


def test_a_person_answers_at_the_terminal(capsys, monkeypatch) -> None:
    typed = iter(["", "", "", "", "", "", "", "seven", "9", str(number_of(False)), "q"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert main(["walk"]) == 1
    assert list(typed) == []
    assert "Not this one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no_such"], "No challenge"),
        (["--answer", "0"], "0"),
        (["--answer", "nine"], "nine"),
        (["--answer", "99"], "1 to 4"),
    ],
)
def test_what_cannot_be_walked_is_one_line(words, told, capsys) -> None:
    assert main(["walk", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1

"""Which family of bugs is due again, and the small exercises that `kvdojo today` makes of it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from grader.cli import today_command
from grader.cli.grade_command import remember_result
from grader.cli.main import main
from grader.cli.variant import begun, by_family, of_work
from grader.content import Catalogue
from grader.content.bug_detection import bug_status
from grader.judge.focus import NO_FOCUS
from grader.judge.result import BugStatus, CaseResult, Result
from grader.learner.attempts import all_attempts, find_attempt, state_folder
from grader.learner.families import (
    Family,
    due_families,
    mended,
    note_mended,
    read_families,
)
from grader.learner.history import note
from grader.learner.work_folder import WorkError, load_work_folder

MHA = "multi_head_attention"
MONDAY = date(2026, 11, 30)


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KVDOJO_WORK", str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clock(monkeypatch):
    """Return a function that sets the day of the command."""

    def set_day(day: date) -> None:
        class Calendar(date):
            @classmethod
            def today(cls) -> date:
                return day

        monkeypatch.setattr(today_command, "date", Calendar)

    set_day(MONDAY)
    return set_day


def test_a_family_is_due_after_one_three_seven_and_seven_days() -> None:
    family, day, waits = None, MONDAY, []
    for _ in range(6):
        family = mended(family, "scaling", day)
        waits.append((family.due - day).days)
        day = family.due
    assert waits == [1, 3, 7, 7, 7, 7]


def test_what_is_early_moves_nothing_and_what_took_all_help_begins_anew() -> None:
    met = Family("scaling", 2, MONDAY)
    assert mended(met, "scaling", MONDAY - timedelta(1)) == met
    assert mended(met, "scaling", MONDAY + timedelta(90)).step == 3
    assert mended(met, "scaling", MONDAY, rungs=6) == Family("scaling", 0, MONDAY + timedelta(1))
    assert mended(None, "scaling", date.max).due == date.max


def test_the_longest_overdue_comes_first() -> None:
    known = [Family(name, 0, MONDAY + timedelta(n)) for n, name in enumerate(["c", "b", "a"])]
    assert due_families(known, MONDAY - timedelta(1)) == []
    assert [family.name for family in due_families(known, MONDAY + timedelta(1))] == ["c", "b"]


def begin(*words: str):
    assert main(["start", MHA, *words]) == 0
    return find_attempt(MHA)


def test_mended_bugs_are_remembered_by_family() -> None:
    work = begin()
    challenge = Catalogue().load(MHA)
    bug = challenge.presets["default"].bugs[0]
    note_mended(challenge, work, [bug, "no such bug"], MONDAY)
    (family,) = read_families()
    assert family == Family(challenge.bugs[bug].family, 0, MONDAY + timedelta(1))
    note_mended(challenge, work, [bug], MONDAY)
    assert read_families() == [family]
    note_mended(challenge, work, [bug], MONDAY + timedelta(1))
    assert read_families()[0].due == MONDAY + timedelta(4)


def test_every_grading_keeps_what_it_finds_mended() -> None:
    work = begin()
    challenge = Catalogue().load(MHA)
    planted = challenge.presets["default"].bugs
    case = CaseResult("a", "A", "failed", 0, 1, 0.1)
    for fixed in ([planted[0]], planted[:2], planted[:2], []):
        bugs = tuple(
            BugStatus(name, name, "fixed" if name in fixed else "present")
            for name in challenge.bugs
        )
        result = Result(*(MHA, "kv_attention.py", "0" * 64, "failed", 0, 1, 0.1, (case,), bugs, {}))
        remember_result(
            *(work, repr(fixed).encode(), result, NO_FOCUS), planted=planted, challenge=challenge
        )
    families = {challenge.bugs[name].family for name in planted[:2]}
    assert {family.name for family in read_families()} == families
    assert all(family.due == date.today() + timedelta(1) for family in read_families())


def test_an_exercise_has_one_bug_of_the_family_that_is_due(clock, capsys) -> None:
    main_one = begin()
    challenge = Catalogue().load(MHA)
    bug = next(
        b for b in challenge.presets["default"].bugs if challenge.bugs[b].family == "scaling"
    )
    assert main(["today"]) == 0
    assert "fix a bug first" in capsys.readouterr().out
    note_mended(challenge, main_one, [bug], MONDAY)
    assert main(["today"]) == 0
    assert "due tomorrow, on 2026-12-01" in capsys.readouterr().out
    clock(MONDAY + timedelta(1))
    assert main(["today"]) == 0
    said = capsys.readouterr().out
    folder = state_folder().parent / "today-2026-12-01"
    work = load_work_folder(folder)
    assert work.family == "scaling"
    found = begun(Catalogue().load(work.challenge), work)
    variant = of_work(found, work)
    (name,) = variant.bugs
    assert found.bugs[name].family == "scaling"
    assert name != bug
    assert bug_status(found, work.path.read_text())[name] == "present"
    assert name not in said
    assert "scaling" not in said
    assert name not in (folder / ".kvdojo.json").read_text()
    # the choice of the attempt stays, and the exercise goes on until it is mended
    assert find_attempt(MHA).folder == main_one.folder
    assert main(["today"]) == 0
    assert "not mended yet" in capsys.readouterr().out
    note(work, "graded", file="a", passed=1, cases=1, fixed=[name], verdict="passed")
    note_mended(found, work, [name], MONDAY + timedelta(1))
    assert main(["today"]) == 0
    assert "in 3 days" in capsys.readouterr().out
    clock(MONDAY + timedelta(9))
    assert main(["today"]) == 0
    second = load_work_folder(folder.with_name("today-2026-12-09"))
    assert of_work(begun(Catalogue().load(second.challenge), second), second).bugs != (name,)


def test_a_generated_bug_is_taken_where_there_is_one_and_else_one_of_the_own() -> None:
    challenge = Catalogue().load(MHA)
    variant, digest = by_family(challenge, "masking+causal offset", 7, generated=True)
    assert digest
    assert variant.bugs[0].startswith("g-")
    assert by_family(challenge, "masking+causal offset", 7, generated=True)[0] == variant
    other = Catalogue().load("world_model_cache")
    own, digest = by_family(other, "aliasing & ownership", 7, generated=False)
    assert digest == ""
    assert other.bugs[own.bugs[0]].family == "aliasing & ownership"
    for decoy in own.decoys:
        assert other.bugs[decoy].kind == "decoy"
    assert own.source(other) != other.reference_text


def test_a_family_without_generated_bugs_still_gets_an_exercise(clock, capsys) -> None:
    challenge = Catalogue().load("world_model_cache")
    assert main(["start", challenge.id]) == 0
    work = find_attempt(challenge.id)
    bug = next(b for b in challenge.bugs.values() if b.family == "eviction, pruning & pool")
    note_mended(challenge, work, [bug.id], MONDAY - timedelta(3))
    capsys.readouterr()
    assert main(["today"]) == 0
    (made,) = [one for one in all_attempts() if one.family]
    planted = of_work(begun(Catalogue().load(made.challenge), made), made).bugs
    assert not set(planted) & set(of_work(challenge, work).bugs)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '"\\ud800"',
        "[" * 100_000,
        '{"schema": "kvdojo/family/v9", "family": "x", "step": 0, "due": "2026-01-01"}',
        '{"schema": "kvdojo/family/v1", "family": 1, "step": 0, "due": "2026-01-01"}',
        '{"schema": "kvdojo/family/v1", "family": "x", "step": -1, "due": "2026-01-01"}',
        '{"schema": "kvdojo/family/v1", "family": "x", "step": true, "due": "2026-01-01"}',
        '{"schema": "kvdojo/family/v1", "family": "x", "step": 1e300, "due": "2026-01-01"}',
        '{"schema": "kvdojo/family/v1", "family": "x", "step": 0, "due": "2026-02-31"}',
        '{"schema": "kvdojo/family/v1", "family": "x", "step": 0, "due": "soon"}',
        '{"schema": "kvdojo/family/v1", "family": "x", "step": 0, "due": null}',
    ],
)
def test_a_damaged_state_is_one_clear_line(text, clock, capsys) -> None:
    place = state_folder() / "families"
    place.mkdir(parents=True)
    (place / "x.json").write_text(text)
    assert main(["today"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "x.json" in said
    with pytest.raises(WorkError):
        read_families()


def test_a_family_that_no_challenge_has_is_passed_over(clock, capsys) -> None:
    place = state_folder() / "families"
    place.mkdir(parents=True)
    head = '{"schema": "kvdojo/family/v1", "step": 0, "due": "2026-01-01", "family": '
    (place / "x.json").write_text(head + '"gone\\u001b[2J"}')
    assert main(["today"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (place / "y.json").write_text(head + '"scaling"}')
    assert main(["today"]) == 0


@pytest.mark.parametrize(
    "state",
    [
        '"family": 3, "seed": 1, "generated": ""',
        '"family": "scaling", "seed": "x", "generated": ""',
        '"family": "scaling", "seed": 1',
        '"family": "no such", "seed": 1, "generated": ""',
        '"family": "scaling", "seed": 1, "generated": "0000"',
    ],
)
def test_a_damaged_exercise_is_one_line(state, capsys) -> None:
    work = begin()
    head = f'{{"schema": "kvdojo/work/v1", "challenge": "{MHA}", "file": "kv_attention.py", '
    (work.folder / ".kvdojo.json").write_text(head + state + "}")
    capsys.readouterr()
    assert main(["hint", MHA]) == 2
    assert capsys.readouterr().err.count("\n") == 1

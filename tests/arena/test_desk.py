"""The desk counts what an agent does, gives nothing away, and refuses what makes no sense."""

from __future__ import annotations

import pytest
from arena_draws import NAME

from grader.arena.desk import MOST_LINES, MOST_SUSPICIONS, Desk, DeskError
from grader.arena.scripted_agents import work
from grader.content import load_challenge


@pytest.fixture
def desk(tasks, benches) -> Desk:
    return Desk(tasks[0].public, benches.of(NAME), most_runs=2)


def test_everything_is_counted(desk, tasks) -> None:
    source = tasks[0].public.source
    assert desk.read(2, 3).splitlines()[0].split(None, 1)[0] == "2"
    assert desk.source == source
    report = desk.run(["no-cache", "one-token"])
    assert report.passed + report.failed == 2
    case = tasks[0].public.symptoms[0].case
    assert desk.trace(case)
    line = source.splitlines()[-1]
    desk.suspect(3, 4, "here")
    desk.replace(source, source.replace(line, f"{line}  # seen"))
    attempt = desk.submit()
    assert desk.attempt is attempt
    assert (attempt.looks, attempt.runs, attempt.edits) == (3, 1, 1)
    assert attempt.source.decode() == source.replace(line, f"{line}  # seen")
    assert [(s.first, s.last, s.why) for s in attempt.suspicions] == [(3, 4, "here")]


def test_neither_a_run_nor_a_trace_says_what_is_planted(desk, tasks, pool) -> None:
    told = desk.run().text()
    told += "".join(desk.trace(symptom.case) for symptom in tasks[0].public.symptoms)
    for entry in [*load_challenge(NAME).bugs.values(), *pool.entries.values()]:
        assert entry.id not in told
        assert entry.symptom not in told
        assert entry.title not in told
    assert "looks like" not in told


def test_what_makes_no_sense_is_refused_and_not_counted(desk, tasks) -> None:
    lines = len(tasks[0].public.source.splitlines())
    for wrong in (
        lambda: desk.read(0),
        lambda: desk.read(5, 4),
        lambda: desk.replace("", "x"),
        lambda: desk.replace("no such passage", "x"),
        lambda: desk.replace("return", "x"),
        lambda: desk.replace(desk.source, "x" * (300 << 10)),
        lambda: desk.replace(desk.source, "\ud800"),
        lambda: desk.run(["no-such-case"]),
        lambda: desk.trace("../../etc/passwd"),
        lambda: desk.suspect(0),
        lambda: desk.suspect(2, 1),
        lambda: desk.suspect(1, lines + 1),
        lambda: desk.suspect(1, 1 + MOST_LINES),
    ):
        with pytest.raises(DeskError):
            wrong()
    attempt = desk.submit()
    assert (attempt.runs, attempt.edits, attempt.suspicions) == (0, 0, ())


def test_places_are_named_before_anything_is_changed_and_not_all_of_them(desk) -> None:
    for line in range(1, MOST_SUSPICIONS + 1):
        desk.suspect(line)
    with pytest.raises(DeskError, match="no more than"):
        desk.suspect(1)
    desk.replace(desk.source, "x = 1\n")
    with pytest.raises(DeskError, match="before you change anything"):
        desk.suspect(1)


def test_there_are_as_many_runs_as_were_given_and_no_work_after_the_end(desk) -> None:
    desk.run(["no-cache"])
    desk.run(["no-cache"])
    with pytest.raises(DeskError, match="no more than 2 runs"):
        desk.run(["no-cache"])
    desk.submit()
    for late in (desk.submit, desk.read, desk.run):
        with pytest.raises(DeskError, match="handed in already"):
            late()


def test_what_a_file_prints_is_shown_harmlessly(desk) -> None:
    desk.replace(desk.source, f"{desk.source}\nprint('\\x1b[2J' + 'seen')\n")
    report = desk.run(["no-cache"])
    assert any("seen" in line for line in report.printed)
    assert "\x1b" not in report.text()


def test_an_agent_that_fails_hands_in_what_it_had(tasks, benches, scorer) -> None:
    desk = Desk(tasks[0].public, benches.of(NAME))

    def fails(desk, file):
        desk.replace(desk.source, "x = 1\n")
        raise ValueError("\x1b[2J lost")

    attempt, failed = work(fails, desk, scorer.known(tasks[0].sealed).file)
    assert attempt.source == b"x = 1\n"
    assert failed == "ValueError: \\x1b[2J lost"

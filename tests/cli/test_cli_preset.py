"""A preset that is meant for some minutes and gives no help: a clock that only informs, and what is refused."""

from __future__ import annotations

import json
import time

import pytest

from grader.cli.main import main
from grader.cli.studio_command import _log
from grader.cli.variant import begun
from grader.cli.watch_command import watch_options
from grader.content import Catalogue
from grader.content.validation import load_schema, schema_errors
from grader.judge.focus import NO_FOCUS
from grader.judge.result import CaseResult, Result
from grader.learner.history import HISTORY, History
from grader.learner.preset_clock import clock_lines
from grader.learner.work_folder import load_work_folder
from tests.cli.conftest import CHALLENGE

TIMED = {"bugs": ["strict-mask"], "decoys": [], "minutes": 45, "tell": "symptom"}
NO_HINTS = "kvdojo: The preset 'interview' tells at most 'symptom', so it gives no hints.\n"


@pytest.fixture
def timed(dojo, capsys):
    """The small challenge, begun with a preset of 45 minutes without help."""
    describe(dojo, TIMED)
    assert dojo.run("start", "small_sums", "--preset", "interview") == 0
    dojo.said = capsys.readouterr().out
    return dojo


def describe(dojo, preset):
    presets = {**CHALLENGE["presets"], "interview": preset}
    path = dojo.root / "challenges" / "small_sums" / "challenge.json"
    path.write_text(json.dumps({**CHALLENGE, "presets": presets}))


def begun_minutes_ago(dojo, minutes, *events):
    """Rewrite the history: begun so long ago, and what happened so many minutes behind that."""
    start = int(time.time()) - 60 * minutes - 5
    lines = [{"at": start, "what": "started"}]
    lines += [{"at": start + 60 * after, **event} for after, event in events]
    (dojo.file.parent / HISTORY).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_start_says_for_how_long_and_that_there_is_no_help(timed):
    assert "It is meant for 45 minutes from now; nothing ends with them." in timed.said
    assert "No help is given: `more` and `hint` tell nothing." in timed.said


def test_a_start_of_another_preset_says_neither(dojo, capsys):
    describe(dojo, TIMED)
    dojo.run("start", "small_sums")
    said = capsys.readouterr().out
    assert "minutes" not in said
    assert "help" not in said


def test_a_challenge_without_the_preset_names_those_it_has(dojo, capsys):
    assert dojo.run("start", "small_sums", "--preset", "interview") == 2
    assert "No preset named 'interview'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["hint"], ["hint", "--level", "3"]])
def test_hints_are_refused_as_by_an_exam(timed, capsys, words):
    assert timed.run(words[0], "small_sums", *words[1:]) == 2
    assert capsys.readouterr().err == NO_HINTS


def test_hints_are_refused_for_the_file_by_its_name_too(timed, capsys):
    assert timed.run("hint", "small_sums", timed.file) == 2
    assert capsys.readouterr().err == NO_HINTS


@pytest.mark.parametrize("command", ["grade", "watch"])
def test_no_higher_level_can_be_asked_for(timed, capsys, command):
    assert timed.run(command, "small_sums", "--tell", "place") == 2
    told = "kvdojo: The preset 'interview' tells at most 'symptom', not 'place'.\n"
    assert capsys.readouterr().err == told


def test_traces_are_refused(timed, capsys):
    assert timed.run("trace", "small_sums") == 2
    assert "The preset 'interview' tells at most 'symptom'" in capsys.readouterr().err


def test_the_same_file_begun_otherwise_gets_hints(timed, capsys):
    assert timed.run("start", "small_sums", "--preset", "contest", "--to", timed.work / "o") == 0
    assert timed.run("hint", "small_sums", timed.work / "o" / "sums.py") == 0
    assert "strict-mask: where" in capsys.readouterr().out


@pytest.mark.parametrize("minutes", [10, 46, 600])
def test_nothing_is_refused_that_was_not_before_when_the_time_is_over(timed, capsys, minutes):
    begun_minutes_ago(timed, minutes)
    assert timed.run("log", "small_sums") == 0
    assert timed.run("reset", "small_sums") == 0
    assert timed.run("solution", "small_sums") == 0
    assert timed.run("hint", "small_sums") == 2
    assert capsys.readouterr().err.endswith(NO_HINTS)


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        (0, "0 of the 45 minutes have gone."),
        (1, "1 of the 45 minutes has gone."),
        (44, "44 of the 45 minutes have gone."),
        (45, "The 45 minutes were over just now; nothing ends with them."),
        (46, "The 45 minutes were over 1 minute ago; nothing ends with them."),
        (105, "The 45 minutes were over 60 minutes ago; nothing ends with them."),
        (-3, "0 of the 45 minutes have gone."),  # the computer's clock was set back
    ],
)
def test_the_log_ends_with_the_clock(timed, capsys, minutes, told):
    begun_minutes_ago(timed, minutes)
    assert timed.run("log", "small_sums") == 0
    assert capsys.readouterr().out.splitlines()[-1] == told


def test_a_file_that_passed_stops_the_clock(timed, capsys):
    graded = {"what": "graded", "verdict": "passed", "file": "a", "passed": 2, "cases": 2, "fixed": []}  # fmt: skip
    begun_minutes_ago(timed, 500, (31, graded), (90, graded))
    timed.run("log", "small_sums")
    assert capsys.readouterr().out.splitlines()[-1] == "Passed after 31 of the 45 minutes."


def test_an_attempt_begun_again_begins_the_clock_again(timed):
    work = load_work_folder(timed.file.parent)
    found = Catalogue(timed.root).load("small_sums")
    passed = {"at": 600, "what": "graded", "verdict": "passed"}
    history = History(({"at": 0, "what": "started"}, passed, {"at": 6000, "what": "started"}))
    assert clock_lines(found, work, history, now=6120) == ("2 of the 45 minutes have gone.",)
    assert clock_lines(found, work, history, now=6120, passes=True) == (
        "Passed after 2 of the 45 minutes.",
    )


def test_without_a_beginning_or_minutes_there_is_no_clock(timed):
    found = Catalogue(timed.root).load("small_sums")
    work = load_work_folder(timed.file.parent)
    assert clock_lines(found, work, History()) == ()
    timed.run("start", "small_sums", "--seed", "1", "--bugs", "1", "--to", timed.work / "drawn")
    drawn = load_work_folder(timed.work / "drawn")
    assert clock_lines(found, drawn, History(({"at": 0, "what": "started"},))) == ()


def test_the_watch_and_the_studio_tell_the_clock_and_no_help(timed):
    begun_minutes_ago(timed, 12)
    work = load_work_folder(timed.file.parent)
    found = begun(Catalogue(timed.root).load("small_sums"), work)
    options = watch_options(found, work.path, work, "symptom")
    assert options.more is None
    assert options.trace is None
    case = CaseResult.judged(found.cases["mask-unit"], None)
    assert options.hint(b"", case, NO_FOCUS) == ("The preset 'interview' gives no hints.",)
    environment = {"python": "3", "torch": "2", "triton": None, "device": "cpu"}
    result = Result.of_cases("small_sums", "sums.py", "", [case], environment=environment)
    assert options.judged(result) == ("Passed after 12 of the 45 minutes.",)
    assert _log(found, work)[-1] == "12 of the 45 minutes have gone."


@pytest.mark.parametrize(
    "wrong", [{"minutes": 0}, {"minutes": "45"}, {"minutes": 601}, {"tell": "all"}, {"hours": 1}]
)
def test_a_preset_that_says_nonsense_is_told_by_its_place(wrong):
    presets = {**CHALLENGE["presets"], "interview": {**TIMED, **wrong}}
    told = schema_errors({**CHALLENGE, "presets": presets}, load_schema("challenge-v1"), "c.json")
    assert len(told) == 1
    assert told[0].startswith("c.json: $.presets.interview")


def test_a_level_that_does_not_exist_is_an_error_of_the_content(dojo, capsys):
    describe(dojo, {**TIMED, "tell": "all"})
    assert dojo.run("start", "small_sums", "--preset", "interview") == 3
    assert "$.presets.interview.tell" in capsys.readouterr().err


def test_a_real_attempt_is_graded_with_its_clock_and_told_no_more(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KVDOJO_WORK", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["start", "interview", "--preset", "interview"]) == 0
    capsys.readouterr()
    assert main(["grade", "interview"]) == 1
    said = capsys.readouterr().out
    assert "0 of the 45 minutes have gone." in said
    assert "0 of 5" in said
    assert "`kvdojo more" not in said
    assert (
        said.splitlines()[-1]
        == "Next: find out why, mend it, and grade again. No more is told here."
    )
    assert main(["more", "interview"]) == 1
    assert capsys.readouterr().out == "The preset 'interview' tells no more than this.\n"

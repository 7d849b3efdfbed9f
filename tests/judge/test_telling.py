"""What each level of telling leaves of a result: nothing of a higher one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grader.content.entries import TELLING
from grader.judge.result import BugStatus, CaseResult, Cause, RandomOutcome, Result, Where
from grader.judge.telling import is_told, told

CAUSE = Cause(
    "wrong_value",
    "`output` differs.",
    help="Every value is wrong.",
    expected="1",
    actual="2",
    where=Where(0, "output", (0,)),
    looks_like="Attention is too flat.",
    divergence="step 1, `scores`: expected 1, got 2.",
    manner="Every value is twice what it should be.",
)
CRASH = Cause(
    "raised", "ValueError was raised.", "Line 9: x = y", where=Where(1), line=9, raised_at="f.py:9"
)
PIECES = {
    "rationale": "symptom",
    "expected": "symptom",
    "divergence": "place",
    "help": "pattern",
    "manner": "pattern",
    "looks_like": "cause",
}


def _result(*cases: CaseResult, **more) -> Result:
    bugs = (
        BugStatus("scale", "The divisor", "fixed"),
        BugStatus("mask", "The mask", "changed", "u"),
    )
    return Result.of_cases("small", "f.py", "", cases, environment={}, bugs=bugs, **more)


def _case(name: str, cause: Cause | None, kind: str = "scenario") -> CaseResult:
    status = "failed" if cause else "passed"
    return CaseResult(name, f"Title of {name}", status, 0, 1, 0.0, cause, kind=kind, why="promise")


@pytest.mark.parametrize("level", TELLING)
def test_each_piece_of_a_cause_is_told_from_its_level_on(level) -> None:
    (case,) = told(_result(_case("a", CAUSE)), level).cases
    assert case.cause is not None
    for piece, least in PIECES.items():
        is_there = getattr(case.cause, piece) == getattr(CAUSE, piece)
        assert is_there == (TELLING.index(level) >= TELLING.index(least)), piece


@pytest.mark.parametrize("level", TELLING[:-1])
def test_unit_cases_are_counted_and_not_named(level) -> None:
    result = _result(_case("split", CAUSE, "unit"), _case("merge", None, "unit"))
    first, second = told(result, level).cases
    assert (first.id, first.title) == ("unit-01", "Unit case 1")
    assert (second.id, second.status) == ("unit-02", "passed")
    assert not is_told(first, level)
    told_text = repr(first)
    assert not any(text in told_text for text in ("split", "promise", "differs", "too flat"))


def test_the_highest_level_tells_all() -> None:
    result = _result(_case("split", CAUSE, "unit"), _case("a", CRASH))
    assert told(result, "cause") == result


def test_verdict_and_marks_stay() -> None:
    result = _result(_case("split", CAUSE, "unit"), _case("a", None))
    for level in TELLING:
        shown = told(result, level)
        assert (shown.verdict, shown.score, shown.max_score) == ("failed", 0, 2)
        assert [case.status for case in shown.cases] == ["failed", "passed"]


def test_an_exception_is_told_with_its_line_and_the_line_is_quoted_at_the_top_alone() -> None:
    result = _result(_case("split", CRASH, "unit"), _case("a", CRASH))
    unit, scenario = told(result, "pattern").cases
    for case in (unit, scenario):
        assert case.cause is not None
        assert (case.cause.raised_at, case.cause.help) == ("f.py:9", None)
    assert is_told(unit, "symptom")
    assert "f.py:9" not in repr(told(result, "verdict"))


def test_bugs_are_named_when_fixed_and_their_evidence_names_no_unit_case() -> None:
    fixed, changed = told(_result(), "symptom").bugs
    assert (fixed.title, changed.evidence) == ("The divisor", None)
    assert [bug.title for bug in told(_result(), "verdict").bugs] == ["", ""]


def test_a_random_scenario_is_told_like_a_case() -> None:
    smallest = {"id": "r", "title": "t", "why": "w"}
    random = RandomOutcome(3, 1, smallest, CAUSE)
    shown = told(_result(random=random), "symptom").random
    assert shown.cause == replace(CAUSE, help=None, looks_like=None, divergence=None, manner=None)
    assert told(_result(random=random), "verdict").random.smallest is None

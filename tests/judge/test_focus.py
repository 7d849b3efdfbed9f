"""One bug in focus: the one that failing cases isolate best, kept while it is there."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from grader.content import load_challenge
from grader.content.bug_detection import bug_status
from grader.content.planting import plant
from grader.judge.bug_status import bug_statuses
from grader.judge.focus import (
    NO_FOCUS,
    Focus,
    alone,
    choose_focus,
    focus_of_text,
    shown_first,
    told_cases,
)
from grader.judge.result import CaseResult, Cause, Result, Where

CHALLENGE = load_challenge("multi_head_attention")
STARTER = CHALLENGE.presets["default"].bugs
SCALE, SPLIT, AXIS = (
    "seed-scale-missing-sqrt",
    "seed-split-heads-view-order",
    "seed-cache-cat-dim2",
)
WRONG = Cause("wrong_value", "It differs.", where=Where(0, "output", (0,)))
RAISED = Cause("raised", "RuntimeError was raised.", where=Where(1), line=9)


def graded(bugs, *, failed=None, states=None, causes=None) -> Result:
    """Return a result in which the witnesses of these bugs fail, or the cases named."""
    if failed is None:
        failed = {case for bug in bugs for case in CHALLENGE.bugs[bug].witnesses}
    cases = [
        CaseResult.judged(case, (causes or {}).get(case.id, WRONG) if case.id in failed else None)
        for case in CHALLENGE.cases.values()
    ]
    known = dict.fromkeys(bug_status(CHALLENGE, CHALLENGE.reference_text), "fixed")
    known |= states or dict.fromkeys(bugs, "present")
    statuses = bug_statuses(CHALLENGE, known, cases)
    return Result.of_cases("mha", "f.py", "", cases, environment={}, bugs=statuses)


def test_the_focus_is_isolated_by_its_case() -> None:
    focus = choose_focus(CHALLENGE, graded(STARTER), STARTER)
    assert focus.bug in STARTER
    others = [bug for bug in STARTER if focus.scenario in CHALLENGE.bugs[bug].witnesses]
    assert others == [focus.bug]
    assert focus.unit in CHALLENGE.bugs[focus.bug].witnesses
    assert CHALLENGE.cases[focus.unit].kind == "unit"


def test_the_focus_before_is_kept_while_it_is_there() -> None:
    for bug in STARTER:
        assert choose_focus(CHALLENGE, graded(STARTER), STARTER, bug).bug == bug
    left = [bug for bug in STARTER if bug != SPLIT]
    assert choose_focus(CHALLENGE, graded(left), STARTER, SPLIT).bug in left


def test_an_exception_is_the_symptom_of_a_bug_that_raises() -> None:
    causes = dict.fromkeys(CHALLENGE.bugs[AXIS].witnesses, RAISED)
    result = graded([SPLIT, AXIS], causes=causes)
    split = choose_focus(CHALLENGE, result, STARTER, SPLIT)
    assert (split.bug, split.scenario in causes) == (SPLIT, False)


def test_what_looks_like_one_bug_is_not_shown_for_another() -> None:
    looks = replace(WRONG, looks_like=CHALLENGE.bugs[SPLIT].symptom)
    causes = dict.fromkeys(CHALLENGE.cases, looks)
    focus = choose_focus(CHALLENGE, graded([SPLIT, SCALE], causes=causes), STARTER, SCALE)
    assert focus.bug == SPLIT


def test_without_a_known_bug_the_first_failing_scenario_is_shown() -> None:
    focus = choose_focus(CHALLENGE, graded([], failed={"rollback", "one-token"}), STARTER)
    assert (focus.bug, focus.scenario) == (None, "one-token")
    assert choose_focus(CHALLENGE, graded([]), STARTER) == NO_FOCUS


def test_a_bug_that_unit_cases_alone_show_is_not_told_by_another_failing_scenario() -> None:
    units = {
        case for case in CHALLENGE.bugs[SCALE].witnesses if CHALLENGE.cases[case].kind == "unit"
    }
    assert choose_focus(CHALLENGE, graded([SCALE], failed=units), STARTER).bug == SCALE
    beside = next(
        case.id
        for case in CHALLENGE.cases.values()
        if case.kind == "scenario" and case.id not in CHALLENGE.bugs[SCALE].witnesses
    )
    focus = choose_focus(CHALLENGE, graded([SCALE], failed={*units, beside}), STARTER, SCALE)
    assert (focus.bug, focus.case) == (None, beside)
    # beside a bug that explains the scenario it is not kept in focus either
    split = next(
        case
        for case in CHALLENGE.bugs[SPLIT].witnesses
        if CHALLENGE.cases[case].kind == "scenario" and case not in CHALLENGE.bugs[SCALE].witnesses
    )
    result = graded([SCALE, SPLIT], failed={*units, split})
    focus = choose_focus(CHALLENGE, result, STARTER, SCALE)
    assert (focus.bug, focus.scenario) == (SPLIT, split)


def test_one_case_is_told_first_whoever_tells_it() -> None:
    cases = {case.id: case for case in graded(STARTER).cases}
    scenario, unit = cases["no-cache"], cases["scores-square"]
    broken = replace(cases["one-token"], status="error")
    failed = [unit, cases["rollback"], scenario, broken]
    focus = Focus(SCALE, "present", "no-cache", "scores-square")
    assert shown_first(failed, focus) is scenario
    assert shown_first(failed, NO_FOCUS) is broken
    assert shown_first(failed[:3], replace(focus, scenario=None)) is cases["rollback"]
    others = [cases["weights"], unit]
    assert shown_first(others, replace(focus, scenario=None)) is unit
    assert shown_first(others, NO_FOCUS) is cases["weights"]


def test_a_bug_is_seen_alone_where_it_is_as_planted() -> None:
    source = plant(CHALLENGE, STARTER).encode()
    focus = Focus(SCALE, "present", "one-head")
    assert alone(CHALLENGE, focus, source) == plant(CHALLENGE, [SCALE]).encode()
    assert alone(CHALLENGE, replace(focus, state="changed"), source) == source
    assert alone(CHALLENGE, NO_FOCUS, source) == source


@pytest.mark.parametrize("seed", range(4))
def test_every_command_names_the_same_bug_in_random_states(seed) -> None:
    """500 states a seed: subsets of the bugs, some changed, some cases failing for a foreign mistake."""
    draw = random.Random(seed)
    bugs = [bug.id for bug in CHALLENGE.bugs.values() if bug.kind == "bug"]
    for _ in range(500):
        planted = draw.sample(bugs, draw.randint(1, 8))
        states = {bug: draw.choice(["present", "present", "changed", "fixed"]) for bug in planted}
        left = [bug for bug in planted if states[bug] != "fixed"]
        failed = {case for bug in left for case in CHALLENGE.bugs[bug].witnesses}
        failed |= set(draw.sample(list(CHALLENGE.cases), draw.randint(0, 5)))
        result = graded(planted, failed=failed, states=states)
        before = draw.choice([None, *planted])
        focus = choose_focus(CHALLENGE, result, planted, before)
        # grading again, in whatever order the bugs are listed, with the focus remembered: nothing moves
        shuffled = replace(result, bugs=tuple(draw.sample(result.bugs, len(result.bugs))))
        again = choose_focus(CHALLENGE, shuffled, planted, focus.bug)
        assert again == focus
        # what speaks of a file that was not graded since keeps to it as well
        now = {bug.id: bug.status for bug in result.bugs if bug.id in left}
        if focus.bug in now:
            assert focus_of_text(CHALLENGE, now, focus.bug).bug == focus.bug
        if focus.bug is not None:
            assert focus.bug in left
            assert not {focus.scenario, focus.unit} - {None} - failed


def case_of(name: str, kind: str, visibility: str, status: str = "failed") -> CaseResult:
    return CaseResult(name, name, status, 0, 1, 0.0, WRONG, kind=kind, visibility=visibility)


def test_a_hidden_scenario_is_only_counted_where_every_command_speaks_of_a_unit_case() -> None:
    hidden, unit = case_of("secret", "scenario", "hidden"), case_of("a-unit", "unit", "public")
    error = case_of("ours", "scenario", "hidden", "error")
    public = case_of("seen", "scenario", "public")
    of_unit = Focus(None, None, None, "a-unit")
    assert told_cases([hidden, unit], "symptom", of_unit) == []
    assert told_cases([hidden, unit, error], "symptom", of_unit) == [error]
    assert told_cases([hidden, unit], "cause", of_unit) == [hidden, unit]
    assert told_cases([hidden, unit], "symptom", NO_FOCUS) == [hidden]
    assert told_cases([hidden, unit], "symptom", Focus("a-bug", "present", None, "a-unit")) == [
        hidden
    ]
    seen = Focus(None, None, "seen", "a-unit")
    assert told_cases([hidden, public, unit], "symptom", seen) == [hidden, public]
    assert told_cases([hidden, public, unit], "verdict", seen) == []

"""Load a golden and make sure that it is the right one: made for these cases, by this oracle, with this driver.

A golden that fits no more is never used; the error says how to record it anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from grader.content import Case, Challenge, ContentError
from grader.content.cases_schema import cases_digest, validate_cases
from grader.ground.invocation import command_line
from grader.judge.golden import Golden, load_golden, oracle_digest, recipe_of


def prepare(challenge: Challenge, cases: Iterable[Case] | None = None) -> Golden:
    """Load the golden and check it and the cases, once for all files that are graded with it."""
    golden = load_valid(challenge)
    check_belongs(challenge, golden, challenge.cases.values() if cases is None else cases)
    return golden


def load_valid(challenge: Challenge) -> Golden:
    """Load the golden, and validate the cases unless they are those that were valid when it was recorded."""
    try:
        golden = load_golden(challenge)
    except ContentError:
        validate_cases(challenge)  # broken cases are the better thing to tell
        raise
    if golden.content != cases_digest(challenge):
        validate_cases(challenge)
    return golden


def usable_golden(challenge: Challenge, cases: Iterable[Case]) -> Golden:
    """Load the golden and make sure it belongs to these cases and this oracle."""
    golden = load_golden(challenge)
    check_belongs(challenge, golden, cases)
    return golden


def check_belongs(challenge: Challenge, golden: Golden, cases: Iterable[Case]) -> None:
    """Raise ContentError unless the golden was made for these cases, with this oracle and driver."""
    again = f"run `{command_line('check', challenge.id, '--record')}`"
    if golden.oracle != oracle_digest(challenge):
        raise ContentError(
            f"{challenge.golden}: was made by another {challenge.oracle.name}; {again}"
        )
    for case in cases:
        entry = golden.cases.get(case.id)
        if entry is None or entry.recipe != recipe_of(case, challenge):
            raise ContentError(f"{challenge.golden}: case {case.id!r} has changed since; {again}")

"""How much of a result a learner is told: the only place that decides what a level shows.

A level takes away from a `Result` whatever belongs to a higher one, and those who show it (terminal, pages, watch, the
pytest plugin, exports to course systems) show all that is left.  So a reader of the source finds here what is told, and
no report can say more.

    level     a failing scenario                                unit cases              bugs
    verdict   that it failed                                    counted                 counted
    symptom   what was asked, what came back, what should have  counted                 fixed ones by name
    place     and where in the run the first number is wrong    counted                 "
    pattern   and how the numbers are wrong                     counted                 "
    cause     and which known mistake looks like this           told like scenarios     and why one is in doubt

Documents (`--json`), the gradebook's table and what a batch keeps are not told to learners and hold everything.

    >>> at_most("cause", "pattern")
    'pattern'
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from grader.content import Challenge
from grader.content.entries import CAUSE, PATTERN, PLACE, SYMPTOM, TELLING, tells
from grader.judge.result import BugStatus, CaseResult, Cause, RandomOutcome, Result

DEFAULT = "symptom"
NOT_TOLD = "It failed; more is not told here."
UNIT_CASE = "Unit case"


def at_most(level: str, most: str) -> str:
    """Return the level, or `most` where that is lower."""
    return min(level, most, key=TELLING.index)


def told(result: Result, level: str, challenge: Challenge | None = None) -> Result:
    """Return what a level tells of a result.

    Cases know their kind where they come from a grading; for a result that was read from a document it is looked up
    in the `challenge`.
    """
    kinds = {case.id: case.kind for case in challenge.cases.values()} if challenge else {}
    crashes = {_crash(case.cause) for case in result.cases if case.kind == "scenario"} - {None}
    kept: list[CaseResult] = []
    units = 0
    for case in result.cases:
        case = replace(case, kind=kinds.get(case.id, case.kind))
        units += case.kind == "unit"
        shown = _case(case, level, units)
        if case.kind == "unit" and _crash(case.cause) in crashes and tells(level, SYMPTOM):
            shown = replace(shown, cause=case.cause and _cause(case.cause, level))
        kept.append(shown)
    return replace(
        result,
        cases=tuple(kept),
        bugs=tuple(_bug(bug, level) for bug in result.bugs),
        decoys=result.decoys if tells(level, SYMPTOM) else (),
        random=_random(result.random, level),
    )


def told_case(case: CaseResult, level: str, number: int = 0) -> CaseResult:
    """Return what a level tells of one case; `number` is its place among the unit cases."""
    return _case(case, level, number)


def names_units(level: str) -> bool:
    """Whether unit cases go by their own names."""
    return tells(level, CAUSE)


def shown_title(number: int) -> str:
    """Return the title of a unit case that is counted and not named."""
    return f"{UNIT_CASE} {number}"


def shown_name(number: int) -> str:
    """Return the id of a unit case that is counted and not named: `unit-07`, by its place among the unit cases."""
    return f"unit-{number:02}"


def is_told(case: CaseResult, level: str) -> bool:
    """Whether more is told of a case that is not passed than that it failed; the others are counted.

    `case` is what `told` left of it: one that the file ended by an exception, or the grader could not judge, is told.
    """
    if case.status == "error" or tells(level, CAUSE):
        return True
    if case.cause is not None and case.cause.kind == "raised" and case.cause.where is None:
        return True
    return tells(level, SYMPTOM) and (case.kind != "unit" or _crash(case.cause) is not None)


def counted_as(cases: Iterable[CaseResult], level: str) -> str:
    """Return what cases are called that are counted and not told; their kind is a symptom already."""
    units = tells(level, SYMPTOM) and all(case.kind == "unit" for case in cases)
    return "unit case" if units else "case"


def _case(case: CaseResult, level: str, number: int) -> CaseResult:
    if tells(level, CAUSE):
        return case
    if case.kind == "unit":
        case = replace(case, id=shown_name(number), title=shown_title(number), why="")
        failed = case.cause is not None and case.status == "failed"
        return replace(case, cause=_hidden_cause(case.cause), sketch=None) if failed else case
    if case.cause is None or case.status != "failed":
        return case
    if not tells(level, SYMPTOM):
        return replace(case, why="", cause=_hidden_cause(case.cause), sketch=None)
    return replace(case, cause=_cause(case.cause, level), sketch=None)


def _crash(cause: Cause | None) -> tuple[str, str] | None:
    """Return what two cases share that one line of the file ended with one exception."""
    if cause is None or cause.kind != "raised" or cause.raised_at is None:
        return None
    return cause.raised_at, cause.rationale


def _hidden_cause(cause: Cause | None) -> Cause | None:
    """Return what is told of a cause that is not told: how the run ended, where the file gave no answer."""
    if cause is None:
        return None
    if cause.kind == "raised" and cause.where is None:
        return replace(cause, help=None)  # the file cannot be executed, which any editor tells
    return Cause(
        cause.kind if cause.kind in ("timeout", "memory", "blocked") else "wrong_value", NOT_TOLD
    )


def _cause(cause: Cause, level: str) -> Cause:
    """Return what is told of a cause below the highest level; of an exception the line is named and not quoted."""
    return replace(
        cause,
        looks_like=None,
        help=cause.help
        if tells(level, PATTERN) and cause.line is None and not cause.mixed
        else None,
        manner=cause.manner if tells(level, PATTERN) else None,
        divergence=cause.divergence if tells(level, PLACE) else None,
    )


def _random(random: RandomOutcome, level: str) -> RandomOutcome:
    if not tells(level, SYMPTOM):
        return replace(random, smallest=None, cause=None)
    if random.cause is None or tells(level, CAUSE):
        return random
    return replace(random, cause=_cause(random.cause, level))


def _bug(bug: BugStatus, level: str) -> BugStatus:
    """Return a bug as it is told; its evidence names a case that fails, often one that isolates it."""
    if tells(level, CAUSE):
        return bug
    return replace(bug, evidence=None, title=bug.title if tells(level, SYMPTOM) else "")

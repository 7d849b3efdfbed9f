"""The result of grading one file: `kvdojo/result/v1` as typed values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

ENDS = ("raised", "timeout", "memory", "crashed", "blocked", "missing")  # a run without an answer


@dataclass(frozen=True)
class Where:
    """The first wrong place; `step` is None before the first step."""

    step: int | None = None
    output: str | None = None
    index: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Cause:
    """Why a case is not passed.  `kind` is None for skipped cases and for errors of the grader."""

    kind: str | None
    rationale: str
    help: str | None = None
    expected: str | None = None
    actual: str | None = None
    where: Where | None = None


@dataclass(frozen=True)
class CaseResult:
    """Verdict on one case: passed, failed, error (could not be judged) or skipped."""

    id: str
    title: str
    status: str
    points: int
    max_points: int
    seconds: float
    cause: Cause | None = None
    visibility: str = "public"
    kind: str = "scenario"
    why: str = ""
    trace: tuple[int, str, list[float]] | None = None


@dataclass(frozen=True)
class BugStatus:
    """What is known of one bug: fixed, present, changed or unknown; `evidence` says why, where that is in doubt."""

    id: str
    title: str
    status: str
    evidence: str | None = None


@dataclass(frozen=True)
class Result:
    """Everything known after grading one file."""

    challenge: str
    file: str
    sha256: str
    verdict: str
    score: int
    max_score: int
    seconds: float
    cases: tuple[CaseResult, ...]
    bugs: tuple[BugStatus, ...]
    environment: Mapping[str, Any]
    notices: tuple[str, ...] = ()
    log: str = ""
    decoys: tuple[BugStatus, ...] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict)


def to_json(result: Result) -> dict[str, Any]:
    """Return the result document; hidden cases carry no cause but how the run ended."""
    return {
        "schema": "kvdojo/result/v1",
        "challenge": result.challenge,
        "submission": {"file": result.file, "sha256": result.sha256},
        "verdict": result.verdict,
        "score": result.score,
        "max_score": result.max_score,
        "seconds": round(result.seconds, 3),
        "cases": [_case(case) for case in result.cases],
        "bugs": [{"id": b.id, "title": b.title, "status": b.status} for b in result.bugs],
        "environment": dict(result.environment),
    }


def _case(case: CaseResult) -> dict[str, Any]:
    return {
        "id": case.id,
        "title": case.title,
        "status": case.status,
        "points": case.points,
        "max_points": case.max_points,
        "seconds": round(case.seconds, 4),
        "cause": _cause(redacted(case)) if case.cause else None,
    }


def _cause(cause: Cause) -> dict[str, Any]:
    where = None
    if cause.where is not None:
        index = cause.where.index
        where = {**vars(cause.where), "index": None if index is None else list(index)}
    return {**vars(cause), "where": where}


def redacted(case: CaseResult) -> Cause:
    """Return the cause as the learner may see it: of a hidden case no more than that it failed.

    Which kind of answer was wrong would tell what was asked; that the file raised or ran out of time does not.
    """
    assert case.cause is not None, "only a case that is not passed has a cause"
    if case.visibility == "public":
        return case.cause
    kind = case.cause.kind if case.cause.kind in {None, *ENDS} else "wrong_value"
    return Cause(kind, "A hidden case is not passed; its details are not shown.")


def most_informative_first(cases: Collection[CaseResult]) -> list[CaseResult]:
    """Return the cases that are errors or failed, the most telling first.

    Cases that isolate one method stand before scenarios, and of several that are wrong in the same
    way and place all but the first come later; those that were not even run come last.
    """
    order = {("error", "unit"): 0, ("error", "scenario"): 1, ("failed", "unit"): 2}
    wrong = [case for case in cases if case.status in {"error", "failed"}]
    wrong.sort(key=lambda case: order.get((case.status, case.kind), 3))
    firsts = {_fault(case): case for case in reversed(wrong)}
    return sorted(wrong, key=lambda case: (_not_run(case), firsts[_fault(case)] is not case))


def _not_run(case: CaseResult) -> bool:
    """Whether the case was given up before its turn: what runs out of time by itself has a place."""
    return bool(case.cause and case.cause.kind == "timeout" and case.cause.where is None)


def _fault(case: CaseResult) -> tuple[str | None, ...]:
    """Return what two cases share that are probably wrong for the same reason."""
    cause = case.cause
    if cause is None:
        return (case.status, case.id)
    return (case.status, cause.kind, cause.where.output if cause.where else cause.rationale)

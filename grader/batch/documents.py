"""Result documents for what could not be judged: nobody's wrong answer, and never a pass."""

from __future__ import annotations

from platform import python_version
from typing import Any

from grader.batch.plan import Entry
from grader.content import Challenge
from grader.judge.result import CaseResult, Cause, Result, to_json


def unjudged(challenge: Challenge, entry: Entry, why: str) -> dict[str, Any]:
    """Return the document of a submission that was not run, with the reason on every case."""
    cause = Cause(None, f"Could not be judged: {why}.")
    cases = tuple(
        CaseResult(case.id, case.title, "error", 0, case.points, 0.0, cause)
        for case in challenge.cases.values()
    )
    result = Result(
        challenge=challenge.id,
        file=entry.file,
        sha256=entry.sha256,
        verdict="error",
        score=0,
        max_score=sum(case.max_points for case in cases),
        seconds=0.0,
        cases=cases,
        bugs=(),
        environment={
            "python": python_version(),
            "torch": None,
            "triton": None,
            "device": "cpu",
            "isolation": [],
        },
    )
    return to_json(result)

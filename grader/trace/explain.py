"""Tell, in the cause of the first failed scenario of a grading, where the file first departs from the reference.

A grading that passes is not touched, and no verdict depends on this.
"""

from __future__ import annotations

from dataclasses import replace

from grader.content import Challenge, ContentError
from grader.judge.golden import Golden
from grader.judge.result import CaseResult, Result
from grader.sandbox import Sandbox, SandboxError
from grader.trace.model import Divergence
from grader.trace.trace import trace_case

TRACEABLE = (
    "wrong_value",
    "wrong_shape",
    "wrong_dtype",
    "not_finite",
    "raised",
    "did_not_raise",
    "mutated_input",
)


def explained(
    sandbox: Sandbox, challenge: Challenge, golden: Golden, source: bytes, result: Result
) -> Result:
    """Return the result with the first divergence in one cause; unchanged when there is nothing to trace."""
    failed = next((case for case in result.cases if _traceable(case)), None)
    if failed is None or failed.cause is None:
        return result
    try:
        stored = golden.cases.get(failed.id)
        trace = trace_case(sandbox, challenge, challenge.cases[failed.id], source, stored)
    except (SandboxError, ContentError):
        return result  # the verdict stands without it
    if trace.divergence is None:
        return result
    told_case = replace(failed, cause=replace(failed.cause, divergence=told(trace.divergence)))
    cases = tuple(told_case if case is failed else case for case in result.cases)
    return replace(result, cases=cases)


def told(first: Divergence) -> str:
    """Say in two lines where and how."""
    where = f"{first.sentence().rstrip('.')}."
    how = " ".join(first.point.pattern)
    return where if first.point.place is None or not how else f"{where}\n{how}"


def _traceable(case: CaseResult) -> bool:
    seen = case.kind == "scenario" and case.visibility == "public"
    kind = case.cause.kind if case.cause else None
    return seen and case.status == "failed" and kind in TRACEABLE

"""Tell, in the cause of the first failed scenario of a grading, where the file first departs from the reference.

A grading that passes is not touched, and no verdict depends on this.
"""

from __future__ import annotations

from dataclasses import replace

from grader.content import Challenge, ContentError
from grader.diagnose.trace_case import trace_case
from grader.diagnose.trace_model import Divergence, Trace
from grader.judge.golden import Golden, load_golden
from grader.judge.result import CaseResult, Result, most_informative_first
from grader.sandbox import Sandbox, SandboxError

MOST = 6  # cases that are traced for pictures
TRACEABLE = (
    "wrong_value",
    "wrong_shape",
    "wrong_dtype",
    "not_finite",
    "raised",
    "did_not_raise",
    "mutated_input",
)
PICTURED = frozenset(TRACEABLE) - {"did_not_raise"}


def with_first_divergence(
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


def trace_failed_cases(
    sandbox: Sandbox, challenge: Challenge, result: Result, source: bytes
) -> dict[str, Trace]:
    """Return traces of the first failed cases whose answers were wrong, by case."""
    found: dict[str, Trace] = {}
    golden = load_golden(challenge)
    for failed in most_informative_first(result.cases):
        if len(found) == MOST:
            break
        kind = failed.cause.kind if failed.cause else None
        case = challenge.cases.get(failed.id)
        if case is None or failed.visibility != "public" or kind not in PICTURED:
            continue
        try:
            stored = golden.cases.get(case.id)
            found[case.id] = trace_case(sandbox, challenge, case, source, stored)
        except (SandboxError, ContentError):
            break  # a page without pictures is better than none
    return found


def _traceable(case: CaseResult) -> bool:
    seen = case.kind == "scenario" and case.visibility == "public"
    kind = case.cause.kind if case.cause else None
    return seen and case.status == "failed" and kind in TRACEABLE

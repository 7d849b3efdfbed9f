"""Trace what failed in a grading: one case for the cause of its result, several for the pictures of a page.

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

MOST_PICTURED = 6  # cases of one page
TRACEABLE = (
    "wrong_value",
    "wrong_shape",
    "wrong_dtype",
    "not_finite",
    "raised",
    "did_not_raise",
    "mutated_input",
)


def with_first_divergence(
    sandbox: Sandbox, challenge: Challenge, golden: Golden, source: bytes, result: Result
) -> Result:
    """Return the result with the first divergence in the cause of its first failed scenario.

    The result is unchanged when there is nothing to trace, or when the trace fails: the verdict stands without it.
    """
    failed = next((case for case in result.cases if _is_traceable_scenario(case)), None)
    if failed is None or failed.cause is None:
        return result
    try:
        stored = golden.cases.get(failed.id)
        trace = trace_case(sandbox, challenge, challenge.cases[failed.id], source, stored)
    except (SandboxError, ContentError):
        return result
    if trace.divergence is None:
        return result
    cause = replace(failed.cause, divergence=divergence_text(trace.divergence))
    cases = (replace(case, cause=cause) if case is failed else case for case in result.cases)
    return replace(result, cases=tuple(cases))


def divergence_text(first: Divergence) -> str:
    """Say in two lines where two files differ first, and how."""
    where = f"{first.sentence().rstrip('.')}."
    how = " ".join(first.checkpoint.sentences)
    return where if first.checkpoint.place is None or not how else f"{where}\n{how}"


def trace_failed_cases(
    sandbox: Sandbox, challenge: Challenge, result: Result, source: bytes
) -> dict[str, Trace]:
    """Return traces of the first failed cases whose answers were wrong, the most informative first, by case."""
    found: dict[str, Trace] = {}
    golden = load_golden(challenge)
    for failed in most_informative_first(result.cases):
        if len(found) == MOST_PICTURED:
            break
        case = challenge.cases.get(failed.id)
        if case is None or not _is_traceable(failed):
            continue
        try:
            stored = golden.cases.get(case.id)
            found[case.id] = trace_case(sandbox, challenge, case, source, stored)
        except (SandboxError, ContentError):
            break  # a page without pictures is better than none
    return found


def _is_traceable_scenario(case: CaseResult) -> bool:
    return case.kind == "scenario" and case.status == "failed" and _is_traceable(case)


def _is_traceable(case: CaseResult) -> bool:
    kind = case.cause.kind if case.cause else None
    return case.visibility == "public" and kind in TRACEABLE

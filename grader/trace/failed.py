"""Trace what failed in a grading, for pictures: a few cases, the most telling first."""

from __future__ import annotations

from grader.content import Challenge, ContentError
from grader.judge.golden import load_golden
from grader.judge.result import Result, most_informative_first
from grader.sandbox import Sandbox, SandboxError
from grader.trace.model import Trace
from grader.trace.trace import trace_case

MOST = 6
TRACEABLE = {"wrong_value", "wrong_shape", "wrong_dtype", "not_finite", "raised", "mutated_input"}


def trace_failed(
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
        if case is None or failed.visibility != "public" or kind not in TRACEABLE:
            continue
        try:
            stored = golden.cases.get(case.id)
            found[case.id] = trace_case(sandbox, challenge, case, source, stored)
        except (SandboxError, ContentError):
            break  # a page without pictures is better than none
    return found

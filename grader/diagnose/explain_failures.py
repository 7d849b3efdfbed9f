"""Trace what failed in a grading: one case for the cause of its result, several for the pictures of a page.

A grading that passes is not touched, and no verdict depends on this.
"""

from __future__ import annotations

from dataclasses import replace

from grader.content import Challenge, ContentError
from grader.content.bug_detection import bug_status
from grader.content.planting import plant
from grader.diagnose.trace_case import trace_case
from grader.diagnose.trace_model import Divergence, Trace
from grader.judge.focus import NO_FOCUS, Focus, alone
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
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden,
    source: bytes,
    result: Result,
    focus: Focus = NO_FOCUS,
) -> Result:
    """Return the result with the first divergence in the cause of the scenario in focus, else of the first that failed.

    The result is unchanged when there is nothing to trace, or when the trace fails: the verdict stands without it.
    """
    traceable = [case for case in result.cases if _is_traceable_scenario(case)]
    traceable.sort(key=lambda case: case.id != focus.scenario)
    if not traceable or traceable[0].cause is None:
        return result
    failed, cause = traceable[0], traceable[0].cause
    try:
        trace = trace_focus(sandbox, challenge, golden, source, focus, failed.id)
    except (SandboxError, ContentError):
        return result
    if trace.divergence is None:
        return result
    where, how = divergence_texts(trace.divergence)
    cause = replace(cause, divergence=where, manner=how)
    cases = (replace(case, cause=cause) if case is failed else case for case in result.cases)
    return replace(result, cases=tuple(cases))


def trace_focus(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden | None,
    source: bytes,
    focus: Focus,
    case: str,
) -> Trace:
    """Trace a case of a file.  In the case of the focus the other bugs are left out of it, where they can be.

    Several bugs hide one another, and the first difference of a file is seldom that of the bug in focus.
    """
    if case in (focus.scenario, focus.unit):
        source = alone(challenge, focus, source)
    stored = golden.cases.get(case) if golden else None
    return trace_case(sandbox, challenge, challenge.cases[case], source, stored)


def trace_of_what_it_sees(
    sandbox: Sandbox, challenge: Challenge, source: bytes, case: str, made: Trace
) -> Trace | None:
    """Return a trace with only those planted bugs that the case catches, where the first difference is then another.

    `made` is the trace of the file as it is.  Its first difference may be that of a bug on which the answer of the case
    does not depend.  None where it is not, and where that cannot be told.
    """
    states = bug_status(challenge, source.decode("utf-8", "replace"))
    left = [name for name, state in states.items() if state == "present"]
    seen = [name for name in left if case in challenge.bugs[name].witnesses]
    if made.divergence is None or not seen or len(seen) == len(left):
        return None
    try:
        text = plant(challenge, seen).encode()
        other = trace_case(sandbox, challenge, challenge.cases[case], text)
    except (ContentError, SandboxError):
        return None
    if other.divergence is None or _place(other.divergence) == _place(made.divergence):
        return None
    return other


def _place(first: Divergence) -> tuple[int, str, int]:
    return first.step, first.checkpoint.name, first.checkpoint.call


def divergence_texts(first: Divergence) -> tuple[str, str | None]:
    """Say where two files differ first, and how."""
    where = f"{first.sentence().rstrip('.')}."
    how = " ".join(first.checkpoint.sentences)
    return where, None if first.checkpoint.place is None or not how else how


def trace_failed_cases(
    sandbox: Sandbox,
    challenge: Challenge,
    result: Result,
    source: bytes,
    focus: Focus = NO_FOCUS,
    *,
    whole: bool = False,
) -> dict[str, Trace]:
    """Return traces of the first failed cases whose answers were wrong, that of the focus first, by case.

    With `whole` that one, too, is traced with all bugs of the file, so that its output is what the file answers.
    """
    found: dict[str, Trace] = {}
    golden = load_golden(challenge)
    order = sorted(most_informative_first(result.cases), key=lambda case: case.id != focus.case)
    for failed in order:
        if len(found) == MOST_PICTURED:
            break
        case = challenge.cases.get(failed.id)
        if case is None or not _is_traceable(failed):
            continue
        try:
            bug = NO_FOCUS if whole else focus
            found[case.id] = trace_focus(sandbox, challenge, golden, source, bug, case.id)
        except (SandboxError, ContentError):
            break  # a page without pictures is better than none
    return found


def _is_traceable_scenario(case: CaseResult) -> bool:
    return case.kind == "scenario" and case.status == "failed" and _is_traceable(case)


def _is_traceable(case: CaseResult) -> bool:
    kind = case.cause.kind if case.cause else None
    return case.visibility == "public" and kind in TRACEABLE

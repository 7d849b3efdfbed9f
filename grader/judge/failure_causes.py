"""Say why a call gave no answer: an exception, a refusal of the sandbox, or an answer of the wrong structure."""

from __future__ import annotations

from grader.judge.result import Cause, Where
from grader.sandbox import Problem, Raised

PROBLEMS = ("wrong_value", "wrong_shape", "wrong_dtype", "missing", "mutated_input")


def raised_cause(step: int | None, raised: Raised) -> Cause:
    """Describe an exception that should not have been raised."""
    name = raised.types[0] if raised.types else "an exception"
    if "MemoryError" in raised.types:
        text = "The memory limit was reached."
        return Cause("memory", text, line_of(raised), None, raised.message or name, Where(step))
    if raised.blocked:
        text = "The file tried something a submission may not do, and was refused."
        return Cause(
            "blocked", text, line_of(raised), None, f"{name}: {raised.message}", Where(step)
        )
    text = f"{name} was raised: {raised.message}" if raised.message else f"{name} was raised."
    return Cause("raised", text, line_of(raised), "no exception", name, Where(step))


def problem_cause(step: int | None, problem: Problem) -> Cause:
    """Describe an answer of the wrong structure; a kind that is not known counts as `wrong_value`.

    The worker's word for the kind is free text, and a submission may have written it.
    """
    kind = problem.kind if problem.kind in PROBLEMS else "wrong_value"
    return Cause(kind, sentence(problem.message), where=Where(step))


def sentence(text: str) -> str:
    """Return a message of a driver or of a worker as a sentence, e.g. `no such key` as `No such key.`"""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def line_of(raised: Raised) -> str | None:
    """Quote the line of the submission that raised."""
    return f"Line {raised.line}: {raised.text.strip()}" if raised.line else None

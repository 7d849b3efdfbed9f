"""A cause in a few lines of plain text that can do no harm where it is shown."""

from __future__ import annotations

from grader.judge.result import Cause
from grader.report.visible import visible
from grader.report.words import place


def rationale(cause: Cause) -> str:
    """Return why, as one line."""
    return visible(cause.rationale, columns=2000)


def lesson(cause: Cause) -> str:
    """Return the whole cause: what went wrong, where, expected and actual, what to look at next."""
    lines = [rationale(cause)]
    if found := place(cause.where):
        lines.append(f"First wrong place: {visible(found)}")
    if cause.expected is not None and cause.actual is not None:
        lines.append(f"expected: {visible(cause.expected)}")
        lines.append(f"actual:   {visible(cause.actual)}")
    if cause.help:
        lines.append(visible(cause.help, columns=1000))
    return "\n".join(lines)

"""Phrases that every report for people shares: places, causes, how hard bugs are, each safe to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from grader.ground.display import escape_for_display
from grader.judge.result import BugStatus, Cause, Where

LEVELS = {1: "easy", 2: "easy", 3: "medium", 4: "hard", 5: "hard"}


def difficulty_summary(bugs: Collection[BugStatus], levels: Mapping[str, int]) -> str:
    """Return how hard the bugs are, e.g. ` (2 easy, 1 hard)`; empty when that is not known."""
    names = Counter(LEVELS[levels[bug.id]] for bug in bugs if bug.id in levels)
    parts = [f"{names[name]} {name}" for name in ("easy", "medium", "hard") if names[name]]
    return f" ({', '.join(parts)})" if parts else ""


def place(where: Where | None) -> str:
    """Return the first wrong place in words, e.g. `step 2, cache/key, at [0, 3, 1]`."""
    if where is None or where == Where():
        return ""
    parts = ["creation" if where.step is None else f"step {where.step + 1}"]
    if where.output:
        parts.append(where.output)
    if where.index is not None:
        parts.append(f"at [{', '.join(map(str, where.index))}]")
    return ", ".join(parts)


def rationale(cause: Cause) -> str:
    """Return why, as one line."""
    return escape_for_display(cause.rationale, columns=2000)


def lesson(cause: Cause) -> str:
    """Return the whole cause: what went wrong, where, expected and actual, what to look at next."""
    lines = [rationale(cause)]
    if found := place(cause.where):
        lines.append(f"First wrong place: {escape_for_display(found)}")
    if cause.expected is not None and cause.actual is not None:
        lines.append(f"expected: {escape_for_display(cause.expected)}")
        lines.append(f"actual:   {escape_for_display(cause.actual)}")
    if cause.advice:
        lines.append(escape_for_display(cause.advice, columns=1000))
    return "\n".join(lines)

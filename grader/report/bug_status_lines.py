"""Where the planted bugs stand, as lines of text: what is fixed by name, what is left by number only.

A name is half the answer, so bugs that are still there are counted; one that was changed into something else is told
by the case that still fails.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from grader.ground.display import escape_for_display
from grader.ground.symbols import Symbols
from grader.judge.bug_status import credit, needless
from grader.judge.result import BugStatus
from grader.report.phrases import difficulty_summary

MOST_NAMED = 4  # bugs that are fixed
STATES = ("fixed", "present", "changed", "unknown")


@dataclass(frozen=True)
class Line:
    """One line of the report."""

    text: str
    indent: int = 0
    style: str = ""


def bug_lines(
    bugs: Collection[BugStatus],
    planted: Collection[str] | None,
    levels: Mapping[str, int],
    marks: Symbols,
) -> list[Line]:
    """Tell how the bugs stand; without `planted` only those that the file itself shows."""
    if planted is not None:
        bugs = [bug for bug in bugs if bug.id in planted]
    by_state = {state: [bug for bug in bugs if bug.status == state] for state in STATES}
    if not bugs or (planted is None and not by_state["present"] and not by_state["changed"]):
        return []
    if planted is None:
        lines = [Line(f"Known bugs recognised: {len(by_state['present'])}", 0, "bold")]
    else:
        lines = [_head(bugs, planted, levels)]
        all_done = len(by_state["fixed"]) == len(bugs)
        lines += _named(by_state["fixed"], marks, len(bugs) if all_done else MOST_NAMED)
    if present := by_state["present"]:
        text = f"still present: {len(present)}{difficulty_summary(present, levels)}"
        lines.append(Line(f"{marks.failed} {text}", 2, "red"))
    text = "changed, but not to what the reference has"
    lines += _unsure(by_state["changed"], text, marks)
    if planted is not None:
        lines += _unsure(by_state["unknown"], "cannot be told, the code was written anew", marks)
    return lines


def decoy_lines(
    decoys: Collection[BugStatus], planted: Collection[str], marks: Symbols
) -> list[Line]:
    """Name what was right before it was edited; that costs nothing."""
    edited = needless(decoys, planted)
    if not edited:
        return []
    head = Line("Edited though it was right (no points lost):", 0, "bold")
    return [head, *(Line(f"{marks.dash} {decoy.title}", 2) for decoy in edited)]


def _head(bugs: Collection[BugStatus], planted: Collection[str], levels: Mapping[str, int]) -> Line:
    done = credit(bugs, planted, levels)
    share = f", {done.share:.0%} by difficulty" if 0 < done.fixed < done.planted else ""
    return Line(f"Planted bugs: {done.fixed} of {done.planted} fixed{share}", 0, "bold")


def _named(fixed: Collection[BugStatus], marks: Symbols, most: int) -> Iterator[Line]:
    """Name what is fixed, where it is told; while bugs are left, only so many that the screen is not full of it."""
    titles = [bug.title for bug in fixed if bug.title]
    more = len(titles) - most
    for title in titles[: most if more > 1 else None]:
        yield Line(f"{marks.passed} {title}", 2, "green")
    if more > 1:
        yield Line(f"{marks.passed} and {more} more", 2, "green")


def _unsure(bugs: Collection[BugStatus], text: str, marks: Symbols) -> Iterator[Line]:
    if bugs:
        yield Line(f"{marks.unsure} {text}: {len(bugs)}", 2, "yellow")
    for reason in dict.fromkeys(bug.evidence for bug in bugs if bug.evidence):
        yield Line(escape_for_display(reason), 6, "dim")

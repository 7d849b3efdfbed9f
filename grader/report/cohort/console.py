"""The class on the terminal: what a teacher wants to know first; the page and the table have the rest."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grader.classroom.class_summary import BINS, ClassSummary, SubmissionRow
from grader.report.visible import visible
from grader.report.words import count

STYLES = {"passed": "green", "failed": "red", "error": "yellow"}
WORDS = {
    "passed": "passed",
    "failed": "failed",
    "error": "could not be judged",
    "interrupted": "interrupted while being graded",
    "waiting": "not begun",
}
MOST_LEARNERS, MOST_LINES = 25, 8
BAR = 40


def render(summary: ClassSummary, console: Console) -> None:
    """Print the report."""
    _learners(summary, console)
    _unjudged(summary, console)
    if summary.judged:
        _scores(summary, console)
        _bugs(summary, console)
        _cases(summary, console)
    _alike(summary, console)
    parts = [f"{n} {WORDS[state]}" for state in WORDS if (n := summary.counts.get(state, 0))]
    median = f"; median {summary.median:.0%} of the marks" if summary.median is not None else ""
    console.print(
        f"{count(len(summary.rows), 'submission')}: {', '.join(parts) or 'none'}{median}",
        style="bold",
    )


def _learners(summary: ClassSummary, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("Learner", "Verdict", "Points", "Bugs still wrong"):
        table.add_column(
            name, justify="right" if name in ("Points", "Bugs still wrong") else "left"
        )
    for row in summary.rows[:MOST_LEARNERS]:
        table.add_row(
            visible(row.entry.id, columns=48),
            Text(WORDS[row.state], STYLES.get(row.state, "")),
            f"{row.score:g}/{row.max_score:g}" if row.judged else "-",
            still_wrong(row),
        )
    console.print(table)
    if (more := len(summary.rows) - MOST_LEARNERS) > 0:
        console.print(f"... and {more} more", style="dim")
    console.print()


def still_wrong(row: SubmissionRow) -> str:
    """Return how many bugs a file still has; of a file that is no Python, or was written anew, that cannot be told."""
    if not row.judged:
        return "-"
    return (
        "unclear"
        if not row.left and row.state == "failed" and "unknown" in row.bugs
        else str(row.left)
    )


def _unjudged(summary: ClassSummary, console: Console) -> None:
    wrong = [row for row in summary.rows if row.state == "error"]
    if not wrong:
        return
    console.print("Could not be judged", style="bold")
    for row in wrong[:MOST_LINES]:
        console.print(f"  {visible(row.entry.id, columns=48)}: {visible(row.why)}")
    _more(console, len(wrong))


def _scores(summary: ClassSummary, console: Console) -> None:
    console.print("Marks", style="bold")
    most = max(summary.bins)
    for at, number in enumerate(summary.bins):
        bar = "█" * round(BAR * number / most) or ("▏" if number else "")
        console.print(f"  {bin_name(at):>8} {number:>5} {bar}".rstrip())
    console.print()


def _bugs(summary: ClassSummary, console: Console) -> None:
    console.print("Bugs that fewest learners fixed", style="bold")
    for bug in summary.bugs[:MOST_LINES]:
        console.print(f"  {bug.fixed:>5} of {len(summary.judged)}  {bug.title}")
    _more(console, len(summary.bugs))


def _cases(summary: ClassSummary, console: Console) -> None:
    telling = [case for case in summary.cases if case.separates is not None]
    if not telling:
        return
    console.print("Cases that separated learners most", style="bold")
    for case in telling[:MOST_LINES]:
        asked = case.passed + case.failed
        console.print(f"  {case.separates:+.2f}  {case.passed} of {asked} passed  {case.title}")
    _more(console, len(telling))


def _alike(summary: ClassSummary, console: Console) -> None:
    if not summary.alike:
        return
    console.print("Nearly the same outside the starter's code", style="bold")
    for group in summary.alike[:MOST_LINES]:
        shown = ", ".join(visible(name, columns=48) for name in group.ids[:6])
        more = f" and {len(group.ids) - 6} more" if len(group.ids) > 6 else ""
        console.print(f"  {group.likeness:.0%}  {shown}{more}")
    _more(console, len(summary.alike))


def _more(console: Console, number: int) -> None:
    if number > MOST_LINES:
        console.print(f"  ... and {number - MOST_LINES} more on the page", style="dim")
    console.print()


def bin_name(at: int) -> str:
    """Return a tenth of the marks in words, e.g. `20-30%`."""
    step = 100 // BINS
    return f"{at * step}-{(at + 1) * step}%"

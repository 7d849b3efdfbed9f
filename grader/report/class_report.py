"""The report on a class: on the terminal what a teacher wants to know first, as a page and as CSV all of it.

The page is self-contained (no network, no script) and has the same bytes for the same results.  Text that learners or
course systems wrote is escaped for display, and never becomes a formula in a spreadsheet.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grader.classroom.class_summary import BINS, BugCounts, ClassSummary, SubmissionRow
from grader.ground.display import escape_for_display
from grader.ground.symbols import count
from grader.report.exports.gradebook_csv import FORMULA
from grader.report.html_report import MARKS
from grader.report.page_template import render_page

STYLES = {"passed": "green", "failed": "red", "error": "yellow"}
WORDS = {
    "passed": "passed",
    "failed": "failed",
    "error": "could not be judged",
    "interrupted": "interrupted while being graded",
    "waiting": "not begun",
}
MOST_LEARNERS, MOST_LINES = 25, 8
COLUMNS = ("learner", "number", "id", "origin", "state", "score", "max_score", "percent")
COUNTS = ("bugs_fixed", "bugs_left", "bugs_changed", "seconds", "sha256", "why", "note")
BAR = 40
SCHEMA = "kvdojo/class/v1"


def render(summary: ClassSummary, console: Console) -> None:
    """Print the report."""
    _learners(summary, console)
    _unjudged(summary, console)
    _notes(summary, console)
    if summary.judged:
        _scores(summary, console)
        _bugs(summary, console)
        _cases(summary, console)
    _alike(summary, console)
    if line := untracked(summary):
        console.print(line)
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
            escape_for_display(row.entry.id, columns=48),
            Text(WORDS[row.state], STYLES.get(row.state, "")),
            f"{row.score:g}/{row.max_score:g}" if row.judged else "-",
            still_wrong(row),
        )
    console.print(table)
    if (more := len(summary.rows) - MOST_LEARNERS) > 0:
        console.print(f"... and {more} more", style="dim")
    console.print()


def still_wrong(row: SubmissionRow) -> str:
    """Return how many bugs a file still has, or "unclear" for one that is not Python or was written anew."""
    if not row.judged or not row.tracked:
        return "-"
    return (
        "unclear"
        if not row.left and row.state == "failed" and ("unknown" in row.bugs or not any(row.bugs))
        else str(row.left)
    )


def untracked(summary: ClassSummary) -> str:
    """Say of whom nothing is told of bugs, in a line; empty where there is nobody."""
    rows = summary.untracked
    if not rows:
        return ""
    names = ", ".join(escape_for_display(row.entry.id, columns=48) for row in rows[:MOST_LINES])
    more = f" and {len(rows) - MOST_LINES} more" if len(rows) > MOST_LINES else ""
    who, told = count(len(rows), "submission"), "of its bugs" if len(rows) == 1 else "of their bugs"
    return f"{who} not in the table of variants, so nothing is told {told}: {names}{more}"


def _unjudged(summary: ClassSummary, console: Console) -> None:
    wrong = [row for row in summary.rows if row.state == "error"]
    if not wrong:
        return
    console.print("Could not be judged", style="bold")
    for row in wrong[:MOST_LINES]:
        console.print(
            f"  {escape_for_display(row.entry.id, columns=48)}: {escape_for_display(row.why)}"
        )
    _more(console, len(wrong))


def _notes(summary: ClassSummary, console: Console) -> None:
    noted = [row.entry for row in summary.rows if row.entry.note]
    if not noted:
        return
    console.print("To know", style="bold")
    for entry in noted[:MOST_LINES]:
        console.print(
            f"  {escape_for_display(entry.id, columns=48)}: {escape_for_display(entry.note)}"
        )
    _more(console, len(noted))


def _scores(summary: ClassSummary, console: Console) -> None:
    console.print("Marks", style="bold")
    most = max(summary.bins)
    for at, number in enumerate(summary.bins):
        bar = "█" * round(BAR * number / most) or ("▏" if number else "")
        console.print(f"  {bin_name(at):>8} {number:>5} {bar}".rstrip())
    console.print()


def _bugs(summary: ClassSummary, console: Console) -> None:
    console.print("Bugs that fewest learners fixed, and how hard that makes them", style="bold")
    for bug in summary.bugs[:MOST_LINES]:
        hard = f"{difficulty(bug)}  " if any(line.difficulty for line in summary.bugs) else ""
        console.print(f"  {bug.fixed:>5} of {bug.planted}  {hard}{bug.title}")
    _more(console, len(summary.bugs))


def difficulty(bug: BugCounts) -> str:
    """Return the estimate with half its interval, e.g. `1620 ± 140`; blanks where there is none."""
    if bug.difficulty is None:
        return " " * 10
    half = (bug.difficulty.high - bug.difficulty.low) / 2
    return f"{bug.difficulty.points:4.0f} ± {half:3.0f}"


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
        shown = ", ".join(escape_for_display(name, columns=48) for name in group.ids[:6])
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


def class_page(summary: ClassSummary, level: str | None = None) -> str:
    """Return the page; text that learners wrote goes through `escape_for_display` and is escaped.

    `level` is that of the learners' pages in the folder `pages` beside it, None where there are none.
    """
    finished = {row.entry.id for row in summary.rows if row.judged or row.state == "error"}
    return render_page(
        "class.html.j2",
        summary=summary,
        challenge=summary.challenge,
        judged=summary.judged,
        pages=finished if level is not None else set(),
        level=level,
        untracked=untracked(summary),
        words=WORDS,
        still_wrong=still_wrong,
        marks={**MARKS, "interrupted": "–", "waiting": "–"},
        bins=[(bin_name(at), number) for at, number in enumerate(summary.bins)],
        most=max(summary.bins, default=0),
        known={row.entry.id: row.entry for row in summary.rows},
        wrong=[row for row in summary.rows if row.state == "error"],
        noted=[row.entry for row in summary.rows if row.entry.note],
        telling=[case for case in summary.cases if case.separates is not None],
        untold=sum(case.separates is None for case in summary.cases),
    )


def class_document(summary: ClassSummary) -> dict[str, Any]:
    """Return the document `kvdojo/class/v1`: counts and estimates; what each file did stands in its own document."""
    return {
        "schema": SCHEMA,
        "challenge": summary.challenge.id,
        "counts": {state: summary.counts.get(state, 0) for state in WORDS},
        "median": summary.median,
        "submissions": [
            {
                "id": row.entry.id,
                "learner": row.entry.learner,
                "number": row.entry.number,
                "state": row.state,
                "score": row.score if row.judged else None,
                "max_score": row.max_score if row.judged else None,
                **_variant(summary, row),
            }
            for row in summary.rows
        ],
        "bugs": [asdict(bug) for bug in summary.bugs],
        "cases": [asdict(case) for case in summary.cases],
        "alike": [asdict(group) for group in summary.alike],
    }


def _variant(summary: ClassSummary, row: SubmissionRow) -> dict[str, Any]:
    """Return what a learner's file began with, and what became of it; nothing where all began with the same."""
    if summary.variants is None:
        return {}
    variant = summary.variants.learners.get(row.entry.id)
    if variant is None:
        return {"variant": None}
    states = dict(zip(summary.challenge.bugs, row.bugs, strict=False))
    planted = {name: states.get(name) or None for name in variant.bugs}
    return {
        "variant": {
            "fresh": variant.fresh,
            "bugs": variant.count,
            "level": variant.level,
            "planted": planted,
            "decoys": list(variant.decoys),
        }
    }


def class_csv(summary: ClassSummary) -> str:
    """Return the CSV: a row per submission with each case's outcome.

    A byte order mark tells spreadsheets that it is UTF-8.
    """
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow([*COLUMNS, *COUNTS, *summary.challenge.cases])
    usual = {line.id for line in summary.bugs}
    for row in summary.rows:
        writer.writerow([*_who(row), *_counts(summary, row, usual), *row.cases])
    return "\ufeff" + stream.getvalue()


def _who(row: SubmissionRow) -> list[str | float]:
    entry = row.entry
    who = [_safe(text) for text in (entry.learner, entry.number, entry.id, entry.origin)]
    marks: list[str | float] = ["", "", ""]
    if row.judged:
        marks = [row.score, row.max_score, round(100 * row.share, 1)]
    return [*who, row.state, *marks]


def _counts(summary: ClassSummary, row: SubmissionRow, usual: set[str]) -> list[str | float]:
    met = zip(summary.challenge.bugs, row.bugs, strict=False)
    fixed = sum(state == "fixed" for bug, state in met if bug in usual)
    left, changed = row.bugs.count("present"), row.bugs.count("changed")
    return [
        fixed,
        left,
        changed,
        row.seconds,
        row.entry.sha256,
        _safe(row.why),
        _safe(row.entry.note),
    ]


def _safe(text: str) -> str:
    shown = escape_for_display(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown

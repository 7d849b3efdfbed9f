"""CSV of a class: one row per submission, with each case's outcome; no marks where there is no verdict.

Text that learners or course systems wrote is made visible, and never becomes a formula.
"""

from __future__ import annotations

import csv
import io

from grader.classroom.class_summary import ClassSummary, SubmissionRow
from grader.report.exports.table import FORMULA
from grader.report.visible import visible

COLUMNS = ("learner", "number", "id", "origin", "state", "score", "max_score", "percent")
COUNTS = ("bugs_fixed", "bugs_left", "bugs_changed", "seconds", "sha256", "why")


def class_csv(summary: ClassSummary) -> str:
    """Return the table; a byte order mark tells spreadsheets that it is UTF-8."""
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
    return [fixed, left, changed, row.seconds, row.entry.sha256, _safe(row.why)]


def _safe(text: str) -> str:
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown

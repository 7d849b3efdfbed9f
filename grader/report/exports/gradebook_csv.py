"""CSV for a gradebook or a spreadsheet: one row per file, no score where there is no verdict.

A cell that a spreadsheet would take for a formula is shown as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from grader.report.exports.export_phrases import counts, name
from grader.report.exports.result_files import Graded

COLUMNS = (
    *("learner", "file", "challenge", "verdict", "score", "max_score", "percent"),
    *("passed", "failed", "skipped", "not_judged"),
    *("bugs_left", "bugs_changed", "bugs", "changed", "seconds", "sha256"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def render(graded: Iterable[Graded]) -> str:
    """Return the table of all files."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for one in graded:
        writer.writerow([_safe(cell) if isinstance(cell, str) else cell for cell in _row(one)])
    return stream.getvalue()


def _row(one: Graded) -> list[str | float | None]:
    found = counts(one)
    score = (one.score, one.max_score, round(100 * one.share, 1)) if one.judged else (None,) * 3
    return [
        *(name(one.name), name(one.file), name(one.challenge), one.verdict, *score),
        *(found["passed"], found["failed"], found["skipped"], found["error"]),
        *(one.left, one.changed, _ids(one, "present"), _ids(one, "changed")),
        *(one.seconds, one.sha256),
    ]


def _ids(one: Graded, status: str) -> str:
    return " ".join(name(bug.id) for bug in one.bugs if bug.status == status)


def _safe(text: str) -> str:
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text

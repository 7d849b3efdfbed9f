"""CSV for a gradebook or a spreadsheet: one row per file, no score where there is no verdict.

A cell that a spreadsheet would take for a formula is shown as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from grader.report.exports.export_phrases import counts, name
from grader.report.exports.result_files import Exported

COLUMNS = (
    *("learner", "file", "challenge", "verdict", "score", "max_score", "percent"),
    *("passed", "failed", "skipped", "not_judged"),
    *("bugs_left", "bugs_changed", "bugs", "changed", "seconds", "sha256"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def render(files: Iterable[Exported]) -> str:
    """Return the table of all files."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for one in files:
        writer.writerow([_safe(cell) if isinstance(cell, str) else cell for cell in _row(one)])
    return stream.getvalue()


def _row(one: Exported) -> list[str | float | None]:
    found = counts(one.result)
    score = (
        (one.result.score, one.result.max_score, round(100 * one.result.share, 1))
        if one.result.judged
        else (None,) * 3
    )
    return [
        *(
            name(one.name),
            name(one.result.file),
            name(one.result.challenge),
            one.result.verdict,
            *score,
        ),
        *(found["passed"], found["failed"], found["skipped"], found["error"]),
        *(
            one.result.bugs_that_are("present"),
            one.result.bugs_that_are("changed"),
            _ids(one, "present"),
            _ids(one, "changed"),
        ),
        *(one.result.seconds, one.result.sha256),
    ]


def _ids(one: Exported, status: str) -> str:
    return " ".join(name(bug.id) for bug in one.result.bugs if bug.status == status)


def _safe(text: str) -> str:
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text

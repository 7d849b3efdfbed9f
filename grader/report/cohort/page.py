"""The class as one HTML page: no network, no script, the same bytes for the same results."""

from __future__ import annotations

from grader.classroom.class_summary import ClassSummary
from grader.report.cohort.console import WORDS, bin_name, still_wrong
from grader.report.html import MARKS, _environment


def class_page(summary: ClassSummary) -> str:
    """Return the page; text that learners wrote goes through `visible` and is escaped."""
    text = (
        _environment()
        .get_template("class.html.j2")
        .render(
            summary=summary,
            challenge=summary.challenge,
            judged=summary.judged,
            words=WORDS,
            still_wrong=still_wrong,
            marks={**MARKS, "interrupted": "–", "waiting": "–"},
            bins=[(bin_name(at), number) for at, number in enumerate(summary.bins)],
            most=max(summary.bins, default=0),
            known={row.entry.id: row.entry for row in summary.rows},
            wrong=[row for row in summary.rows if row.state == "error"],
            telling=[case for case in summary.cases if case.separates is not None],
            untold=sum(case.separates is None for case in summary.cases),
        )
    )
    return text + "\n"

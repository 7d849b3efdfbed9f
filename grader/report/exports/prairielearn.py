"""PrairieLearn: the external grader's `results.json`; a file that was not judged costs no attempt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grader.judge.result import CaseResult
from grader.report.exports.export_phrases import lesson, summary, title
from grader.report.exports.result_files import Exported, dump


def render(files: Iterable[Exported]) -> str:
    """Return the document of one file."""
    (one,) = files
    if not one.result.judged:
        return dump(
            {
                "gradable": False,
                "message": summary(one.result),
                "format_errors": [summary(one.result)],
            }
        )
    return dump(
        {
            "gradable": True,
            "score": round(one.result.share, 4),
            "message": summary(one.result),
            "tests": [_test(case) for case in one.result.cases],
        }
    )


def _test(case: CaseResult) -> dict[str, Any]:
    judged = case.status in ("passed", "failed")
    return {
        "name": title(case),
        "points": case.points if judged else 0,
        "max_points": case.max_points if judged else 0,
        "message": lesson(case),
    }

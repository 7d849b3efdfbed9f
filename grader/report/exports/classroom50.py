"""Classroom 50: `result.json`, `classroom50/result/v1`; whole numbers only, hyphen in `max-score`.

The runner provides owner, submission and commit in environment variables and overwrites these fields afterwards;
without a runner they hold placeholders.  The format cannot carry a result without a verdict: no document is written for
it, and the exit code is 4.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

from grader.judge.result import CaseResult
from grader.report.exports import NotJudged
from grader.report.exports.export_phrases import lesson, summary, title
from grader.report.exports.result_files import Exported, dump

NOWHERE = "about:blank"
EPOCH = "1970-01-01T00:00:00Z"


def render(files: Iterable[Exported]) -> str:
    """Return the document of one file; NotJudged when it has no verdict."""
    (one,) = files
    if not one.result.judged:
        raise NotJudged(summary(one.result))
    # rounded down: only a file that passed everything has all marks
    most = math.floor(one.full_marks)
    score = most if one.result.verdict == "passed" else math.floor(one.result.share * most)
    return dump(
        {
            "schema": "classroom50/result/v1",
            "classroom": _given("CLASSROOM", "local"),
            "assignment": _given("ASSIGNMENT", one.result.challenge),
            "assignment_type": "group" if os.environ.get("MODE") == "group" else "individual",
            "owner": _given("OWNER", one.name),
            "submission": _given("SUBMISSION_TAG", f"submit/{one.result.sha256[:12]}"),
            "commit": _given("COMMIT_URL", NOWHERE),
            "release": _given("RELEASE_URL", NOWHERE),
            "review": _given("REVIEW_URL", _given("COMMIT_URL", NOWHERE)),
            "datetime": _given("SUBMISSION_DATETIME", EPOCH),
            "score": score,
            "max-score": most,
            "tests": [_test(case) for case in one.result.cases],
        }
    )


def _given(variable: str, otherwise: str) -> str:
    return os.environ.get(variable) or otherwise


def _test(case: CaseResult) -> dict[str, Any]:
    judged = case.status in ("passed", "failed")
    return {
        "test-name": title(case),
        "passed": case.status == "passed",
        "score": math.floor(case.points) if judged else 0,
        "max-score": math.floor(case.max_points) if judged else 0,
        "status": case.status,
        "message": lesson(case),
    }

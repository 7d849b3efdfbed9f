"""Gradescope: the autograder's `results.json`.

Every test is visible, because hiding one hides a learner's total. A file that could not be judged
gets no score at all, so that Gradescope reports a failed run and records no mark.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grader.judge.result import CaseResult
from grader.report.exports.export_phrases import lesson, summary, title
from grader.report.exports.result_files import Exported, dump


def render(files: Iterable[Exported]) -> str:
    """Return the document of one file."""
    (one,) = files
    document: dict[str, Any] = {
        "execution_time": round(one.result.seconds, 3),
        "output": summary(one.result),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {
            "challenge": one.result.challenge,
            "sha256": one.result.sha256,
            "verdict": one.result.verdict,
        },
        "tests": [],
    }
    if one.result.judged:
        # it overrides the sum of the tests, so that a skipped case costs nothing
        document["score"] = round(one.result.share * one.full_marks, 2)
        document["tests"] = [_test(number, case) for number, case in enumerate(one.result.cases, 1)]
    return dump(document)


def _test(number: int, case: CaseResult) -> dict[str, Any]:
    test: dict[str, Any] = {
        "name": title(case),
        "name_format": "text",
        "number": str(number),
        "visibility": "visible",
    }
    if case.status in ("passed", "failed"):
        test |= {"score": case.points, "max_score": case.max_points, "status": case.status}
    else:
        # the format knows only passed and failed; without a status it derives one from the scores
        test |= {"score": 0, "max_score": 0}
        test["tags"] = ["skipped" if case.status == "skipped" else "not-judged"]
    if case.cause:
        test |= {"output": lesson(case), "output_format": "text"}
    return test

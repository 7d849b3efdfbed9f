"""check50: its JSON; `passed` is null where a case was skipped or could not be judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grader import __version__
from grader.ground.display import escape_for_display
from grader.judge.result import CaseResult
from grader.report.exports.export_phrases import rationale, title
from grader.report.exports.result_files import Exported, dump

PASSED = {"passed": True, "failed": False}


def render(files: Iterable[Exported]) -> str:
    """Return the document of one file."""
    (one,) = files
    return dump(
        {
            "slug": f"kvdojo/{one.result.challenge}",
            "results": [_result(case) for case in one.result.cases],
            "version": __version__,
        }
    )


def _result(case: CaseResult) -> dict[str, Any]:
    return {
        "name": case.id,
        "description": title(case),
        "passed": PASSED.get(case.status),
        "log": [],
        "cause": _cause(case),
        "data": {"points": case.points, "max_points": case.max_points},
        "dependency": None,
    }


def _cause(case: CaseResult) -> dict[str, Any] | None:
    if case.cause is None:
        return None
    text, advice = rationale(case), case.cause.advice
    cause: dict[str, Any] = {
        "rationale": text,
        "help": advice and escape_for_display(advice, columns=1000),
    }
    if case.cause.expected is not None and case.cause.actual is not None:
        cause |= {
            "expected": escape_for_display(case.cause.expected),
            "actual": escape_for_display(case.cause.actual),
        }
    if case.status == "error":
        cause["error"] = {"type": "NotJudged", "value": text, "traceback": [], "data": {}}
    return cause

"""Exercism: `results.json` of a test runner, version 3; cases stand in the order of the file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from grader.judge.result import CaseResult
from grader.report.exports.export_phrases import CRASHES, LIMITS, NOT_JUDGED, lesson, title
from grader.report.exports.result_files import Exported, dump

VERSION = 3
LONGEST = 65_535


def render(files: Iterable[Exported]) -> str:
    """Return the document of one file."""
    (one,) = files
    if not one.result.judged:
        return dump({"version": VERSION, "status": "error", "message": NOT_JUDGED, "tests": []})
    return dump(
        {
            "version": VERSION,
            "status": "pass" if one.result.verdict == "passed" else "fail",
            "message": None,
            "tests": [_test(case, one) for case in one.result.cases if not _passed_over(case, one)],
        }
    )


def _passed_over(case: CaseResult, one: Exported) -> bool:
    """A file whose other cases all pass must not show a failure for what it did not need."""
    return case.status == "skipped" and one.result.verdict == "passed"


def _test(case: CaseResult, one: Exported) -> dict[str, Any]:
    test = {"name": title(case), "status": _status(case), "test_code": _code(case, one)}
    if case.cause:
        text = lesson(case)
        test["message"] = (f"Not run: {text}" if case.status == "skipped" else text)[:LONGEST]
    return test


def _status(case: CaseResult) -> str:
    if case.status == "passed":
        return "pass"
    crashed = case.cause is not None and case.cause.kind in CRASHES | LIMITS
    return "error" if case.status == "error" or crashed else "fail"


def _code(case: CaseResult, one: Exported) -> str:
    """Return the recipe of a public case as JSON, and only the title of a hidden one."""
    known = one.content.cases.get(case.id) if one.content else None
    if known is None or case.visibility == "hidden":
        return title(case)
    return json.dumps({"setup": known.setup, "steps": known.steps}, indent=2)

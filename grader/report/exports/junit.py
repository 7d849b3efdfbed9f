"""JUnit XML: one suite per file, one test case per case; scores are properties of the suite.

Wrong answers are failures. What raised, ran out of time or could not be judged are errors, the last
of the type `Infra`. Marks stand at the suite because strict readers allow no properties elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from grader.judge.result import CaseResult
from grader.report.exports.export_phrases import (
    CRASHES,
    LIMITS,
    NOT_JUDGED,
    lesson,
    name,
    rationale,
    title,
)
from grader.report.exports.result_files import Exported


def render(files: Iterable[Exported]) -> str:
    """Return the document of all files."""
    root = ET.Element("testsuites", {"name": "kvdojo"})
    seconds = 0.0
    for one in files:
        root.append(_suite(one))
        seconds += one.result.seconds
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    root.set("time", f"{seconds:.3f}")
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(one: Exported) -> ET.Element:
    suite = ET.Element("testsuite", {"name": f"{one.result.challenge}/{name(one.name)}"})
    properties = ET.SubElement(suite, "properties")
    _property(properties, "verdict", one.result.verdict)
    if one.result.judged:
        _property(properties, "score", f"{one.result.score:g}")
        _property(properties, "max_score", f"{one.result.max_score:g}")
    _property(properties, "sha256", one.result.sha256)
    _property(properties, "isolation", " ".join(map(name, one.result.isolation)))
    for case in one.result.cases:
        _property(properties, f"points.{name(case.id)}", f"{case.points:g}/{case.max_points:g}")
        suite.append(_case(case, one))
    if not one.result.judged and not suite.findall("testcase/error"):
        unjudged = ET.SubElement(
            suite, "testcase", {"name": "grading", "classname": one.result.challenge}
        )
        ET.SubElement(unjudged, "error", {"type": "Infra", "message": NOT_JUDGED})
    suite.set("tests", str(len(suite.findall("testcase"))))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("time", f"{one.result.seconds:.3f}")
    suite.set("file", name(one.result.file))
    return suite


def _property(properties: ET.Element, key: str, value: str) -> None:
    ET.SubElement(properties, "property", {"name": key, "value": value})


def _case(case: CaseResult, one: Exported) -> ET.Element:
    element = ET.Element(
        "testcase",
        {"name": title(case), "classname": f"{one.result.challenge}.{name(case.id)}"},
    )
    element.set("time", f"{case.seconds:.4f}")
    if case.cause:
        tag, kind = _fault(case)
        found = ET.SubElement(element, tag, {"type": kind, "message": rationale(case)})
        found.text = lesson(case)
    return element


def _fault(case: CaseResult) -> tuple[str, str]:
    kind = (case.cause.kind if case.cause else None) or "wrong_value"
    if case.status == "skipped":
        return "skipped", "skipped"
    if case.status == "error":
        return "error", "Infra"
    if kind in LIMITS:
        return "error", "Timeout" if kind == "timeout" else "Memory"
    return ("error" if kind in CRASHES else "failure"), kind

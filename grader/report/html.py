"""The result of a grading as one HTML page: no network, no script, the same bytes for the same input.

Times are left out for that reason.  As on the terminal, bugs that are still there are counted and never named,
and all text that may come from a submission goes through `visible` and is escaped.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from grader.content import Challenge
from grader.judge.result import CaseResult, Cause, Result, veiled
from grader.report.visible import visible, visible_lines
from grader.report.words import by_use, place

MAX_DIFF = 6000  # lines of a submission that are compared with the starter
MARKS = {"passed": "✓", "failed": "✗", "error": "!", "skipped": "–"}


@dataclass(frozen=True)
class Row:
    """A case and its cause as the page shows them."""

    case: CaseResult
    cause: Cause | None
    place: str


@dataclass(frozen=True)
class Link:
    """One line of an index: where a page is and what it says."""

    href: str
    title: str
    file: str
    result: Result


def result_page(challenge: Challenge, result: Result, source: str) -> str:
    """Return the page for one graded file; `source` is its text."""
    fixed = [challenge.bugs[bug.id] for bug in result.bugs if bug.status == "fixed"]
    planted = set(challenge.presets["default"].bugs) if _is_ours(result) else set()
    counts: Mapping[str, int] = {
        state: sum(bug.status == state for bug in result.bugs)
        for state in ("present", "changed", "unknown", "fixed")
    }
    text = (
        _environment()
        .get_template("result.html.j2")
        .render(
            challenge=challenge,
            result=result,
            failed=[_row(case) for case in by_use(result.cases)],
            others=[_row(case) for case in result.cases if case.status in ("passed", "skipped")],
            marks=MARKS,
            counts=counts,
            fixed=[bug for bug in fixed if bug.id in planted],
            diff=_highlight(_diff(challenge, source)),
            log=visible_lines(result.log) if result.log else [],
        )
    )
    return text + "\n"


def index_page(links: list[Link]) -> str:
    """Return a page that leads to the others."""
    return _environment().get_template("index.html.j2").render(links=links, marks=MARKS) + "\n"


def _row(case: CaseResult) -> Row:
    cause = veiled(case) if case.cause else None
    return Row(case, cause, place(cause.where) if cause and cause.where else "")


def _is_ours(result: Result) -> bool:
    """Whether the file came from a starter: some of the starter's bugs are in it still, or were."""
    return any(bug.status in ("present", "changed") for bug in result.bugs)


def _diff(challenge: Challenge, source: str) -> str:
    starter = challenge.starter.read_text("utf-8")
    lines = difflib.unified_diff(
        starter.splitlines(),
        visible_lines(source, lines=MAX_DIFF),
        "starter",
        "submission",
        lineterm="",
        n=3,
    )
    return "\n".join(lines)


def _highlight(diff: str) -> Markup:
    """Mark added and removed lines by class; pygments escapes the text."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import DiffLexer

    if not diff:
        return Markup("")
    body: str = highlight(diff, DiffLexer(), HtmlFormatter(nowrap=True))
    return Markup(re.sub(r"\n+\Z", "", body))


@lru_cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("grader", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["visible"] = visible
    return made

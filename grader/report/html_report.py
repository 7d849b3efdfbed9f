"""The result of a grading as one HTML page: no network, no script, the same bytes for the same input.

Times are left out for that reason.  As on the terminal, bugs that are still there are counted and never named, and all
text that may come from a submission is made harmless and escaped.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from grader.content import Challenge
from grader.diagnose.trace_model import Trace
from grader.ground.display import escape_lines
from grader.judge.bug_status import needless
from grader.judge.focus import NO_FOCUS, Focus
from grader.judge.result import CaseResult, Cause, Result, most_informative_first, redacted
from grader.judge.telling import CAUSE, PLACE, SYMPTOM, is_told, tells, told
from grader.report.figures import Figures, figures_of
from grader.report.page_template import render_page
from grader.report.phrases import place

MAX_DIFF = 6000  # lines of a submission that are compared with the starter
MARKS = {"passed": "✓", "failed": "✗", "error": "!", "skipped": "–"}


@dataclass(frozen=True)
class Row:
    """A case and its cause as the page shows them: of a hidden case only what `redacted` leaves.

    `place` is where the wrong answer was found, and `help` are lines on what to look at; `figures` are drawn where the
    case was traced.
    """

    case: CaseResult
    cause: Cause | None
    place: str
    help: list[str]
    figures: Figures | None = None
    also: list[CaseResult] = field(default_factory=list)  # cases with the very same cause


@dataclass(frozen=True)
class Link:
    """One line of an index: where a page lies, and the result it shows."""

    href: str
    title: str
    file: str
    result: Result


def result_page(
    challenge: Challenge,
    result: Result,
    source: str | None,
    *,
    level: str = CAUSE,
    focus: Focus | None = None,
    traces: Mapping[str, Trace] = MappingProxyType({}),
    planted: Collection[str] | None = None,
    decoys: Collection[str] = (),
    starter: str | None = None,
    learner: str = "",
) -> str:
    """Return the page for one graded file, as far as the level tells it; the focus comes first.

    `source` is its text, None where none could be read, and `learner` whose it is, where that is to be said.

    `traces` are those of failed cases by id.  `planted` and `decoys` are what the file came with and `starter` the text
    it began as, where they are known.  Where they are not, the file is compared with the default starter, and of that
    starter's bugs those that are fixed are explained, if the file has some bug still.
    """
    result, focus = told(result, level, challenge), focus or NO_FOCUS
    if not tells(level, PLACE):
        traces = {}
    if not result.bugs:
        planted = None  # whatever it came with, it was written anew (`bug_detection.descends`)
    known = planted is not None
    if planted is None:
        planted = challenge.presets["default"].bugs if _has_known_bugs(result) else ()
    fixed = [challenge.bugs[b.id] for b in result.bugs if b.status == "fixed" and b.id in planted]
    mended = len(fixed)
    if not tells(level, SYMPTOM):
        fixed = []  # counts only
    states = ("present", "changed", "unknown", "fixed")
    counts: dict[str, int | None] = {
        state: sum(bug.status == state for bug in result.bugs) for state in states
    }
    counts |= {"planted": len(planted), "fixed_planted": mended if known else None}
    wrong = sorted(most_informative_first(result.cases), key=lambda case: case.id != focus.case)
    counted = [case for case in wrong if not is_told(case, level)]
    wrong = [case for case in wrong if is_told(case, level)]
    failed = _merged([_row(case, traces.get(case.id)) for case in wrong])
    if (drawn := result.random.case) is not None:
        failed.insert(0, _random_row(drawn, result.random.smallest or {}))
    first = next((row.figures.sentence for row in failed if row.figures), None)
    return render_page(
        "result.html.j2",
        challenge=challenge,
        result=result,
        failed=failed,
        drawn=sum(row.figures is not None for row in failed),
        maps=any(row.figures and row.figures.maps for row in failed),
        wrong=len(wrong) + (drawn is not None),
        counted=len(counted),
        verdict_only=not tells(level, SYMPTOM),
        divergence=first,
        others=[_row(case) for case in result.cases if case.status in ("passed", "skipped")]
        if tells(level, SYMPTOM)
        else [],
        marks=MARKS,
        tally={state: sum(c.status == state for c in result.cases) for state in MARKS},
        counts=counts,
        evidence=[b.evidence for b in result.bugs if b.status == "changed" and b.evidence],
        needless=[decoy.title for decoy in needless(result.decoys, decoys)],
        fixed=fixed,
        learner=learner,
        diff=_highlight(_diff(starter or challenge.starter.read_text("utf-8"), source))
        if source is not None
        else "",
        log=escape_lines(result.log) if result.log else [],
    )


def index_page(links: list[Link]) -> str:
    """Return a page that leads to the others."""
    return render_page("index.html.j2", links=links, marks=MARKS)


def _row(case: CaseResult, trace: Trace | None = None) -> Row:
    cause = redacted(case) if case.cause else None
    figures = figures_of(trace) if trace and case.visibility == "public" else None
    where = place(cause.where) if cause and cause.where else ""
    return Row(case, cause, where, _help(cause, figures), figures)


def _random_row(case: CaseResult, document: Mapping[str, Any]) -> Row:
    """Return the random scenario that failed, with its setup and steps, which are what `case add` takes."""
    said = [
        f"{name} {json.dumps(document[name])}"
        for name in ("setup", "dtype", "seed")
        if name in document
    ]
    row = _row(case)
    return replace(row, help=[*row.help, *said, *map(json.dumps, document.get("steps", ()))])


def _help(cause: Cause | None, figures: Figures | None) -> list[str]:
    """Return what to look at; the first difference is left to the figures where there are some."""
    if cause and figures and figures.sentence:
        cause = replace(cause, divergence=None, manner=None)
    return escape_lines(cause.advice) if cause and cause.advice else []


def _merged(rows: list[Row]) -> list[Row]:
    """Tell a cause that several cases share once: a file that cannot be loaded fails all of them alike."""
    first: dict[Cause | None, Row] = {}
    kept: list[Row] = []
    for row in rows:
        if row.figures is None and row.cause in first:
            first[row.cause].also.append(row.case)
            continue
        kept.append(row)
        if row.figures is None:
            first[row.cause] = row
    return kept


def _has_known_bugs(result: Result) -> bool:
    """Whether some known bug is in the file as it was planted, or edited; a copy of the reference has none."""
    return any(bug.status in ("present", "changed") for bug in result.bugs)


def _diff(starter: str, source: str) -> str:
    lines = difflib.unified_diff(
        starter.splitlines(),
        escape_lines(source, lines=MAX_DIFF),
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

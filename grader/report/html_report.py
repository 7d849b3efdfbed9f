"""The result of a grading as one HTML page: no network, no script, the same bytes for the same input.

The first screen shows how far the file is and what fails first, in a sentence and a picture; of a file that passed, the
stories of its bugs.  Times are left out, so that equal results are equal pages.  As on the terminal, bugs that are
still there are counted and never named, and all text that may come from a submission is made harmless and escaped.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from grader.classroom.class_summary import usual_bugs
from grader.content import Challenge
from grader.content.entries import CAUSE, SYMPTOM, tells
from grader.diagnose.trace_model import Trace
from grader.ground.display import escape_lines
from grader.ground.invocation import SCRIPT
from grader.judge.bug_status import needless
from grader.judge.focus import NO_FOCUS, Focus, shown_first, told_cases
from grader.judge.result import CaseResult, Cause, Result, most_informative_first, redacted
from grader.judge.telling import at_most, counted_as, names_units, told
from grader.report.figures import Figures, figures_of
from grader.report.page_template import render_page
from grader.report.phrases import place
from grader.report.stories import Success, stories

MAX_DIFF = 6000  # lines of a submission that are compared with the starter
OPEN_DIFF = 60  # lines of a difference that are shown at once; of more it is told how many
FEW = 6  # cases with one cause that are named in its text; of more the names are folded away
AT_ONCE = 5  # failed cases beside the first one that are listed; the others are folded away
MARKS = {"passed": "✓", "failed": "✗", "error": "!", "skipped": "–"}


@dataclass(frozen=True)
class Row:
    """A case and its cause as the page shows them: of a hidden case only what `redacted` leaves.

    `place` is where the wrong answer was found, and `help` are lines on what to look at; `figures` are drawn where the
    case was traced.  `command` runs the case alone, empty where it cannot be named.
    """

    case: CaseResult
    cause: Cause | None
    place: str
    help: list[str]
    figures: Figures | None = None
    command: str = ""
    also: list[CaseResult] = field(default_factory=list)  # cases with the very same cause


@dataclass(frozen=True)
class Skipped:
    """Cases that were skipped for one reason."""

    reason: str
    cases: list[CaseResult]


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
    command: str = "",
    index: str = "",
    success: Success | None = None,
) -> str:
    """Return the page for one graded file, as far as the level tells it; the focus comes first.

    `source` is its text, None where none could be read, and `learner` whose it is, where that is to be said.
    `command` grades the file, and `index` is the address of the page that leads here, empty where there is none.
    `success` says what an attempt that is done took, and what to try next.

    `traces` are those of failed cases by id.  `planted` and `decoys` are what the file came with and `starter` the text
    it began as, where they are known.  Where they are not, the file is compared with the default starter if it surely
    began so, and of that starter's bugs those that are fixed are explained, if the file has some bug still.
    """
    result, focus = told(result, level, challenge), focus or NO_FOCUS
    command = command or f"{SCRIPT} grade {challenge.id} {shlex.quote(result.file)}"
    if not result.bugs:
        planted = None  # whatever it came with, it was written anew (`bug_detection.descends`)
    known = planted is not None
    if planted is None:
        planted = challenge.presets["default"].bugs if _has_known_bugs(result) else ()
    fixed = [b.id for b in result.bugs if b.status == "fixed" and b.id in planted]
    compared = ""  # where lines are shown beside those of the reference
    if source is not None and result.verdict == "passed" and source.count("\n") <= MAX_DIFF:
        compared = source
    failed, counted = _failures(result, level, focus, command, traces)
    diff = ""
    if source is not None and (starter or tells(level, CAUSE) or began_as_usual(challenge, result)):
        diff = _diff(starter or challenge.starter.read_text("utf-8"), source)
    return render_page(
        "result.html.j2",
        challenge=challenge,
        result=result,
        index=index,
        learner=learner,
        marks=MARKS,
        tally={state: sum(c.status == state for c in result.cases) for state in MARKS},
        dots=_dots(result, planted) if known else [],
        mended=len(fixed),
        left=result.bugs_that_are("present"),
        changed=result.bugs_that_are("changed"),
        evidence=[b.evidence for b in result.bugs if b.status == "changed" and b.evidence],
        needless=[decoy.title for decoy in needless(result.decoys, decoys)],
        lead=failed[0] if failed else None,
        lead_map=next(iter(failed[0].figures.maps), None) if failed and failed[0].figures else None,
        failed=failed,
        at_once=AT_ONCE,
        few=FEW,
        maps=any(row.figures and row.figures.maps for row in failed),
        counted=len(counted),
        counted_as=counted_as(counted, level),
        **_not_failed(result, level),
        stories=stories(challenge, tuple(planted), fixed, compared, decoys=decoys)
        if tells(level, SYMPTOM)
        else (),
        compared=bool(compared),
        families={name: challenge.bugs[name].family for name in fixed},
        success=success if result.verdict == "passed" else None,
        program=command.split(" grade ")[0],
        open_diff=OPEN_DIFF,
        diff=_highlight(diff),
        log=escape_lines(result.log) if result.log else [],
    )


def began_as_usual(challenge: Challenge, result: Result) -> bool:
    """Whether a file of which that is not known surely began as the default starter.

    Some of that starter's bugs are left and none of another, or it passed.  The lines in which another variant differs
    from the default starter are those of its bugs, so it must not be compared with that.
    """
    usual = usual_bugs(challenge)
    left = {bug.id for bug in result.bugs if bug.status in ("present", "changed")}
    return left <= set(usual) if left else result.verdict == "passed"


def _failures(
    result: Result, level: str, focus: Focus, command: str, traces: Mapping[str, Trace]
) -> tuple[list[Row], list[CaseResult]]:
    """Return the cases that did not pass, that of the focus first, and those that are only counted."""
    wrong = most_informative_first(result.cases)
    shown = told_cases(wrong, level, focus)
    # a unit case that goes by number, told since it ends as a scenario does, says less than that
    numbered = {case.id for case in shown if case.kind == "unit" and not names_units(level)}
    first = shown_first(shown, focus) if shown else None
    shown.sort(key=lambda case: (case is not first, case.id in numbered))
    # where the run of another case goes wrong would tell of another bug than the one in focus
    others = level if tells(level, CAUSE) or focus.case is None else at_most(level, SYMPTOM)
    rows = []
    for case in shown:
        of_case = level if case.id == focus.case else others
        trace = traces.get(case.id) if tells(level, SYMPTOM) else None
        rows.append(_row(case, command, of_case, trace))
    rows = _merged(rows)
    if (drawn := result.random.case) is not None:
        rows.insert(0, _random_row(drawn, result.random.smallest or {}, level))
    return rows, [case for case in wrong if case not in shown]


def _row(case: CaseResult, command: str, level: str, trace: Trace | None = None) -> Row:
    cause = redacted(case) if case.cause else None
    found = cause.where if cause else None
    public = case.visibility == "public"
    figures = figures_of(trace, level, found) if trace and public else None
    named = public and (case.kind != "unit" or names_units(level)) and command
    alone = f"{command} --case {shlex.quote(case.id)}" if named else ""
    return Row(
        case, cause, place(found) if found else "", _help(cause, figures), figures, command=alone
    )


def _random_row(case: CaseResult, document: Mapping[str, Any], level: str) -> Row:
    """Return the random scenario that failed, with its setup and steps, which are what `case add` takes."""
    said = [
        f"{name} {json.dumps(document[name])}"
        for name in ("setup", "dtype", "seed")
        if name in document
    ]
    row = _row(case, "", level)
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


def _not_failed(result: Result, level: str) -> dict[str, Any]:
    """Return the cases that passed, those of them that go by number, and those that were skipped, by reason."""
    if not tells(level, SYMPTOM):
        return {"passed": [], "unnamed": 0, "skipped": []}
    passed = [case for case in result.cases if case.status == "passed"]
    named = [case for case in passed if case.kind != "unit" or names_units(level)]
    skipped: dict[str, list[CaseResult]] = {}
    for case in result.cases:
        if case.status == "skipped":
            reason = redacted(case).rationale.removeprefix("Skipped: ")
            skipped.setdefault(reason, []).append(case)
    return {
        "passed": named,
        "unnamed": len(passed) - len(named),
        "skipped": [Skipped(reason, cases) for reason, cases in skipped.items()],
    }


def _dots(result: Result, planted: Collection[str]) -> list[str]:
    """Return the states of the planted bugs, sorted, for whichever is still there is not told."""
    order = ("fixed", "changed", "unknown", "present")
    return sorted((b.status for b in result.bugs if b.id in planted), key=order.index)


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

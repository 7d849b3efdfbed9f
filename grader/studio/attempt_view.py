"""The state of an attempt as a piece of a page: what the terminal's watch shows, in HTML.

All that is shown is what `judge/telling.py` left of the result; nothing more is known here, so no more can be told.
Text that may come from a submission goes through the templates' filters, which escape it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from grader.content import Challenge
from grader.content.entries import SYMPTOM, tells
from grader.ground.display import escape_lines
from grader.ground.symbols import UNICODE, count
from grader.judge.result import CaseResult, Result, redacted
from grader.learner import watch_events as events
from grader.learner.watch_options import WatchOptions
from grader.learner.watch_screen import summary_line
from grader.learner.watch_view import WatchView
from grader.report.bug_status_lines import bug_lines
from grader.report.page_template import render_page
from grader.report.phrases import place
from grader.report.stories import Story, Success, stories

LOG_LINES = 20
MORE = "More"  # the title of an answer that is a rung of the ladder


@dataclass
class Told:
    """What the page knows beside the view: rungs of the ladder by bug, and the bytes on the disk."""

    digest: str | None = None
    rungs: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    ended: str = ""
    answers: int = 0

    def take(self, view: WatchView, event: events.WatchEvent) -> None:
        """Keep a rung that was told, for as long as its bug is spoken of."""
        if isinstance(event, events.AnswerReady):
            self.answers += 1
        if isinstance(event, events.AnswerReady) and event.title == MORE and view.focus.bug:
            told = self.rungs.setdefault(view.focus.bug, [])
            if event.lines not in told:
                told.append(event.lines)


@dataclass(frozen=True)
class Row:
    """A line about a case: its name, and text of one or more lines."""

    name: str
    lines: list[str]


@dataclass(frozen=True)
class Next:
    """Something to try next, as a button: its text, where it leads, and the fields of the form that begins it.

    Without fields it is a link.
    """

    text: str
    to: str
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ShownCase:
    """A failing case: its title and id, the promise it tests, what is wrong, more in rows, and the line that raised."""

    title: str
    id: str
    why: str
    wrong: list[str]
    rows: list[Row]
    line: int | None


START = (("preset", "default"),)
FIRST_TIME = "grading; the first time takes longer, for PyTorch is loaded first"


def state_fragment(view: WatchView, options: WatchOptions, told: Told, number: int) -> str:
    """Return the piece of the page that shows the state; `number` tells one state from the next."""
    return render_page("studio/state.html.j2", **_values(view, options, told, number))


def _values(view: WatchView, options: WatchOptions, told: Told, number: int) -> dict[str, Any]:
    challenge, result = options.challenge, view.result
    judged = [case for case in result.cases if case.status != "skipped"] if result else []
    planted = view.planted if result is None or result.bugs else None
    fixed = _fixed(result, planted)
    passed = result is not None and result.verdict == "passed"
    levels = {bug.id: bug.difficulty for bug in challenge.bugs.values()}
    rungs = told.rungs.get(view.focus.bug or "", [])
    return {
        "number": number,
        "digest": told.digest,
        "ended": told.ended,
        "result": result,
        "stale": bool(view.busy or view.trouble),
        "busy": view.busy,
        "trouble": view.trouble,
        "doing": _doing(view),
        "broken_line": view.trouble_line,
        "summary": summary_line(result, view.planted, UNICODE.dash) if result else "",
        "cases_passed": sum(case.status == "passed" for case in judged),
        "cases": len(judged),
        "planted": len(planted or ()),
        "fixed": len(fixed),
        "bug_lines": bug_lines(result.bugs, view.planted, levels, UNICODE) if result else [],
        "moved": view.moved,
        "question": view.question if not view.busy else None,
        "case": _shown_case(view),
        "at": view.at + 1,
        "failed": len(view.failed),
        "counted": count(view.counted, view.counted_as) if view.counted else "",
        "rungs": rungs,
        "panel": view.panel if view.panel and view.panel[0] == MORE and not rungs else None,
        "reply": view.panel[1] if view.panel and view.panel[0] == "Question" else (),
        "looking": view.panel is not None and view.panel[1] == ("looking ...",),
        "may_more": options.more is not None,
        "has_focus": view.focus.bug is not None,
        "notices": result.notices if result else (),
        "log": escape_lines(result.log, lines=LOG_LINES)
        if result is not None and result.log.strip()
        else [],
        "drawn": result.random.run if result else 0,
        "success": view.success if passed else None,
        "next": _next(view.success) if passed and view.success else [],
        "fixed_bugs": _stories(challenge, view, fixed) if tells(view.level, SYMPTOM) else (),
        "file": options.path.name,
        "base": f"/attempt/{challenge.id}",
        # what the steps belong to: they are others after a grading, and may hold more after a rung of help
        "steps": f"{view.saves}-{told.answers}" if view.focus.case else "",
    }


def _fixed(result: Result | None, planted: tuple[str, ...] | None) -> list[str]:
    """Return the ids of planted bugs that are fixed."""
    if result is None or planted is None:
        return []
    return [bug.id for bug in result.bugs if bug.status == "fixed" and bug.id in planted]


def _stories(challenge: Challenge, view: WatchView, fixed: list[str]) -> tuple[Story, ...]:
    text = view.source.decode("utf-8", "replace")
    return stories(challenge, view.planted or (), fixed, text) if fixed else ()


def _next(success: Success) -> list[Next]:
    """Return what the end of an attempt suggests, by the words of its commands (`Suggestion`)."""
    found = []
    for one in success.suggestions:
        match one.words:
            case ("start", name, *options):
                pairs = zip(options[::2], options[1::2], strict=True)
                fields = tuple((option.removeprefix("--"), value) for option, value in pairs)
                found.append(
                    Next(f"{name}, {one.why}", f"/challenge/{name}/start", fields or START)
                )
            case ("grade", name):
                found.append(Next(f"{name}, {one.why}", f"/attempt/{name}"))
            case ("use", name, _):
                found.append(Next(f"{name}, {one.why}", f"/challenge/{name}"))
            case _:
                continue  # an exercise of the day is begun in the terminal
    return found


def _doing(view: WatchView) -> str:
    """Say in a line what goes on."""
    if view.trouble is not None:
        return f"{view.trouble}; waiting for the next save"
    if view.busy is not None:
        done, total = view.busy
        if total:
            return f"grading {done} of {total} cases"
        return "grading" if view.result else FIRST_TIME
    if view.result is None:
        return "starting"
    return f"graded {count(view.saves, 'time')}, the last in {view.seconds:.2f} s"


def _shown_case(view: WatchView) -> ShownCase | None:
    """Return the case to show: the one the view is at, else the random scenario that failed."""
    if view.case is not None:
        return _of_case(view.case)
    if view.result is None or view.result.random.case is None:
        return None
    return _of_case(view.result.random.case)


def _of_case(case: CaseResult) -> ShownCase:
    if case.visibility != "public":
        wrong = ["A hidden case: its details are not shown."]
        return ShownCase(case.title, case.id, "", wrong, [], None)
    cause = redacted(case)
    rows = [Row(name, escape_lines(text, lines=12)) for name, text in _details(case) if text]
    return ShownCase(
        *(case.title, case.id, case.why, escape_lines(cause.rationale), rows, cause.line)
    )


def _details(case: CaseResult) -> Iterator[tuple[str, str | None]]:
    """Yield what is known of a cause by name; what was not told is empty."""
    cause = redacted(case)
    yield "where", place(cause.where)
    yield "raised at", cause.raised_at
    yield "expected", cause.expected
    yield "got", cause.actual
    yield "inside", cause.divergence
    pattern = None if cause.looks_like else cause.help
    yield "pattern", "\n".join(text for text in (pattern, cause.manner) if text)
    yield "looks like", cause.looks_like

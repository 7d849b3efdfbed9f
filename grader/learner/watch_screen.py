"""The one screen of a watch: the verdict, what the last save changed, one failed case, the keys.

All text that may come from a submission goes through `escape_for_display`; where lines do not fit, the screen says how
many are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from grader.ground.display import escape_for_display, escape_lines
from grader.ground.symbols import PLAIN, UNICODE, Symbols, count
from grader.judge.result import Result
from grader.learner.watch_view import WatchView
from grader.report.case_details import STYLES, details, heading, line
from grader.report.stories import Success
from grader.report.success_lines import story_lines, suggestion_lines, what_it_took

BAR = 30
LOG_LINES = 5
KEYS = (
    ("n", "next case"), ("m", "more"), ("h", "hint"), ("t", "trace"), ("p", "suspect"), ("r", "again"), ("q", "quit"),
)  # fmt: skip


@dataclass(frozen=True)
class WatchScreen:
    """A view as a rich renderable that fills the window exactly, the keys on its last line, but for those `without`."""

    view: WatchView
    challenge: str
    without: frozenset[str] = frozenset()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = PLAIN if options.ascii_only else UNICODE
        height = options.height or console.height
        loose = options.update(height=None)
        top = console.render_lines(Group(*self._top(marks)), loose, pad=False)
        keys = console.render_lines(_keys(self.without), loose, pad=False)
        room = max(0, height - len(top) - len(keys))
        parts = Group(*self._body(marks, room, console.width))
        body = console.render_lines(parts, loose, pad=False)
        if len(body) > room:
            more = Text(f"... {len(body) - room + 1} more lines: make the window taller", "dim")
            body = body[: max(0, room - 1)] + console.render_lines(more, loose, pad=False)[:room]
        body += [[]] * (room - len(body))
        lines = [*top, *body, *keys][:height]
        for number, segments in enumerate(lines):
            yield from segments
            if number + 1 < len(lines):
                yield Segment.line()

    def _top(self, marks: Symbols) -> Iterator[RenderableType]:
        view = self.view
        yield _cut(
            ("kvdojo watch", "bold"),
            f" {marks.dash} {self.challenge} {marks.dash} ",
            escape_for_display(view.file),
        )
        if view.result is not None:
            stale = bool(view.busy or view.trouble)
            yield _verdict(view.result, marks, stale=stale)
            yield Text(summary_line(view.result, view.planted, marks.dash), "dim" if stale else "")
        yield _doing(view)

    def _body(self, marks: Symbols, room: int, width: int) -> Iterator[RenderableType]:
        view = self.view
        for text in view.moved:
            yield line(escape_for_display(text), 2, "bold" if text.startswith("fixed") else "")
        if view.question is not None and not view.asking:
            yield line("w asks one question about it, never a mark", 2, "dim")
        yield Text("")
        if view.question is not None and view.asking:
            yield Text(view.question.text, "bold")
            for number, answer in enumerate(view.question.answers, 1):
                yield line(f"{number}  {answer}", 2)
            yield line("a number answers, w puts it away", 2, "dim")
            return
        if view.case is not None:
            more = (
                f", and {count(view.counted, view.counted_as)} that is counted only"
                if view.counted
                else ""
            )
            more = more.replace("cases that is", "cases that are")
            yield Text(f"failed case {view.at + 1} of {len(view.failed)}{more}", "dim")
            yield heading(view.case, marks)
            yield from details(view.case)
        elif view.counted:
            yield line(f"{count(view.counted, view.counted_as)} failed, counted only", 0, "dim")
        elif view.result is not None and view.result.verdict == "passed":
            yield Text("All cases pass.", "bold green")
            if view.success is not None:
                yield from self._success(view.success, marks, room, width)
        if view.typing is not None:
            yield Text("")
            yield Text(
                "Which line do you suspect, and why? For example: 92 the mask starts late", "bold"
            )
            yield line(f"{escape_for_display(view.typing)}_", 2)
        if view.panel is not None:
            title, lines = view.panel
            yield Text("")
            yield Text(title, "bold")
            yield from (line(text, 2) for text in lines)
        if view.result is not None and view.result.log.strip():
            yield Text("")
            yield Text("printed by your file", "dim")
            yield from (line(t, 2) for t in escape_lines(view.result.log, lines=LOG_LINES))

    def _success(
        self, success: Success, marks: Symbols, room: int, width: int
    ) -> Iterator[RenderableType]:
        """Yield the end of the attempt in `room` lines, of which the others of the body take a few."""
        asks = self.view.question is not None
        others = len(self.view.moved) + len(success.suggestions) + 4 + asks
        yield from story_lines(success, marks, room - others, width)
        yield line(what_it_took(success), 2)
        for text in suggestion_lines(success):
            yield line(text, 2, "dim")


def summary_line(result: Result, planted: tuple[str, ...] | None, dash: str) -> str:
    """Return cases, points and bugs of a result in one line."""
    judged = [case for case in result.cases if case.status != "skipped"]
    passed = sum(case.status == "passed" for case in judged)
    parts = [
        f"{passed} of {count(len(judged), 'case')} passed",
        f"{result.score} of {count(result.max_score, 'point')}",
    ]
    if planted and result.bugs:
        fixed = sum(bug.status == "fixed" for bug in result.bugs if bug.id in planted)
        parts.append(f"{fixed} of {count(len(planted), 'planted bug')} fixed")
    return f" {dash} ".join(parts)


def _verdict(result: Result, marks: Symbols, *, stale: bool) -> RenderableType:
    judged = [case for case in result.cases if case.status != "skipped"]
    passed = sum(case.status == "passed" for case in judged)
    verdict = "could not be judged" if result.verdict == "error" else result.verdict
    style = "dim" if stale else f"bold {STYLES[result.verdict]}"
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text(f"{marks.of(result.verdict)} {verdict}", style),
        ProgressBar(max(1, len(judged)), passed, width=BAR, complete_style="green"),
    )
    return row


def _doing(view: WatchView) -> RenderableType:
    if view.trouble is not None:
        return Text(f"{escape_for_display(view.trouble)}; waiting for the next save", "yellow")
    if view.busy is not None:
        done, total = view.busy
        return _cut((f"grading {done}/{total}" if total else "grading", "cyan"))
    if view.result is None:
        return Text("starting", "cyan")
    saves = f"graded {count(view.saves, 'time')}, the last in {view.seconds:.2f} s"
    return _cut((f"{saves}; waiting for the next save", "dim"))


def _keys(without: frozenset[str]) -> RenderableType:
    parts: list[str | tuple[str, str]] = []
    for key, meaning in KEYS:
        if key in without:
            continue
        parts += [(f" {key} ", "reverse"), f" {meaning}  "]
    return _cut(*parts)


def _cut(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")

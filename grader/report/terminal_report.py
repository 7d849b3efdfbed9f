"""The result of a grading, for the terminal: one failing case, then where things stand, then what to do next.

The verdict and the next step come last, where the eye is when the command ends.  Unless all is asked for, the report
fits a terminal of `ROWS` lines: what does not fit is left out of the middle, and a line says so.  What is told of a
case is decided by `judge.telling`, and the case that is shown is that of the focus (`judge.focus`).  All text that may
come from a submission goes through `escape_for_display`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.box import ASCII, ROUNDED
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from grader.content.entries import CAUSE, PATTERN, PLACE, SYMPTOM, tells
from grader.ground.display import escape_for_display, escape_lines
from grader.ground.invocation import command_line
from grader.ground.symbols import PLAIN, UNICODE, Symbols, count
from grader.judge.focus import NO_FOCUS, Focus, shown_first, told_cases
from grader.judge.result import CaseResult, Result, most_informative_first, redacted
from grader.judge.telling import DEFAULT, NOT_TOLD, told
from grader.report.bug_status_lines import bug_lines, decoy_lines
from grader.report.case_details import STYLES, cause_of, details, heading, line
from grader.report.stories import Success
from grader.report.success_lines import story_lines, suggestion_lines, what_it_took

ROWS = 24  # lines of the usual terminal, the prompt not counted
IN_FULL = 4  # cases told in full where all are asked for; of the others id and title are given
MOST_STORY = 4
AROUND_STORIES = 6  # lines of a success that are no stories: head, what it took, verdict and its fold, two at the end
LOG_LINES, MOST_LOG_LINES = 2, 20


@dataclass(frozen=True)
class About:
    """What is known beside the result, and how much of it is wanted.

    - `level`: the level of telling, and `most`, the highest that may be asked for;
    - `focus`: the bug in focus and its cases; `everything`: whether all is wanted;
    - `planted`, `decoys`: the ids of what was planted, where that is known; `levels`: how hard each bug is;
    - `total`: how many cases the challenge has, where only some were run; bugs are then not spoken of;
    - `file`: what the file is called, the file's own name by default;
    - `story`: lines about the attempt, such as a suspicion that was right;
    - `success`: the stories of a file that passes, instead of the list of its bugs;
    - `named`: the challenge and the file as the learner named them, for the commands that are suggested.
    """

    level: str = DEFAULT
    most: str = CAUSE
    focus: Focus = NO_FOCUS
    everything: bool = False
    planted: Collection[str] | None = None
    decoys: Collection[str] = ()
    levels: Mapping[str, int] = field(default_factory=dict)
    total: int | None = None
    file: str | None = None
    named: str | None = None
    story: Collection[str] = ()
    success: Success | None = None


def render(result: Result, console: Console, about: About) -> None:
    """Print `result` as far as the level tells it."""
    marks = PLAIN if console.options.ascii_only else UNICODE
    page = _Page(told(result, about.level), about, marks, console.width)
    body, end = (
        lines_without_blanks(console, page.body()),
        lines_without_blanks(console, page.end()),
    )
    body += [[]] if body else []
    room = ROWS - len(end)
    if body and not about.everything and len(body) > room:
        left = f"... {len(body) - room + 1} more lines; {page.all_of_it}"
        body = [*body[: room - 1], *lines_without_blanks(console, [line(left, 0, "dim")])[:1]]
    for segments in [*body, *end]:
        console.print(Text.assemble(*((part.text, part.style or "") for part in segments)))


def lines_without_blanks(
    console: Console, parts: Iterator[RenderableType] | list[RenderableType]
) -> list[list[Segment]]:
    """Return what would be printed as lines, without blanks at their ends."""
    made = console.render_lines(Group(*parts), pad=False)
    return [_stripped(segments) for segments in made]


def _stripped(segments: Sequence[Segment]) -> list[Segment]:
    kept = list(segments)
    while kept:
        last = kept.pop()
        if text := last.text.rstrip(" "):
            return [*kept, Segment(text, last.style)]
    return kept


@dataclass(frozen=True)
class _Page:
    """The parts of the report, each a few lines; `result` is what is told, on `width` columns."""

    result: Result
    about: About
    marks: Symbols
    width: int

    @property
    def all_of_it(self) -> str:
        """What shows the rest."""
        return f"`{self._command('grade', '--all')}` shows all"

    def body(self) -> Iterator[RenderableType]:
        """Yield what comes before the last lines: notices, what failed, what the file printed."""
        result = self.result
        for notice in result.notices:
            yield line(f"note: {escape_for_display(notice)}", style="yellow")
        yield from self._all_failures() if self.about.everything else self._focus()
        yield from self._random()
        yield from self._skipped()
        yield from self._log()

    def end(self) -> Iterator[RenderableType]:
        """Yield the last lines: bugs, verdict, next step."""
        about, result = self.about, self.result
        decoys = decoy_lines(result.decoys, about.decoys, self.marks)
        story = list(about.story)[-MOST_STORY:]
        if about.success is not None:
            room = ROWS - AROUND_STORIES - len(story) - len(decoys) - len(about.success.suggestions)
            room = 99 if about.everything else room
            yield from story_lines(about.success, self.marks, room, self.width)
            for part in decoys:
                yield line(part.text, part.indent, part.style)
        elif about.total is None:
            lines = bug_lines(result.bugs, about.planted, about.levels, self.marks)
            for part in [*lines, *decoys]:
                yield line(part.text, part.indent, part.style)
        if about.success is not None:
            yield line(what_it_took(about.success), 2)
        for text in story:
            yield line(escape_for_display(text), 2)
        yield self._headline()
        yield from self._next()

    def _headline(self) -> RenderableType:
        result = self.result
        verdict = "could not be judged" if result.verdict == "error" else result.verdict
        judged = [case for case in result.cases if case.status != "skipped"]
        passed = sum(case.status == "passed" for case in judged)
        parts = [
            f"{result.score} of {count(result.max_score, 'point')}",
            f"{passed} of {count(len(judged), 'case')} passed",
            f"{result.seconds:.2f} s",
        ]
        name = escape_for_display(self.about.file or result.file)
        return Text.assemble(
            (
                f"{self.marks.of(result.verdict)} {name}: {verdict}",
                f"bold {STYLES[result.verdict]}",
            ),
            f"   {f' {self.marks.dash} '.join(parts)}",
        )

    def _focus(self) -> Iterator[RenderableType]:
        """Tell one failing case in full, and count the others."""
        failed = most_informative_first(self.result.cases)
        if _all_alike(failed, self.result):
            yield from self._alike(failed)
            return
        named = told_cases(failed, self.about.level, self.about.focus)
        if not named and failed and tells(self.about.level, SYMPTOM):
            more = (
                "; `--tell cause` tells more of unit cases" if tells(self.about.most, CAUSE) else ""
            )
            yield line(f"{_counted(failed, 'scenario')} not passed{more}.", 0, "dim")
        if not named:
            return
        first = shown_first(named, self.about.focus)
        yield from self._in_full(first)
        same = [case for case in failed if case is not first and _ended_alike(case, first)]
        if same:
            yield line(f"The same ends {count(len(same), 'more case')}.", 4)
        unit = next((case for case in failed if case.id == self.about.focus.unit), None)
        shown = [first]
        if unit is not None and unit is not first and tells(self.about.level, CAUSE):
            yield Text("")
            yield from self._in_full(unit)
            shown.append(unit)
        if others := [case for case in failed if case not in shown]:
            yield Text("")
            yield line(f"{_counted(others)} not passed; {self.all_of_it}.", 0, "dim")

    def _all_failures(self) -> Iterator[RenderableType]:
        """Tell the first few in full and name the others; unit cases are counted where they are not named."""
        failed = most_informative_first(self.result.cases)
        if _all_alike(failed, self.result):
            yield from self._alike(failed)
            return
        named = told_cases(failed, self.about.level, self.about.focus)
        counted = [case for case in failed if case not in named]
        first = shown_first(named, self.about.focus) if named else None
        named.sort(key=lambda case: case is not first)
        traced = [case for case in named[IN_FULL:] if case.cause and case.cause.divergence]
        for number, case in enumerate([*named[:IN_FULL], *traced]):
            if number:
                yield Text("")
            yield from self._in_full(case)
        if others := [case for case in named[IN_FULL:] if case not in traced]:
            yield Text("")
            yield line(
                f"{self.marks.failed} {count(len(others), 'more case')} not passed", 0, "bold red"
            )
            for case in others:
                yield line(f"{case.id}  {escape_for_display(case.title)}", 4)
            yield line(f"One of them: `{self._command('grade', '--case', 'ID')}`.", 4, "dim")
        if counted:
            yield Text("")
            yield line(f"{self.marks.failed} {_counted(counted)} not passed", 0, "bold red")
        if passed := [case for case in self.result.cases if case.status == "passed"]:
            yield Text("")
            yield line(f"{self.marks.passed} {count(len(passed), 'case')} passed", 0, "green")

    def _alike(self, failed: Sequence[CaseResult]) -> Iterator[RenderableType]:
        """Tell a cause that all cases share once: a file that cannot be loaded fails each in the same way."""
        head = f"{self.marks.of(failed[0].status)} {len(failed)} cases, all for the same reason"
        yield line(head, 0, f"bold {STYLES[failed[0].status]}")
        yield from cause_of(failed[0])

    def _in_full(self, case: CaseResult) -> Iterator[RenderableType]:
        yield heading(case, self.marks)
        yield from details(case)

    def _random(self) -> Iterator[RenderableType]:
        """Show the random scenario that failed, as a case; its steps are what `case add` takes."""
        random = self.result.random
        case = random.case
        if case is None or random.smallest is None:
            return
        yield from self._in_full(case)
        setup, dtype = json.dumps(random.smallest["setup"]), random.smallest["dtype"]
        yield line(f"setup {setup}, {dtype}, seed {random.smallest['seed']}", 4, "dim")
        for step in random.smallest["steps"]:
            yield line(json.dumps(step), 4, "dim")
        said = "Every case passed; random scenarios ask what no case asks, and end at the first failure."
        yield line(f"{said} It was number {random.run}.", 4, "dim")

    def _skipped(self) -> Iterator[RenderableType]:
        """Count the skipped cases in a line; where all is asked for, give each reason."""
        skipped = [case for case in self.result.cases if case.status == "skipped"]
        reasons: dict[str, list[str]] = {}
        for case in skipped:
            reasons.setdefault(redacted(case).rationale, []).append(case.id)
        if not skipped:
            return
        if len(reasons) == 1 or self.about.everything:
            for reason, ids in reasons.items():
                head = f"{self.marks.skipped} {count(len(ids), 'case')} skipped: {_bare(reason)}"
                yield line(head, 0, "yellow")
                if self.about.everything:
                    yield line(", ".join(ids), 4, "dim")
            return
        why = "for what the file lacks and need not have"
        yield line(f"{self.marks.skipped} {len(skipped)} cases skipped {why}", 0, "yellow")

    def _log(self) -> Iterator[RenderableType]:
        """Show what the submission printed, in a box that says so."""
        if not self.result.log.strip():
            return
        most = MOST_LOG_LINES if self.about.everything else LOG_LINES + 1
        yield Panel(
            Text("\n".join(escape_lines(self.result.log, lines=most)), overflow="fold"),
            title="printed by your file",
            title_align="left",
            box=ASCII if self.marks is PLAIN else ROUNDED,
            border_style="dim",
        )

    def _next(self) -> Iterator[RenderableType]:
        """Say what to do next; of some cases, that the others were not run."""
        result, total = self.result, self.about.total
        if result.verdict == "error":
            yield line(
                "This says nothing about your file: the grader could not judge it.", 0, "bold"
            )
        elif total is not None and len(result.cases) < total:
            run, all_pass = len(result.cases), result.verdict == "passed"
            were = "1 of {} cases was run" if run == 1 else f"{run} of {{}} cases were run"
            ends = (
                {True: ", and it passes.", False: ", and they pass."}[run == 1] if all_pass else "."
            )
            whole = self._command("grade")
            yield line(f"{were.format(total)}{ends} `{whole}` runs all of them.", 0, "bold")
        elif result.verdict == "passed":
            drawn = result.random.run
            more = f" So do {count(drawn, 'random scenario')}." if drawn else ""
            yield line(f"All cases pass.{more}", 0, "bold green")
            if self.about.success is not None:
                whole = self._command("explain")
                yield line(f"The stories: `{whole}`.", 0, "dim")
                for part in suggestion_lines(self.about.success):
                    yield line(part, 0, "dim")
        elif _never_loaded(result):
            yield line("Next: mend this, and grade again; no case was run.", 0, "dim")
        elif not tells(self.about.level, SYMPTOM):
            yield line(
                "Next: find out why, mend it, and grade again. Only counts are told here.", 0, "dim"
            )
        elif tells(self.about.level, PATTERN):
            yield line(
                f"Next: mend this one thing and grade again, or ask `{self._command('hint')}`.",
                0,
                "dim",
            )
        elif not tells(self.about.most, PLACE):
            yield line(
                "Next: find out why, mend it, and grade again. No more is told here.", 0, "dim"
            )
        else:
            asked = self._command("more")
            yield line(
                f"Next: find what makes this one fail, or let `{asked}` tell one thing more.",
                0,
                "dim",
            )

    def _command(self, verb: str, *options: str) -> str:
        return escape_for_display(
            command_line(verb, self.about.named or self.result.challenge, *options)
        )


def _counted(cases: Sequence[CaseResult], scenario: str = "more scenario") -> str:
    """Return how many scenarios and unit cases there are, in words."""
    units = sum(case.kind == "unit" for case in cases)
    parts = [(len(cases) - units, scenario), (units, "unit case")]
    return " and ".join(count(number, noun) for number, noun in parts if number)


def _bare(reason: str) -> str:
    """Return why cases were skipped without the word that the line begins with."""
    return escape_for_display(reason.removeprefix("Skipped: "))


def _all_alike(failed: Sequence[CaseResult], result: Result) -> bool:
    """Whether every case is not passed, and all for the same reason."""
    alike = 1 < len(failed) == len(result.cases) and len({case.cause for case in failed}) == 1
    return alike and failed[0].cause is not None and failed[0].cause.rationale != NOT_TOLD


def _ended_alike(case: CaseResult, first: CaseResult) -> bool:
    """Whether two cases were ended by the same exception, on the same line."""
    one, other = case.cause, first.cause
    if one is None or other is None or other.kind != "raised" or other.raised_at is None:
        return False
    return (one.kind, one.raised_at, one.rationale) == (
        other.kind,
        other.raised_at,
        other.rationale,
    )


def _never_loaded(result: Result) -> bool:
    """Whether every case failed because the file could not even be executed."""
    causes = [case.cause for case in result.cases if case.status == "failed"]
    return len(causes) == len(result.cases) and all(
        cause is not None and cause.kind == "raised" and cause.where is None for cause in causes
    )

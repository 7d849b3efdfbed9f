"""The result of a grading, for the terminal.

Order: verdict, planted bugs, what failed (cases that isolate one method first, a few of them in
full), what passed, what to do next. Bugs that are still there are counted and never named, for a
name is half the answer. All text that may come from a submission goes through `escape_for_display`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.box import ASCII, ROUNDED
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.text import Text

from grader.ground.display import escape_for_display, escape_lines
from grader.ground.invocation import command_line
from grader.judge.result import (
    CaseResult,
    RandomOutcome,
    Result,
    most_informative_first,
    redacted,
)
from grader.report.bug_status_lines import (
    PLAIN,
    UNICODE,
    Line,
    Symbols,
    bug_lines,
    decoy_lines,
    fixed_lines,
)
from grader.report.case_details import STYLES, cause_of, details, heading, line
from grader.report.phrases import count

IN_FULL = 4  # cases told in full, about a screen; of the others only the id is given


def render(
    result: Result,
    console: Console,
    planted: Collection[str] | None = None,
    *,
    levels: Mapping[str, int] | None = None,
    hint: str | None = None,
    decoys: Collection[str] = (),
    total: int | None = None,
) -> None:
    """Print `result`.

    `total` is how many cases the challenge has: where only some were run, bugs are not counted, which takes all.
    `planted` are the ids of the bugs that were planted, where that is known, and `decoys` those of
    the decoys; `levels` the difficulty of each; `hint` the command that gives the next hint.
    """
    page = _Page(console, PLAIN if console.options.ascii_only else UNICODE)
    page.headline(result)
    page.notices(result.notices)
    some = total is not None and len(result.cases) < total
    if some:
        page.bug_status(fixed_lines(result.bugs, planted, page.marks))
    else:
        page.bug_status(bug_lines(result.bugs, planted, levels or {}, page.marks))
        page.bug_status(decoy_lines(result.decoys, decoys, page.marks))
    page.failures(result)
    page.random(result.random)
    page.skipped([case for case in result.cases if case.status == "skipped"])
    page.passed([case for case in result.cases if case.status == "passed"])
    page.log(result.log)
    page.next_step(result, hint or command_line("hint", result.challenge), total if some else None)


@dataclass(frozen=True)
class _Page:
    """The parts of the report, each a few lines."""

    console: Console
    marks: Symbols

    def headline(self, result: Result) -> None:
        verdict = "could not be judged" if result.verdict == "error" else result.verdict
        judged = [case for case in result.cases if case.status != "skipped"]
        passed = sum(case.status == "passed" for case in judged)
        style = f"bold {STYLES[result.verdict]}"
        facts = f" {self.marks.dash} ".join(
            [
                f"{result.score} of {count(result.max_score, 'point')}",
                f"{passed} of {count(len(judged), 'case')} passed",
                f"{result.seconds:.2f} s",
            ]
        )
        self.console.print(
            Text.assemble(
                (
                    f"{self.marks.of(result.verdict)} {escape_for_display(result.file)}: {verdict}",
                    style,
                ),
                f"   {facts}",
            )
        )

    def notices(self, notices: Collection[str]) -> None:
        for notice in notices:
            self._line(f"note: {escape_for_display(notice)}", style="yellow")

    def bug_status(self, lines: Sequence[Line]) -> None:
        if lines:
            self.console.print()
        for part in lines:
            self._line(part.text, part.indent, part.style)

    def failures(self, result: Result) -> None:
        """Tell the first few in full and name the others."""
        cases = most_informative_first(result.cases)
        if 1 < len(cases) == len(result.cases) and len({case.cause for case in cases}) == 1:
            # a file that cannot be imported fails every case in the same way
            self.console.print()
            head = f"{self.marks.of(cases[0].status)} {len(cases)} cases, all for the same reason"
            self._line(head, style=f"bold {STYLES[cases[0].status]}")
            self._all(cause_of(cases[0]))
            return
        traced = [case for case in cases[IN_FULL:] if case.cause and case.cause.divergence]
        for case in [*cases[:IN_FULL], *traced]:
            self.console.print()
            self.console.print(heading(case, self.marks))
            self._all(details(case))
        others = [case for case in cases[IN_FULL:] if case not in traced]
        if others:
            self.console.print()
            head = f"{self.marks.failed} {count(len(others), 'more case')} not passed"
            self._line(head, style="bold red")
            self._line(", ".join(case.id for case in others), 4)
            one = command_line("grade", result.challenge, "--case", "ID")
            self._line(f"One of them: `{one}`.", 4, "dim")

    def _all(self, parts: Iterable[RenderableType]) -> None:
        for part in parts:
            self.console.print(part)

    def random(self, random: RandomOutcome) -> None:
        """Show the random scenario that failed, as a case; its steps are what `case add` takes."""
        case = random.case
        if case is None or random.smallest is None:
            return
        self.console.print()
        self.console.print(heading(case, self.marks))
        self._all(details(case))
        setup, dtype = json.dumps(random.smallest["setup"]), random.smallest["dtype"]
        self._line(f"setup {setup}, {dtype}, seed {random.smallest['seed']}", 4, "dim")
        for step in random.smallest["steps"]:
            self._line(json.dumps(step), 4, "dim")
        told = "Every case passed; random scenarios ask what no case asks, and end at the first failure."
        self._line(f"{told} It was number {random.run}.", 4, "dim")

    def skipped(self, cases: Collection[CaseResult]) -> None:
        """Group the skipped cases by reason: one missing helper skips several."""
        reasons: dict[str, list[str]] = {}
        for case in cases:
            reasons.setdefault(redacted(case).rationale, []).append(case.id)
        if reasons:
            self.console.print()
        for reason, ids in reasons.items():
            head = f"{self.marks.skipped} {count(len(ids), 'case')} skipped: {escape_for_display(reason)}"
            self._line(head, style="yellow")
            self._line(", ".join(ids), 4, "dim")

    def passed(self, cases: Collection[CaseResult]) -> None:
        if cases:
            self.console.print()
            self._line(f"{self.marks.passed} {count(len(cases), 'case')} passed", style="green")

    def log(self, log: str) -> None:
        """Show what the submission printed, in a box that says so."""
        if not log.strip():
            return
        self.console.print()
        self.console.print(
            Panel(
                Text("\n".join(escape_lines(log, lines=20)), overflow="fold"),
                title="printed by your file",
                title_align="left",
                box=ASCII if self.marks is PLAIN else ROUNDED,
                border_style="dim",
            )
        )

    def next_step(self, result: Result, hint: str, total: int | None) -> None:
        """Say what to do next; `total` is given where only some of so many cases were run."""
        self.console.print()
        if result.verdict == "passed":
            drawn = result.random.run
            more = f" So do {count(drawn, 'random scenario')}." if drawn else ""
            all_pass = f"All cases pass.{more}" if total is None else self._some(result, total)
            self._line(all_pass, style="bold green" if total is None else "bold")
        elif _never_loaded(result):
            self._line("Next: mend this, and grade again; no case was run.", style="dim")
        elif result.verdict == "error":
            self._line(
                "This says nothing about your file: the grader could not judge it.", style="bold"
            )
        else:
            self._line(
                f"Next: read the first failing case above, or ask `{escape_for_display(hint)}`.",
                style="dim",
            )

    @staticmethod
    def _some(result: Result, total: int) -> str:
        run = len(result.cases)
        if run == 1:
            return f"1 of {total} cases was run, and it passes."
        return f"{run} of {total} cases were run, and they pass."

    def _line(self, text: str, indent: int = 0, style: str = "") -> None:
        self.console.print(line(text, indent, style))


def _never_loaded(result: Result) -> bool:
    """Whether every case failed because the file could not even be executed."""
    causes = [case.cause for case in result.cases if case.status == "failed"]
    return len(causes) == len(result.cases) and all(
        cause is not None and cause.kind == "raised" and cause.where is None for cause in causes
    )

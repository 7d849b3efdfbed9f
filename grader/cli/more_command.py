"""`kvdojo more`: one thing more about the bug in focus, a rung of the ladder at a time."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument, file_argument
from grader.cli.focus_of_file import focus_of_file
from grader.cli.grade_command import (
    about,
    command_target,
    level_of,
    nothing_explains,
    planted_in,
    remember_rung,
)
from grader.cli.submission import locate, read, readable
from grader.cli.variant import begun
from grader.content import Challenge
from grader.content.entries import CAUSE, tells
from grader.ground.errors import Exit
from grader.ground.invocation import command_line
from grader.judge.focus import NO_FOCUS, Focus
from grader.learner.ladder import LEVEL_OF, Rung, height, next_rung
from grader.learner.work_folder import RUNGS


@click.command("more")
@challenge_argument
@file_argument
@click.option("--again", is_flag=True, help="Tell the last thing once more.")
@click.option("--no-isolation", is_flag=True, help="Run FILE unconfined: only for your own code.")
@click.pass_context
def command(
    ctx: click.Context, challenge: str, file: Path | None, again: bool, no_isolation: bool
) -> None:
    """Tell one thing more about the bug in focus: place, pattern, unit case, three hints.

    A file that was changed since it was graded is graded first, and its symptom is told. Exit status as of `grade`.
    """
    found = catalogue().load(challenge)
    path, work = locate(found, file)
    found = begun(found, work)
    level = level_of(found, None)
    raw, source = read(path, found.id), readable(path, found).source
    known = focus_of_file(found, path, work, raw, source, isolate=not no_isolation)
    focus, named = known.focus, command_target(found, file)
    if known.result is not None and (work or known.result.verdict != "failed"):
        from grader.report.terminal_report import render

        shown = about(found, path, work, planted_in(found, work), focus, level, named=named)
        render(known.result, terminal.console(), shown)
        ctx.exit(Exit.of_verdict(known.result.verdict))
    if focus == NO_FOCUS:
        terminal.out(
            f"Nothing failed in the last grading: `{command_line('grade', named)}` has the last word."
        )
        ctx.exit(Exit.PASSED)
    reached = 0 if focus.bug is None else height(work, focus.bug)
    rung = _next(found, source, focus, max(0, reached - 1) if again else reached, not no_isolation)
    if rung is None:
        terminal.out(_nothing_more(found, focus, reached, named))
        ctx.exit(Exit.FAILED)
    _print(found, focus, rung, named)
    if work and focus.bug:
        remember_rung(work, focus.bug, rung.number)
    ctx.exit(Exit.FAILED)


def _next(
    challenge: Challenge, source: bytes, focus: Focus, reached: int, isolate: bool
) -> Rung | None:
    """Return the next rung; a sandbox is started only where something has to be traced."""
    from grader.diagnose.explain_failures import trace_focus
    from grader.diagnose.trace_model import Trace
    from grader.judge import start_sandbox

    def trace(case: str) -> Trace:
        with start_sandbox(challenge, isolate=isolate, source=source) as sandbox:
            sandbox.ready()
            return trace_focus(sandbox, challenge, None, source, focus, case)

    return next_rung(challenge, focus, reached, trace)


def _nothing_more(challenge: Challenge, focus: Focus, reached: int, named: str) -> str:
    if focus.bug is None:
        return nothing_explains(focus, named)
    if reached < len(RUNGS) and not tells(challenge.tell, LEVEL_OF[reached]):
        return f"{challenge.teller} tells no more than this."
    return f"That was all. The answer: `{command_line('solution', named, '--diff')}`."


def _print(challenge: Challenge, focus: Focus, rung: Rung, named: str) -> None:
    from rich.text import Text

    screen = terminal.console()
    case = challenge.cases[focus.case] if focus.case else None
    if case is not None and rung.number != 3:
        screen.print(Text.assemble((case.id, "bold"), f"  {case.title}"))
    screen.print(Text(rung.title, "bold"))
    for text in rung.lines:
        screen.print(Text(text))
    if rung.case is not None:
        run = command_line("grade", named, "--case", rung.case, "--tell", CAUSE)
        screen.print(Text(f"`{run}` tells what it finds."))
    if rung.number < len(RUNGS):
        again = command_line("more", named)
        screen.print(Text(f"One thing more: `{again}`.", "dim"), soft_wrap=True)
    else:
        answer = command_line("solution", named, "--diff")
        screen.print(Text(f"The answer: `{answer}`.", "dim"), soft_wrap=True)

"""`kvdojo trace`: where a file first departs from the reference in one case, and the steps up to there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from grader.cli import terminal
from grader.cli.arguments import (
    catalogue,
    challenge_argument,
    check_cases,
    complete_case,
    file_argument,
)
from grader.cli.focus_of_file import focus_of_file
from grader.cli.grade_command import remember_rung
from grader.cli.submission import locate, read, readable
from grader.cli.variant import begun
from grader.content.entries import PATTERN, tells
from grader.content.handed_in import HandedIn
from grader.ground.display import escape_for_display
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line
from grader.judge.focus import NO_FOCUS
from grader.learner.ladder import OF_LEVEL

if TYPE_CHECKING:
    from grader.diagnose.trace_model import FactPair, Trace, TracedStep

WIDE = 100  # columns, from which on several names fit beside the facts of a step
MOST_DIFFERING = 4


@click.command("trace")
@challenge_argument
@file_argument
@click.option(
    "--case",
    "case",
    metavar="ID",
    shell_complete=complete_case,
    help="The case to trace; that of the bug in focus by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--no-isolation", is_flag=True, help="Run FILE unconfined: only for your own code.")
@click.pass_context
def command(
    ctx: click.Context,
    challenge: str,
    file: Path | None,
    case: str | None,
    as_json: bool,
    no_isolation: bool,
) -> None:
    """Show where FILE first departs from the reference in a case.

    Without --case that is the case of which `grade` shows the symptom, and the other planted bugs are left out, so that
    they do not hide the one in focus. The exit status is 1 when the file departs.
    """
    found = catalogue().load(challenge)
    check_cases(found, [case] if case else [])
    path, work = locate(found, file)
    found = begun(found, work)
    if not tells(found.tell, PATTERN):
        raise UserError(f"{found.teller} tells at most {found.tell!r}, so it traces nothing.")
    handed = readable(path, found)
    source, focus, isolate = handed.source, NO_FOCUS, not no_isolation
    if case is None:
        raw = read(path, found.id)
        focus = focus_of_file(found, path, work, raw, source, isolate=isolate).focus
        case = focus.case
    if case is None:
        terminal.out(f"Nothing failed: `{command_line('grade', found.id)}` has the last word.")
        return

    from grader.diagnose.explain_failures import trace_focus, trace_of_what_it_sees
    from grader.diagnose.trace_model import trace_to_json
    from grader.judge import start_sandbox

    with start_sandbox(found, isolate=isolate, source=source) as sandbox:
        sandbox.ready()
        made = trace_focus(sandbox, found, None, source, focus, case)
        # the file as it is may differ first where the answer of the case does not depend on it
        seen = None
        if focus is NO_FOCUS and not as_json:
            seen = trace_of_what_it_sees(sandbox, found, source, case, made)
    if work and focus.bug:
        remember_rung(work, focus.bug, OF_LEVEL[PATTERN])
    if as_json:
        document = {"schema": "kvdojo/trace/v1", **trace_to_json(made)}
        terminal.document(document)
    else:
        _print(made, handed)
        if seen is not None:
            told = f"The answer of `{case}` does not depend on that. Where it first goes wrong: {next(lines(seen))}"
            terminal.console().print(Text(told, "bold"))
        if focus.bug and focus.state == "present":
            told = f"Case `{case}`, the other planted bugs left out; `--case {case}` traces your file as it is."
            terminal.console().print(Text(told, "dim"))
    ctx.exit(Exit.FAILED if made.divergence or made.ended else Exit.PASSED)


def lines(trace: Trace) -> Iterator[str]:
    """Yield the first divergence and how it looks, as safe text."""
    first = trace.divergence
    if first is None:
        yield escape_for_display(trace.ended or "Nothing differs from the reference in this case.")
        return
    sentence = first.sentence()
    yield escape_for_display(sentence)
    yield from (
        escape_for_display(text) for text in first.checkpoint.sentences if text not in sentence
    )


def _print(trace: Trace, handed: HandedIn) -> None:
    screen = terminal.console()
    for number, text in enumerate(lines(trace)):
        screen.print(Text(handed.in_cells(text), "bold" if number == 0 else ""))
    if not trace.steps:
        return
    most = MOST_DIFFERING if screen.width >= WIDE else 1
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("step", "cache length", "keys seen", "weights' sum", "differs"):
        table.add_column(name, overflow="fold")
    for step in trace.steps:
        table.add_row(*(Text(text) for text in _row(step, most)))
    screen.print()
    screen.print(table)
    if trace.divergence and trace.ended:
        screen.print(Text(escape_for_display(trace.ended), "dim"))


def _row(step: TracedStep, most: int) -> list[str]:
    """Return the cells of a step; so many of the checkpoints that differ are named."""
    number = "" if step.index < 0 else f"{step.index + 1} "
    wrong = list(dict.fromkeys(p.title for p in step.checkpoints if p.status != "same"))
    if len(wrong) > most:
        wrong = [*wrong[:most], f"{len(wrong) - most} more"]
    if step.raised and not step.raised.same:
        ends = [f"raises {name}" if name else "returns" for name in _both(step.raised)]
        wrong = [f"{ends[1]}, the reference {ends[0]}", *(wrong if most > 1 else [])]
    return [
        f"{number}{escape_for_display(step.title)}",
        _pair(step.cache_length),
        _pair(step.scores),
        _pair(step.weight_sum),
        escape_for_display(", ".join(wrong) or "-"),
    ]


def _both(pair: FactPair) -> tuple[str | None, str | None]:
    return pair.expected, pair.actual


def _pair(pair: FactPair | None) -> str:
    """Return what a file has, and what it should have; nothing where the file has no such place in it."""
    if pair is None or pair.actual is None:
        return "-"
    actual = escape_for_display(pair.actual)
    if pair.same or pair.expected is None:
        return actual
    return f"{actual}, not {escape_for_display(pair.expected)}"

"""`kvdojo solution`: the right answer, or what separates the learner's file from it."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument, file_argument
from grader.cli.submission import locate, readable
from grader.cli.terminal import shown
from grader.cli.variant import Variant, begun, of_work
from grader.content import Challenge
from grader.learner.work_folder import WorkFolder


@click.command("solution")
@challenge_argument
@file_argument
@click.option("--diff", is_flag=True, help="Show only what must change in FILE.")
def command(challenge: str, file: Path | None, diff: bool) -> None:
    """Show the reference. With --diff: the changes that turn your file into it."""
    found = catalogue().load(challenge)
    if not diff:
        _print(found.reference_text, "python")
        return
    path, work = locate(found, file)
    found = begun(found, work)
    lines = _difference(readable(path, found).text, _target(found, work), shown(path))
    if lines:
        _print(lines, "diff")
    else:
        terminal.out(f"{shown(path)} is the solution already.")


def _target(challenge: Challenge, work: WorkFolder | None) -> str:
    """Return the reference, with the decoys of the work folder: they need no mending."""
    if work is None:
        return challenge.reference_text
    return Variant((), of_work(challenge, work).decoys).source(challenge)


def _difference(mine: str, right: str, name: str) -> str:
    lines = difflib.unified_diff(
        mine.splitlines(keepends=True), right.splitlines(keepends=True), name, "solution"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _print(code: str, language: str) -> None:
    """Write code as it is when piped, highlighted for a terminal."""
    screen = terminal.console()
    if screen.color_system is None:
        terminal.out(code)
        return
    from rich.syntax import Syntax

    screen.print(
        Syntax(code, language, theme="ansi_dark", background_color="default"), soft_wrap=True
    )

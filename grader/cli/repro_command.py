"""`kvdojo repro`: one case as a plain script that runs under any debugger, without the grader."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import (
    catalogue,
    challenge_argument,
    check_cases,
    complete_case,
    file_argument,
)
from grader.cli.focus_of_file import focus_of_file
from grader.cli.submission import locate, read, readable
from grader.cli.terminal import shown
from grader.cli.variant import begun
from grader.content import Challenge
from grader.content.entries import SYMPTOM, tells
from grader.content.handed_in import NOTEBOOK
from grader.ground.errors import UserError
from grader.ground.invocation import command_line


@click.command("repro")
@challenge_argument
@file_argument
@click.option(
    "--case",
    metavar="ID",
    shell_complete=complete_case,
    help="The case; that of the bug in focus by default.",
)
@click.option(
    "--out", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write it there."
)
def command(challenge: str, file: Path | None, case: str | None, out: Path | None) -> None:
    """Write a case as a plain Python script: inputs, calls, expected numbers, comparison.

    \b
    Example: kvdojo repro CHALLENGE --out repro.py && python -m pdb repro.py
    """
    found = catalogue().load(challenge)
    _refuse(found)
    check_cases(found, [case] if case else [])
    path, work = locate(found, file)
    found = begun(found, work)
    _refuse(found)
    raw, source = read(path, found.id), readable(path, found).source
    if path.suffix == NOTEBOOK:
        raise UserError(
            f"{shown(path)} is a notebook: save its code as {found.file} for a debugger."
        )
    case = case or focus_of_file(found, path, work, raw, source, isolate=True).focus.case
    if case is None:
        raise UserError(
            f"nothing failed: name a case, `{command_line('repro', found.id, '--case', 'ID')}`."
        )
    if found.cases[case].visibility != "public":
        raise UserError(f"{case!r} is a hidden case: its inputs are not shown.")

    from grader.judge.golden_check import prepare
    from grader.learner.repro_script import repro_script, uses_right_answers

    golden = prepare(found, [found.cases[case]])
    text = repro_script(found, found.cases[case], golden.cases[case], path.absolute())
    if uses_right_answers(found, found.cases[case]) and not _holds(found, text):
        trace = command_line("trace", found.id, "--case", case)
        told = f"a step of {case!r} is made from an earlier answer of your file, which no script can hold"
        raise UserError(f"{told}: see `{trace}`, or choose another case.")
    if out is None:
        terminal.out(text)
        return
    if out.exists() and out.absolute() == path.absolute():
        raise UserError(f"{shown(out)} is your own file: name another one with --out.")
    terminal.write_file(out, text)
    terminal.err(
        f"{shown(out)}: run it with `python {shown(out)}`, or `python -m pdb {shown(out)}`."
    )


def _holds(challenge: Challenge, text: str) -> bool:
    """Whether the reference passes a script, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "repro.py")
        script.write_text(text, "utf-8")
        words = [sys.executable, str(script), str(challenge.oracle)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _refuse(challenge: Challenge) -> None:
    """Refuse a challenge of which no program can be made."""
    if challenge.file.endswith(".json") or challenge.declared:
        raise UserError(f"{challenge.id!r} has no program to debug: its file is a document.")
    if not tells(challenge.tell, SYMPTOM):
        raise UserError(f"{challenge.teller} tells counts only.")

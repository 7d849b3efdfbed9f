"""`kvdojo suspect`: name a place before it is edited; whether that was right is told when the bug is mended."""

from __future__ import annotations

import re
from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument
from grader.cli.grade_command import planted_in
from grader.cli.submission import locate, readable
from grader.cli.variant import begun
from grader.content import Challenge
from grader.ground.display import escape_for_display
from grader.ground.errors import UserError
from grader.ground.invocation import command_line
from grader.learner.hints import recall_focus
from grader.learner.history import note, where_it_stands
from grader.learner.work_folder import WorkFolder

LINES = re.compile(r"([1-9]\d{0,5})(?:-([1-9]\d{0,5}))?")
MOST_LINES = 10  # a suspicion of half the file is none
LONGEST = 300  # characters of a reason


@click.command("suspect")
@challenge_argument
@click.argument("lines", metavar="LINE[-LINE]")
@click.argument("why", metavar='["WHY"]', required=False, default="")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="The file of another attempt than the one `grade` takes.",
)
def command(challenge: str, lines: str, why: str, file: Path | None) -> None:
    """Say which line of your file you suspect, before you edit it.

    Whether that was right is told when the bug is mended; it is never a mark.

    \b
    Example: kvdojo suspect CHALLENGE 92 "the mask starts one too far"
    """
    found = catalogue().load(challenge)
    path, work = locate(found, file)
    if work is None:
        start = command_line("start", found.id)
        raise UserError(f"Suspicions are kept in a work folder: begin one with `{start}`.")
    first, quoted = note_suspicion(begun(found, work), path, work, lines, why)
    terminal.out(f"Noted: {path.name}:{first}  {escape_for_display(quoted, columns=100)}")
    terminal.out(
        "Now change one thing, and grade. Whether you were right is told when a bug is mended."
    )


def note_suspicion(
    found: Challenge, path: Path, work: WorkFolder, lines: str, why: str
) -> tuple[int, str]:
    """Note that `lines` of a file, such as `92` or `92-94`, are suspected; return the first one and its text.

    Raises UserError for lines that the file has not, and WorkError where nothing can be written.
    """
    text = readable(path, found).text
    first, last = _span(lines, len(text.splitlines()))
    planted = planted_in(found, work)
    known = [*planted.bugs, *planted.decoys] if planted else []
    quoted = text.splitlines()[first - 1].strip()[:LONGEST]
    note(
        *(work, "suspect"),
        lines=[first, last],
        text=quoted,
        why=why[:LONGEST],
        stands=where_it_stands(found, text, known, (first, last)),
        focus=recall_focus(work, found),
    )
    return first, quoted


def _span(text: str, most: int) -> tuple[int, int]:
    """Return the lines that are meant; raises UserError."""
    match = LINES.fullmatch(text)
    if match is None:
        raise UserError(f"{text[:40]!r} is no line: give a number such as 92, or 92-94.")
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last <= most:
        raise UserError(f"the file has the lines 1 to {most}, not {text}.")
    if last - first >= MOST_LINES:
        raise UserError(f"that is {last - first + 1} lines: suspect at most {MOST_LINES}.")
    return first, last

"""`kvdojo use`: choose which of several attempts at a challenge the commands take."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument
from grader.cli.terminal import shown
from grader.ground.errors import UserError
from grader.ground.invocation import command_line
from grader.learner.attempts import all_attempts, choose, work_root
from grader.learner.work_folder import WorkFolder, load_work_folder


@click.command("use")
@challenge_argument
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def command(challenge: str, folder: Path) -> None:
    """Let `grade`, `watch` and the others take the attempt in DIR, as `list` names it.

    A command that is called in the folder of an attempt takes that one, whatever was chosen.
    """
    found = catalogue().load(challenge)
    work = _attempt(found.id, folder)
    choose(work)
    terminal.out(
        f"From now on it is {shown(work.folder)}. Next: `{command_line('grade', found.id)}`."
    )


def _attempt(challenge: str, folder: Path) -> WorkFolder:
    """Return the attempt in a folder, which may be named from the work root as well; raises UserError."""
    for place in (folder, work_root() / folder):
        work = load_work_folder(place.absolute())
        if work is None:
            continue
        if work.challenge != challenge:
            raise UserError(f"{shown(work.folder)} is an attempt at {work.challenge!r}.")
        return work
    others = [work.folder for work in all_attempts() if work.challenge == challenge]
    if not others:
        start = command_line("start", challenge)
        raise UserError(f"{challenge!r} is not started: run `{start}`.")
    there = ", ".join(shown(other) for other in others[:8])
    raise UserError(f"{shown(folder)} is no attempt at {challenge!r}. There is: {there}.")

"""`kvdojo reset`: put the starter back. The learner's own file is renamed, never deleted."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument
from grader.cli.terminal import shown
from grader.cli.variant import begun, of_work
from grader.ground.errors import UserError
from grader.ground.files import back_up
from grader.ground.invocation import command_line
from grader.learner.attempts import find_attempt
from grader.learner.work_folder import WorkError, WorkFolder, write_work_file


@click.command("reset")
@challenge_argument
@click.option("--force", is_flag=True, help="Reset a file you have changed; it becomes a backup.")
def command(challenge: str, force: bool) -> None:
    """Put the starter back in the work folder."""
    found = catalogue().load(challenge)
    work = find_attempt(found.id)
    if work is None:
        start = command_line("start", found.id)
        raise UserError(f"{found.id!r} is not started: run `{start}`.")
    found = begun(found, work)
    source = of_work(found, work).source(found)
    path = shown(work.path)
    changed = _changed(work, source)
    if changed is False:
        terminal.out(f"{path} is the starter already.")
        return
    if changed and not force:
        again = command_line("reset", found.id, "--force")
        raise UserError(
            f"{path} holds your changes. `{again}` puts the starter back "
            "and keeps your file as a backup."
        )
    if changed:
        terminal.out(f"Your file is kept as {shown(_keep(work))}.")
    write_work_file(work.path, source)
    terminal.out(f"{path} is the starter again.")


def _changed(work: WorkFolder, source: str) -> bool | None:
    """Say whether the file differs from the starter; None when there is no file."""
    try:
        return work.path.read_bytes() != source.encode()
    except FileNotFoundError:
        return None
    except OSError:
        return True


def _keep(work: WorkFolder) -> Path:
    try:
        return back_up(work.path)
    except OSError as error:
        raise WorkError(f"{work.path}: no backup can be made: {error.strerror}") from None

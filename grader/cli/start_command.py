"""`kvdojo start`: make a work folder with the file to mend, its brief, and the state."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument, complete_preset
from grader.cli.terminal import shown
from grader.cli.variant import Variant, begun, by_fresh, by_preset, by_seed
from grader.content import Challenge
from grader.content.generated_bugs import LEVELS
from grader.ground.errors import UserError
from grader.ground.files import back_up
from grader.ground.invocation import command_line
from grader.learner.attempts import choose, default_folder, folder_for
from grader.learner.history import note
from grader.learner.preset_clock import minutes_of
from grader.learner.work_folder import (
    WorkError,
    WorkFolder,
    load_work_folder,
    write_work_file,
)


@click.command("start")
@challenge_argument
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Work in DIR instead of work/CHALLENGE.",
)
@click.option(
    "--preset", metavar="NAME", shell_complete=complete_preset, help="A named choice of bugs."
)
@click.option("--seed", type=click.IntRange(min=0), help="Draw the bugs by this number.")
@click.option(
    "--fresh",
    type=click.IntRange(min=0),
    metavar="N",
    help="Draw by this number from bugs that nobody wrote.",
)
@click.option("--level", type=click.Choice(LEVELS), help="Draw only such bugs; with --fresh.")
@click.option("--bugs", type=click.IntRange(min=1), metavar="K", help="How many to draw.")
@click.option("--force", is_flag=True, help="Replace what is there; your files become backups.")
def command(
    challenge: str,
    folder: Path | None,
    preset: str | None,
    seed: int | None,
    fresh: int | None,
    level: str | None,
    bugs: int | None,
    force: bool,
) -> None:
    """Begin a challenge in a work folder of your own.

    Where another attempt lies in work/CHALLENGE, it gets a folder beside it, such as work/CHALLENGE-contest.

    \b
    Examples: kvdojo start CHALLENGE --seed 7 --bugs 3
              kvdojo start CHALLENGE --fresh 7 --level hard
    """
    made = begin(
        *(catalogue().load(challenge), folder),
        preset=preset, seed=seed, fresh=fresh, level=level, count=bugs, force=force,
    )  # fmt: skip
    _tell(made.challenge, made.work, made.variant, made.kept)


@dataclass(frozen=True)
class Started:
    """A new attempt: the challenge as `begun` returns it, its folder, what was planted, backups of what was there."""

    challenge: Challenge
    work: WorkFolder
    variant: Variant
    kept: list[Path]


def begin(
    found: Challenge,
    folder: Path | None = None,
    *,
    preset: str | None = None,
    seed: int | None = None,
    fresh: int | None = None,
    level: str | None = None,
    count: int | None = None,
    force: bool = False,
) -> Started:
    """Make a work folder, the default one where none is named; raises UserError, WorkError and ContentError.

    The bugs are those of a preset, or `count` drawn by `seed`, or generated ones drawn by `fresh`.  With `force` the
    files that are there become backups.
    """
    target = (folder or default_folder(found.id)).absolute()
    if fresh is None:
        if level is not None:
            raise UserError("--level chooses among generated bugs: give --fresh N with it.")
        work, variant = _plan(found, target, preset, seed, count)
    else:
        if preset is not None or seed is not None:
            raise UserError(
                "--fresh, --seed and --preset are three ways to choose: give one of them."
            )
        work, variant = _plan_fresh(found, target, fresh, count, level)
        found = begun(found, work)
    if folder is None and not force:
        work = replace(work, folder=folder_for(work))
    made = make_folder(found, work, variant, force=force)
    choose(work)
    return made


def make_folder(
    found: Challenge, work: WorkFolder, variant: Variant, *, force: bool = False
) -> Started:
    """Write the file, the brief and the state of an attempt; raises UserError and WorkError."""
    source = variant.source(found)
    kept = _make_room(found, work, {found.file: source, "README.md": found.brief}, force=force)
    write_work_file(work.path, source)
    write_work_file(work.folder / "README.md", found.brief)
    _with_help_of_before(work, kept).save()
    with contextlib.suppress(WorkError):
        note(work, "started")
    return Started(found, work, variant, kept)


def _plan(
    challenge: Challenge, folder: Path, preset: str | None, seed: int | None, count: int | None
) -> tuple[WorkFolder, Variant]:
    """Decide what to plant; raises UserError when both ways of choosing are mixed."""
    drawn = seed is not None or count is not None
    if drawn and preset is not None:
        raise UserError("--preset and --seed/--bugs are two ways to choose: give one of them.")
    if not drawn:
        name = preset or "default"
        variant = by_preset(challenge, name)
        return WorkFolder(folder, challenge.id, challenge.file, preset=name), variant
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    count = len(challenge.presets["default"].bugs) if count is None else count
    variant = by_seed(challenge, seed, count)
    work = WorkFolder(folder, challenge.id, challenge.file, preset=None, seed=seed, count=count)
    return work, variant


def _plan_fresh(
    challenge: Challenge, folder: Path, seed: int, count: int | None, level: str | None
) -> tuple[WorkFolder, Variant]:
    """Draw generated bugs; the number that is left open becomes part of the state."""
    variant, known = by_fresh(challenge, seed, count, level)
    work = WorkFolder(
        *(folder, challenge.id, challenge.file, None, None, len(variant.bugs)),
        fresh=seed, level=level, generated=known.digest,
    )  # fmt: skip
    return work, variant


def _make_room(
    challenge: Challenge, work: WorkFolder, files: Mapping[str, str], *, force: bool
) -> list[Path]:
    """Back up what `start` would overwrite and return the backups; raises UserError without --force."""
    _refuse_other(work, force=force)
    taken = [
        work.folder / name for name, text in files.items() if _differs(work.folder / name, text)
    ]
    if taken and not force:
        path, again = shown(taken[0]), command_line("start", challenge.id, "--force")
        raise UserError(
            f"{path} is there already and is not replaced. "
            f"`{again}` begins anew and keeps it as a backup."
        )
    try:
        return [back_up(path) for path in taken]
    except OSError as error:
        raise WorkError(f"{work.folder}: no backup can be made: {error.strerror}") from None


def _with_help_of_before(work: WorkFolder, kept: list[Path]) -> WorkFolder:
    """Return the state with the help that was taken already, where the same attempt is only begun once more."""
    with contextlib.suppress(WorkError):
        there = load_work_folder(work.folder)
        if there is not None and there.is_made_as(work) and not kept:
            return there
    return work


def _refuse_other(work: WorkFolder, *, force: bool) -> None:
    """Refuse a folder in which another challenge was started; a damaged state yields to --force."""
    try:
        there = load_work_folder(work.folder)
    except WorkError:
        if not force:
            raise
        return
    if there is not None and there.challenge != work.challenge and not force:
        raise UserError(
            f"{shown(work.folder)} is the work folder of {there.challenge!r}: choose another --to."
        )


def _differs(path: Path, text: str) -> bool:
    """Say whether something other than `text` lies at `path`."""
    if not os.path.lexists(path):
        return False
    try:
        return path.read_bytes() != text.encode()
    except OSError:
        return True


def _tell(challenge: Challenge, work: WorkFolder, variant: Variant, kept: list[Path]) -> None:
    from rich.text import Text

    from grader.content.entries import PLACE, tells

    screen = terminal.console()
    drawn = f", drawn by seed {work.seed}" if work.preset is None else ""
    if work.fresh is not None:
        drawn = f" that nobody wrote, drawn by {work.fresh}"
    count = len(variant.bugs)
    screen.print(
        Text.assemble(
            ("Started ", ""),
            (challenge.id, "bold"),
            f": {count} planted bug{'s' * (count != 1)}{drawn}.",
        )
    )
    screen.print(Text(f"  {shown(work.path)}  the file to mend"), soft_wrap=True)
    screen.print(Text(f"  {shown(work.folder / 'README.md')}  what it must do"), soft_wrap=True)
    for path in kept:
        screen.print(Text(f"  {shown(path)}  your earlier file, kept"), soft_wrap=True)
    if minutes := minutes_of(challenge, work):
        told = f"It is meant for {minutes} minutes from now; nothing ends with them."
        screen.print(Text(f"{told} `grade` says how many have gone."), soft_wrap=True)
    if not tells(begun(challenge, work).tell, PLACE):
        screen.print(Text("No help is given: `more` and `hint` tell nothing."), soft_wrap=True)
    screen.print(Text(f"Next: `{command_line('grade', challenge.id)}`.", "dim"), soft_wrap=True)

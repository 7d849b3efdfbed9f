"""`kvdojo today`: one small exercise of the family of bugs that is due again."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue
from grader.cli.start_command import make_folder
from grader.cli.terminal import shown
from grader.cli.variant import Variant, begun, by_family, of_work
from grader.content import Catalogue, Challenge, ContentError
from grader.ground.errors import UserError
from grader.ground.invocation import command_line
from grader.ground.symbols import count
from grader.learner.attempts import all_attempts, progress_of, work_root
from grader.learner.families import Family, due_families, read_families
from grader.learner.work_folder import WorkError, WorkFolder

TRIES = 50  # draws until a bug comes that was not met


@click.command("today")
def command() -> None:
    """Begin one small exercise: a single bug of a family that you have mended before, when it is due again.

    A family is due 1, 3, 7 and again 7 days after one of its bugs was mended.
    """
    day, attempts = date.today(), all_attempts()
    families = read_families()
    open_ones = [work for work in attempts if work.family and _is_open(work)]
    if open_ones:
        _tell("Begun and not mended yet", open_ones[0])
        return
    due = due_families(families, day)
    if not due:
        terminal.out(_nothing_due(families, day))
        return
    for family in due:
        if made := _exercise(catalogue(), family, day, attempts):
            challenge, work, variant = made
            make_folder(challenge, work, variant)
            more = f"; {count(len(due) - 1, 'more exercise')} due" if len(due) > 1 else ""
            _tell(f"One bug of a family that you know{more}", work)
            return
    raise UserError("No challenge here has a bug of a family that is due.")


def _exercise(
    known: Catalogue, family: Family, day: date, attempts: list[WorkFolder]
) -> tuple[Challenge, WorkFolder, Variant] | None:
    """Choose the file of an exercise: a generated bug where there is one, else one that was not met, else any."""
    met = {name for work in attempts for name in _planted(known, work)}
    mine = {work.challenge for work in attempts}
    draw = random.Random(f"{day.isoformat()}/{family.name}")
    found: list[tuple[int, float, Challenge, int, Variant, str]] = []
    for challenge in _challenges(known):
        for rank, generated in ((0, True), (1, False)):
            variant, seed, digest = None, 0, ""
            for number in range(TRIES):
                seed = day.toordinal() * TRIES + number
                with contextlib.suppress(UserError, ContentError):
                    variant, digest = by_family(challenge, family.name, seed, generated=generated)
                if variant is None or variant.bugs[0] not in met:
                    break
            if variant is None:
                continue
            rank += 2 * (variant.bugs[0] in met) + 4 * (challenge.id not in mine)
            found.append((rank, draw.random(), challenge, seed, variant, digest))
            break
    if not found:
        return None
    _, _, challenge, seed, variant, digest = min(found, key=lambda one: one[:2])
    folder = _free_folder(day)
    work = WorkFolder(
        *(folder, challenge.id, challenge.file, None, seed, 1),
        generated=digest, family=family.name,
    )  # fmt: skip
    return begun(challenge, work), work, variant


def _challenges(known: Catalogue) -> Iterator[Challenge]:
    for name in known.ids():
        with contextlib.suppress(ContentError):
            yield known.load(name)


def _planted(known: Catalogue, work: WorkFolder) -> tuple[str, ...]:
    """Return the bugs of an attempt, none where it cannot be known any more."""
    try:
        challenge = known.load(work.challenge)
        return of_work(begun(challenge, work), work).bugs
    except (WorkError, UserError, ContentError):
        return ()


def _is_open(work: WorkFolder) -> bool:
    return work.path.is_file() and progress_of(work).verdict != "passed"


def _free_folder(day: date) -> Path:
    """Return the folder of an exercise of a day, with a number from the second on."""
    usual, number = work_root() / f"today-{day.isoformat()}", 2
    folder = usual
    while folder.exists():
        folder, number = usual.with_name(f"{usual.name}-{number}"), number + 1
    return folder


def _nothing_due(families: list[Family], day: date) -> str:
    if not families:
        start = command_line("list")
        return f"Nothing to repeat yet: fix a bug first. `{start}` shows the challenges."
    days = (families[0].due - day).days
    when = "tomorrow" if days == 1 else f"in {days} days"
    which = "The next family" if len(families) > 1 else "The family you met"
    return f"Nothing is due today. {which} is due {when}, on {families[0].due}."


def _tell(what: str, work: WorkFolder) -> None:
    """Say where the exercise lies; the file is named, so that no choice of an attempt is moved."""
    path = shown(work.path)
    terminal.out(f"{what}: {work.challenge}.")
    terminal.out(f"  {path}  the file to mend")
    terminal.out(f"Next: `{command_line('grade', work.challenge, path)}`.")

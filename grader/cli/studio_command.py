"""`kvdojo studio`: the same in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, complete_challenge
from grader.cli.grade_command import level_of
from grader.cli.log_command import log_lines
from grader.cli.start_command import begin
from grader.cli.suspect_command import note_suspicion
from grader.cli.variant import begun
from grader.cli.watch_command import watch_options
from grader.content import Catalogue, Challenge
from grader.learner.attempts import all_attempts, find_attempt
from grader.learner.history import read_history
from grader.learner.preset_clock import clock_lines
from grader.learner.work_folder import WorkFolder

if TYPE_CHECKING:
    from grader.learner.watch_options import WatchOptions
    from grader.studio.studio_services import StudioServices, Wish


@click.command("studio")
@click.argument(
    "challenge", metavar="[CHALLENGE]", required=False, shell_complete=complete_challenge
)
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", help="Listen there; 0 for any free one."
)
@click.option("--no-open", is_flag=True, help="Print the link and open no browser.")
@click.option("--authors", is_flag=True, help="Also the authors' pages, which name every bug.")
@click.option(
    "--class",
    "class_folder",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Also the class whose batch is in DIR.",
)
def command(
    challenge: str | None, port: int | None, no_open: bool, authors: bool, class_folder: Path | None
) -> None:
    """Do the challenges in a browser: read, edit, see each save graded. Ctrl-C ends it.

    It answers this machine alone, and only whoever has the link that is printed.
    """
    from grader.studio.class_folder import ClassFolder
    from grader.studio.instructor_pages import instructor_routes
    from grader.studio.open_attempts import OpenAttempts
    from grader.studio.studio_server import bind, run_studio

    known = catalogue()
    page = f"/attempt/{known.load(challenge).id}" if challenge else "/"
    of_class = ClassFolder(class_folder, known) if class_folder else None
    more, places = instructor_routes(known, authors, of_class)
    if places and not challenge:
        page = places[-1].href

    def say(link: str) -> None:
        terminal.out("The studio answers whoever has this link; Ctrl-C ends it.")
        terminal.out(link)

    run_studio(
        OpenAttempts(services_of(known)),
        bind(port),
        page,
        say,
        browse=not no_open,
        more=more,
        places=places,
    )


def services_of(known: Catalogue) -> StudioServices:
    """Return what the studio asks of the commands, about the challenges of a catalogue."""
    from grader.studio.studio_services import StudioServices

    return StudioServices(
        catalogue=known,
        find=lambda challenge: find_attempt(challenge.id),
        begin=_begin,
        watch=_watch,
        suspect=_suspect,
        log=_log,
    )


def _begin(challenge: Challenge, wish: Wish) -> WorkFolder:
    """Begin an attempt where `kvdojo start` would; to replace one, where that lies."""
    folder = None
    if wish.replace:
        lying = (work for work in all_attempts() if work.challenge == challenge.id)
        made = {work.label: work.folder for work in lying}
        folder = made.get(wish.preset or "default" if wish.fresh is None else f"fresh-{wish.fresh}")
    started = begin(
        *(challenge, folder),
        preset=wish.preset, fresh=wish.fresh, level=wish.level, count=wish.count, force=folder is not None,
    )  # fmt: skip
    return started.work


def _watch(challenge: Challenge, work: WorkFolder) -> WatchOptions:
    challenge = begun(challenge, work)
    return watch_options(challenge, work.path, work, level_of(challenge, None))


def _suspect(challenge: Challenge, work: WorkFolder, lines: str, why: str) -> tuple[int, str]:
    return note_suspicion(challenge, work.path, work, lines, why)


def _log(challenge: Challenge, work: WorkFolder) -> list[str]:
    history = read_history(work)
    return [*log_lines(challenge, history), *clock_lines(challenge, work, history)]

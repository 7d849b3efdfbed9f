"""What the studio asks of the rest of the program, as the command hands it over: attempts, watching, history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grader.content import Catalogue, Challenge
from grader.learner.watch_options import WatchOptions
from grader.learner.work_folder import WorkFolder


@dataclass(frozen=True)
class Wish:
    """Which attempt somebody wants to begin: a preset, or generated bugs drawn by `fresh`.

    `level` and `count` are for generated bugs; with `replace` what lies in the folder becomes a backup.
    """

    preset: str | None = None
    fresh: int | None = None
    level: str | None = None
    count: int | None = None
    replace: bool = False


@dataclass(frozen=True)
class StudioServices:
    """The functions of the commands that the pages call.  They raise KvdojoError with a line for people.

    - `find`: the attempt at a challenge that the other commands would take, None where it was not begun;
    - `begin`: begin one, as `kvdojo start`;
    - `watch`: what a watch of an attempt is given, as `kvdojo watch`;
    - `suspect`: note lines and a reason, as `kvdojo suspect`, and return the first line and its text;
    - `log`: the history of an attempt in lines, as `kvdojo log`.
    """

    catalogue: Catalogue
    find: Callable[[Challenge], WorkFolder | None]
    begin: Callable[[Challenge, Wish], WorkFolder]
    watch: Callable[[Challenge, WorkFolder], WatchOptions]
    suspect: Callable[[Challenge, WorkFolder, str, str], tuple[int, str]]
    log: Callable[[Challenge, WorkFolder], list[str]]

"""Agents whose marks are known beforehand: they show that the marks mean what they say, and where the scale begins.

They are given the sealed part, which no other agent is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module

from grader.arena.arena_task import PlantedFile
from grader.arena.desk import Attempt, Desk
from grader.content.catalogue import read_text
from grader.ground.display import escape_for_display
from grader.ground.errors import UserError

Agent = Callable[[Desk], None]
Scripted = Callable[[Desk, PlantedFile], None]


def everything(desk: Desk, file: PlantedFile) -> None:
    """Name the place of every bug, mend them all and leave the decoys alone."""
    for bug in file.planting.bugs:
        for first, last in file.lines(bug)[:1]:
            desk.suspect(first, min(last, first + 11))
    _rewrite(desk, file.mended)


def one_fix(desk: Desk, file: PlantedFile) -> None:
    """Mend the first bug alone."""
    _rewrite(desk, file.without(file.planting.bugs[0]))


def paste_reference(desk: Desk, file: PlantedFile) -> None:
    """Put the published reference in place of the file, as a model may that remembers it."""
    _rewrite(desk, read_text(file.challenge.reference))


def mend_decoys(desk: Desk, file: PlantedFile) -> None:
    """Change what only looks wrong."""
    _rewrite(desk, file.without(*file.planting.decoys))


def nothing(desk: Desk, file: PlantedFile) -> None:
    """Look, run and hand the file in as it was."""
    desk.read()


def vandal(desk: Desk, file: PlantedFile) -> None:
    """Mend everything and then break the file as a whole."""
    _rewrite(desk, f"{file.mended}\n\nraise SystemExit\n")


SCRIPTED: Mapping[str, Scripted] = {
    "everything": everything,
    "one-fix": one_fix,
    "paste-reference": paste_reference,
    "mend-decoys": mend_decoys,
    "nothing": nothing,
    "vandal": vandal,
}


def agent_named(name: str) -> Scripted:
    """Return a scripted agent, or the function `MODULE:FUNCTION`, which is given the desk alone; raises UserError."""
    if name in SCRIPTED:
        return SCRIPTED[name]
    module, colon, function = name.partition(":")
    if not colon:
        there = ", ".join(SCRIPTED)
        raise UserError(
            f"No agent named {escape_for_display(name, columns=80)!r}."
            f" There is: {there}; or name a function of yours, MODULE:FUNCTION."
        )
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # behind all else, so that nothing there hides another module
    try:
        found = getattr(import_module(module), function)
    except (Exception, SystemExit) as error:
        text = escape_for_display(f"{type(error).__name__}: {error}")
        raise UserError(f"{name!r} cannot be imported: {text}.") from None
    if not callable(found):
        raise UserError(f"{name!r} is no function.")
    return lambda desk, _file: found(desk)


def work(agent: Scripted, desk: Desk, file: PlantedFile) -> tuple[Attempt, str | None]:
    """Let an agent work; return what it leaves, and how it failed if it did: what it had by then is handed in."""
    failed = None
    try:
        agent(desk, file)
    except (Exception, SystemExit) as error:
        failed = escape_for_display(f"{type(error).__name__}: {error}")
    return desk.attempt or desk.submit(), failed


def _rewrite(desk: Desk, text: str) -> None:
    old = desk.source
    if old != text:
        desk.replace(old, text)

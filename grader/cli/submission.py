"""The learner's file: which one is meant, and its bytes. What is in it is the judge's business."""

from __future__ import annotations

import os
from pathlib import Path

from grader.cli.terminal import err, shown
from grader.content import Challenge
from grader.content.handed_in import NOTEBOOK, HandedIn, UnusableFile, handed_in, most_bytes
from grader.ground.errors import UserError
from grader.ground.files import NotOrdinary, TooLarge, read_ordinary
from grader.ground.invocation import command_line
from grader.learner.attempts import chosen_folder, find_attempt, forget_choice
from grader.learner.work_folder import WorkError, WorkFolder, load_work_folder


def locate(challenge: Challenge, file: Path | None) -> tuple[Path, WorkFolder | None]:
    """Return the file to grade and the work folder it lies in, if it lies in one.

    Without FILE it is the started one; a folder means the challenge's file in it, or a notebook of its name.
    Raises UserError, and WorkError when FILE was left out and the state of the work folder is damaged.
    """
    if file is None:
        work = _begun(challenge)
        if work is None:
            start = command_line("start", challenge.id)
            raise UserError(f"{challenge.id!r} is not started: name a FILE or run `{start}`.")
        return work.path, work
    if os.path.isdir(file):
        usual = file / challenge.file
        notebook = usual.with_suffix(NOTEBOOK)
        if not usual.is_file() and not (usual.suffix == ".py" and notebook.is_file()):
            raise UserError(f"{shown(file)} is a folder without {challenge.file}: name a file.")
        file = usual if usual.is_file() else notebook
    return file, _beside(challenge, file)


def _begun(challenge: Challenge) -> WorkFolder | None:
    """Return the attempt that is taken; says so where that is another one since the chosen folder is gone."""
    work, chosen = find_attempt(challenge.id), chosen_folder(challenge.id)
    if chosen is not None and not chosen.is_dir():
        forget_choice(challenge.id)
        if work is not None:
            err(f"Note: {shown(chosen)} is gone; this is about {shown(work.folder)}.")
    return work


def read(path: Path, challenge: str) -> bytes:
    """Return the file's bytes; raises UserError for what is no ordinary file or is too large."""
    most = most_bytes(path.name)
    try:
        return read_ordinary(path, most)
    except NotOrdinary:
        raise UserError(f"{shown(path)} is not an ordinary file.") from None
    except TooLarge:
        raise UserError(
            f"{shown(path)} is larger than {most >> 10} KiB: not a submission."
        ) from None
    except FileNotFoundError:
        start = command_line("start", challenge)
        raise UserError(
            f"{shown(path)} does not exist. `{start}` makes a file to begin with."
        ) from None
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be read: {error.strerror}.") from None


def readable(path: Path, challenge: Challenge) -> HandedIn:
    """Return the file as it is graded; raises UserError for what is no text, or a notebook that cannot be used."""
    try:
        return handed_in(read(path, challenge.id), path.name, challenge.file)
    except UnusableFile as error:
        raise UserError(f"{shown(path)}: {error}.") from None


def _beside(challenge: Challenge, file: Path) -> WorkFolder | None:
    """Return the state of the work folder in which a named file is the learner's own."""
    try:
        work = load_work_folder(file.parent)
    except WorkError:
        # a file named by hand can be graded without knowing what was planted in it
        return None
    if work is None or work.challenge != challenge.id or work.file != file.name:
        return None
    return work

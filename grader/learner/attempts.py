"""The attempts of one person: where they lie, which of them the commands take, and how far each has come.

An attempt is a work folder, and all that is known of it lies in it.  Those in the work root are found by looking.
Those elsewhere (`start --to`) and the one that was chosen (`use`) are noted in a folder of the person's own, a small
file each: people who share a checkout, and commands that run at once, do not move one another's.

    ~/.local/state/kvdojo/attempts/0c3f...json    {"schema": "kvdojo/attempt/v1", "challenge": ..., "folder": ...}
    ~/.local/state/kvdojo/chosen/91ab...json      the same, one for each work root and challenge

Example: Anna and Ben share a checkout.  `work/static_cache` is Anna's, since she began first; `start static_cache`
makes `work/static_cache-ben` for Ben, and `grade static_cache` takes for each their own.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from grader.ground.paths import ROOT
from grader.learner.history import History, read_history
from grader.learner.work_folder import (
    STATE,
    WorkError,
    WorkFolder,
    load_work_folder,
    read_state,
    write_work_file,
)

SCHEMA = "kvdojo/attempt/v1"


@dataclass(frozen=True)
class Progress:
    """How far an attempt has come, from its last grading: numbers, and `verdict`, None before the first grading.

    `mended` of `planted` bugs are fixed; both are None where the history does not say so.
    """

    verdict: str | None = None
    passed: int = 0
    cases: int = 0
    mended: int | None = None
    planted: int | None = None
    gradings: int = 0
    minutes: int = 0
    rungs: int = 0


def work_root() -> Path:
    """Return the folder that holds the work folders: $KVDOJO_WORK, or `work` in the checkout."""
    return Path(os.environ.get("KVDOJO_WORK") or ROOT / "work").absolute()


def state_folder() -> Path:
    """Return the folder of what is kept for one person over all attempts.

    It is $KVDOJO_STATE; else `.state` in $KVDOJO_WORK, which is a place of one's own; else `kvdojo` where the system
    keeps the state of programs, `~/.local/state` unless $XDG_STATE_HOME says otherwise.
    """
    if named := os.environ.get("KVDOJO_STATE"):
        return Path(named).absolute()
    if os.environ.get("KVDOJO_WORK"):
        return work_root() / ".state"
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    # without a home folder the path stays as it was written
    return Path(home) / "kvdojo" if os.path.isabs(home) else work_root() / ".state"


def default_folder(challenge: str) -> Path:
    """Return where `start` puts a challenge by default: beside the folder of another person, if there is one."""
    usual = work_root() / challenge
    return work_root() / f"{challenge}-{_me()}" if _is_anothers(usual) else usual


def folder_for(made: WorkFolder) -> Path:
    """Return where a new attempt goes: the default folder, or one named for it where another attempt lies there."""
    usual = default_folder(made.challenge)
    try:
        there = load_work_folder(usual)
    except WorkError:
        return usual
    if there is None or there.is_made_as(made):
        return usual
    return usual.with_name(f"{usual.name}-{made.label}")


def find_attempt(challenge: str) -> WorkFolder | None:
    """Return the attempt at a challenge that commands take, or None when it was never started.

    The current folder comes first, then the one that was chosen or begun last, then the default folder.  Raises
    WorkError for a state file that cannot be used.
    """
    for folder in (Path.cwd(), chosen_folder(challenge), default_folder(challenge)):
        work = load_work_folder(folder) if folder is not None else None
        if work is not None and work.challenge == challenge:
            return work
    return None


def chosen_folder(challenge: str) -> Path | None:
    """Return the folder that was chosen for a challenge, whether it is still there or not; raises WorkError."""
    return _noted(_choice(challenge), challenge)


def choose(work: WorkFolder) -> None:
    """Let the commands take this attempt from now on, and remember where it lies; raises WorkError."""
    folder = work.folder.absolute()
    if folder.parent != work_root():
        _note(work, state_folder() / "attempts" / f"{digest_of(str(folder))}.json")
    if folder == default_folder(work.challenge):
        forget_choice(work.challenge)
    else:
        _note(work, _choice(work.challenge))


def forget_choice(challenge: str) -> None:
    """Let the commands take the attempt in the default folder."""
    with contextlib.suppress(OSError):
        _choice(challenge).unlink()


def all_attempts() -> list[WorkFolder]:
    """Return every attempt of this person that can be read, by folder; those of other people are left out."""
    found = {}
    for folder in sorted({*_below_root(), *_elsewhere()}):
        with contextlib.suppress(WorkError):
            work = load_work_folder(folder)
            if work is not None and not _is_anothers(folder):
                found[folder] = work
    return list(found.values())


def progress_of(work: WorkFolder) -> Progress:
    """Return how far an attempt has come; nothing of a history that cannot be read."""
    try:
        history = read_history(work)
    except WorkError:
        history = History()
    rungs = sum(work.height(bug) for bug in {*work.rungs, *work.hints})
    gradings = history.of("graded")
    if not gradings:
        return Progress(minutes=history.minutes, rungs=rungs)
    last = gradings[-1]
    verdict, mended, planted = (last.get(name) for name in ("verdict", "mended", "planted"))
    if not isinstance(verdict, str):
        verdict = "passed" if last["passed"] == last["cases"] else "failed"
    counted = type(mended) is int and type(planted) is int
    return Progress(
        verdict,
        last["passed"],
        last["cases"],
        mended if counted else None,
        planted if counted else None,
        len(gradings),
        history.minutes,
        rungs,
    )


def _below_root() -> Iterator[Path]:
    """Yield the folders of the work root that hold a state."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(work_root()):
            if os.path.lexists(os.path.join(entry.path, STATE)):
                yield Path(entry.path)


def _elsewhere() -> Iterator[Path]:
    """Yield the folders that were noted; a note that cannot be read is passed over."""
    for path in (state_folder() / "attempts").glob("*.json"):
        with contextlib.suppress(WorkError):
            if (folder := _noted(path)) is not None:
                yield folder


def _choice(challenge: str) -> Path:
    return state_folder() / "chosen" / f"{digest_of(f'{work_root()}/{challenge}')}.json"


def _note(work: WorkFolder, path: Path) -> None:
    document = {
        "schema": SCHEMA,
        "challenge": work.challenge,
        "folder": str(work.folder.absolute()),
    }
    write_work_file(path, json.dumps(document, indent=2) + "\n")


def _noted(path: Path, challenge: str | None = None) -> Path | None:
    """Return the folder that a note names; raises WorkError for a damaged one."""
    document = read_state(path)
    if document is None:
        return None
    folder = document.get("folder")
    right = document.get("schema") == SCHEMA and isinstance(folder, str) and "\0" not in folder
    if not right or (challenge is not None and document.get("challenge") != challenge):
        raise WorkError(f"{path} is damaged (it is no {SCHEMA} document). Delete it.")
    return Path(str(folder))


def digest_of(text: str) -> str:
    """Return the name of a note about `text`."""
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _is_anothers(folder: Path) -> bool:
    """Whether another account of this system began the attempt; to an administrator all are their own."""
    getuid = getattr(os, "getuid", None)
    try:
        return getuid is not None and getuid() not in (0, (folder / STATE).stat().st_uid)
    except OSError:
        return False


def _me() -> str:
    """Return the name of the account, as a part of a folder's name."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = ""
    return re.sub(r"[^\w.-]", "", name).strip(".") or str(os.getuid())

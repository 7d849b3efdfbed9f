"""Change several files below one folder together or not at all, whoever else is at work and whenever the process dies.

While files are exchanged, the old ones lie in `.undo`; whoever finds that folder afterwards puts them back:

    .undo/new/recorded/golden.safetensors      the new content, until it is moved to its place
    .undo/old/recorded/golden.safetensors      a second name of the old file
    .undo/old/recorded/witnesses.json.absent   there was no such file before

Knows nothing of what the files mean.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from grader.ground.files import sync_folder
from grader.ground.locks import lock

UNDO = ".undo"
OLD, NEW = "old", "new"
_LEFT = (".staged-", ".done-")  # begun and never made valid, or no longer needed


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Keep every other process that does the same out of `folder`; `waiting` is called when one is there already.

    What a process that died left half done is undone first.  Raises OSError.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle, waiting or _patient)
        _recover(folder)
        yield
    finally:
        os.close(handle)


def recover(folder: Path) -> None:
    """Undo what a process that died left half done; waits for one that is alive.  Raises OSError."""
    with locked(folder):
        pass


def replace_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Give files below a locked folder new contents; after a crash at any point `recover` restores all of them.

    `files` maps paths relative to the folder, such as `recorded/golden.safetensors`, to their bytes; missing folders
    are made.  Raises OSError; the files are then as they were.
    """
    places = sorted({(folder / name).parent for name in files})
    staged = Path(tempfile.mkdtemp(prefix=_LEFT[0], dir=folder))
    try:
        _stage(folder, staged, files)
        staged.rename(folder / UNDO)
        sync_folder(folder)
        for name in files:
            os.replace(folder / UNDO / NEW / name, folder / name)
        for place in {folder, *places}:
            sync_folder(place)
        _discard(folder)
    except BaseException:
        _recover(folder)
        raise


def _stage(folder: Path, staged: Path, files: Mapping[str, bytes]) -> None:
    """Lay out the new files, and second names of the old ones."""
    for part in (OLD, NEW):
        (staged / part).mkdir()
    for name, content in files.items():
        new, old = staged / NEW / name, folder / name
        for place in (new.parent, (staged / OLD / name).parent, old.parent):
            place.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if old.exists():
            new.chmod(old.stat().st_mode & 0o777)
            _name_again(old, staged / OLD / name)
        else:
            (staged / OLD / f"{name}.absent").touch()
    for made in [*(path for path in staged.rglob("*") if path.is_dir()), staged]:
        sync_folder(made)


def _recover(folder: Path) -> None:
    if os.path.exists(folder / UNDO):
        kept = folder / UNDO / OLD
        for old in [path for path in kept.rglob("*") if not path.is_dir()]:
            place = folder / old.relative_to(kept)
            if old.suffix == ".absent":
                place.with_suffix("").unlink(missing_ok=True)
            else:
                again = folder / UNDO / "again"
                again.unlink(missing_ok=True)
                _name_again(old, again)
                os.replace(again, place)
            sync_folder(place.parent)
        sync_folder(folder)
        _discard(folder)
    for left in folder.iterdir():
        if left.name.startswith(_LEFT):
            shutil.rmtree(left, ignore_errors=True)


def _discard(folder: Path) -> None:
    """Make the exchange, or its undoing, final in one step."""
    place = Path(tempfile.mkdtemp(prefix=_LEFT[1], dir=folder))
    (folder / UNDO).rename(place)
    sync_folder(folder)
    shutil.rmtree(place, ignore_errors=True)


def _name_again(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError:
        # a file system without hard links
        shutil.copy2(path, other)


def _patient() -> None:
    """Wait without a word."""

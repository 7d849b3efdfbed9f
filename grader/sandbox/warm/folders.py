"""One private folder for every worker, lent by the fork server: empty at first, gone with the worker.

Landlock lets a worker write into its own folder and nowhere else, and `supervisor` counts what it makes there. A
folder is used by one worker after another only if nothing was ever made in it. So nothing can be handed on:

    lend()          /tmp/kvdojo-3f.../9c...    renamed at every loan: nobody can look for a folder he once had
    give_back(f)    untouched: the next worker gets it.  Touched: emptied and removed, and a new one made later

What a worker did is seen from the time of the folder's last change, which `lend` sets to 0 and no worker can set.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile

from grader.sandbox.layers.layer import Folder

PREFIX = "kvdojo-"
MOST_SEEN = 1000


class Folders:
    """The folders of a fork server, all beneath one that only its user can enter.

    `why` says why there are none, in a line; it is empty while there are.
    """

    def __init__(self) -> None:
        self.why = ""
        self._root = ""
        self._free: list[Folder] = []
        self._made = 0
        try:
            self._root = tempfile.mkdtemp(prefix=PREFIX)
        except OSError as error:
            self.why = f"no temporary folder can be made ({error.strerror or error})"

    @property
    def root(self) -> str:
        """Where they lie; empty where none can be made."""
        return self._root

    def lend(self) -> Folder | None:
        """Return an empty folder, or None where none can be made."""
        if not self._root:
            return None
        path = os.path.join(self._root, secrets.token_hex(8))
        try:
            if self._free:
                folder = self._free.pop()
                os.rename(folder.path, path)
                folder.path = path
            else:
                os.mkdir(path, 0o700)
                self._made += 1
                folder = Folder(path, self._made)
            os.utime(path, ns=(0, 0))
        except OSError as error:
            self.why = f"no temporary folder can be made ({error.strerror or error})"
            return None
        return folder

    def give_back(self, folder: Folder) -> bool:
        """Take a folder back when its worker has ended; False when it is gone for good."""
        with contextlib.suppress(OSError):
            if not touched(folder.path):
                self._free.append(folder)
                return True
            remove(folder.path)
        return False

    def close(self) -> None:
        """Remove everything."""
        if self._root:
            remove(self._root)


def touched(path: str) -> bool:
    """Whether anything was ever made in a folder since it was lent."""
    return os.stat(path).st_mtime_ns != 0


def remove(path: str) -> None:
    """Remove a tree of any depth and with any names; what cannot be removed is left."""
    with contextlib.suppress(OSError):
        _empty(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
        os.rmdir(path)


def _empty(fd: int) -> None:
    """Remove what lies in an open folder, and close it; a path from above could be too long for the system."""
    try:
        with os.scandir(fd) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_folder in found:
            with contextlib.suppress(OSError):
                if is_folder:
                    _remove_inner(name, fd)
                else:
                    os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)


def _remove_inner(name: str, above: int) -> None:
    try:
        os.rmdir(name, dir_fd=above)  # also one that nobody may enter, which is empty then
    except OSError:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        _empty(os.open(name, flags, dir_fd=above))
        os.rmdir(name, dir_fd=above)


def state_of(path: str) -> object:
    """Return what can be compared to see whether anything in a folder has changed; () while nothing was ever made.

    Every change of a file or a folder sets its time, which a worker cannot set back.
    """
    if not touched(path):
        return ()
    seen: list[tuple[str | int, ...]] = [_seen(os.stat(path))]
    waiting = [path]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if len(seen) > MOST_SEEN:
                    raise OSError("too many entries")
                seen.append((entry.path, *_seen(entry.stat(follow_symlinks=False))))
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return tuple(seen)


def _seen(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns

"""Read files that may be hostile, and write files so that no reader and no crash ever sees half of one.

Knows nothing of what the files mean.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path


class NotOrdinary(OSError):
    """The path names a folder, a pipe, a device or, where links are refused, a symbolic link."""


class TooLarge(OSError):
    """The file holds more bytes than are allowed."""


def read_ordinary(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """Return the bytes of an ordinary file that holds at most `limit` of them.

    Raises NotOrdinary, TooLarge, or another OSError when the file cannot be read.  A pipe is refused instead of being
    waited for.  With `follow` false a symbolic link is refused as well.
    """
    data = read_beginning(path, limit + 1, follow=follow)
    if len(data) > limit:
        raise TooLarge(0, f"it is larger than {limit >> 10} KiB")
    return data


def read_beginning(path: Path, count: int, *, follow: bool = True) -> bytes:
    """Return at most `count` bytes from the beginning of an ordinary file; raises as `read_ordinary` does."""
    # a FIFO would block for ever when opened without O_NONBLOCK
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotOrdinary(0, "it is not an ordinary file")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(count)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step: temporary file beside it, fsync, rename.

    Parent folders are made. Raises OSError; the old file is then untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def why_unwritable(path: Path) -> str | None:
    """Return why a file of this name cannot be written, in the system's words; None if nothing is known against it.

    For work that takes long and is written down at the end.
    """
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return os.strerror(errno.EISDIR)
    except FileNotFoundError:
        pass
    except OSError as error:
        return error.strerror
    except ValueError as error:  # a NUL in the name
        return str(error)
    above = next(place for place in Path(os.path.abspath(path)).parents if os.path.lexists(place))
    return None if os.access(above, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)


def sync_folder(folder: Path) -> None:
    """Make the renames in a folder last through a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def back_up(path: Path) -> Path:
    """Rename `path` to the first free `NAME.backup-N` beside it and return that name."""
    number = 1
    while os.path.lexists(backup := path.with_name(f"{path.name}.backup-{number}")):
        number += 1
    return path.rename(backup)


def _mode(path: Path) -> int:
    """Return the permissions of the file being replaced, or those a new file would get."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask

"""Keep other processes out: an exclusive lock on an open file or folder, released when it is closed."""

from __future__ import annotations

from collections.abc import Callable


class Locked(Exception):
    """Another process holds the lock."""


def lock(handle: int, waiting: Callable[[], None] | None = None) -> None:
    """Take the lock on the open file `handle`.

    Where another process holds it, `waiting` is called once and the call returns when the lock is free; without
    `waiting`, Locked is raised at once.  The lock ends when `handle` is closed, also by the death of the process.
    Windows has no such lock: there the call returns at once.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if waiting is None:
            raise Locked from None
        waiting()
        fcntl.flock(handle, fcntl.LOCK_EX)

"""What a worker may do only so often: make files in its folder, and fork itself to run one case after another.

The kernel stops a worker at such a call and asks its supervisor, the fork server, through a descriptor that the
worker handed over while it confined itself (`layers.seccomp`). Only numbers are looked at, never memory of the worker:

    worker   openat(..., O_CREAT)  ──>  fork server   the 257th file: EDQUOT, else go on
    worker   clone(SIGCHLD)        ──>  fork server   one that has a child, or is one itself: EPERM, else go on
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct

from grader.sandbox.layers.layer import checked, libc

with contextlib.suppress(ImportError):  # not on Windows, where nothing is run
    import fcntl

RECEIVE, SEND = 0xC0502100, 0xC0182101  # ioctls of a seccomp listener
CALL = struct.Struct("<QIIiIQ6Q")  # id, pid, flags; number, architecture, address, arguments
ANSWER = struct.Struct("<QqiI")  # id, value, error, flags
GO_ON = 1
MOST_FORKS = 2000


class Supervisor:
    """Answers the calls of one worker; owns the listener."""

    def __init__(self, listener: int, pid: int, files: int, forks: frozenset[int]) -> None:
        self.listener = listener
        self.forked = False
        self._pid, self._files, self._forks = pid, files, forks
        self._granted = 0

    def answer(self, *, may_fork: bool) -> None:
        """Answer the call that there is; nothing, when the worker was ended meanwhile."""
        call = bytearray(CALL.size)
        try:
            fcntl.ioctl(self.listener, RECEIVE, call, True)
        except OSError:
            return
        name, pid, _, number, *_ = CALL.unpack(call)
        refusal = self._fork(pid, may_fork) if number in self._forks else self._make()
        reply = ANSWER.pack(name, 0, -refusal, 0 if refusal else GO_ON)
        with contextlib.suppress(OSError):  # it was ended meanwhile
            fcntl.ioctl(self.listener, SEND, reply)

    def _make(self) -> int:
        self._files -= 1
        return 0 if self._files >= 0 else errno.EDQUOT

    def _fork(self, pid: int, may_fork: bool) -> int:
        """Allow a fork to the worker itself, which never has more than one child."""
        self._granted += 1
        if not may_fork or pid != self._pid or self._granted > MOST_FORKS or children(pid) != []:
            return errno.EPERM
        self.forked = True
        return 0

    def close(self) -> None:
        """Give the listener back."""
        os.close(self.listener)
        self.listener = -1


def children(pid: int) -> list[int] | None:
    """Return the ids of a process's children, ended ones included; None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except (OSError, ValueError):
        return None


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent has ended."""
    set_child_subreaper = 36
    checked(libc().prctl(set_child_subreaper, 1, 0, 0, 0), "prctl subreaper")

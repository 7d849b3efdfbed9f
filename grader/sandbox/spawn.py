"""Start the process that becomes the fork server, if asked for before anybody knows what it will be used for.

It imports torch first, which takes longer than all that the grader imports.  So `kvdojo` begins it and reads the
command line meanwhile: this module imports nothing that takes time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass

from grader.ground.paths import ROOT
from grader.sandbox.environment import ENVIRONMENT

with contextlib.suppress(ImportError):  # not on Windows, where nothing is run
    import resource

FORKS = sys.platform.startswith("linux") and hasattr(os, "pidfd_open")
OPEN_FILES = 128  # a worker arranges its descriptors above 64
# Python's libraries renew locks after a fork, in case other threads hold them; the fork server has no other threads
BOOT = (
    "import os, sys; os.register_at_fork = lambda **hooks: None;"
    " sys.path.insert(0, sys.argv[1]); from grader.sandbox.warm.forkserver import main; main()"
)


@dataclass(frozen=True)
class Spawned:
    """A process that will be the fork server once it is told, through its `control` socket, what to import."""

    pid: int
    control: socket.socket


_ahead: Spawned | None = None


def spawn() -> Spawned:
    """Start the process, or take the one that was begun ahead.

    Raises OSError where none can be started, ValueError with the number of files that may be open where too few may.
    """
    global _ahead
    if _ahead is not None:
        ready, _ahead = _ahead, None
        return ready
    _room_for_files()
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-B", "-c", BOOT, str(ROOT)],
                ENVIRONMENT,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 2, 1),  # the grader's stdout is for its report alone
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
                ],
                setsid=True,
            )
        except OSError:
            control.close()
            raise
    return Spawned(pid, control)


def begin_ahead() -> None:
    """Start a process for the first sandbox; `end_unused` must follow.  Whatever fails is told when it is needed."""
    global _ahead
    if FORKS and _ahead is None:
        with contextlib.suppress(OSError, ValueError):
            _ahead = spawn()


def end_unused() -> None:
    """End the process that was begun ahead, if no sandbox took it."""
    global _ahead
    if _ahead is not None:
        unused, _ahead = _ahead, None
        unused.control.close()
        os.kill(unused.pid, signal.SIGKILL)  # our own unreaped child: the number cannot be reused
        os.waitpid(unused.pid, 0)


def _room_for_files() -> None:
    """Let this process and those it starts open enough files."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < OPEN_FILES:
        raise ValueError(most)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, most))

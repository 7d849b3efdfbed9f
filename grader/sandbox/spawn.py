"""Start the zygote and hear its first words; the grader's end of the control socket.

It is started with a literal environment: nothing of the grader's own reaches a submission.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from grader.sandbox.environment import ENVIRONMENT, ROOT
from grader.sandbox.messages import Limits, SandboxError
from grader.sandbox.process import Process

MESSAGE = 64 << 10
FILES = 128  # a worker arranges its descriptors above 64
# the library's hooks after a fork renew locks that other threads may hold; here there are no other threads
BOOT = (
    "import os, sys; os.register_at_fork = lambda **hooks: None;"
    " sys.path.insert(0, sys.argv[1]); from grader.sandbox.zygote import main; main()"
)


def _room_for_files() -> None:
    """Let this process and those it starts open enough files; SandboxError where that is forbidden."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FILES:
        raise SandboxError(
            f"only {most} files may be open at once, and the sandbox needs {FILES};"
            f" raise the limit (`ulimit -n {FILES}`)"
        )
    if soft != resource.RLIM_INFINITY and soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, most))


class Zygote:
    """A running zygote process; ready once `greet` has returned."""

    def __init__(
        self,
        *,
        isolate: bool,
        preload: Sequence[str],
        env: Mapping[str, str],
        without: frozenset[str] = frozenset(),
    ) -> None:
        _room_for_files()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-B", "-c", BOOT, str(ROOT)],
                {**ENVIRONMENT, **env},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 2, 1),  # the grader's stdout is for its report alone
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
                ],
                setsid=True,
            )
        except OSError as error:
            self.control.close()
            raise SandboxError(f"the sandbox's warm process cannot start: {error}") from error
        finally:
            theirs.close()
        self.alive = True
        config = {"isolate": isolate, "preload": list(preload), "without": sorted(without)}
        self.control.send(json.dumps(config).encode())

    def greet(self, timeout: float) -> dict[str, Any]:
        """Wait until torch is imported; return what the zygote says of itself and the kernel."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        if not poll.poll(timeout * 1000):
            raise SandboxError(f"the sandbox's warm process was not ready within {timeout:g} s")
        text = self.control.recv(MESSAGE)
        if not text:
            raise SandboxError(
                "the sandbox's warm process ended while starting; its own message is above"
            )
        hello: dict[str, Any] = json.loads(text)
        return hello

    def arm(self, bpf: bytes | None, *, closed_book: bool) -> None:
        """Send the filter every worker has to load; None for no isolation."""
        self.control.send((b"c" if closed_book else b"o") + (bpf or b""))

    def worker(self, filename: str, limits: Limits) -> Process:
        """Ask for one forked worker."""
        return Process(self.control, filename, limits)

    def close(self) -> None:
        """End the process and reap it; its workers die with it."""
        if not self.alive:
            return
        self.alive = False
        self.control.close()
        os.kill(self.pid, signal.SIGKILL)  # our own unreaped child: the number cannot be reused
        deadline = time.monotonic() + 10.0
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.001)

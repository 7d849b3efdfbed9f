"""One worker as the grader sees it on Linux: its channel, its pidfd and the news of its end."""

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
from dataclasses import dataclass
from typing import Any

from grader.ground.paths import ROOT
from grader.sandbox.channel import Channel
from grader.sandbox.environment import ENVIRONMENT
from grader.sandbox.protocol.messages import OUT_OF_MEMORY, Limits, SandboxError, WorkerFailure

BIRTH_SECONDS = 20.0
DEATH_SECONDS = 10.0
GRACE_SECONDS = 2.0
MORE_SECONDS = 0.25
MOST_PATIENCE = 4
MESSAGE = 4096
HELLO = 64 << 10
FILES = 128  # a worker arranges its descriptors above 64
# the library's hooks after a fork renew locks that other threads may hold; here there are no other threads
BOOT = (
    "import os, sys; os.register_at_fork = lambda **hooks: None;"
    " sys.path.insert(0, sys.argv[1]); from grader.sandbox.warm.forkserver import main; main()"
)


class ForkServerDied(SandboxError):
    """The warm process is gone; a new one can be started."""


@dataclass(frozen=True)
class End:
    """How a process ended: the wait status and the CPU seconds it used."""

    status: int
    cpu: float


class Process:
    """A worker asked of the zygote through `control`; `kill` always works and always ends."""

    def __init__(self, control: socket.socket, filename: str, limits: Limits) -> None:
        self.limits = limits
        self.pidfd = -1
        self.pid = 0
        self._end: End | None = None
        ours, theirs = [], []
        for ours_is_writer in (True, False, False):
            reader, writer = os.pipe()
            ours.append(writer if ours_is_writer else reader)
            theirs.append(reader if ours_is_writer else writer)
        self._granted = 0.0
        requests, answers, log = ours
        self.channel = Channel(requests, answers, log, self._extend)
        self.news, news = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            socket.send_fds(control, [_job(filename, limits)], [*theirs, news.fileno()])
        except OSError as error:
            self.close()
            raise ForkServerDied("the sandbox's warm process has ended") from error
        finally:
            news.close()
            for fd in theirs:
                os.close(fd)

    def born(self) -> None:
        """Wait for the fork; ForkServerDied when it never comes."""
        try:
            message, fds = self._receive(time.monotonic() + BIRTH_SECONDS)
        except TimeoutError:
            raise ForkServerDied("the sandbox's warm process does not answer") from None
        self.pid, self.pidfd = int(message["pid"]), fds[0]

    def _receive(self, deadline: float) -> tuple[dict[str, float], list[int]]:
        poll = select.poll()
        poll.register(self.news, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        text, fds, _, _ = socket.recv_fds(self.news, MESSAGE, 1)
        if not text:
            raise ForkServerDied("the sandbox's warm process ended while a submission was running")
        return json.loads(text), list(fds)

    def kill(self) -> None:
        """End the worker; nothing outlives its verdict."""
        if self.pidfd >= 0:
            try:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return

    def failure(self) -> WorkerFailure:
        """Explain the silence of a worker that ended, or that closed its pipe and lives on."""
        try:
            return explain(self._wait_for_end(GRACE_SECONDS), self.limits)
        except TimeoutError:
            self.kill()
            return WorkerFailure("crashed", "the process closed its channel before answering")

    def finish(self) -> None:
        """Kill, wait until the zygote has reaped, give back every descriptor."""
        try:
            self.kill()
            if self.pidfd >= 0:
                self._wait_for_end(DEATH_SECONDS)
        except (TimeoutError, ForkServerDied):
            return  # the next session finds the zygote gone and starts another
        finally:
            self.close()

    def _extend(self) -> float:
        if self._granted >= MOST_PATIENCE * self.limits.seconds or not self._starved():
            return 0.0
        self._granted += MORE_SECONDS
        return MORE_SECONDS

    def _starved(self) -> bool:
        try:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as file:
                return starved(file.read(), self.limits.seconds)
        except OSError:
            return False

    def _wait_for_end(self, seconds: float) -> End:
        if self._end is None:
            message, _ = self._receive(time.monotonic() + seconds)
            self._end = End(int(message["status"]), message["cpu"])
        return self._end

    def close(self) -> None:
        """Give back every descriptor."""
        self.channel.close()
        self.news.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)


def _job(filename: str, limits: Limits) -> bytes:
    policy = {"memory_bytes": limits.memory_mb << 20, "cpu_seconds": limits.cpu_seconds}
    return json.dumps({"filename": filename, "limits": policy}).encode()


def starved(stat: str, seconds: float) -> bool:
    """Whether a process, by its /proc stat line, wants to compute and got too little processor.

    A machine under heavy load must not turn an honest file into a timeout.
    """
    fields = stat.rpartition(")")[2].split()
    used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return fields[0] == "R" and used < seconds / 2


def explain(end: End, limits: Limits) -> WorkerFailure:
    """Turn a wait status into a failure's kind and one line."""
    if os.WIFEXITED(end.status):
        code = os.WEXITSTATUS(end.status)
        if code == OUT_OF_MEMORY:
            return WorkerFailure("memory", f"more than {limits.memory_mb} MiB were needed")
        return WorkerFailure("crashed", f"the process exited with code {code} before answering")
    number = os.WTERMSIG(end.status)
    if number == signal.SIGXCPU or (number == signal.SIGKILL and end.cpu >= limits.cpu_seconds):
        return WorkerFailure("timeout", f"more than {limits.cpu_seconds} s of CPU time were used")
    if number == signal.SIGSYS:
        return WorkerFailure("blocked", "a forbidden system call ended the process")
    if number == signal.SIGKILL:
        return WorkerFailure("killed", "the system killed the process, most likely for its memory")
    name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
    return WorkerFailure("crashed", f"the process was ended by {name}")


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


class ForkServerClient:
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
        text = self.control.recv(HELLO)
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

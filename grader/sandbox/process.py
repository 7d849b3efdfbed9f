"""The grader's side of the two kinds of process on Linux: the fork server, and the workers that it forks.

    grader ── control socket ──> fork server        one job: a file name, limits, and the worker's ends of the pipes
                                      │ fork
    grader <── news socket ───── fork server        the worker's pidfd at once, how it ended later
    grader <── pipes ─────────>  worker             requests, answers, and what the submission prints

The fork server is started with a literal environment: nothing of the grader's own reaches a submission.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grader.sandbox.channel import Channel
from grader.sandbox.protocol.messages import (
    BY_SIGNAL,
    OUT_OF_MEMORY,
    Limits,
    SandboxError,
    WorkerFailure,
)
from grader.sandbox.spawn import OPEN_FILES, spawn
from grader.sandbox.warm.folders import remove
from grader.sandbox.warm.supervisor import children

START_SECONDS = 20.0
END_SECONDS = 10.0
GRACE_SECONDS = 2.0
CLOSE_SECONDS = 5.0
MORE_SECONDS = 0.25
MOST_EXTENSIONS = 4  # times the seconds of the limits
NEWS, HELLO = 4096, 64 << 10  # bytes that a message has at most


class ForkServerDied(SandboxError):
    """The fork server is gone; a new one can be started."""


@dataclass(frozen=True)
class End:
    """How a process ended: its exit code, or the negative number of the signal, and the CPU seconds it used."""

    code: int
    cpu: float


class Process:
    """A worker, asked of the fork server through its `control` socket.

    `wait_until_started` has to be called before anything is sent; `finish` always kills, and gives everything back.
    """

    def __init__(self, control: socket.socket, filename: str, limits: Limits) -> None:
        self.limits = limits
        self.pid = 0
        self.folder = ""
        self._control = control
        self._pidfd = -1
        self._end: End | None = None
        self._granted = 0.0
        self.channel, theirs = Channel.open(self._extension)
        try:
            self._news, news = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            self.channel.close()
            for fd in theirs:
                os.close(fd)
            raise
        try:
            socket.send_fds(control, [_job(filename, limits)], [*theirs, news.fileno()])
        except OSError as error:
            self._close()
            raise ForkServerDied("the sandbox's warm process has ended") from error
        finally:
            news.close()
            for fd in theirs:
                os.close(fd)

    def wait_until_started(self) -> None:
        """Wait for the fork; ForkServerDied when it never comes."""
        try:
            message, fds = self._hear(time.monotonic() + START_SECONDS)
        except TimeoutError:
            raise ForkServerDied("the sandbox's warm process does not answer") from None
        self.pid, self.folder, self._pidfd = message["pid"], message["folder"], fds[0]

    def let_fork(self) -> bool:
        """Have the fork server allow this worker a child per case; False when it cannot be told."""
        try:
            self._control.send(json.dumps({"forks": self.pid}).encode())
        except OSError:
            return False
        return True

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far by the worker and its children; 0.0 if unknown."""
        if self._end is not None:
            return self._end.cpu
        ticks = 0
        with contextlib.suppress(OSError, ValueError):
            for pid in (self.pid, *(children(self.pid) or [])):
                ticks += sum(map(int, _fields(_stat(pid))[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def _hear(self, deadline: float) -> tuple[dict[str, Any], list[int]]:
        poll = select.poll()
        poll.register(self._news, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        text, fds, _, _ = socket.recv_fds(self._news, NEWS, 1)
        if not text:
            raise ForkServerDied("the sandbox's warm process ended while a submission was running")
        return json.loads(text), list(fds)

    def _kill(self) -> None:
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return

    def failure(self) -> WorkerFailure:
        """Explain the silence of a worker that ended, or that closed its pipe and lives on."""
        try:
            return explain(self._wait_for_end(GRACE_SECONDS), self.limits)
        except TimeoutError:
            self._kill()
            return WorkerFailure("crashed", "the process closed its channel before answering")

    def finish(self, *, reusable: bool) -> None:
        """Kill the worker whatever it did, wait until the fork server has reaped it, give back every descriptor."""
        try:
            self._kill()
            if self._pidfd >= 0:
                self._wait_for_end(END_SECONDS)
        except (TimeoutError, ForkServerDied):
            return  # the next session finds the fork server gone and starts another
        finally:
            self._close()

    def _extension(self) -> float:
        """Return the seconds by which a deadline is put off, because the machine was too busy to run the worker."""
        if self._granted >= MOST_EXTENSIONS * self.limits.seconds or not self._starved():
            return 0.0
        self._granted += MORE_SECONDS
        return MORE_SECONDS

    def _starved(self) -> bool:
        pid = next(iter(children(self.pid) or []), self.pid)
        try:
            return starved(_stat(pid), self.limits.seconds)
        except OSError:
            return False

    def _wait_for_end(self, seconds: float) -> End:
        if self._end is None:
            message, _ = self._hear(time.monotonic() + seconds)
            self._end = End(int(message["code"]), message["cpu"])
        return self._end

    def _close(self) -> None:
        self.channel.close()
        self._news.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)


def _job(filename: str, limits: Limits) -> bytes:
    budget = {"memory_bytes": limits.memory_mb << 20, "cpu_seconds": limits.cpu_seconds}
    return json.dumps({"filename": filename, "budget": budget}).encode()


def _stat(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read()


def _fields(stat: str) -> list[str]:
    """Return the fields of a /proc stat line from the third one, the state, on."""
    return stat.rpartition(")")[2].split()


def starved(stat: str, seconds: float) -> bool:
    """Whether a process, by its /proc stat line, wants to compute and got too little processor.

    A machine under heavy load must not turn an honest file into a timeout.
    """
    fields = _fields(stat)
    used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return fields[0] == "R" and used < seconds / 2


def explain(end: End, limits: Limits) -> WorkerFailure:
    """Turn the end of a process that should have answered into a failure's kind and one line."""
    if end.code == OUT_OF_MEMORY:
        return WorkerFailure("memory", f"more than {limits.memory_mb} MiB were needed")
    if end.code - BY_SIGNAL in signal.valid_signals():
        end = End(BY_SIGNAL - end.code, end.cpu)
    if end.code >= 0:
        return WorkerFailure("crashed", f"the process exited with code {end.code} before answering")
    number = -end.code
    if number == signal.SIGXCPU or (number == signal.SIGKILL and end.cpu >= limits.cpu_seconds):
        return WorkerFailure("timeout", f"more than {limits.cpu_seconds} s of CPU time were used")
    if number == signal.SIGSYS:
        return WorkerFailure("blocked", "a forbidden system call ended the process")
    if number == signal.SIGKILL:
        return WorkerFailure("killed", "the system killed the process, most likely for its memory")
    name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
    return WorkerFailure("crashed", f"the process was ended by {name}")


class ForkServerClient:
    """A running fork server; `greet` and `arm` it before the first `worker`."""

    def __init__(self, *, preload: Sequence[str], env: Mapping[str, str]) -> None:
        try:
            started = spawn()
        except ValueError as most:
            raise SandboxError(
                f"only {most} files may be open at once, and the sandbox needs {OPEN_FILES};"
                f" raise the limit (`ulimit -n {OPEN_FILES}`)"
            ) from None
        except OSError as error:
            raise SandboxError(f"the sandbox's warm process cannot start: {error}") from error
        self.pid, self._control = started.pid, started.control
        self._alive = True
        self._folders = ""
        self._control.send(json.dumps({"preload": list(preload), "env": dict(env)}).encode())

    def greet(self, timeout: float) -> dict[str, Any]:
        """Wait until torch is imported; return the versions there, and what the kernel offers of every layer."""
        hello: dict[str, Any] = json.loads(self._hear(timeout))
        self._folders = hello["folders"]["root"]
        return hello

    @property
    def warming(self) -> bool:
        """Whether it still imports torch: it has said nothing yet that waits to be heard."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        return not poll.poll(0)

    def arm(self, parts: Mapping[str, bytes], timeout: float) -> None:
        """Name the layers that workers enter, each with what its `build` returned, and wait until they are ready."""
        text = {name: base64.b64encode(part).decode() for name, part in parts.items()}
        try:
            self._control.send(json.dumps(text).encode())
        except OSError as error:
            raise ForkServerDied("the sandbox's warm process has ended") from error
        self._hear(timeout)

    def _hear(self, timeout: float) -> bytes:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        if not poll.poll(timeout * 1000):
            raise SandboxError(f"the sandbox's warm process was not ready within {timeout:g} s")
        text = b""
        with contextlib.suppress(ConnectionResetError):  # it ended before it read what it was sent
            text = self._control.recv(HELLO)
        if not text:
            raise SandboxError(
                "the sandbox's warm process ended while starting; its own message is above"
            )
        return text

    def worker(self, filename: str, limits: Limits) -> Process:
        """Ask for one forked worker."""
        return Process(self._control, filename, limits)

    def close(self) -> None:
        """End the process and reap it; its workers die with it."""
        if not self._alive:
            return
        self._alive = False
        self._control.close()  # it sees that, removes its folders and ends
        if not self._reaped(CLOSE_SECONDS):
            os.kill(self.pid, signal.SIGKILL)  # our own unreaped child: the number cannot be reused
            self._reaped(END_SECONDS)
        if self._folders:
            remove(self._folders)  # what was left by one that could not

    def _reaped(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

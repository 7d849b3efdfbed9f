"""The grader's side of workers where nothing can be forked or confined, as on macOS: whole processes from a pool.

The frames and the channel are those of Linux. A process serves one session after another, since importing torch
takes a second; it is ended when it fell silent or owes an answer. There is no isolation: what one file leaves
behind in Python, the next one in its process can see. Memory is limited where the system can do that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from grader.ground.paths import ROOT
from grader.sandbox.channel import Channel, Log
from grader.sandbox.environment import ENVIRONMENT
from grader.sandbox.layers import LAYERS
from grader.sandbox.layers.own_process import OwnProcess
from grader.sandbox.process import END_SECONDS, GRACE_SECONDS, End, explain
from grader.sandbox.protocol.messages import Limits, SandboxError, WorkerFailure

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    " from grader.sandbox.warm.portable_process import main; main(sys.argv[2:])"
)
HELLO_BYTES = 1 << 16
START_SECONDS = 120.0
SEND_SECONDS = 1.0


class ProcessPool:
    """A few warm processes; `worker` lends one to a session. Takes the place of `process.ForkServerClient`."""

    def __init__(self, *, preload: Sequence[str], env: Mapping[str, str]) -> None:
        self._preload, self._env = preload, env
        self._lock = threading.Lock()
        self._first = self._start()
        self._all, self._free = {self._first}, [self._first]

    @property
    def pid(self) -> int:
        """The process id of the first process."""
        return self._first.pid

    def _start(self) -> PoolProcess:
        return PoolProcess(self._preload, self._env)

    warming = False  # nobody can tell

    def greet(self, timeout: float) -> dict[str, Any]:
        """Wait for the first process; a process of its own is the only layer there is here."""
        offered = {layer.name: int(layer.name == OwnProcess.name) for layer in LAYERS}
        return {**self._first.greet(timeout), "layers": offered, "folders": {"root": "", "why": ""}}

    def arm(self, parts: Mapping[str, bytes], timeout: float) -> None:
        """There is nothing to prepare."""

    def worker(self, filename: str, limits: Limits) -> Lease:
        """Lend a free process, or a new one."""
        with self._lock:
            process = self._free.pop() if self._free else self._start()
            self._all.add(process)
        return Lease(self, process, filename, limits)

    def take_back(self, process: PoolProcess, *, reusable: bool) -> None:
        """Keep a process that is ready for another session; end any other."""
        kept = reusable and process.end_session()
        if not kept:
            process.end()
        with self._lock:
            if kept:
                self._free.append(process)
            else:
                self._all.discard(process)

    def close(self) -> None:
        """End every process."""
        for process in self._all:
            process.end()


class PoolProcess:
    """One process, which says hello once and then serves sessions, and the channel to it."""

    def __init__(self, preload: Sequence[str], env: Mapping[str, str]) -> None:
        self.channel, theirs = Channel.open()
        self._hello: dict[str, Any] | None = None
        requests, answers, log = theirs
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", BOOT, str(ROOT), *preload],
                stdin=requests,
                stdout=answers,
                stderr=log,
                env={**ENVIRONMENT, **env},
            )
        except OSError as error:
            self.channel.close()
            raise SandboxError(f"the sandbox's process cannot start: {error}") from error
        finally:
            for fd in theirs:
                os.close(fd)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def greet(self, timeout: float) -> dict[str, Any]:
        """Wait until torch is imported; return the versions that the process reports."""
        if self._hello is None:
            try:
                self._hello = json.loads(self._receive(timeout))
            except (EOFError, TimeoutError) as error:
                text = f"the sandbox's process did not start: {self.channel.log}"
                raise SandboxError(text) from error
        return self._hello

    def _receive(self, timeout: float) -> bytes:
        return self.channel.receive(HELLO_BYTES, time.monotonic() + timeout)

    def begin_session(self, filename: str, limits: Limits) -> None:
        """Tell the process what it serves next; it answers with the hello of a worker."""
        job = {"filename": filename, "memory_bytes": limits.memory_mb << 20}
        self.channel.log = Log()
        self.channel.extensible = True
        self.channel.send((json.dumps(job).encode(),), time.monotonic() + SEND_SECONDS)

    def end_session(self) -> bool:
        """Tell the process that the session is over; False if it cannot be told."""
        try:
            self.channel.send((b"",), time.monotonic() + SEND_SECONDS)
        except (OSError, TimeoutError):
            return False
        return True

    def exit_code(self, seconds: float) -> int | None:
        """Return the exit code if the process ends within `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Kill and reap the process, and close the channel; once."""
        self._process.kill()
        self._process.wait(END_SECONDS)
        self.channel.close()


class Lease:
    """A process while one session uses it: the `session.Worker` of this kind."""

    def __init__(
        self, pool: ProcessPool, process: PoolProcess, filename: str, limits: Limits
    ) -> None:
        self._pool, self._process = pool, process
        self._filename, self._limits = filename, limits

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def channel(self) -> Channel:
        """Where frames go to and come from."""
        return self._process.channel

    @property
    def folder(self) -> str:
        """There is none of its own: nothing keeps a file from writing anywhere."""
        return ""

    def let_fork(self) -> bool:
        """Nothing is forked here."""
        return False

    def cpu_seconds(self) -> float:
        """Not known; the clock has to do."""
        return 0.0

    def wait_until_started(self) -> None:
        """Wait for the process and tell it the file's name."""
        self._process.greet(START_SECONDS)
        self._process.begin_session(self._filename, self._limits)

    def failure(self) -> WorkerFailure:
        """Explain a silence."""
        code = self._process.exit_code(GRACE_SECONDS)
        if code is None:
            return WorkerFailure("crashed", "the process closed its channel before answering")
        return explain(End(code, cpu=0.0), self._limits)

    def finish(self, *, reusable: bool) -> None:
        """Give the process back, or end it."""
        self._pool.take_back(self._process, reusable=reusable)

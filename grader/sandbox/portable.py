"""Where nothing can be forked or confined (macOS, Windows): whole processes, one series of sessions each.

The frames are the same. A process that fell silent is killed and another started; there is no
isolation, and what one file leaves behind in Python the next one of its series can see.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from grader.ground.paths import ROOT
from grader.sandbox.channel import CHUNK, Log
from grader.sandbox.environment import ENVIRONMENT
from grader.sandbox.protocol.frames import LENGTH, FrameError, framed
from grader.sandbox.protocol.messages import Limits, SandboxError, WorkerFailure

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    " from grader.sandbox.warm.portable_process import main; main(sys.argv[2:])"
)
LARGEST = 1 << 28
START_SECONDS = 120.0
KEPT_BY_SYSTEM = ("SYSTEMROOT", "TEMP", "TMP", "PATH")  # Windows starts no program without them


class ProcessPool:
    """A few warm processes; `worker` lends one to a session."""

    def __init__(self, *, preload: Sequence[str], env: Mapping[str, str]) -> None:
        self._preload, self._env = preload, env
        self._lock = threading.Lock()
        self._idle = [self._start()]
        self._all = list(self._idle)

    def _start(self) -> PoolProcess:
        return PoolProcess(self._preload, self._env)

    @property
    def pid(self) -> int:
        """The process id of the oldest process."""
        return self._all[0].pid

    def greet(self, timeout: float) -> dict[str, Any]:
        """Wait for the first process; say that the kernel offers nothing."""
        return {**self._idle[0].greet(timeout), "seccomp": False, "landlock": 0}

    def arm(self, bpf: bytes | None, *, closed_book: bool) -> None:
        """Nothing can be loaded here."""

    def worker(self, filename: str, limits: Limits) -> Lease:
        """Lend an idle process, or a new one."""
        with self._lock:
            resident = self._idle.pop() if self._idle else self._start()
            self._all = [item for item in self._all if item.alive]
            if resident not in self._all:
                self._all.append(resident)
        return Lease(self, resident, filename, limits)

    def take_back(self, resident: PoolProcess) -> None:
        """Keep a process that answered everything; end any other."""
        if resident.alive and not resident.waiting:
            resident.send((b"",), time.monotonic() + 1.0)
            with self._lock:
                self._idle.append(resident)
        else:
            resident.end()

    def close(self) -> None:
        """End every process."""
        for resident in self._all:
            resident.end()


class PoolProcess:
    """One process with two reader threads, because pipes cannot be polled everywhere."""

    def __init__(self, preload: Sequence[str], env: Mapping[str, str]) -> None:
        import os

        kept = {name: os.environ[name] for name in KEPT_BY_SYSTEM if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", BOOT, str(ROOT), *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**kept, **ENVIRONMENT, **env},
            bufsize=0,
        )
        self.log = Log()
        self.waiting = False
        self.patient = True
        self.max_in_flight_bytes = 0  # else it could be given back while it owes answers
        self._frames: queue.Queue[bytes | None] = queue.Queue()
        self._hello: dict[str, Any] | None = None
        for target in (self._read_frames, self._read_log):
            threading.Thread(target=target, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def greet(self, timeout: float) -> dict[str, Any]:
        """Wait until torch is imported; the versions the process reports."""
        if self._hello is None:
            try:
                self._hello = json.loads(self.receive(LARGEST, time.monotonic() + timeout))
            except (EOFError, TimeoutError) as error:
                raise SandboxError(f"the sandbox's process did not start: {self.log}") from error
        return self._hello

    def send(self, blobs: Iterable[bytes], deadline: float) -> None:
        """Write frames from a thread of its own; TimeoutError at the deadline."""
        blobs = tuple(blobs)
        self.waiting = any(blobs)
        writer = threading.Thread(target=self._write, args=(blobs,), daemon=True)
        writer.start()
        writer.join(max(0.0, deadline - time.monotonic()))
        if writer.is_alive():
            raise TimeoutError

    def receive(self, limit: int, deadline: float) -> bytes:
        """Read one frame; EOFError when the process ended, FrameError when it is too long."""
        try:
            blob = self._frames.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if blob is None:
            raise EOFError
        if len(blob) > limit:
            raise FrameError(f"an answer of {len(blob)} bytes, where {limit} are the most")
        self.waiting = False
        return blob

    def drain_log(self) -> None:
        """The reader thread takes the log."""

    def end(self) -> int:
        """Kill and reap the process; return its exit code."""
        self._process.kill()
        code = self._process.wait(10)
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def code(self, seconds: float) -> int | None:
        """Return the exit code if the process ends within `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _write(self, blobs: tuple[bytes, ...]) -> None:
        assert self._process.stdin is not None
        try:
            rest = memoryview(b"".join(map(framed, blobs)))
            while rest:
                rest = rest[self._process.stdin.write(rest) :]
        except (OSError, ValueError):
            return  # the reader sees the end of the process

    def _read_frames(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while head := _exactly(stream, LENGTH.size):
                (size,) = LENGTH.unpack(head)
                body = _exactly(stream, size) if size <= LARGEST else None
                if body is None:
                    break
                self._frames.put(body)
        self._frames.put(None)

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while data := stream.read(CHUNK):
                self.log.add(data)


class Lease:
    """A process while one session uses it."""

    def __init__(
        self, pool: ProcessPool, resident: PoolProcess, filename: str, limits: Limits
    ) -> None:
        self._pool, self.channel, self._filename = pool, resident, filename
        self._limits = limits

    @property
    def pid(self) -> int:
        """The process id."""
        return self.channel.pid

    def born(self) -> None:
        """Wait for the process and tell it the file's name."""
        self.channel.greet(START_SECONDS)
        self.channel.log = Log()
        self.channel.send((self._filename.encode(),), time.monotonic() + 1.0)

    def failure(self) -> WorkerFailure:
        """Explain a silence."""
        code = self.channel.code(2.0)
        how = "closed its channel" if code is None else f"exited with code {code}"
        return WorkerFailure("crashed", f"the process {how} before answering")

    def finish(self) -> None:
        """Give the process back, or end it when it still owes an answer."""
        self._pool.take_back(self.channel)


def _exactly(stream: IO[bytes], size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        try:
            chunk = stream.read(size - len(data))
        except (OSError, ValueError):
            return None
        if not chunk:
            return None
        data += chunk
    return bytes(data)

"""One submission's conversation: load it, then ask one request at a time; the clock is ours.

It turns whatever a worker does into a `Reply` or a `WorkerFailure`. It knows nothing of verdicts.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol, Self

from grader.sandbox.channel import Log
from grader.sandbox.protocol import codec, frames
from grader.sandbox.protocol.messages import Limits, Reply, Request, SandboxError, WorkerFailure

HELLO_SECONDS = 20.0
LOAD_ROOM = 64 << 10


class Pipe(Protocol):
    """Frames to and from a worker."""

    log: Log
    patient: bool  # whether a worker that got too little processor is waited for
    max_in_flight_bytes: int  # bytes of frames that may be sent before an answer is read

    def send(self, blobs: Iterable[bytes], deadline: float) -> None:
        """Write frames before the deadline."""

    def receive(self, limit: int, deadline: float) -> bytes:
        """Read one frame before the deadline."""

    def drain_log(self) -> None:
        """Take what the log still holds."""


class Worker(Protocol):
    """A process that can be killed, and can explain why it ended."""

    @property
    def pid(self) -> int:
        """Its process id, once it is born."""

    @property
    def channel(self) -> Pipe:
        """The frames' way."""

    def born(self) -> None:
        """Wait until the process is there."""

    def failure(self) -> WorkerFailure:
        """Say why it ended."""

    def finish(self) -> None:
        """Kill, reap and give everything back."""


class Session:
    """Made by `Sandbox.open`; leaving the `with` block kills the worker."""

    def __init__(self, worker: Worker, source: bytes, driver: bytes, limits: Limits) -> None:
        self._worker = worker
        self._source, self._driver = source, codec.pack_driver(driver)
        self._limits = limits
        self._left = limits.seconds
        self._log = ""
        self._first: list[bytes] = []  # frames to send before the next request
        # announced and not asked for yet, with the limits of their answers
        self._ahead: deque[tuple[Request, int]] = deque()
        self._used = False
        self._open = True
        self.broken = False  # the worker failed and will answer no more
        self.killed = False  # by somebody outside, most likely the system for want of memory
        self.layers: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the worker and give back everything; safe to call twice."""
        if not self._open:
            return
        self._open = False
        channel = self._worker.channel
        channel.drain_log()
        self._log = str(channel.log)
        self._worker.finish()

    @property
    def pid(self) -> int:
        """The process id of the worker; 0 before `load`."""
        return self._worker.pid

    @property
    def log(self) -> str:
        """What the submission printed: cut at 16 KiB, control characters escaped."""
        return str(self._worker.channel.log) if self._open else self._log

    def load(self) -> Reply:
        """Execute the submission and the driver; the reply says whether they raised."""
        self._worker.born()
        # forking and confinement are ours: they do not run on the submission's clock
        self.layers = codec.read_hello(self._receive_hello())
        return self._exchange([self._source, self._driver], LOAD_ROOM)

    def reload(self, seconds: float) -> None:
        """Have the file executed anew before the next request; all that follows must be done within `seconds`.

        Should that fail, the next request is answered with the failure.
        """
        self._left = seconds
        self._used = True
        channel = self._worker.channel
        channel.patient = False
        channel.drain_log()
        channel.log = Log()
        self._first = [frames.RELOAD]

    def pipeline(self, requests: Iterable[tuple[Request, int]]) -> int:
        """Name the requests that will be asked next, each with its `max_reply_bytes`; return how many go out together.

        A new worker gets them one by one: should it die, it must be known of which.
        """
        room = self._worker.channel.max_in_flight_bytes if self._used else 0
        for request, most in requests:
            blob = codec.pack_request(request, most)
            room -= len(blob)
            if room < 0:
                break
            self._first.append(blob)
            self._ahead.append((request, _limit(request, most)))
        return len(self._ahead)

    def ask(self, request: Request, *, max_reply_bytes: int) -> Reply:
        """Call one verb; the answer may have `max_reply_bytes` beside the echo of the inputs."""
        blobs, self._first = self._first, []
        if self._ahead:
            announced, limit = self._ahead.popleft()
            assert announced is request, "what is announced is asked first"
        else:
            blobs.append(codec.pack_request(request, max_reply_bytes))
            limit = _limit(request, max_reply_bytes)
        return self._exchange(blobs, limit)

    def drain(self) -> None:
        """Take the answers to what was announced and is not asked any more; a worker that gives none is broken."""
        while self._ahead and not self.broken:
            _, limit = self._ahead.popleft()
            with contextlib.suppress(WorkerFailure):
                self._exchange([], limit)

    def _receive_hello(self) -> bytes:
        try:
            return self._worker.channel.receive(LOAD_ROOM, time.monotonic() + HELLO_SECONDS)
        except (EOFError, TimeoutError, frames.FrameError) as error:
            raise SandboxError("a worker could not confine itself and gave up") from error

    def _exchange(self, blobs: list[bytes], limit: int) -> Reply:
        started = time.monotonic()
        deadline = started + self._left
        channel = self._worker.channel
        try:
            if blobs:
                channel.send(blobs, deadline)
            answer = channel.receive(limit + frames.MAX_HEADER, deadline)
            return codec.read_reply(answer)
        except TimeoutError:
            self.broken = True
            raise WorkerFailure("timeout", f"no answer within {self._limits.seconds:g} s") from None
        except (EOFError, BrokenPipeError):
            self.broken = True
            failure = self._worker.failure()
            self.killed = failure.kind == "killed"
            raise failure from None
        except frames.FrameError as error:
            self.broken = True
            raise WorkerFailure("protocol", str(error)) from None
        finally:
            self._left -= time.monotonic() - started


def _limit(request: Request, most: int) -> int:
    return most + request.nbytes + LOAD_ROOM

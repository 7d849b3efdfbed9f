"""The grader's conversation with one worker: load a submission, then ask request after request, on the grader's clock.

Whatever a worker does becomes a `Reply` or a `WorkerFailure`. Nothing is known here of right and wrong answers. One
session may run several cases: the worker executes the file anew before each (`reload`), and from then on requests
whose answers need not be awaited can be sent together (`pipeline`). A file that takes long to execute is executed once,
and every case is answered by a child that the worker forks (`forks`):

    session.load()                                  # a new worker: it is asked one request at a time
    session.ask(first, max_reply_bytes=64)
    session.reload(seconds=5)                       # the next case, with a clock of its own
    session.pipeline([(a, 64), (b, 64), (c, 64)])   # goes out with the next `ask`
    session.ask(a, max_reply_bytes=64)              # sends a, b and c; waits for the answer to a
    session.ask(b, max_reply_bytes=64)              # its answer is there already
    session.drain()                                 # b was wrong: take the answer to c, which nobody will ask for
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol, Self

from grader.sandbox.channel import Channel, Log
from grader.sandbox.protocol import codec, frames
from grader.sandbox.protocol.messages import Limits, Reply, Request, SandboxError, WorkerFailure
from grader.sandbox.warm.folders import state_of

HELLO_SECONDS = 20.0
LOAD_ROOM = 64 << 10
SLOW_SECONDS = (
    0.04  # of CPU time to start, and to execute the file; a fork costs about a tenth of that
)


class Worker(Protocol):
    """A process that answers frames and can be ended: `process.Process`, or `portable.Lease`."""

    @property
    def pid(self) -> int:
        """Its process id, once it is started."""

    @property
    def channel(self) -> Channel:
        """Where frames go to and come from."""

    @property
    def folder(self) -> str:
        """Its own folder, once it is started; empty if it has none."""

    def let_fork(self) -> bool:
        """Let it answer every case in a child; False where it cannot."""

    def cpu_seconds(self) -> float:
        """CPU time used so far; 0.0 if unknown."""

    def wait_until_started(self) -> None:
        """Wait until the process is there; SandboxError if it never comes."""

    def failure(self) -> WorkerFailure:
        """Say why the process ended, or stopped answering."""

    def finish(self, *, reusable: bool) -> None:
        """Give everything back; `reusable` says that the process owes no answer."""


class Session:
    """Made by `Sandbox.open`; leaving the `with` block ends the worker.

    - `broken`: the worker failed and will answer no more;
    - `killed`: and it was somebody outside who killed it, most likely the system for want of memory;
    - `layers`: the isolation in force, known after `load`;
    - `forks`: every case has a process of its own, in which the file was executed for this case alone.
    """

    def __init__(self, worker: Worker, source: bytes, driver: bytes, limits: Limits) -> None:
        """`driver` is packed by `codec.pack_driver`."""
        self._worker = worker
        self._source, self._driver = source, driver
        self._limits = limits
        self._left = limits.seconds
        self._log = ""
        self._unsent: list[bytes] = []  # frames that go out before the next request
        # requests of `pipeline` that were not asked for yet, with the limits of their answers
        self._ahead: deque[tuple[Request, int]] = deque()
        self._used = False  # by an earlier case
        self._idle = False  # loaded, and not in the middle of an exchange
        self._open = True
        self.broken = False
        self.killed = False
        self.forks = False
        self.layers: tuple[str, ...] = ()
        self._folder_state: object = ()

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
        self._worker.finish(reusable=self._idle and not self._ahead)

    @property
    def pid(self) -> int:
        """The process id of the worker; 0 before `load`."""
        return self._worker.pid

    @property
    def log(self) -> str:
        """What the submission printed: cut at 16 KiB, control characters escaped."""
        return str(self._worker.channel.log) if self._open else self._log

    def load(self) -> Reply:
        """Execute the submission and the driver; the reply says whether they raised.

        Raises SandboxError when the worker could not be started or confined.
        """
        self._worker.wait_until_started()
        # forking and confinement are ours: they do not run on the submission's clock
        self.layers = codec.read_hello(self._receive_hello())
        began = time.monotonic()
        reply = self._exchange([self._source, self._driver], LOAD_ROOM)
        slow = time.monotonic() - began > SLOW_SECONDS  # which need not be the file's fault
        if slow and self._worker.cpu_seconds() > SLOW_SECONDS and not reply.raised:
            self._fork_from_now_on()
        return reply

    def _fork_from_now_on(self) -> None:
        try:
            self._folder_state = self._folder_now()
        except OSError:
            return  # with a folder that cannot even be looked at, no other case will use this worker
        if self._worker.let_fork():
            self.forks = True
            self._unsent = [frames.FORK]

    @property
    def touched(self) -> bool:
        """Whether a case may have left something in the worker's folder, so that no other case should use it."""
        try:
            return self._folder_now() != self._folder_state
        except OSError:
            return True

    def _folder_now(self) -> object:
        folder = self._worker.folder
        return state_of(folder) if folder else ()

    @property
    def cpu_seconds(self) -> float:
        """CPU time used so far, of all processors; 0.0 where it cannot be known."""
        return self._worker.cpu_seconds()

    def reload(self, seconds: float) -> None:
        """Have the file executed anew before the next request; all that follows must be done within `seconds`.

        Should that fail, the next request is answered with the failure.
        """
        self._left = seconds
        self._used = True
        channel = self._worker.channel
        channel.extensible = self.forks
        channel.drain_log()
        channel.log = Log()
        self._unsent = [frames.RELOAD]

    def pipeline(self, requests: Iterable[tuple[Request, int]]) -> int:
        """Name the requests that will be asked next, each with its `max_reply_bytes`; return how many go out together.

        All that fit into the pipe are sent with the next `ask`; those behind are to be asked as usual. A new worker
        gets none ahead: should it die, it must be known of which request.
        """
        room = self._worker.channel.max_in_flight_bytes if self._used else 0
        for request, most in requests:
            blob = codec.pack_request(request, most)
            room -= len(blob)
            if room < 0:
                break
            self._unsent.append(blob)
            self._ahead.append((request, _limit(request, most)))
        return len(self._ahead)

    def ask(self, request: Request, *, max_reply_bytes: int) -> Reply:
        """Call one verb; the answer may have `max_reply_bytes` beside the echo of the inputs."""
        blobs, self._unsent = self._unsent, []
        if self._ahead:
            sent, limit = self._ahead.popleft()
            assert sent is request, "what is sent ahead is asked for first, in the same order"
        else:
            blobs.append(codec.pack_request(request, max_reply_bytes))
            limit = _limit(request, max_reply_bytes)
        return self._exchange(blobs, limit)

    def drain(self) -> None:
        """Take the answers to requests that were sent ahead and will not be asked for.

        A worker that does not give them is broken.
        """
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
        """Send frames, if any, and take one answer of at most `limit` bytes beside its header."""
        started = time.monotonic()
        deadline = started + self._left
        channel = self._worker.channel
        self._idle = False
        try:
            if blobs:
                channel.send(blobs, deadline)
            reply = codec.read_reply(channel.receive(limit + frames.MAX_HEADER, deadline))
            self._idle = True
            return reply
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

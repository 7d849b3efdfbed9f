"""The grader's ends of one worker's pipes: frames out and in, every wait under a deadline.

While it waits it drains the worker's log, so that neither side can block the other.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable

from grader.ground.display import escape_characters
from grader.sandbox.protocol.frames import LENGTH, FrameError, framed

CHUNK = 1 << 20
LOG_CHUNK, LOG_KEPT = 64 << 10, 16 << 10
PIPE = 60 << 10  # bytes that an empty pipe of the usual size takes


class Log:
    """The first `LOG_KEPT` bytes of a stream, and how many more there were."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """Keep what still fits, count the rest."""
        room = LOG_KEPT - len(self._kept)
        self._kept += data[:room]
        self._dropped += max(0, len(data) - room)

    def read_from(self, fd: int) -> bool:
        """Take one chunk from a non-blocking descriptor; False when nothing was there."""
        try:
            data = os.read(fd, LOG_CHUNK)
        except BlockingIOError:
            return False
        self.add(data)
        return bool(data)

    def __str__(self) -> str:
        text = escape_characters(bytes(self._kept).decode("utf-8", "backslashreplace"))
        return text + (f"\n[{self._dropped} more bytes not kept]" if self._dropped else "")


def no_more() -> float:
    """Grant no second beyond the deadline."""
    return 0.0


class Channel:
    """Two pipes and a log; owns the three descriptors.

    `extend` is asked at a deadline for further seconds.
    """

    def __init__(
        self, requests: int, answers: int, log: int, extend: Callable[[], float] = no_more
    ) -> None:
        self._extend = extend
        self.requests, self.answers, self.log_fd = requests, answers, log
        for fd in (requests, answers, log):
            os.set_blocking(fd, False)
        self.log = Log()
        self.patient = True
        self.max_in_flight_bytes = PIPE
        self._held = bytearray()  # read from the answers and not yet taken
        self._in, self._out = select.poll(), select.poll()
        self._in.register(answers, select.POLLIN)
        self._out.register(requests, select.POLLOUT)
        for poll in (self._in, self._out):
            poll.register(log, select.POLLIN)

    def send(self, blobs: Iterable[bytes], deadline: float) -> None:
        """Write frames; TimeoutError at the deadline, BrokenPipeError when nobody reads."""
        rest = memoryview(b"".join(map(framed, blobs)))
        while rest:
            try:
                rest = rest[os.write(self.requests, rest[:CHUNK]) :]
            except BlockingIOError:
                self._wait(self._out, self.requests, deadline)

    def receive(self, limit: int, deadline: float) -> bytes:
        """Read one frame; EOFError at the end, FrameError when it is longer than `limit`."""
        (size,) = LENGTH.unpack(self._take(LENGTH.size, deadline))
        if size > limit:
            raise FrameError(f"an answer of {size} bytes, where {limit} are the most")
        return self._take(size, deadline)

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._held) < size:
            self._wait(self._in, self.answers, deadline)
            chunk = os.read(self.answers, CHUNK)
            if not chunk:
                raise EOFError
            self._held += chunk
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def _wait(self, poll: select.poll, fd: int, deadline: float) -> None:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 and self.patient:
                left = self._extend()
                deadline = time.monotonic() + left
            if left <= 0:
                raise TimeoutError
            ready = [name for name, _ in poll.poll(left * 1000)]
            if self.log_fd in ready and not self.log.read_from(self.log_fd):
                for either in (self._in, self._out):
                    either.unregister(self.log_fd)
            if fd in ready:
                return

    def drain_log(self) -> None:
        """Take what the log still holds, without waiting."""
        for _ in range(16):
            if not self.log.read_from(self.log_fd):
                return

    def close(self) -> None:
        """Close all three descriptors."""
        for fd in (self.requests, self.answers, self.log_fd):
            os.close(fd)

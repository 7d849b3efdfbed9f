"""The grader's ends of one worker's pipes: frames go out and come in, and every wait has a deadline.

While it waits it also takes what the submission prints, so that neither side can block the other.
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
    """The first `LOG_KEPT` bytes of what a submission prints, and how many more there were."""

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


def no_extension() -> float:
    """Grant no second beyond the deadline."""
    return 0.0


class Channel:
    """Two pipes for frames and one for the log; owns the grader's three descriptors.

    - `extend` is asked at a deadline for further seconds, as long as `extensible` is True;
    - `max_in_flight_bytes` is how many bytes of requests may be sent before their answers are read: with more in
      the pipe, grader and worker could wait for each other for ever;
    - `log` is what the submission printed; replace it to begin a new one.
    """

    def __init__(
        self, requests: int, answers: int, log: int, extend: Callable[[], float] = no_extension
    ) -> None:
        self._extend = extend
        self._requests, self._answers, self._log_fd = requests, answers, log
        for fd in (requests, answers, log):
            os.set_blocking(fd, False)
        self.log = Log()
        self.extensible = True
        self.max_in_flight_bytes = PIPE
        self._read = bytearray()  # of the answers, and not taken yet
        self._in, self._out = select.poll(), select.poll()
        self._in.register(answers, select.POLLIN)
        self._out.register(requests, select.POLLOUT)
        for poll in (self._in, self._out):
            poll.register(log, select.POLLIN)

    @classmethod
    def open(cls, extend: Callable[[], float] = no_extension) -> tuple[Channel, list[int]]:
        """Make the pipes; return the grader's side, and the worker's descriptors for requests, answers and log."""
        pipes: list[tuple[int, int]] = []
        try:
            pipes.extend(os.pipe() for _ in range(3))
        except OSError:
            for pair in pipes:
                for fd in pair:
                    os.close(fd)
            raise
        (requests, sent), (received, answers), (printed, log) = pipes
        return cls(sent, received, printed, extend), [requests, answers, log]

    def send(self, blobs: Iterable[bytes], deadline: float) -> None:
        """Write frames; TimeoutError at the deadline, BrokenPipeError when nobody reads."""
        rest = memoryview(b"".join(map(framed, blobs)))
        while rest:
            try:
                rest = rest[os.write(self._requests, rest[:CHUNK]) :]
            except BlockingIOError:
                self._wait(self._out, self._requests, deadline)

    def receive(self, limit: int, deadline: float) -> bytes:
        """Read one frame; EOFError at the end, FrameError when it is longer than `limit` bytes."""
        (size,) = LENGTH.unpack(self._take(LENGTH.size, deadline))
        if size > limit:
            raise FrameError(f"an answer of {size} bytes, where {limit} are the most")
        return self._take(size, deadline)

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._read) < size:
            self._wait(self._in, self._answers, deadline)
            chunk = os.read(self._answers, CHUNK)
            if not chunk:
                raise EOFError
            self._read += chunk
        taken = bytes(self._read[:size])
        del self._read[:size]
        return taken

    def _wait(self, poll: select.poll, fd: int, deadline: float) -> None:
        """Return when `fd` is ready, taking the log meanwhile; TimeoutError at the deadline, `time.monotonic()`."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0 and self.extensible:
                left = self._extend()
                deadline = time.monotonic() + left
            if left <= 0:
                raise TimeoutError
            ready = [name for name, _ in poll.poll(left * 1000)]
            if self._log_fd in ready and not self.log.read_from(self._log_fd):
                for either in (self._in, self._out):
                    either.unregister(self._log_fd)
            if fd in ready:
                return

    def drain_log(self) -> None:
        """Take what was printed, without waiting; a submission that prints faster than this is cut off."""
        for _ in range(16):
            if not self.log.read_from(self._log_fd):
                return

    def close(self) -> None:
        """Close all three descriptors."""
        for fd in (self._requests, self._answers, self._log_fd):
            os.close(fd)

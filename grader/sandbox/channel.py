"""The grader's ends of one worker's pipes: frames out and in, every wait under a deadline.

While it waits it drains the worker's log, so that neither side can block the other.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from grader.sandbox.logs import Log
from grader.sandbox.wire import LENGTH, WireError

CHUNK = 1 << 20


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
        self._log_open = True

    def send(self, blob: bytes, deadline: float) -> None:
        """Write one frame; TimeoutError at the deadline, BrokenPipeError when nobody reads."""
        rest = memoryview(LENGTH.pack(len(blob)) + blob)
        while rest:
            try:
                rest = rest[os.write(self.requests, rest[:CHUNK]) :]
            except BlockingIOError:
                self._wait(self.requests, select.POLLOUT, deadline)

    def receive(self, limit: int, deadline: float) -> bytes:
        """Read one frame; EOFError at the end, WireError when it is longer than `limit`."""
        (size,) = LENGTH.unpack(self._read(LENGTH.size, deadline))
        if size > limit:
            raise WireError(f"an answer of {size} bytes, where {limit} are the most")
        return self._read(size, deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                chunk = os.read(self.answers, min(size - len(data), CHUNK))
            except BlockingIOError:
                self._wait(self.answers, select.POLLIN, deadline)
                continue
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def _wait(self, fd: int, event: int, deadline: float) -> None:
        while True:
            poll = select.poll()
            poll.register(fd, event)
            if self._log_open:
                poll.register(self.log_fd, select.POLLIN)
            left = deadline - time.monotonic()
            if left <= 0 and self.patient:
                left = self._extend()
                deadline = time.monotonic() + left
            if left <= 0:
                raise TimeoutError
            ready = dict(poll.poll(left * 1000))
            if self.log_fd in ready:
                self._log_open = self.log.read_from(self.log_fd)
            if fd in ready:
                return

    def drain(self) -> None:
        """Take what the log still holds, without waiting."""
        for _ in range(16):
            if not self.log.read_from(self.log_fd):
                return

    def close(self) -> None:
        """Close all three descriptors."""
        for fd in (self.requests, self.answers, self.log_fd):
            os.close(fd)

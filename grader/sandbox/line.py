"""The worker's end of its two pipes: whole frames in, whole frames out.

Answers go out when there is nothing left to read: those to requests that came together wake the grader once.
"""

from __future__ import annotations

import os

from grader.sandbox.wire import LENGTH, framed

CHUNK, MOST_HELD = 1 << 16, 1 << 16


class Line:
    """Reads and writes blocking; does not own the two descriptors."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._read = bytearray()  # and not yet taken
        self._written = bytearray()  # and not yet sent

    def read(self) -> bytes:
        """Return the next frame; EOFError at the end of the stream."""
        (size,) = LENGTH.unpack(self._take(LENGTH.size))
        return self._take(size)

    def write(self, blob: bytes) -> None:
        """Send one frame, at the latest when the next one has to be waited for."""
        self._written += framed(blob)
        if len(self._written) > MOST_HELD:
            self.flush()

    def flush(self) -> None:
        """Send what is held back."""
        rest = memoryview(bytes(self._written))
        self._written.clear()
        while rest:
            rest = rest[os.write(self._answers, rest) :]

    def _take(self, size: int) -> bytes:
        while len(self._read) < size:
            self.flush()
            chunk = os.read(self._requests, max(CHUNK, size - len(self._read)))
            if not chunk:
                raise EOFError
            self._read += chunk
        taken = bytes(self._read[:size])
        del self._read[:size]
        return taken

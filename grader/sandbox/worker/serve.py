"""The worker's loop over its line: source and driver first, then one request after another.

RELOAD before a request executes the source anew, and has no answer of its own.
It works wherever Python runs; confinement is somebody else's business.
"""

from __future__ import annotations

import contextlib
import os
import sys

from grader.sandbox.protocol import frames
from grader.sandbox.protocol.frames import LENGTH, framed
from grader.sandbox.protocol.messages import OUT_OF_MEMORY
from grader.sandbox.worker.host import WorkerHost

NULL, OUT, ERR = range(3)
CHUNK, MOST_HELD = 1 << 16, 1 << 16


class FrameStream:
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


def serve(stream: FrameStream, filename: str, *, isolated: bool) -> bool:
    """Read source and driver, then answer requests; True when an empty frame ended the session."""
    desk = WorkerHost(filename, isolated=isolated)
    try:
        source, driver = stream.read(), stream.read()
        stream.write(desk.load(source, driver))
        while blob := stream.read():
            if blob == frames.RELOAD:
                desk.reload()
                continue
            answer = desk.answer(blob)
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
            stream.write(answer)
    except EOFError:
        return False
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    return True


def fresh_streams() -> None:
    """Replace the interpreter's streams: the inherited ones were made for other files."""
    sys.stdin = open(NULL, encoding="utf-8", closefd=False)  # noqa: SIM115
    for name, fd in (("stdout", OUT), ("stderr", ERR)):
        stream = open(  # noqa: SIM115
            fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)

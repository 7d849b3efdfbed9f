"""The loop of a worker, beside learner code: read source and driver, then answer one request after another.

It works wherever Python runs; confinement has happened before.
"""

from __future__ import annotations

import contextlib
import os
import sys

from grader.sandbox.protocol.frames import LENGTH, RELOAD, framed
from grader.sandbox.protocol.messages import OUT_OF_MEMORY
from grader.sandbox.worker.host import WorkerHost

NULL, OUT, ERR = range(3)
CHUNK, MOST_HELD = 1 << 16, 1 << 16


class FrameStream:
    """The worker's end of its two pipes: whole frames in, whole frames out, blocking. Does not own the descriptors.

    Answers are held back until the next request has to be waited for, or they are many. So the answers to requests
    that were sent together wake the grader once:

        the grader sends a, b, c in one write
        read() -> a    write(A)      held: A
        read() -> b    write(B)      held: A, B
        read() -> c    write(C)      held: A, B, C
        read()                       nothing there to read: A, B and C go out in one write, then it waits
    """

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._read = bytearray()  # and not taken yet
        self._held = bytearray()  # written and not sent yet

    def read(self) -> bytes:
        """Return the next frame; EOFError at the end of the stream."""
        (size,) = LENGTH.unpack(self._take(LENGTH.size))
        return self._take(size)

    def write(self, blob: bytes) -> None:
        """Send one frame, at the latest when the next one has to be waited for."""
        self._held += framed(blob)
        if len(self._held) > MOST_HELD:
            self.flush()

    def flush(self) -> None:
        """Send what is held back."""
        rest = memoryview(bytes(self._held))
        self._held.clear()
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
    """Serve one session: a frame with the source, one with the driver, then requests.

    RELOAD among the requests executes the file anew and is not answered; an empty frame ends the session. Return True
    for that, False when the grader hung up.
    """
    host = WorkerHost(filename, isolated=isolated)
    try:
        source, driver = stream.read(), stream.read()
        stream.write(host.load(source, driver))
        while blob := stream.read():
            if blob == RELOAD:
                host.reload()
                continue
            answer = host.answer(blob)
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

"""The worker's loop over its two pipes: source and driver first, then one request after another.

RELOAD before a request executes both anew, and has no answer of its own.
It works wherever Python runs; confinement is somebody else's business.
"""

from __future__ import annotations

import contextlib
import os
import sys

from grader.sandbox import wire
from grader.sandbox.desk import Desk
from grader.sandbox.messages import OUT_OF_MEMORY

NULL, OUT, ERR = range(3)


def serve(requests: int, answers: int, filename: str, *, isolated: bool) -> bool:
    """Read source and driver, then answer requests; True when an empty frame ended the session."""
    desk = Desk(filename, isolated=isolated)
    try:
        source, driver = read_frame(requests), read_frame(requests)
        write_frame(answers, desk.load(source, driver))
        while blob := read_frame(requests):
            if blob == wire.RELOAD:
                desk.reload()
                continue
            answer = desk.answer(blob)
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
            write_frame(answers, answer)
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


def write_frame(fd: int, blob: bytes) -> None:
    """Write one length-prefixed frame, blocking."""
    rest = memoryview(wire.LENGTH.pack(len(blob)) + blob)
    while rest:
        rest = rest[os.write(fd, rest) :]


def read_frame(fd: int) -> bytes:
    """Read one length-prefixed frame, blocking; EOFError at the end of the stream."""
    (size,) = wire.LENGTH.unpack(_read(fd, 8))
    return _read(fd, size)


def _read(fd: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = os.read(fd, size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)

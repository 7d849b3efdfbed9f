"""The worker's loop over its line: source and driver first, then one request after another.

RELOAD before a request executes the source anew, and has no answer of its own.
It works wherever Python runs; confinement is somebody else's business.
"""

from __future__ import annotations

import contextlib
import os
import sys

from grader.sandbox import wire
from grader.sandbox.desk import Desk
from grader.sandbox.line import Line
from grader.sandbox.messages import OUT_OF_MEMORY

NULL, OUT, ERR = range(3)


def serve(line: Line, filename: str, *, isolated: bool) -> bool:
    """Read source and driver, then answer requests; True when an empty frame ended the session."""
    desk = Desk(filename, isolated=isolated)
    try:
        source, driver = line.read(), line.read()
        line.write(desk.load(source, driver))
        while blob := line.read():
            if blob == wire.RELOAD:
                desk.reload()
                continue
            answer = desk.answer(blob)
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
            line.write(answer)
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

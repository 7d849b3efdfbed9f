"""The process behind `portable`: warm up once, then serve one session after another on its pipes."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, cast

from grader.sandbox import schema
from grader.sandbox.line import Line
from grader.sandbox.rehearsal import warm_up
from grader.sandbox.serve import NULL, OUT, fresh_streams, serve
from grader.sandbox.tensors import frame

HIGH = 16


def main(preload: list[str]) -> None:
    """Serve until the grader hangs up."""
    requests, answers = os.dup(NULL), os.dup(OUT)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, NULL)
    os.dup2(2, OUT)
    _binary(requests, answers)
    fresh_streams()
    hello = warm_up(preload)
    line = Line(requests, answers)
    line.write(json.dumps(hello).encode())
    ready = frame({}, schema.encode(schema.Hello(["process"])))
    more = True
    while more:
        try:
            filename = line.read().decode()
        except EOFError:
            return
        line.write(ready)
        more = serve(line, filename, isolated=False)


def _binary(*fds: int) -> None:
    if sys.platform == "win32":
        msvcrt = cast(Any, __import__("msvcrt"))
        for fd in fds:
            msvcrt.setmode(fd, os.O_BINARY)

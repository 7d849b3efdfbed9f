"""The whole process behind `portable`: warm up once, then serve one session after another on its pipes."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, cast

from grader.sandbox.protocol import codec
from grader.sandbox.warm.warmup import warm_up
from grader.sandbox.worker.serve import NULL, OUT, FrameStream, fresh_streams, serve
from grader.sandbox.worker.tensors import frame


def main(preload: list[str]) -> None:
    """Serve until the grader hangs up."""
    requests, answers = os.dup(NULL), os.dup(OUT)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, NULL)
    os.dup2(2, OUT)
    _binary(requests, answers)
    fresh_streams()
    hello = warm_up(preload)
    stream = FrameStream(requests, answers)
    stream.write(json.dumps(hello).encode())
    ready = frame({}, codec.encode(codec.Hello(["process"])))
    more = True
    while more:
        try:
            filename = stream.read().decode()
        except EOFError:
            return
        stream.write(ready)
        more = serve(stream, filename, isolated=False)


def _binary(*fds: int) -> None:
    if sys.platform == "win32":
        msvcrt = cast(Any, __import__("msvcrt"))
        for fd in fds:
            msvcrt.setmode(fd, os.O_BINARY)

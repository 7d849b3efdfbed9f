"""A whole process of `portable`'s pool: it warms up once, then serves one session after another on its pipes.

It runs a learner's files, and there is nothing between them and it.
"""

from __future__ import annotations

import contextlib
import json
import os

from grader.sandbox.layers.own_process import OwnProcess
from grader.sandbox.layers.rlimits import can_limit_memory, memory_limited
from grader.sandbox.protocol.codec import Hello, encode
from grader.sandbox.protocol.messages import SandboxError
from grader.sandbox.warm.warmup import warm_up
from grader.sandbox.worker.serve import ERR, NULL, OUT, FrameStream, fresh_streams, serve
from grader.sandbox.worker.tensors import frame


def main(preload: list[str]) -> None:
    """Say hello, then serve until the grader hangs up."""
    # the pipes came as standard input and output, which the learner's code uses, too
    requests, answers = os.dup(NULL), os.dup(OUT)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, NULL)
    os.dup2(ERR, OUT)
    fresh_streams()
    stream = FrameStream(requests, answers)
    stream.write(json.dumps(warm_up(preload)).encode())
    with contextlib.suppress(EOFError):
        while _serve_session(stream):
            pass


def _serve_session(stream: FrameStream) -> bool:
    """Serve one session; False when the grader hung up in the middle of it."""
    job = json.loads(stream.read())
    budget = job["memory_bytes"] if can_limit_memory() else 0
    try:
        with memory_limited(budget):
            _greet(stream)
            return serve(stream, job["filename"], isolated=False)
    except SandboxError as error:
        _greet(stream, refused=str(error))
        return False


def _greet(stream: FrameStream, *, refused: str = "") -> None:
    stream.write(frame({}, encode(Hello([OwnProcess.name], refused))))
    stream.flush()

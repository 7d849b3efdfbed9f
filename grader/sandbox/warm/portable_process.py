"""The program of a process in `portable.ProcessPool`: it warms up once, then serves one session after another.

It is started instead of forked, where nothing can be forked or confined. The learner's files run in this very process,
with all that it may do; the grader can only kill it.
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
    """Send the versions of what was imported as the first frame, then serve until the grader hangs up."""
    # the pipes came as standard input and output, which the learner's code uses, too: what it prints goes to the log
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
    """Serve one session, and return whether there may be another.

    There is none when the grader hung up in the middle of it, or when the memory limit cannot be set, which the hello
    says.
    """
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
    """Send the hello that opens a session, with the one layer there is here."""
    stream.write(frame({}, encode(Hello([OwnProcess.name], refused))))
    stream.flush()

"""The forked child: fix its descriptors, confine it, then hand over to the learner's code.

After `confine.apply` returns, nothing this process says or does is trusted by anyone.
"""

from __future__ import annotations

import fcntl
import os
import signal
from typing import NoReturn

from grader.sandbox.layers import confine
from grader.sandbox.protocol import codec
from grader.sandbox.worker.serve import FrameStream, fresh_streams, serve
from grader.sandbox.worker.tensors import frame

REQUESTS, ANSWERS = 3, 4
FIRST_FREE, ABOVE, MANY = 5, 64, 65536


def run(policy: confine.Policy, pipes: tuple[int, int, int], null: int, filename: str) -> NoReturn:
    """Be a worker: `pipes` are requests, answers and log. Never returns."""
    confine.prctl(confine.SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    _arrange(pipes, null, keep=policy.ruleset)
    os.chdir("/")
    layers = confine.apply(policy)
    if policy.ruleset is not None:
        os.close(policy.ruleset)
    stream = FrameStream(REQUESTS, ANSWERS)
    stream.write(frame({}, codec.encode(codec.Hello(layers))))
    serve(stream, filename, isolated=policy.bpf is not None)
    os._exit(0)


def _arrange(pipes: tuple[int, int, int], null: int, keep: int | None) -> None:
    requests, answers, log = pipes
    # via numbers above every wanted one, so that no copy overwrites another's origin
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, ABOVE) for fd in (null, log, log, requests, answers)]
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    kept = FIRST_FREE if keep is None else keep
    os.closerange(FIRST_FREE, kept)
    os.closerange(kept + (keep is not None), MANY)
    fresh_streams()

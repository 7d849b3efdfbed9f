"""The first steps of a worker, in the forked child: arrange its descriptors, enter the layers, serve the submission.

Once the last layer is entered, nothing that this process says or does is trusted by anyone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from typing import NoReturn

from grader.sandbox.layers.layer import Budget, Layer
from grader.sandbox.protocol.codec import Hello, encode
from grader.sandbox.worker.serve import FrameStream, fresh_streams, serve
from grader.sandbox.worker.tensors import frame

REQUESTS, ANSWERS = 3, 4
FIRST_FREE, ABOVE, MANY = 5, 64, 65536


def run(
    layers: Sequence[Layer], budget: Budget, pipes: Sequence[int], null: int, filename: str
) -> NoReturn:
    """Be a worker: `pipes` are requests, answers and log. Never returns.

    The first frame tells the grader which layers are in force, or why one could not be entered; in that case the
    submission is not even read.
    """
    entered, refused = [], ""
    _arrange(pipes, null, {fd for layer in layers for fd in layer.descriptors})
    stream = FrameStream(REQUESTS, ANSWERS)
    try:
        entered = [layer.enter(budget) for layer in layers]
    except Exception as error:
        refused = str(error) or type(error).__name__
    stream.write(frame({}, encode(Hello(entered, refused))))
    if refused:
        stream.flush()
    else:
        serve(stream, filename, isolated=budget.isolated)
    os._exit(0)


def _arrange(pipes: Sequence[int], null: int, kept: Iterable[int]) -> None:
    """Put the pipes where a worker expects them, as 0 to 4, and close all else but `kept`."""
    requests, answers, log = pipes
    # via numbers above every wanted one, so that no copy overwrites another's origin
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, ABOVE) for fd in (null, log, log, requests, answers)]
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    start = FIRST_FREE
    for fd in sorted(kept):
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, MANY)
    fresh_streams()

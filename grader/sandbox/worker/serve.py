"""The life of a worker process, from its first steps after the fork to its last request.

A forked worker (`run_forked`) arranges its descriptors, enters the layers and serves one session; a whole process of
`portable` calls `serve` for one session after another. Once the last layer is entered, nothing that this process
says or does is trusted by anyone: from then on learner code runs in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from typing import NoReturn

from grader.sandbox.environment import ABSENT
from grader.sandbox.layers.layer import Budget, Layer, prctl
from grader.sandbox.layers.own_process import SET_PDEATHSIG
from grader.sandbox.protocol.codec import Hello, encode
from grader.sandbox.protocol.frames import FORK, LENGTH, RELOAD, framed
from grader.sandbox.protocol.messages import BY_SIGNAL, OUT_OF_MEMORY
from grader.sandbox.worker.host import WorkerHost
from grader.sandbox.worker.tensors import frame

NULL, OUT, ERR, REQUESTS, ANSWERS, FIRST_FREE = range(6)
ABOVE, MANY = 64, 65536
CHUNK, MOST_HELD = 1 << 16, 1 << 16
NEXT_CHILD = 78  # exit code of a child that is done with its case


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
        self._exact = False

    def read(self) -> bytes:
        """Return the next frame; EOFError at the end of the stream."""
        (size,) = LENGTH.unpack(self._take(LENGTH.size))
        return self._take(size)

    def write(self, blob: bytes) -> None:
        """Send one frame, at the latest when the next one has to be waited for."""
        self._held += framed(blob)
        if len(self._held) > MOST_HELD:
            self.flush()

    def leave_the_rest(self) -> None:
        """From now on read no more than the frame that is asked for: another process reads the next one."""
        self._exact = True

    def forget_read(self) -> None:
        """Another process has taken what was read ahead."""
        self._read.clear()

    def flush(self) -> None:
        """Send what is held back."""
        rest = memoryview(bytes(self._held))
        self._held.clear()
        while rest:
            rest = rest[os.write(self._answers, rest) :]

    def _take(self, size: int) -> bytes:
        while len(self._read) < size:
            self.flush()
            wanted = size - len(self._read)
            chunk = os.read(self._requests, wanted if self._exact else max(CHUNK, wanted))
            if not chunk:
                raise EOFError
            self._read += chunk
        taken = bytes(self._read[:size])
        del self._read[:size]
        return taken


def run_forked(
    layers: Sequence[Layer], budget: Budget, pipes: Sequence[int], null: int, filename: str
) -> NoReturn:
    """Be a worker: `pipes` are requests, answers and log. Never returns.

    The first frame tells the grader which layers are in force, or why one could not be entered; in that case the
    submission is not even read.
    """
    entered, refused = [], ""
    kept = {fd for layer in layers for fd in layer.descriptors} | {budget.supervisor} - {-1}
    _arrange(pipes, null, kept)
    _use_folder(budget.folder)
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


def _use_folder(folder: str) -> None:
    """Have every library keep its temporary files and its caches in the worker's own folder."""
    # set here, Python does not try for itself where it can write, which is nowhere without a folder
    tempfile.tempdir = folder or ABSENT
    if folder:
        os.environ.update(HOME=folder, TMPDIR=folder, NUMBA_CACHE_DIR=folder)


def serve(stream: FrameStream, filename: str, *, isolated: bool) -> bool:
    """Serve one session: a frame with the source, one with the driver, then requests.

    RELOAD among the requests executes the file anew and is not answered; an empty frame ends the session. Return True
    for that, False when the grader hung up. After a FORK what follows up to the next RELOAD is answered by a forked
    child, and so on, so that the file is executed once:

        source, driver      executed here
        FORK, a, b          a first child answers a and b
        RELOAD, c           it ends, and a second child, in which nobody has called the file yet, answers c
    """
    host = WorkerHost(filename, isolated=isolated)
    try:
        source, driver = stream.read(), stream.read()
        stream.write(host.load(source, driver))
        child = False
        while blob := stream.read():
            if blob == FORK:
                child = _become_child(stream)
                continue
            if blob == RELOAD:
                if child:
                    stream.flush()
                    os._exit(NEXT_CHILD)
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


def _become_child(stream: FrameStream) -> bool:
    """Fork one child after another; return True in each of them, and False where no fork is allowed.

    When a child ends other than at a RELOAD, so does this process, in the same way as far as it can tell.
    """
    for printed in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            printed.flush()  # or every child would print it again
    stream.flush()
    stream.leave_the_rest()
    parent = os.getpid()
    while True:
        try:
            pid = os.fork()
        except OSError:
            return False
        if pid == 0:
            prctl(SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(0)
            return True
        stream.forget_read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != NEXT_CHILD:
            os._exit(code if code >= 0 else BY_SIGNAL - code)


def fresh_streams() -> None:
    """Replace the interpreter's streams: the inherited ones were made for other files."""
    sys.stdin = open(NULL, encoding="utf-8", closefd=False)  # noqa: SIM115
    for name, fd in (("stdout", OUT), ("stderr", ERR)):
        stream = open(  # noqa: SIM115
            fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)

"""The forked child: fix its descriptors, confine it, then hand over to the learner's code.

After `confine.apply` returns, nothing this process says or does is trusted by anyone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from typing import NoReturn

import safetensors.torch

from grader.sandbox import confine, schema, wire
from grader.sandbox.messages import OUT_OF_MEMORY
from grader.sandbox.serve import Desk

NULL, OUT, ERR, REQUESTS, ANSWERS = range(5)
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
    hello = {wire.META_KEY: schema.encode(schema.Hello(layers))}
    write_frame(ANSWERS, safetensors.torch.save({}, hello))
    serve(REQUESTS, ANSWERS, filename, isolated=policy.bpf is not None)
    os._exit(0)


def serve(requests: int, answers: int, filename: str, *, isolated: bool) -> None:
    """Read source and driver, then answer requests until the other side hangs up."""
    desk = Desk(filename, isolated=isolated)
    try:
        source, driver = read_frame(requests), read_frame(requests)
        write_frame(answers, desk.load(source, driver))
        while True:
            answer = desk.answer(read_frame(requests))
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
            write_frame(answers, answer)
    except EOFError:
        return
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


def fresh_streams() -> None:
    """Replace the interpreter's streams: the inherited ones were made for other files."""
    sys.stdin = open(NULL, encoding="utf-8", closefd=False)  # noqa: SIM115
    for name, fd in (("stdout", OUT), ("stderr", ERR)):
        stream = open(  # noqa: SIM115
            fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)


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

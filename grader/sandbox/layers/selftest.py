"""A submission that tries what must be denied, run through the production path before any other.

The sandbox refuses to grade unless every attempt is made and every attempt is denied.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from grader.ground.paths import ROOT
from grader.sandbox.protocol.messages import Request, SandboxError, WorkerFailure
from grader.sandbox.session import Session

PROBE = b'''
"""Try everything a submission must not be able to do."""
import os
import socket
import threading


def attempts(files, folders, target):
    parent = os.getppid()
    yield from (("read " + path, lambda path=path: open(path, "rb").close()) for path in files)
    yield from (("list " + path, lambda path=path: os.listdir(path)) for path in folders)
    yield "write " + target, lambda: open(target, "w").close()
    yield "make a folder", lambda: os.mkdir(target)
    yield "open a TCP socket", lambda: socket.socket().close()
    yield "open a UNIX socket", lambda: socket.socket(socket.AF_UNIX).close()
    yield "start a thread", lambda: threading.Thread(target=int).start()
    yield "signal the parent", lambda: os.kill(parent, 0)
    yield "read the parent's environment", lambda: open(f"/proc/{parent}/environ", "rb").close()
    yield "read the parent's memory", lambda: open(f"/proc/{parent}/mem", "rb").close()
    yield "fork", fork
    yield "run a program", execute


def fork():
    if os.fork() == 0:
        os._exit(0)


def execute():
    try:
        os.execv("/no/such/program", ["program"])
    except FileNotFoundError:
        return  # it was looked for: the call itself is allowed


def denied(attempt):
    try:
        attempt()
    except (OSError, RuntimeError):
        return True
    return False
'''
DRIVER = b"""
class Verbs:
    def __init__(self, submission):
        self.submission = submission

    def probe(self, **places):
        tried = self.submission.attempts(**places)
        results = [(name, self.submission.denied(attempt)) for name, attempt in tried]
        return {"names": [name for name, _ in results], "denied": [good for _, good in results]}
"""
ATTEMPTS = 10  # beside one per file and folder


def run(open_session: Callable[[bytes, bytes], Session]) -> tuple[str, ...]:
    """Return the layers that were in force; SandboxError naming whatever was not denied."""
    files = ["/etc/passwd", __file__, *_secrets()]
    scratch = _scratch()
    folders = [str(ROOT), str(ROOT / "grader"), scratch]
    target = os.path.join(scratch, f"kvdojo-probe-{os.getpid()}")
    places = {"files": files, "folders": folders, "target": target}
    try:
        with open_session(PROBE, DRIVER) as session:
            session.load()
            reply = session.ask(Request("probe", places), max_reply_bytes=0)
            layers = session.layers
    except WorkerFailure as failure:
        raise SandboxError(f"the sandbox's self-test ended early: {failure.message}") from failure
    finally:
        with contextlib.suppress(OSError):
            os.remove(target)  # there only if isolation failed
    names, denied = reply.values.get("names", []), reply.values.get("denied", [])
    allowed = [name for name, good in zip(names, denied, strict=True) if good is not True]
    if allowed:
        raise SandboxError(f"isolation is incomplete; a submission could: {', '.join(allowed)}")
    if len(names) != len(files) + len(folders) + ATTEMPTS:
        raise SandboxError(f"the sandbox's self-test is incomplete: {reply.raised or names}")
    return layers


def _scratch() -> str:
    """Return the folder for temporary files; a machine may have none that even we can write to."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "/tmp"


def _secrets() -> list[str]:
    found = [
        *Path(ROOT, "reference").glob("*.py"),
        *Path(ROOT, "challenges").glob("*/recorded/golden.*"),
    ]
    return [str(path) for path in sorted(found)[:4]]

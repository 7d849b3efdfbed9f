"""The self-test, run by the grader before anything is graded: a submission tries what must be denied.

The submission (`probe`) goes the way of every other one, into a worker that has entered all layers. The sandbox
refuses to grade unless every attempt that the layers list was made and denied.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from grader.ground.paths import ROOT
from grader.sandbox.layers import LAYERS
from grader.sandbox.layers.layer import Places
from grader.sandbox.protocol.messages import Request, SandboxError, WorkerFailure
from grader.sandbox.session import Session


def run(open_session: Callable[[bytes, bytes], Session]) -> tuple[str, ...]:
    """Return the layers that were in force; SandboxError naming whatever was not denied."""
    places = _places()
    submission, driver = (
        Path(__file__).with_name(name).read_bytes() for name in ("probe.py", "probe_driver.py")
    )
    try:
        with open_session(submission, driver) as session:
            session.load()
            reply = session.ask(Request("probe", asdict(places)), max_reply_bytes=0)
            layers = session.layers
    except WorkerFailure as failure:
        raise SandboxError(f"the sandbox's self-test ended early: {failure.message}") from failure
    finally:
        with contextlib.suppress(OSError):
            os.remove(places.target)  # there only if isolation failed
        with contextlib.suppress(OSError):
            os.rmdir(places.folder)
    made, denied = reply.values.get("names", []), reply.values.get("denied", [])
    allowed = [name for name, good in zip(made, denied, strict=True) if good is not True]
    if allowed:
        raise SandboxError(f"isolation is incomplete; a submission could: {', '.join(allowed)}")
    if made != [name for layer in LAYERS for name, _ in layer.attempts(places)]:
        raise SandboxError(f"the sandbox's self-test is incomplete: {reply.raised or made}")
    return layers


def _places() -> Places:
    scratch = _scratch()
    target = os.path.join(scratch, f"kvdojo-probe-{os.getpid()}")
    files = ["/etc/passwd", __file__, *_secrets()]
    return Places(files, [str(ROOT), str(ROOT / "grader"), scratch], target, f"{target}.d")


def _scratch() -> str:
    """Return the folder for temporary files; a machine may have none that even we can write to."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "/tmp"


def _secrets() -> list[str]:
    """Return a few of the files with right answers in them."""
    found = [
        sorted(Path(ROOT, "reference").glob("*.py")),
        sorted(Path(ROOT, "challenges").glob("**/golden.*")),
    ]
    return [str(path) for paths in found for path in paths[:2]]

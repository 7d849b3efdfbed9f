"""Run a submission in a process of its own; no other part of the grader meets learner code.

What the grader uses stands in this folder, the code of other processes in folders beneath: `protocol` is shared by
both sides, `warm` is the fork server, `worker` runs beside learner code, `layers` isolates. Nothing here knows
right answers or verdicts, and importing it does not import torch.

    with Sandbox.start() as sandbox, sandbox.open(source, driver) as session:
        loaded = session.load()                                  # a Reply: did the file raise?
        reply = session.ask(Request("forward", tensors={"x": x}), max_reply_bytes=4096)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grader.sandbox.protocol.messages import (
        Earlier,
        Limits,
        Problem,
        Raised,
        Reply,
        Request,
        SandboxError,
        WorkerFailure,
    )
    from grader.sandbox.sandbox import Sandbox
    from grader.sandbox.session import Session

__all__ = [
    "Earlier",
    "Limits",
    "Problem",
    "Raised",
    "Reply",
    "Request",
    "Sandbox",
    "SandboxError",
    "Session",
    "WorkerFailure",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for: `spawn` must be had before anything that takes long to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    places = {"Sandbox": "sandbox", "Session": "session"}
    module = import_module(f"{__name__}.{places.get(name, 'protocol.messages')}")
    globals()[name] = getattr(module, name)
    return globals()[name]

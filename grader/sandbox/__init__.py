"""Run a submission in a process of its own; no other part of the grader meets learner code.

What the grader uses stands in this folder, the code of other processes in folders beneath: `protocol` is shared by
both sides, `warm` is the fork server, `worker` runs beside learner code, `layers` isolates. Nothing here knows
right answers or verdicts, and importing it does not import torch.

    with Sandbox.start() as sandbox, sandbox.open(source, driver) as session:
        loaded = session.load()                                  # a Reply: did the file raise?
        reply = session.ask(Request("forward", tensors={"x": x}), max_reply_bytes=4096)
"""

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

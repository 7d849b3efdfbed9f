"""The only code that meets learner code: it runs a submission in a process of its own.

It knows nothing of goldens or verdicts, and importing it does not import torch.
"""

from grader.sandbox.protocol.messages import (
    MAX_SOURCE,
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
    "MAX_SOURCE",
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

"""Recordings made by hand, as the recorder would have sent them."""

from __future__ import annotations

import numpy as np

from grader.diagnose.checkpoints import Checkpoints, parse_checkpoints
from grader.diagnose.record_case import RecordedCall, StepRecording
from grader.ground.arrays import Array, array
from grader.sandbox import Reply, Request


def numbers(*values: float, dtype: str = "float32") -> Array:
    """Return an array with one axis."""
    return array(np.array(values), dtype)


def call(method: str, value: Array | str | None = None, **more) -> RecordedCall:
    """Return a call that ended with one value, and `parts` beside it."""
    parts = more.pop("parts", {})
    kind = more.pop("kind", "result")
    return RecordedCall(
        method, kind, parts={**({} if value is None else {"": value}), **parts}, **more
    )


def step(*calls: RecordedCall, index: int = 0, reply: Reply | None = None, **more) -> StepRecording:
    """Return a step that made these calls and returned."""
    request = more.pop("request", Request("forward"))
    return StepRecording(index, request, reply or Reply(), list(calls), **more)


def described(*entries: dict, **more) -> Checkpoints:
    """Return checkpoints as points.json describes them; `name` is the method unless given."""
    points = [{"name": entry.get("method", ""), **entry} for entry in entries]
    return parse_checkpoints({"points": points, **more})

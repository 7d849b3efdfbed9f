"""Compare what a step of the case returned, how it ended and what became of its arguments.

It knows nothing of points within the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grader.diagnose.checkpoints import OUTPUT, Checkpoints, CheckpointSpec
from grader.diagnose.compare_arrays import compare_arrays, ending_of, shown
from grader.diagnose.patterns import StepContext
from grader.diagnose.record_case import StepRecording
from grader.diagnose.trace_model import Checkpoint, FirstWrongValue
from grader.ground.arrays import Array

ENDING = "ending"  # the point that says how a step ends


@dataclass(frozen=True)
class ComparedCheckpoint:
    """A point, the description it came from, and where it stands in the order of the computation."""

    point: Checkpoint
    spec: CheckpointSpec


def compare_outputs(
    points: Checkpoints, ours: StepRecording, theirs: StepRecording, context: StepContext
) -> Iterator[ComparedCheckpoint]:
    """Yield the ending of a step, its outputs and its arguments, compared; `ours` is the reference's."""
    if ours.reply is None:
        return
    if theirs.reply is None:
        ending = f"It gives no answer: {theirs.failure}."
        made = Checkpoint(ENDING, "how it ends", 0, "differs", pattern=(ending,), kinds=("raises",))
        yield ComparedCheckpoint(made, OUTPUT)
        return
    mine, other = ours.reply, theirs.reply
    ends = [_ended(reply) for reply in (mine, other)]
    if ends[0] != ends[1] and not (other.raised and ends[0] in other.raised.types):
        ending = ending_of(ends[0], ends[1], _told(other))
        spec = replace(OUTPUT, stage="aliasing") if ends[1] == "mutated_input" else OUTPUT
        kind = "changes" if ends[1] == "mutated_input" else "raises" if ends[1] else "returns"
        made = Checkpoint(ENDING, "how it ends", 0, "differs", pattern=(ending,), kinds=(kind,))
        yield ComparedCheckpoint(made, spec)
    left: dict[str, Any] = {**mine.values, **mine.tensors}
    right: dict[str, Any] = {**other.values, **other.tensors}
    for name, want in sorted(left.items()):
        spec = points.output(name)
        got = right.get(name)
        made = Checkpoint(name, name, 0, "same")
        if isinstance(want, Array) and isinstance(got, Array):
            yield ComparedCheckpoint(compare_arrays(made, want, got, spec.axes, context), spec)
        elif name in right and want != got:
            place = FirstWrongValue((), (), *shown(want, got))
            yield ComparedCheckpoint(replace(made, status="differs", place=place), spec)
    for name, sent in theirs.request.tensors.items():
        if _changed(sent, other.echo.get(name)) and not _changed(sent, mine.echo.get(name)):
            text = (f"The call changed its argument `{name}`, which belongs to the caller.",)
            made = Checkpoint(
                name, f"argument {name}", 0, "differs", pattern=text, kinds=("changes",)
            )
            yield ComparedCheckpoint(made, replace(OUTPUT, stage="aliasing"))


def _changed(sent: Array, after: Array | None) -> bool:
    if after is None:
        return False
    floats = bool(sent.values.dtype.kind == "f")
    return not np.array_equal(after.values, sent.values, equal_nan=floats)


def _ended(reply: Any) -> str | None:
    if reply.raised:
        return str(reply.raised.types[0]) if reply.raised.types else "an exception"
    return str(reply.problem.kind) if reply.problem else None


def _told(reply: Any) -> str:
    if reply.raised:
        line = f" (line {reply.raised.line})" if reply.raised.line else ""
        return f": {reply.raised.message}{line}"
    return f": {reply.problem.message}" if reply.problem else ""


def forgiven(item: ComparedCheckpoint) -> ComparedCheckpoint:
    """Return a point with its difference forgiven."""
    if item.point.status != "differs":
        return item
    point = replace(item.point, status="same", pattern=(), place=None, kinds=())
    return replace(item, point=point)

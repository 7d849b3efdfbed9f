"""Compare what a step of the case returned, how it ended and what became of its arguments.

It knows nothing of checkpoints within the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from grader.diagnose.checkpoints import OUTPUT, Checkpoints, CheckpointSpec
from grader.diagnose.compare_arrays import compare_arrays
from grader.diagnose.compare_texts import show_both, wrong_ending
from grader.diagnose.patterns import StepContext
from grader.diagnose.record_case import StepRecording
from grader.diagnose.trace_model import Checkpoint, FirstWrongValue
from grader.ground.arrays import Array
from grader.judge.error_patterns import Pattern
from grader.sandbox import Reply

ENDING = "ending"  # the checkpoint that says how a step ends
ARGUMENT = msgspec.structs.replace(OUTPUT, stage="aliasing")  # an argument that a step changed


@dataclass(frozen=True)
class ComparedCheckpoint:
    """A checkpoint as it was compared, and the description it came from."""

    checkpoint: Checkpoint
    spec: CheckpointSpec


def compare_outputs(
    checkpoints: Checkpoints,
    reference: StepRecording,
    submission: StepRecording,
    context: StepContext,
) -> Iterator[ComparedCheckpoint]:
    """Yield the ending of a step (where it differs), its outputs, and arguments that only the submission changed."""
    if reference.reply is None:
        return
    if submission.reply is None:
        text = f"It gives no answer: {submission.failure}."
        yield ComparedCheckpoint(_ending("raises", text), OUTPUT)
        return
    right, made = reference.reply, submission.reply
    ends = [_end_of(reply) for reply in (right, made)]
    if ends[0] != ends[1] and not (made.raised and ends[0] in made.raised.types):
        changes = ends[1] == "mutated_input"
        kind = "changes" if changes else "raises" if ends[1] else "returns"
        if made.problem and not made.raised:
            said = made.problem.message
            rather = f"; the reference raises {ends[0]}" if ends[0] else ""
            text = f"{said[:1].upper()}{said[1:]}{rather}."
        else:
            text = wrong_ending(ends[0], ends[1], _message(made))
        ending = _ending(kind, text)
        yield ComparedCheckpoint(ending, ARGUMENT if changes else OUTPUT)
    yield from _outputs(checkpoints, right, made, context)
    for name, sent in submission.request.tensors.items():
        if _changed(sent, made.echo.get(name)) and not _changed(sent, right.echo.get(name)):
            text = f"The call changed its argument `{name}`, which belongs to the caller."
            yield ComparedCheckpoint(
                Checkpoint(
                    name,
                    f"argument {name}",
                    0,
                    "differs",
                    patterns=(Pattern("changed_argument", text),),
                    kinds=("changes",),
                    is_output=True,
                ),
                ARGUMENT,
            )


def _outputs(
    checkpoints: Checkpoints, right: Reply, made: Reply, context: StepContext
) -> Iterator[ComparedCheckpoint]:
    wants: dict[str, Any] = {**right.values, **right.tensors}
    gots: dict[str, Any] = {**made.values, **made.tensors}
    # where a number has no meaning (a log-sum-exp of nothing) a truth value says so, which comes first
    for name, want in sorted(wants.items(), key=lambda item: (not _says_whether(item[1]), item[0])):
        spec = checkpoints.output(name)
        got = gots.get(name)
        output = Checkpoint(name, name, 0, "same", axes=spec.axes, is_output=True)
        if isinstance(want, Array) and isinstance(got, Array):
            yield ComparedCheckpoint(compare_arrays(output, want, got, spec.axes, context), spec)
        elif name in gots and want != got:
            place = FirstWrongValue((), (), *show_both(want, got))
            yield ComparedCheckpoint(replace(output, status="differs", place=place), spec)


def _says_whether(value: Any) -> bool:
    return value.dtype == "bool" if isinstance(value, Array) else False


def _ending(kind: str, text: str) -> Checkpoint:
    patterns = (Pattern("ending", text),)
    return Checkpoint(
        ENDING, "how it ends", 0, "differs", patterns=patterns, kinds=(kind,), is_output=True
    )


def _changed(sent: Array, after: Array | None) -> bool:
    if after is None:
        return False
    floats = bool(sent.values.dtype.kind == "f")
    return not np.array_equal(after.values, sent.values, equal_nan=floats)


def _end_of(reply: Reply) -> str | None:
    """Return the exception's name, or the kind of problem; None for a call that returned as it should."""
    if reply.raised:
        return str(reply.raised.types[0]) if reply.raised.types else "an exception"
    return str(reply.problem.kind) if reply.problem else None


def _message(reply: Reply) -> str:
    if reply.raised:
        line = f" (line {reply.raised.line})" if reply.raised.line else ""
        return f": {reply.raised.message}{line}"
    return ""


def forgiven(item: ComparedCheckpoint) -> ComparedCheckpoint:
    """Return a checkpoint whose difference does not count."""
    if item.checkpoint.status != "differs":
        return item
    same = replace(item.checkpoint, status="same", patterns=(), place=None, kinds=())
    return replace(item, checkpoint=same)

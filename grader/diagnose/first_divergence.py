"""Choose the first difference of a step, and add what is known from the rest of the step and from earlier steps.

How the checkpoints were compared is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from grader.diagnose.bug_class import AFTER_MASK, bug_class_of
from grader.diagnose.compare_outputs import ENDING, ComparedCheckpoint
from grader.diagnose.trace_model import Divergence, TracedStep
from grader.judge.error_patterns import Pattern

FEWEST_VALUES = 4  # distinct numbers; fewer may be equal by chance
Numbers = np.ndarray[Any, Any]


def differing(compared: Sequence[ComparedCheckpoint]) -> list[ComparedCheckpoint]:
    """Return what is certainly wrong: other values, loop rounds that only one file makes, and where a kernel stopped.

    A checkpoint that only one file reaches is not among them: a file may take another way to the right answer.
    """
    stopped = any(item.checkpoint.name == ENDING for item in compared)
    return [item for item in compared if _differs(item, stopped)]


def _differs(item: ComparedCheckpoint, stopped: bool) -> bool:
    point = item.checkpoint
    if point.status == "missing" and point.program and stopped:
        return True
    if point.status == "extra" and not point.call:
        return False  # the reference has no such loop here
    return point.status == "differs" or (point.status != "same" and item.spec.loop)


def without_strays(compared: Sequence[ComparedCheckpoint]) -> list[ComparedCheckpoint]:
    """Return a step in which nothing differs without what only one file reaches, except masks."""
    if differing(compared):
        return list(compared)
    return [
        item
        for item in compared
        if item.checkpoint.status not in ("extra", "missing") or item.spec.stage == "mask"
    ]


def first_divergence(step: TracedStep, compared: Sequence[ComparedCheckpoint]) -> Divergence | None:
    """Return the first difference of a step, or None.

    What only one file reaches counts when nothing else differs.  One case comes before that: a mask that only one of
    them applies stands before the first number it spoils, which is behind the mask.
    """
    strays = [item for item in compared if item.checkpoint.status in ("extra", "missing")]
    suspects = differing(compared) or strays
    if not suspects:
        return None
    chosen = suspects[0]
    masks = [item for item in strays if item.spec.stage == "mask" and _by_one_file(item)]
    if masks and chosen.spec.stage in AFTER_MASK:
        chosen = masks[0]
    chosen = _with_ending(chosen, compared)
    if (other := matches_other_tensor(chosen, compared)) is not None:
        taken = Pattern("taken", f"It holds the numbers of {_called(other)}.")
        patterns = (taken, *chosen.checkpoint.patterns)
        point = replace(chosen.checkpoint, patterns=patterns, kinds=("taken",))
        chosen = replace(chosen, checkpoint=point)
    return Divergence(
        step.index,
        step.title,
        chosen.checkpoint,
        bug_class=bug_class_of(chosen),
        stage=chosen.spec.stage,
    )


def _by_one_file(item: ComparedCheckpoint) -> bool:
    """Whether the reference goes where the file does not, or the file where the reference never does."""
    return item.checkpoint.status == "missing" or item.checkpoint.call == 0


def _with_ending(
    chosen: ComparedCheckpoint, compared: Sequence[ComparedCheckpoint]
) -> ComparedCheckpoint:
    """Say of a checkpoint that is not reached how the step ended before it."""
    ending = next((item.checkpoint for item in compared if item.checkpoint.name == ENDING), None)
    if ending is None or chosen.checkpoint.status != "missing":
        return chosen
    not_reached = Pattern("not_reached", "Your file does not come here.")
    patterns = (not_reached, *ending.patterns)
    return replace(chosen, checkpoint=replace(chosen.checkpoint, patterns=patterns))


def matches_other_tensor(
    chosen: ComparedCheckpoint, compared: Sequence[ComparedCheckpoint]
) -> ComparedCheckpoint | None:
    """Return the checkpoint of the same step whose right numbers a wrong array holds, such as keys in place of values.

    The array may also be the other one transposed.  None where there is no such checkpoint, where the difference has a
    plainer kind already, and for arrays with hardly any distinct numbers.
    """
    point = chosen.checkpoint
    got = point.actual.values if point.actual is not None else None
    if point.status != "differs" or point.kinds or got is None or not _distinctive(got):
        return None
    for other in compared:
        expected = other.checkpoint.expected
        if other is chosen or expected is None or expected.values is None:
            continue
        if _equal(got, expected.values):
            return other
    return None


def _called(item: ComparedCheckpoint) -> str:
    point = item.checkpoint
    program = f", program ({point.program})" if point.program else ""
    return f"`{point.title}`{program}, call {point.call + 1}"


def _distinctive(values: Numbers) -> bool:
    return values.dtype.kind == "f" and len(np.unique(values[np.isfinite(values)])) >= FEWEST_VALUES


def _equal(got: Numbers, values: Numbers) -> bool:
    turned = values.T if values.ndim == 2 else values
    return any(
        got.shape == other.shape and np.allclose(got, other, atol=1e-6, equal_nan=True)
        for other in (values, turned)
    )


def with_cache_remark(first: Divergence, right_without: Collection[str]) -> Divergence:
    """Add that the checkpoint was right in a step without a cache, if it is in `right_without`."""
    point = first.checkpoint
    if point.name not in right_without:
        return first
    text = "Only with a cache is it wrong: the step without one is right here."
    patterns = (*point.patterns, Pattern("only_with_cache", text))
    return replace(first, checkpoint=replace(point, patterns=patterns))

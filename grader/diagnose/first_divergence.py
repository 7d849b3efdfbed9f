"""Choose the first difference of a step, and say of it what the steps around it tell.

How the points were compared is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from grader.diagnose.bug_class import AFTER_MASK, bug_class_of
from grader.diagnose.compare_outputs import ENDING, ComparedCheckpoint
from grader.diagnose.trace_model import Divergence, TracedStep

FEWEST = 4  # numbers; fewer may be equal by chance
Numbers = np.ndarray[Any, Any]


def wrong(compared: Sequence[ComparedCheckpoint]) -> list[ComparedCheckpoint]:
    """Return what differs, rounds of a loop that only one file makes, and where a kernel stopped."""
    stopped = any(item.point.name == ENDING for item in compared)
    return [item for item in compared if _counts(item, stopped)]


def _counts(item: ComparedCheckpoint, stopped: bool) -> bool:
    if item.point.status == "missing" and item.point.program and stopped:
        return True
    if item.point.status == "extra" and not item.point.call:
        return False  # the reference has no such loop here
    return item.point.status == "differs" or (item.point.status != "same" and item.spec.loop)


def quiet(compared: Sequence[ComparedCheckpoint]) -> list[ComparedCheckpoint]:
    """Return a step without stray visits, unless it has something wrong or they are of a mask."""
    if wrong(compared):
        return list(compared)
    return [
        c for c in compared if c.point.status not in ("extra", "missing") or c.spec.stage == "mask"
    ]


def first_of(step: TracedStep, compared: Sequence[ComparedCheckpoint]) -> Divergence | None:
    """Return the first point that differs; a stray visit counts when nothing before it explains it."""
    strange = [item for item in compared if item.point.status in ("extra", "missing")]
    suspects = wrong(compared) or strange
    if not suspects:
        return None
    chosen = suspects[0]
    # a mask that only one of them applies comes before the first number it spoils
    masks = [item for item in strange if item.spec.stage == "mask" and _lone(item)]
    if masks and chosen.spec.stage in AFTER_MASK:
        chosen = masks[0]
    chosen = with_likeness(_with_ending(chosen, compared), compared)
    stage = chosen.spec.stage
    return Divergence(step.index, step.title, chosen.point, bug_class_of(chosen), None, stage)


def _lone(item: ComparedCheckpoint) -> bool:
    """Whether the reference goes where the file does not, or the file where the reference never does."""
    return item.point.status == "missing" or item.point.call == 0


def _with_ending(
    chosen: ComparedCheckpoint, compared: Sequence[ComparedCheckpoint]
) -> ComparedCheckpoint:
    """Say of a point that is not reached how the step ended before."""
    ending = next((item.point for item in compared if item.point.name == ENDING), None)
    if ending is None or chosen.point.status != "missing":
        return chosen
    said = ("Your file does not come here.", *ending.pattern)
    return replace(chosen, point=replace(chosen.point, pattern=said))


def since_the_cache(first: Divergence, fresh: Collection[str]) -> Divergence:
    """Add that a step without a cache was right here."""
    if first.point.name not in fresh:
        return first
    said = (
        *first.point.pattern,
        "Only with a cache is it wrong: the step without one is right here.",
    )
    return replace(first, point=replace(first.point, pattern=said))


def with_likeness(
    chosen: ComparedCheckpoint, compared: Sequence[ComparedCheckpoint]
) -> ComparedCheckpoint:
    """Add to a point that differs whose numbers it holds, if they are another point's."""
    point = chosen.point
    got = point.actual.values if point.actual is not None else None
    if point.status != "differs" or point.kinds or got is None or not _telling(got):
        return chosen
    for other in compared:
        if other is chosen or other.point.expected is None:
            continue
        values = other.point.expected.values
        if values is not None and _equal(got, values):
            said = (f"It holds the numbers of {_called(other)}.", *point.pattern)
            point = replace(point, pattern=said, kinds=("taken",))
            return replace(chosen, point=point)
    return chosen


def _called(item: ComparedCheckpoint) -> str:
    program = f", program ({item.point.program})" if item.point.program else ""
    return f"`{item.point.title}`{program}, call {item.point.call + 1}"


def _telling(values: Numbers) -> bool:
    return values.dtype.kind == "f" and len(np.unique(values[np.isfinite(values)])) >= FEWEST


def _equal(got: Numbers, values: Numbers) -> bool:
    turned = values.T if values.ndim == 2 else values
    return any(
        got.shape == other.shape and np.allclose(got, other, atol=1e-6, equal_nan=True)
        for other in (values, turned)
    )

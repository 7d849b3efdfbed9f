"""Choose the first difference of a step, and say of it what the steps around it tell.

How the points were compared is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from grader.trace.family import AFTER_MASK, family_of
from grader.trace.likeness import with_likeness
from grader.trace.model import Divergence, Step
from grader.trace.outputs import ENDING, Compared


def wrong(compared: Sequence[Compared]) -> list[Compared]:
    """Return what differs, rounds of a loop that only one file makes, and where a kernel stopped."""
    stopped = any(item.point.name == ENDING for item in compared)
    return [item for item in compared if _counts(item, stopped)]


def _counts(item: Compared, stopped: bool) -> bool:
    if item.point.status == "missing" and item.point.program and stopped:
        return True
    if item.point.status == "extra" and not item.point.call:
        return False  # the reference has no such loop here
    return item.point.status == "differs" or (item.point.status != "same" and item.spec.loop)


def quiet(compared: Sequence[Compared]) -> list[Compared]:
    """Return a step without stray visits, unless it has something wrong or they are of a mask."""
    if wrong(compared):
        return list(compared)
    return [
        c for c in compared if c.point.status not in ("extra", "missing") or c.spec.stage == "mask"
    ]


def first_of(step: Step, compared: Sequence[Compared]) -> Divergence | None:
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
    return Divergence(step.index, step.title, chosen.point, family_of(chosen), None, stage)


def _lone(item: Compared) -> bool:
    """Whether the reference goes where the file does not, or the file where the reference never does."""
    return item.point.status == "missing" or item.point.call == 0


def _with_ending(chosen: Compared, compared: Sequence[Compared]) -> Compared:
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

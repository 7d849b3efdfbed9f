"""Pair the visits that two files make of the same points within a step.

The k-th visit of a point is paired with the k-th; within a Triton kernel, of the same program of the grid.  No value is
looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from grader.ground.arrays import Array
from grader.trace.points import Points, Spec
from grader.trace.record import Event, StepNotes

OPS = {
    "scores": "softmax.in",
    "mask": "softmax.in",
    "weights": "softmax.out",
    "context": "context",
}
Key = tuple[str, str]  # a point, and the program of the grid it was visited in
Visits = dict[Key, list[Event]]


@dataclass(frozen=True)
class Visit:
    """A visit of a point: the reference's event and the submission's; None where one does not come here."""

    spec: Spec
    call: int
    program: str
    mine: Event | None
    other: Event | None


def paired(
    points: Points, ours: StepNotes, theirs: StepNotes, lacking: Collection[str]
) -> Iterator[Visit]:
    """Yield the visits in the order in which the reference ends them; what only the submission visits comes last.

    Of a point in a loop, rounds too many come behind the reference's last one.
    """
    left, order = _visits(points, ours.events, lacking)
    right, _ = _visits(points, theirs.events, lacking)
    by_name = {spec.name: spec for spec in points.specs}
    count: dict[Key, int] = defaultdict(int)
    late: list[Visit] = []
    for key in order:
        call, spec = count[key], by_name[key[0]]
        count[key] += 1
        others = right.get(key, [])
        if call < len(others):
            yield Visit(spec, call, key[1], left[key][call], others[call])
        elif spec.method not in lacking:
            yield Visit(spec, call, key[1], left[key][call], None)
        if spec.loop and count[key] == len(left[key]):
            yield from _more(spec, key, len(left[key]), right)
    for key, others in right.items():
        if len(others) > len(left.get(key, ())) and not (by_name[key[0]].loop and key in left):
            late += _more(by_name[key[0]], key, len(left.get(key, ())), right)
    yield from late


def _more(spec: Spec, key: Key, known: int, right: Visits) -> list[Visit]:
    others = right.get(key, [])
    return [Visit(spec, known, key[1], None, others[known])] if len(others) > known else []


def _visits(
    points: Points, events: list[Event], lacking: Collection[str]
) -> tuple[Visits, list[Key]]:
    found: Visits = defaultdict(list)
    order = []
    blocks = _blocks(points, events)
    for event in events:
        for name in _names(points, event, lacking):
            key = (name, blocks.get(event.program, event.program))
            found[key].append(event)
            order.append(key)
    return dict(found), order


def _blocks(points: Points, events: list[Event]) -> dict[str, str]:
    """Name programs by the block they work on: a file may deal blocks out to the grid in another order."""
    found = {}
    for event in events:
        for spec in points.specs:
            if spec.block is None or spec.method != event.method or event.kind != "enter":
                continue
            first, place = event.parts.get(str(spec.enter)), event.program.split(", ")
            if isinstance(first, Array) and first.values.size == 1 and spec.block < len(place):
                place[spec.block] = f"block from {first.values.item()}"
                found[event.program] = ", ".join(place)
    return found


def _names(points: Points, event: Event, lacking: Collection[str]) -> list[str]:
    """Name the points an event belongs to; without the method, torch's own functions stand for some."""
    if event.kind == "op":
        ops = [spec for spec in points.specs if spec.op and spec.method in lacking]
        return [spec.name for spec in ops if spec.op and OPS[spec.op] == event.method]
    return [
        spec.name
        for spec in points.specs
        if spec.method == event.method
        and spec.method not in lacking
        and (spec.enter is not None) is (event.kind == "enter")
    ]

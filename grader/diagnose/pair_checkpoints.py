"""Pair the visits that two files make of the same points within a step.

The k-th visit of a point is paired with the k-th; within a Triton kernel, of the same program of the grid.  No value is
looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from grader.diagnose.checkpoints import Checkpoints, CheckpointSpec
from grader.diagnose.record_case import RecordedCall, StepRecording
from grader.ground.arrays import Array

OPS = {
    "scores": "softmax.in",
    "mask": "softmax.in",
    "weights": "softmax.out",
    "context": "context",
}
Key = tuple[str, str]  # a point, and the program of the grid it was visited in
Visits = dict[Key, list[RecordedCall]]


@dataclass(frozen=True)
class PairedCheckpoint:
    """A visit of a point: the reference's event and the submission's; None where one does not come here."""

    spec: CheckpointSpec
    call: int
    program: str
    mine: RecordedCall | None
    other: RecordedCall | None


def pair_checkpoints(
    points: Checkpoints, ours: StepRecording, theirs: StepRecording, lacking: Collection[str]
) -> Iterator[PairedCheckpoint]:
    """Yield the visits in the order in which the reference ends them; what only the submission visits comes last.

    Of a point in a loop, rounds too many come behind the reference's last one.
    """
    left, order = _visits(points, ours.events, lacking)
    right, _ = _visits(points, theirs.events, lacking)
    by_name = {spec.name: spec for spec in points.specs}
    count: dict[Key, int] = defaultdict(int)
    late: list[PairedCheckpoint] = []
    for key in order:
        call, spec = count[key], by_name[key[0]]
        count[key] += 1
        others = right.get(key, [])
        if call < len(others):
            yield PairedCheckpoint(spec, call, key[1], left[key][call], others[call])
        elif spec.method not in lacking:
            yield PairedCheckpoint(spec, call, key[1], left[key][call], None)
        if spec.loop and count[key] == len(left[key]):
            yield from _more(spec, key, len(left[key]), right)
    for key, others in right.items():
        if len(others) > len(left.get(key, ())) and not (by_name[key[0]].loop and key in left):
            late += _more(by_name[key[0]], key, len(left.get(key, ())), right)
    yield from late


def _more(spec: CheckpointSpec, key: Key, known: int, right: Visits) -> list[PairedCheckpoint]:
    others = right.get(key, [])
    return (
        [PairedCheckpoint(spec, known, key[1], None, others[known])] if len(others) > known else []
    )


def _visits(
    points: Checkpoints, events: list[RecordedCall], lacking: Collection[str]
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


def _blocks(points: Checkpoints, events: list[RecordedCall]) -> dict[str, str]:
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


def _names(points: Checkpoints, event: RecordedCall, lacking: Collection[str]) -> list[str]:
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

"""Pair what two files reached within a step: the k-th call of a checkpoint with the k-th.

Within a Triton kernel, calls are paired that belong to the same program of the grid.  No value is compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from grader.diagnose.checkpoints import Checkpoints, CheckpointSpec
from grader.diagnose.record_case import RecordedCall, StepRecording
from grader.ground.arrays import Array

SEEN_IN = {  # the record of torch's own functions that shows a checkpoint
    "scores": "softmax.in",
    "mask": "softmax.in",
    "weights": "softmax.out",
    "context": "context",
}
Key = tuple[str, str]  # a checkpoint, and the program of the grid that reached it
CallsByKey = dict[Key, list[RecordedCall]]


@dataclass(frozen=True)
class CheckpointPair:
    """One call of a checkpoint by both files; None where one of them does not come here."""

    spec: CheckpointSpec
    call: int
    program: str
    expected: RecordedCall | None
    actual: RecordedCall | None


def pair_checkpoints(
    checkpoints: Checkpoints,
    reference: StepRecording,
    submission: StepRecording,
    undefined: Collection[str],
) -> Iterator[CheckpointPair]:
    """Yield the pairs in the order in which the reference ends its calls.

    `undefined` are methods that the submission does not define: their absence is no difference, and records of
    torch's own functions replace some of them.  What only the submission reaches comes last, except for loops: an extra
    round is reported right after the reference's last one.  With a checkpoint `tile` in a loop and `out` behind it:

        reference reaches     tile 0, tile 1, out
        submission reaches    tile 0, tile 1, tile 2, out, extra
        pairs                 tile 0, tile 1, tile 2 (expected None), out, extra (expected None)
    """
    left, order = _by_key(checkpoints, reference.calls, undefined)
    right, _ = _by_key(checkpoints, submission.calls, undefined)
    by_name = {spec.name: spec for spec in checkpoints.specs}
    count: dict[Key, int] = defaultdict(int)
    for key in order:
        number, spec = count[key], by_name[key[0]]
        count[key] += 1
        calls = right.get(key, [])
        if number < len(calls):
            yield CheckpointPair(spec, number, key[1], left[key][number], calls[number])
        elif spec.method not in undefined:
            yield CheckpointPair(spec, number, key[1], left[key][number], None)
        if spec.loop and count[key] == len(left[key]):
            yield from _surplus(spec, key, len(left[key]), right)
    for key in right:
        if not (by_name[key[0]].loop and key in left):
            yield from _surplus(by_name[key[0]], key, len(left.get(key, ())), right)


def _surplus(
    spec: CheckpointSpec, key: Key, known: int, right: CallsByKey
) -> Iterator[CheckpointPair]:
    """Yield the first call that the reference does not make; later ones add nothing."""
    calls = right.get(key, [])
    if len(calls) > known:
        yield CheckpointPair(spec, known, key[1], None, calls[known])


def _by_key(
    checkpoints: Checkpoints, calls: list[RecordedCall], undefined: Collection[str]
) -> tuple[CallsByKey, list[Key]]:
    found: CallsByKey = defaultdict(list)
    order = []
    blocks = _blocks(checkpoints, calls)
    for call in calls:
        for name in _names(checkpoints, call, undefined):
            key = (name, blocks.get(call.program, call.program))
            found[key].append(call)
            order.append(key)
    return dict(found), order


def _blocks(checkpoints: Checkpoints, calls: list[RecordedCall]) -> dict[str, str]:
    """Return another name for each program whose block is known (see `block` of CheckpointSpec).

    Program "1, 0" whose block begins at row 16 becomes "block from 16, 0", whichever file gave it that block.
    """
    found = {}
    for call in calls:
        for spec in checkpoints.specs:
            if spec.block is None or spec.method != call.method or call.kind != "enter":
                continue
            first, place = call.parts.get(str(spec.argument)), call.program.split(", ")
            if isinstance(first, Array) and first.values.size == 1 and spec.block < len(place):
                place[spec.block] = f"block from {first.values.item()}"
                found[call.program] = ", ".join(place)
    return found


def _names(checkpoints: Checkpoints, call: RecordedCall, undefined: Collection[str]) -> list[str]:
    """Return the checkpoints that a call belongs to."""
    if call.kind == "op":
        shown = [s for s in checkpoints.specs if s.torch_function and s.method in undefined]
        return [s.name for s in shown if SEEN_IN[s.torch_function or ""] == call.method]
    return [
        spec.name
        for spec in checkpoints.specs
        if spec.method == call.method
        and spec.method not in undefined
        and (spec.argument is not None) is (call.kind == "enter")
    ]

"""Lay the notes of a submission and of the reference side by side, and find where they first part.

The points of a step are walked in the order in which the reference ended them.  After the points come the step's
outputs and how it ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from grader.diagnose.checkpoints import Checkpoints, CheckpointSpec
from grader.diagnose.compare_arrays import alike, compare_arrays, ending_of, part_of, shown
from grader.diagnose.compare_outputs import ComparedCheckpoint, compare_outputs, forgiven
from grader.diagnose.pair_checkpoints import PairedCheckpoint, pair_checkpoints
from grader.diagnose.patterns import StepContext
from grader.diagnose.record_case import RecordedCall, StepRecording
from grader.diagnose.trace_model import Checkpoint, FirstWrongValue
from grader.ground.arrays import Array, array

Part = Array | str
Parts = Mapping[str, Part]


def compare_step(
    points: Checkpoints,
    ours: StepRecording,
    theirs: StepRecording,
    context: StepContext,
    lacking: Collection[str] = (),
) -> list[ComparedCheckpoint]:
    """Compare one step; `ours` is the reference's.  The list is in the order of the computation.

    `lacking` are the methods that the submission does not define.
    """
    visits = pair_checkpoints(points, ours, theirs, lacking)
    if theirs.cut or theirs.reply is None:
        visits = (visit for visit in visits if visit.other is not None or visit.program)
    if ours.cut:
        visits = (visit for visit in visits if visit.mine is not None)
    found = [_visited(visit, context) for visit in visits]
    found += compare_outputs(points, ours, theirs, context)
    return _settled(found)


def spoiled(compared: Sequence[ComparedCheckpoint]) -> bool:
    """Whether a step answers, ends or treats its arguments otherwise than it should."""
    return any(item.spec.seen and item.point.status != "same" for item in compared)


def agreed(compared: Sequence[ComparedCheckpoint]) -> list[ComparedCheckpoint]:
    """Return a step with every difference forgiven, and without visits that only one file makes."""
    return [forgiven(item) for item in compared if item.point.status in ("same", "differs")]


def _visited(visit: PairedCheckpoint, context: StepContext) -> ComparedCheckpoint:
    spec = visit.spec
    made = Checkpoint(
        spec.name, spec.title, visit.call, "same", program=visit.program, kinds=("rest",)
    )
    if visit.mine is None:
        text = "Your file comes here, the reference does not."
        if spec.loop and visit.call:
            text = f"Your file goes on to round {visit.call + 1}, the reference ends after {visit.call}."
        return ComparedCheckpoint(replace(made, status="extra", pattern=(text,)), spec)
    if visit.other is None:
        text = "The reference comes here, your file does not."
        if spec.loop:
            text = f"The reference goes on to round {visit.call + 1}, your file ends after {visit.call}."
        return ComparedCheckpoint(replace(made, status="missing", pattern=(text,)), spec)
    return _compare(spec, replace(made, kinds=()), visit.mine, visit.other, context)


def _compare(
    spec: CheckpointSpec,
    made: Checkpoint,
    mine: RecordedCall,
    other: RecordedCall,
    context: StepContext,
) -> ComparedCheckpoint:
    made = replace(made, from_method=other.kind != "op")
    if other.changed and not mine.changed and mine.raised:
        return ComparedCheckpoint(_changed(made), spec)
    if mine.raised != other.raised:
        ending = ending_of(mine.raised, other.raised)
        kind = "raises" if other.raised else "returns"
        told = replace(made, status="differs", pattern=(ending,), kinds=(kind,))
        return ComparedCheckpoint(told, spec)
    if mine.kind == "op" or other.kind == "op":
        # only the first array is comparable, and only when both lay it out alike
        pairs = list(_arrays(mine.parts))[:1], list(_arrays(other.parts))[:1]
        if not all(pairs) or pairs[0][0][1].shape != pairs[1][0][1].shape:
            return ComparedCheckpoint(made, spec)
        want, got = part_of(spec.op, pairs[0][0][1], pairs[1][0][1])
        left, right = {"": want}, {"": got}
        return ComparedCheckpoint(_parts(made, spec, left, right, context), spec)
    whole = mine.parts.get(spec.filled)
    compared = _parts(made, spec, _chosen(spec, mine), _chosen(spec, other), context, whole)
    if compared.status == "same" and other.changed and not mine.changed:
        compared = _changed(compared)
    return ComparedCheckpoint(compared, spec)


def _changed(made: Checkpoint) -> Checkpoint:
    text = ("It changes an argument in place, which belongs to its caller.",)
    return replace(made, status="differs", pattern=text, kinds=("changes",))


def _chosen(spec: CheckpointSpec, event: RecordedCall) -> Parts:
    parts = event.parts
    if spec.enter is not None:
        index = str(spec.enter)
        parts = {k: v for k, v in parts.items() if k.startswith((f"{index}/", f"{index}."))} | (
            {index: parts[index]} if index in parts else {}
        )
    if not spec.parts:
        return parts
    own = "result" in spec.parts
    return {
        name: item
        for name, item in parts.items()
        if name.startswith(spec.parts) or (own and name[:1] not in (".", "~"))
    }


def _arrays(parts: Parts) -> Iterator[tuple[str, Array]]:
    return ((name, item) for name, item in parts.items() if isinstance(item, Array))


def _parts(
    made: Checkpoint,
    spec: CheckpointSpec,
    mine: Parts,
    other: Parts,
    context: StepContext,
    whole: Part | None = None,
) -> Checkpoint:
    """Compare all parts of a point; the first that differs is told.  `whole` says how far its slots are filled."""
    for name, want in mine.items():
        got = other.get(name)
        titled = f"{made.title} ({_plain(name)})" if name and len(mine) > 1 else made.title
        if name[:1] == "~":
            if want == "apart" and got == "shared":
                return replace(made, status="differs", pattern=(_sharing(name),), kinds=("shares",))
        elif got is None or (got == "not there" and not _promised(name)):
            if _promised(name):
                text = (f"{name or 'the result'} is missing.",)
                return replace(made, status="differs", pattern=text, kinds=("shape",))
        elif isinstance(want, Array) and isinstance(got, Array):
            told = compare_arrays(made, *_free(spec, want, got, whole), spec.axes, context)
            if told.status != "same":
                return replace(told, title=titled)
            if made.expected is None:
                made = told
        elif not alike(want, got):
            place = FirstWrongValue((), (), *shown(want, got))
            return replace(made, title=titled, status="differs", place=place)
    return made


def _plain(name: str) -> str:
    """Name a part as learners know it."""
    return name.removeprefix(".look.").removeprefix(".self.").lstrip(".")


def _free(
    spec: CheckpointSpec, want: Array, got: Array, filled: Part | None
) -> tuple[Array, Array]:
    """Return two arrays with 0 where they may hold anything."""
    if want.shape != got.shape or want.dtype != got.dtype:
        return want, got
    if not spec.values:
        return want, want
    if not isinstance(filled, Array) or len(filled.shape) != 1 or len(want.shape) != len(spec.axes):
        return want, got
    if "slot" not in spec.axes or "batch" not in spec.axes:
        return want, got
    places = np.indices(want.shape, sparse=True)
    row, slot = (places[spec.axes.index(name)] for name in ("batch", "slot"))
    if want.shape[spec.axes.index("batch")] != len(filled.values):
        return want, got
    free = slot >= filled.values[row]
    blank = (np.where(free, item.values.dtype.type(0), item.values) for item in (want, got))
    return array(next(blank), want.dtype), array(next(blank), want.dtype)


def _promised(name: str) -> bool:
    """Whether every file has this part: what an object shows beside its contract is its own affair."""
    return "." not in name


def _sharing(name: str) -> str:
    """Say what two things share that should be apart."""
    pair, _, sort = name[1:].partition("/objects")
    if name.startswith("~self/self"):
        return "It keeps one object twice: a change of the one is seen in the other."
    left, right = pair.removesuffix("/memory").split("/")
    what = "an object" if sort == "" and name.endswith("/objects") else "memory"
    words = {"result": "what it returns", "self": "what it keeps", "arguments": "its arguments"}
    return f"{words[left].capitalize()} and {words[right]} share {what}: a change of one is seen in the other."


def _settled(found: list[ComparedCheckpoint]) -> list[ComparedCheckpoint]:
    """Forgive differences before a point that agrees and vouches for them: another order of the same sums."""
    right = {
        (item.point.name, item.point.call)
        for item in found
        if item.point.status == "same" and item.point.expected
    }
    vouched = {
        (name, item.point.call)
        for item in found
        if (item.point.name, item.point.call) in right
        for name in item.spec.supersedes
    }
    return [
        forgiven(item) if (item.point.name, item.point.call) in vouched else item for item in found
    ]

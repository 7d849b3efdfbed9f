"""Lay the notes of a submission and of the reference side by side, and find where they first part.

The points of a step are walked in the order in which the reference ended them; the k-th visit of a point is compared
with the k-th.  After the points come the step's outputs and how it ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grader.arrays import Array
from grader.trace.model import Place, Point
from grader.trace.points import Points, Spec
from grader.trace.record import Event, StepNotes
from grader.trace.values import compare_arrays, ending_of, part_of, shown

Part = Array | str
Parts = Mapping[str, Part]
_OPS = {
    "scores": "softmax.in",
    "mask": "softmax.in",
    "weights": "softmax.out",
    "context": "context",
}
OUTPUT = Spec("output", "output", "", "output")


@dataclass(frozen=True)
class Compared:
    """A point, the description it came from, and where it stands in the order of the computation."""

    point: Point
    spec: Spec


def compare_step(
    points: Points,
    ours: StepNotes,
    theirs: StepNotes,
    sizes: Mapping[str, int],
    lacking: Collection[str] = (),
) -> list[Compared]:
    """Compare one step; `ours` is the reference's.  The list is in the order of the computation.

    `lacking` are the methods that the submission does not define.
    """
    found = list(_methods(points, ours, theirs, sizes, lacking))
    found += _outputs(points, ours, theirs, sizes)
    return _settled(found)


def spoiled(compared: Sequence[Compared]) -> bool:
    """Whether a step answers, ends or treats its arguments otherwise than it should."""
    return any(not item.spec.method and item.point.status != "same" for item in compared)


def agreed(compared: Sequence[Compared]) -> list[Compared]:
    """Return a step with every difference forgiven, and without visits that only one file makes."""
    return [_forgiven(item) for item in compared if item.point.status in ("same", "differs")]


def _methods(
    points: Points,
    ours: StepNotes,
    theirs: StepNotes,
    sizes: Mapping[str, int],
    lacking: Collection[str],
) -> Iterator[Compared]:
    left, right = (_visits(points, notes.events, lacking) for notes in (ours, theirs))
    count: dict[str, int] = defaultdict(int)
    by_name = {spec.name: spec for spec in points.specs}
    order = [name for event in ours.events for name in _names(points, event, lacking)]
    extra = [name for name in right if len(right[name]) > len(left.get(name, ()))]
    for name in order:
        spec, call = by_name[name], count[name]
        count[name] += 1
        mine = left[name][call]
        other = right.get(name, [])
        if call < len(other):
            yield _compare(spec, call, mine, other[call], sizes)
        elif spec.method not in lacking:
            text = ("The reference comes here, your file does not.",)
            yield Compared(Point(name, spec.title, call, "missing", pattern=text), spec)
    for name in extra:
        spec, call = by_name[name], len(left.get(name, ()))
        text = ("Your file comes here, the reference does not.",)
        yield Compared(Point(name, spec.title, call, "extra", pattern=text), spec)


def _visits(
    points: Points, events: list[Event], lacking: Collection[str]
) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        for name in _names(points, event, lacking):
            found[name].append(event)
    return found


def _names(points: Points, event: Event, lacking: Collection[str]) -> list[str]:
    """Name the points an event belongs to; without the method, torch's own functions stand for some."""
    if event.kind == "op":
        ops = [spec for spec in points.specs if spec.op and spec.method in lacking]
        return [spec.name for spec in ops if spec.op and _OPS[spec.op] == event.method]
    return [
        spec.name
        for spec in points.specs
        if spec.method == event.method
        and spec.method not in lacking
        and (spec.enter is not None) is (event.kind == "enter")
    ]


def _compare(
    spec: Spec, call: int, mine: Event, other: Event, sizes: Mapping[str, int]
) -> Compared:
    made = Point(spec.name, spec.title, call, "same", from_method=other.kind != "op")
    if mine.raised != other.raised:
        ending = ending_of(mine.raised, other.raised)
        return Compared(replace(made, status="differs", pattern=(ending,)), spec)
    if mine.kind == "op" or other.kind == "op":
        # only the first array is comparable, and only when both lay it out alike
        pairs = list(_arrays(mine.parts))[:1], list(_arrays(other.parts))[:1]
        if not all(pairs) or pairs[0][0][1].shape != pairs[1][0][1].shape:
            return Compared(made, spec)
        want, got = part_of(spec.op, pairs[0][0][1], pairs[1][0][1])
        left, right = {"": want}, {"": got}
        return Compared(_parts(made, spec, left, right, sizes), spec)
    compared = _parts(made, spec, _chosen(spec, mine), _chosen(spec, other), sizes)
    if compared.status == "same" and other.changed and not mine.changed:
        text = ("It changes an argument in place, which belongs to its caller.",)
        compared = replace(compared, status="differs", pattern=text)
    return Compared(compared, spec)


def _chosen(spec: Spec, event: Event) -> Parts:
    if spec.enter is None:
        return event.parts
    prefix = str(spec.enter)
    return {k: v for k, v in event.parts.items() if k == prefix or k.startswith(f"{prefix}/")}


def _arrays(parts: Parts) -> Iterator[tuple[str, Array]]:
    return ((name, item) for name, item in parts.items() if isinstance(item, Array))


def _parts(made: Point, spec: Spec, mine: Parts, other: Parts, sizes: Mapping[str, int]) -> Point:
    """Compare all parts of a point; the first that differs is told."""
    for name, want in mine.items():
        got = other.get(name)
        if got is None:
            text = (f"{name or 'the result'} is missing.",)
            return replace(made, status="differs", pattern=text)
        if isinstance(want, Array) and isinstance(got, Array):
            told = compare_arrays(made, want, got, spec.axes, sizes)
            if told.status != "same":
                part = f" ({name})" if name and len(mine) > 1 else ""
                return replace(told, title=made.title + part)
            if made.expected is None:
                made = told
        elif want != got:
            place = Place((), (), *shown(want, got))
            return replace(made, status="differs", place=place)
    return made


def _outputs(
    points: Points, ours: StepNotes, theirs: StepNotes, sizes: Mapping[str, int]
) -> Iterator[Compared]:
    if ours.reply is None or theirs.reply is None:
        return
    mine, other = ours.reply, theirs.reply
    ends = [_ended(reply) for reply in (mine, other)]
    if ends[0] != ends[1]:
        stage, family = (
            ("aliasing", "aliasing & ownership") if ends[1] == "mutated_input" else ("output", None)
        )
        ending = ending_of(ends[0], ends[1], _told(other))
        spec = replace(OUTPUT, stage=stage, family=family)
        yield Compared(Point("ending", "how it ends", 0, "differs", pattern=(ending,)), spec)
    left: dict[str, Any] = {**mine.values, **mine.tensors}
    right: dict[str, Any] = {**other.values, **other.tensors}
    for name, want in sorted(left.items()):
        stage, family = points.output_stage(name)
        spec = replace(OUTPUT, stage=stage, family=family)
        got = right.get(name)
        made = Point(name, name, 0, "same")
        if isinstance(want, Array) and isinstance(got, Array):
            yield Compared(compare_arrays(made, want, got, (), sizes), spec)
        elif name in right and want != got:
            place = Place((), (), *shown(want, got))
            yield Compared(replace(made, status="differs", place=place), spec)
    for name, sent in theirs.request.tensors.items():
        after = other.echo.get(name)
        if after is not None and not np.array_equal(
            after.values, sent.values, equal_nan=_floats(sent)
        ):
            text = (f"The call changed its argument `{name}`, which belongs to the caller.",)
            spec = replace(OUTPUT, stage="aliasing", family="aliasing & ownership")
            yield Compared(Point(name, f"argument {name}", 0, "differs", pattern=text), spec)


def _floats(item: Array) -> bool:
    return bool(item.values.dtype.kind == "f")


def _ended(reply: Any) -> str | None:
    if reply.raised:
        return str(reply.raised.types[0]) if reply.raised.types else "an exception"
    return str(reply.problem.kind) if reply.problem else None


def _told(reply: Any) -> str:
    if reply.raised:
        line = f" (line {reply.raised.line})" if reply.raised.line else ""
        return f": {reply.raised.message}{line}"
    return f": {reply.problem.message}" if reply.problem else ""


def _settled(found: list[Compared]) -> list[Compared]:
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
        for name in item.spec.settles
    }
    return [
        _forgiven(item) if (item.point.name, item.point.call) in vouched else item for item in found
    ]


def _forgiven(item: Compared) -> Compared:
    if item.point.status != "differs":
        return item
    return replace(item, point=replace(item.point, status="same", pattern=(), place=None))

"""Lay the notes of a submission and of the reference side by side, and find where they first part.

The points of a step are walked in the order in which the reference ended them; the k-th visit of a point is compared
with the k-th.  After the points come the step's outputs and how it ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from grader.arrays import Array
from grader.trace.model import Place, Point
from grader.trace.outputs import Compared, compare_outputs, forgiven
from grader.trace.patterns import Around
from grader.trace.points import Points, Spec
from grader.trace.record import Event, StepNotes
from grader.trace.values import alike, compare_arrays, ending_of, part_of, shown

Part = Array | str
Parts = Mapping[str, Part]
_OPS = {
    "scores": "softmax.in",
    "mask": "softmax.in",
    "weights": "softmax.out",
    "context": "context",
}


def compare_step(
    points: Points,
    ours: StepNotes,
    theirs: StepNotes,
    around: Around,
    lacking: Collection[str] = (),
) -> list[Compared]:
    """Compare one step; `ours` is the reference's.  The list is in the order of the computation.

    `lacking` are the methods that the submission does not define.
    """
    found = list(_methods(points, ours, theirs, around, lacking))
    found += compare_outputs(points, ours, theirs, around)
    return _settled(found)


def spoiled(compared: Sequence[Compared]) -> bool:
    """Whether a step answers, ends or treats its arguments otherwise than it should."""
    return any(not item.spec.method and item.point.status != "same" for item in compared)


def agreed(compared: Sequence[Compared]) -> list[Compared]:
    """Return a step with every difference forgiven, and without visits that only one file makes."""
    return [forgiven(item) for item in compared if item.point.status in ("same", "differs")]


def _methods(
    points: Points,
    ours: StepNotes,
    theirs: StepNotes,
    around: Around,
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
            yield _compare(spec, call, mine, other[call], around)
        elif spec.method not in lacking:
            text = ("The reference comes here, your file does not.",)
            made = Point(name, spec.title, call, "missing", pattern=text, kinds=("rest",))
            yield Compared(made, spec)
    for name in extra:
        spec, call = by_name[name], len(left.get(name, ()))
        text = ("Your file comes here, the reference does not.",)
        made = Point(name, spec.title, call, "extra", pattern=text, kinds=("rest",))
        yield Compared(made, spec)


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


def _compare(spec: Spec, call: int, mine: Event, other: Event, around: Around) -> Compared:
    made = Point(spec.name, spec.title, call, "same", from_method=other.kind != "op")
    if mine.raised != other.raised:
        ending = ending_of(mine.raised, other.raised)
        kind = "raises" if other.raised else "returns"
        told = replace(made, status="differs", pattern=(ending,), kinds=(kind,))
        return Compared(told, spec)
    if mine.kind == "op" or other.kind == "op":
        # only the first array is comparable, and only when both lay it out alike
        pairs = list(_arrays(mine.parts))[:1], list(_arrays(other.parts))[:1]
        if not all(pairs) or pairs[0][0][1].shape != pairs[1][0][1].shape:
            return Compared(made, spec)
        want, got = part_of(spec.op, pairs[0][0][1], pairs[1][0][1])
        left, right = {"": want}, {"": got}
        return Compared(_parts(made, spec, left, right, around), spec)
    compared = _parts(made, spec, _chosen(spec, mine), _chosen(spec, other), around)
    if compared.status == "same" and other.changed and not mine.changed:
        text = ("It changes an argument in place, which belongs to its caller.",)
        compared = replace(compared, status="differs", pattern=text, kinds=("changes",))
    return Compared(compared, spec)


def _chosen(spec: Spec, event: Event) -> Parts:
    if spec.enter is None:
        return event.parts
    prefix = str(spec.enter)
    return {k: v for k, v in event.parts.items() if k == prefix or k.startswith(f"{prefix}/")}


def _arrays(parts: Parts) -> Iterator[tuple[str, Array]]:
    return ((name, item) for name, item in parts.items() if isinstance(item, Array))


def _parts(made: Point, spec: Spec, mine: Parts, other: Parts, around: Around) -> Point:
    """Compare all parts of a point; the first that differs is told."""
    for name, want in mine.items():
        got = other.get(name)
        if name[:1] == "~":
            if want == "apart" and got == "shared":
                return replace(made, status="differs", pattern=(_sharing(name),), kinds=("shares",))
        elif got is None:
            if _promised(name):
                text = (f"{name or 'the result'} is missing.",)
                return replace(made, status="differs", pattern=text, kinds=("shape",))
        elif isinstance(want, Array) and isinstance(got, Array):
            told = compare_arrays(made, want, got, spec.axes, around)
            if told.status != "same":
                part = f" ({name.lstrip('.')})" if name and len(mine) > 1 else ""
                return replace(told, title=made.title + part)
            if made.expected is None:
                made = told
        elif not alike(want, got):
            place = Place((), (), *shown(want, got))
            return replace(made, status="differs", place=place)
    return made


def _promised(name: str) -> bool:
    """Whether every file has this part: what an object shows beside its contract is its own affair."""
    return "." not in name


def _sharing(name: str) -> str:
    """Say what two things share that should be apart."""
    pair, _, sort = name[1:].partition("/objects")
    left, right = pair.removesuffix("/memory").split("/")
    what = "an object" if sort == "" and name.endswith("/objects") else "memory"
    words = {"result": "what it returns", "self": "what it keeps", "arguments": "its arguments"}
    return f"{words[left].capitalize()} and {words[right]} share {what}: a change of one is seen in the other."


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
        forgiven(item) if (item.point.name, item.point.call) in vouched else item for item in found
    ]

"""What the step slider draws: a trace as one bounded JSON document that holds no more than a level tells.

    level     what of a scenario goes into the document
    verdict   nothing
    symptom   of each step what was asked, how it ended, and its outputs; the first wrong output is pinned
    place     and the checkpoints within the steps, their small facts, and the first difference of all, pinned
    pattern   and how the numbers differ, in words
    cause     and which known mistake looks like this

Of a unit case nothing is told below `place`, where it is only counted, and its name and title not below `pattern`.
What is left out here is in no page: the browser is given nothing that it would have to hide.

A document (`kvdojo/steps/v1`) takes at most `LIMIT` bytes.  Numbers are rounded to six digits.  Where a trace has
more, parts around the first difference are kept, and `cut` says what is missing:

    {"schema": "kvdojo/steps/v1", "challenge": "...", "case": "...", "level": "place", "told": null, "cut": [],
     "ended": null, "first": {"step": 1, "point": 4, "text": "step 2 (decode, 1 token), `scores`, ..."},
     "steps": [{"number": 1, "title": "prefill, 3 tokens", "asked": [["tokens", "3"]], "facts": [...], "raised": null,
                "points": [{"name": "scores", "title": "scores", "call": 0, "program": "", "output": false,
                            "status": "same", "axes": ["batch", "head", "query", "key"], "place": null, "said": [],
                            "expected": ARRAY, "yours": ARRAY, "gap": null}]}]}

ARRAY is `{"dtype", "shape", "at", "size", "values"}`: the `values`, row by row, of the part of that `size` which begins
at index `at`.  Numbers that JSON does not have are the texts that JavaScript's `Number` reads: "NaN", "Infinity".
`values` is null where the array was too large to be recorded, and "expected" where they are those of `expected`.
`gap` holds, for the same part, by how much each wrong number is off, and 0 for those that are right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from grader.content import Case, Challenge
from grader.content.entries import CAUSE, PATTERN, PLACE, SYMPTOM, tells
from grader.diagnose.compare_arrays import wrong_values
from grader.diagnose.explain_failures import trace_focus
from grader.diagnose.trace_case import trace_case
from grader.diagnose.trace_model import Checkpoint, FactPair, RecordedArray, Trace, TracedStep
from grader.ground.display import escape_for_display
from grader.judge.focus import Focus
from grader.judge.golden import Golden
from grader.judge.telling import NOT_TOLD, at_most
from grader.sandbox import Sandbox

LIMIT = 4 << 20  # bytes of a document
DIGITS, GAP_DIGITS = 6, 3
BYTES_OF_NUMBER = 3  # at least, with its comma
TEXT, LINE = 160, 400  # characters of a name or value, and of a sentence
MOST_ASKED = 16
MOST_SAID = 3
LARGEST_WHOLE = 2**53  # above which JavaScript has not every whole number
COUNTED = "Only a unit case shows this one, and unit cases are counted: a rung of help tells more."
ALONE = "The other planted bugs are left out, so that they do not hide the one in focus."
NAMES = (("cache_length", "cache length"), ("scores", "keys seen"), ("weight_sum", "weights' sum"))


class _Plan(NamedTuple):
    """How much of a trace is kept: numbers of an array, checkpoints of a step, and steps."""

    numbers: int
    points: int
    steps: int


# the first that fits is taken, and the last always does
PLANS = (
    _Plan(4096, 400, 400),
    _Plan(1024, 200, 400),
    _Plan(256, 100, 300),
    _Plan(64, 40, 300),
    _Plan(16, 12, 200),
    _Plan(0, 3, 60),
)


def level_of_height(challenge: Challenge, told: str, height: int) -> str:
    """Return the level at which steps are shown to somebody who climbed to a rung of the ladder of help.

    `told` is the level of the grading.  The rungs above the pattern tell hints, and nothing more of the numbers.
    """
    climbed = (SYMPTOM, PLACE, PATTERN)[min(height, 2)]
    return at_most(told if tells(told, climbed) else climbed, challenge.tell)


def trace_for_steps(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden | None,
    source: bytes,
    focus: Focus,
    case: str,
    level: str,
) -> Trace:
    """Return the trace that a level's document is made of.

    Up to the symptom it is that of the file as it stands, whose answers the learner has seen; above, that of the bug in
    focus alone, as `kvdojo more` and `kvdojo trace` have it.  Raises SandboxError and ContentError.
    """
    if not tells(level, SYMPTOM) or _only_counted(challenge.cases[case], level):
        return Trace(challenge.id, case, ())
    if tells(level, PLACE):
        return trace_focus(sandbox, challenge, golden, source, focus, case)
    stored = golden.cases.get(case) if golden else None
    return trace_case(sandbox, challenge, challenge.cases[case], source, stored)


def step_document(trace: Trace, case: Case, level: str, *, alone: bool = False) -> dict[str, Any]:
    """Return the document of a trace of `case`, with what `level` tells; `alone` if other bugs were left out of it."""
    made: dict[str, Any] = {}
    for plan in PLANS:
        if _least(trace, plan) <= LIMIT or plan is PLANS[-1]:
            made = _document(trace, case, level, plan, alone)
            if len(encoded(made)) <= LIMIT:
                break
    return made


def encoded(document: dict[str, Any]) -> bytes:
    """Return the document as it is sent."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def _only_counted(case: Case, level: str) -> bool:
    return case.kind == "unit" and not tells(level, PLACE)


def _least(trace: Trace, plan: _Plan) -> int:
    """Return fewer bytes than a document by this plan takes, without making it."""
    kept = trace.steps[: plan.steps]
    arrays = [point.expected for step in kept for point in step.checkpoints[: plan.points]]
    sizes = (item.values.size for item in arrays if item is not None and item.values is not None)
    return BYTES_OF_NUMBER * sum(min(size, plan.numbers) for size in sizes)


def _document(trace: Trace, case: Case, level: str, plan: _Plan, alone: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "schema": "kvdojo/steps/v1",
        "challenge": trace.challenge,
        "case": trace.case,
        "title": "",
        "level": level,
        "told": None,
        "note": ALONE if alone and tells(level, PLACE) else None,
        "cut": [],
        "ended": None,
        "first": None,
        "steps": [],
    }
    if not tells(level, SYMPTOM) or _only_counted(case, level):
        return {**made, "case": "", "told": COUNTED if tells(level, SYMPTOM) else NOT_TOLD}
    first = _first(trace, level)
    steps = _kept(range(len(trace.steps)), plan.steps, [first[0]] if first else [])
    pinned = None
    reader = _Reader(plan, level)
    for at in steps:
        step = trace.steps[at]
        told = [
            number
            for number, point in enumerate(step.checkpoints)
            if point.is_output or tells(level, PLACE)
        ]
        wrong = [number for number in told if step.checkpoints[number].status != "same"]
        if first is not None and first[0] == at:
            wrong = [first[1], *wrong]
        points = _kept(told, plan.points, wrong)
        reader.left_out += len(told) - len(points)
        if first is not None and first[0] == at:
            pinned = {
                "step": len(made["steps"]),
                "point": points.index(first[1]),
                "text": _first_text(trace, level, step, step.checkpoints[first[1]]),
                "said": _first_said(trace, level),
            }
        made["steps"].append(_step(step, case, level, [reader.point(step, n) for n in points]))
    ended = escape_for_display(trace.ended, columns=LINE) if trace.ended else None
    named = case.kind != "unit" or tells(level, PATTERN)
    return {
        **made,
        "case": trace.case if named else "",
        "title": escape_for_display(case.title, columns=TEXT) if named else "",
        "cut": reader.cut(len(trace.steps) - len(steps)),
        "ended": ended,
        "first": pinned,
    }


def _kept(numbers: Iterable[int], most: int, wanted: Sequence[int]) -> list[int]:
    """Return at most so many of the numbers in their order: those wanted first, and then the ones around the first of
    them."""
    numbers = list(numbers)
    if len(numbers) <= most:
        return numbers
    chosen = list(dict.fromkeys(wanted))[:most]
    middle = numbers.index(chosen[0]) if chosen else 0
    near = sorted(range(len(numbers)), key=lambda place: abs(place - middle))
    chosen += [numbers[place] for place in near if numbers[place] not in chosen]
    return sorted(chosen[:most])


def _first(trace: Trace, level: str) -> tuple[int, int] | None:
    """Return where the first difference stands that a level tells of: its step and its checkpoint, by number."""
    if not tells(level, PLACE):
        wrong = (
            (at, number)
            for at, step in enumerate(trace.steps)
            for number, point in enumerate(step.checkpoints)
            if point.is_output and point.status != "same"
        )
        return next(wrong, None)
    if trace.divergence is None:
        return None
    found = trace.divergence
    for at, step in enumerate(trace.steps):
        for number, point in enumerate(step.checkpoints):
            if step.index == found.step and _key(point) == _key(found.checkpoint):
                return at, number
    return None


def _key(point: Checkpoint) -> tuple[str, int, str, str, bool]:
    return point.name, point.call, point.program, point.status, point.is_output


def _first_text(trace: Trace, level: str, step: TracedStep, point: Checkpoint) -> str:
    if tells(level, PLACE) and trace.divergence is not None:
        return escape_for_display(trace.divergence.sentence(), columns=LINE)
    where = "creation" if step.index < 0 else f"step {step.index + 1} ({step.title})"
    parts = [where, f"`{point.title}`"]
    if point.place is None:
        said = " ".join(_said(point, level))
        return escape_for_display(f"{', '.join(parts)}: {said}".rstrip(": "), columns=LINE)
    parts += [str(point.place)] if point.place.index else []
    numbers = f"expected {point.place.expected}, got {point.place.actual}"
    return escape_for_display(f"{', '.join(parts)}: {numbers}", columns=LINE)


def _first_said(trace: Trace, level: str) -> list[str]:
    """Return what is said of the first difference of a trace beyond its place."""
    if trace.divergence is None or not tells(level, PATTERN):
        return []
    said = list(trace.divergence.checkpoint.sentences[:MOST_SAID])
    if trace.divergence.looks_like and tells(level, CAUSE):
        said.append(f"It looks like this: {trace.divergence.looks_like}")
    return [escape_for_display(text, columns=LINE) for text in said]


def _said(point: Checkpoint, level: str) -> list[str]:
    """Return how a checkpoint differs; how a step ends and what it changed is an answer, and told as one."""
    answers = point.is_output and point.place is None
    if not tells(level, SYMPTOM if answers else PATTERN):
        return []
    return [escape_for_display(text, columns=LINE) for text in point.sentences[:MOST_SAID]]


def _step(step: TracedStep, case: Case, level: str, points: list[dict[str, Any]]) -> dict[str, Any]:
    request = case.setup if step.index < 0 else case.steps[step.index]
    facts = ((title, getattr(step, name)) for name, title in NAMES)
    return {
        "number": step.index + 1,
        "title": "creation" if step.index < 0 else escape_for_display(step.title, columns=TEXT),
        "asked": [
            [escape_for_display(str(key), columns=TEXT), _plain(value)]
            for key, value in list(request.items())[:MOST_ASKED]
        ],
        "facts": [
            {"title": title, **_pair(fact)}
            for title, fact in facts
            if fact is not None and tells(level, PLACE)
        ],
        "raised": _pair(step.raised) if step.raised else None,
        "points": points,
    }


def _plain(value: Any) -> str:
    """Return what a step was told in a line; of an object its names and values, without JSON's marks."""
    if isinstance(value, dict):
        pairs = list(value.items())[:MOST_ASKED]
        text = ", ".join(f"{key} {_as_text(inner)[:TEXT]}" for key, inner in pairs)
    else:
        text = _as_text(value)
    return escape_for_display(text, columns=TEXT)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _pair(fact: FactPair) -> dict[str, str | None]:
    sides = (("expected", fact.expected), ("yours", fact.actual))
    return {
        name: None if text is None else escape_for_display(text, columns=TEXT)
        for name, text in sides
    }


class _Reader:
    """Turns checkpoints into JSON by a plan, and counts what does not go into it."""

    def __init__(self, plan: _Plan, level: str) -> None:
        self.plan, self.level = plan, level
        self.left_out = 0  # checkpoints
        self.parts = 0  # arrays of which a part is kept

    def cut(self, steps: int) -> list[str]:
        """Return what is not in the document, in sentences; so many steps are left out."""
        said = []
        if steps:
            said.append(
                f"{steps} of the steps are left out, those furthest from the first difference."
            )
        if self.left_out:
            said.append(f"{self.left_out} checkpoints that agree, or come later, are left out.")
        if self.parts:
            said.append(
                f"Of {self.parts} arrays with more than {self.plan.numbers} numbers"
                " a part around the first difference is kept."
            )
        return said

    def point(self, step: TracedStep, number: int) -> dict[str, Any]:
        """Return one checkpoint of a step."""
        point = step.checkpoints[number]
        want, got = point.expected, point.actual
        at = point.place.index if point.place else ()
        wrong = wrong_values(point) if point.status == "differs" else None
        made: dict[str, Any] = {
            "name": escape_for_display(point.name, columns=TEXT),
            "title": escape_for_display(point.title, columns=TEXT),
            "call": point.call,
            "program": escape_for_display(point.program, columns=TEXT),
            "output": point.is_output,
            "status": point.status,
            "axes": list(point.axes)
            if want is not None and len(point.axes) == len(want.shape)
            else [],
            "place": self._place(point),
            "said": _said(point, self.level),
            "expected": self._array(want, at),
            "yours": self._array(got, at),
            "gap": None,
        }
        if made["yours"] and made["expected"] and made["yours"] == made["expected"]:
            made["yours"] = {**made["yours"], "values": "expected"}
        if wrong is not None and want is not None and got is not None:
            made["gap"] = self._gap(want, got, wrong, at)
        return made

    def _place(self, point: Checkpoint) -> dict[str, Any] | None:
        if point.place is None:
            return None
        return {
            "index": list(point.place.index),
            "expected": escape_for_display(point.place.expected, columns=TEXT),
            "yours": escape_for_display(point.place.actual, columns=TEXT),
        }

    def _array(self, item: RecordedArray | None, at: Sequence[int]) -> dict[str, Any] | None:
        if item is None:
            return None
        made: dict[str, Any] = {"dtype": item.dtype, "shape": list(item.shape)}
        if item.values is None or item.values.dtype.kind not in "fiub":
            return {**made, "at": [0] * len(item.shape), "size": made["shape"], "values": None}
        part = window(item.shape, at, self.plan.numbers)
        self.parts += any(len(kept) < size for kept, size in zip(part, item.shape, strict=True))
        kept = item.values[tuple(slice(axis.start, axis.stop) for axis in part)]
        return {
            **made,
            "at": [axis.start for axis in part],
            "size": [len(axis) for axis in part],
            "values": numbers_of(kept, DIGITS),
        }

    def _gap(
        self, want: RecordedArray, got: RecordedArray, wrong: Any, at: Sequence[int]
    ) -> list[float | str] | None:
        if want.values is None or got.values is None:
            return None
        where = tuple(slice(a.start, a.stop) for a in window(want.shape, at, self.plan.numbers))
        left, right = want.values[where], got.values[where]
        with np.errstate(invalid="ignore", over="ignore"):
            gap = right.astype(np.float64) - left.astype(np.float64)
        return numbers_of(np.where(wrong[where], gap, 0.0), GAP_DIGITS)


def window(shape: Sequence[int], at: Sequence[int], most: int) -> list[range]:
    """Return a part of an array with at most so many numbers, around an index, as a range for each axis.

    The longest axis is cut first, so that a part is as square as may be.

    >>> window((2, 100, 4), (1, 60, 0), 64)
    [range(0, 2), range(57, 63), range(0, 4)]
    """
    lengths = list(shape)
    while lengths and math.prod(lengths) > most and max(lengths) > (1 if most else 0):
        longest = lengths.index(max(lengths))
        lengths[longest] = lengths[longest] // 2 if most else 0
    middle = list(at) if len(at) == len(lengths) else [0] * len(lengths)
    starts = [
        max(0, min(place - length // 2, size - length))
        for place, length, size in zip(middle, lengths, shape, strict=True)
    ]
    return [range(start, start + length) for start, length in zip(starts, lengths, strict=True)]


def numbers_of(values: np.ndarray[Any, Any], digits: int) -> list[float | str]:
    """Return an array's numbers, row by row, rounded to so many digits, for JSON; true and false are 1 and 0.

    >>> numbers_of(np.array([[0.1234567, np.nan], [-np.inf, 3.0]]), 3)
    [0.123, 'NaN', '-Infinity', 3]
    """
    if values.dtype.kind == "b":
        return [int(value) for value in values.reshape(-1).tolist()]
    if values.dtype.kind in "iu":
        whole = values.reshape(-1).tolist()
        return [value if abs(value) <= LARGEST_WHOLE else str(value) for value in whole]
    flat = values.reshape(-1).astype(np.float64)
    # one text for all of them is three times as fast as a text for each
    made: list[float | str] = [
        float(text) for text in (f"%.{digits}g " * flat.size % tuple(flat.tolist())).split()
    ]
    for place in np.flatnonzero(~np.isfinite(flat)).tolist():
        made[place] = _odd(flat[place])
    for place in np.flatnonzero((flat == np.trunc(flat)) & (np.abs(flat) < 10**digits)).tolist():
        made[place] = int(flat[place])  # a byte or two less
    return made


def _odd(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"

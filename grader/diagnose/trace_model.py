"""What a trace says: a submission and the reference side by side, step by step, point by point.

A *point* is a place in the computation with a name that both files reach: `split heads`, `scores`, `mask`, `weights`,
`context`, `merge`, `cache`, the outputs.  Plain values only; how they were recorded is not known here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

MOST_VALUES = 4096  # numbers of one array that go into a document


@dataclass(frozen=True)
class RecordedArray:
    """One recorded array; `values` is None when it was too large to be kept, or when it holds no numbers."""

    shape: tuple[int, ...]
    dtype: str
    values: np.ndarray[Any, Any] | None


@dataclass(frozen=True)
class FactPair:
    """One small fact of both files as text, such as the length of the cache; None where a file does not have it."""

    expected: str | None
    actual: str | None

    @property
    def same(self) -> bool:
        """Whether the two agree."""
        return self.expected == self.actual


@dataclass(frozen=True)
class FirstWrongValue:
    """The first wrong number of an array: its index, what each axis of the index is, and the two numbers."""

    index: tuple[int, ...]
    axes: tuple[str, ...]
    expected: str
    actual: str

    def __str__(self) -> str:
        return ", ".join(f"{axis} {at}" for axis, at in zip(self.axes, self.index, strict=True))


@dataclass(frozen=True)
class Checkpoint:
    """One named point within one step.

    `call` counts the visits within the step from 0 (a layer, a tile, a second sequence).
    `status`: same, differs, missing (the reference came here, the submission did not), extra (the reverse).
    `expected` and `actual` are the arrays, `place` the first wrong number, `pattern` sentences on how the two differ,
    and `kinds` the same in single words of `grader.diagnose.bug_class`.
    """

    name: str
    title: str
    call: int
    status: str
    expected: RecordedArray | None = None
    actual: RecordedArray | None = None
    place: FirstWrongValue | None = None
    pattern: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    program: str = ""  # of the grid, in a Triton kernel
    from_method: bool = True  # False: seen in torch's own functions, the file has no such method


@dataclass(frozen=True)
class TracedStep:
    """One step of the case.

    `index` is -1 for the creation; `title` is for people ("decode, 1 token").  `cache_length`, `scores` (keys that the
    newest token attends to) and `weight_sum` (of its weights over the keys) are given where the step has them.
    `raised` holds exceptions, as their names; None stands for a step that returned.
    """

    index: int
    verb: str
    title: str
    points: tuple[Checkpoint, ...]
    cache_length: FactPair | None = None
    scores: FactPair | None = None
    weight_sum: FactPair | None = None
    raised: FactPair | None = None


@dataclass(frozen=True)
class Divergence:
    """The first place where the two files part.

    `pattern` says how, in sentences; `looks_like` is the symptom of a known mistake that makes exactly these numbers;
    `stage` is the part of the computation, `family` the kind of mistake that makes such a divergence, a word of the
    catalogue, or None; `by_place` is the family that point and pattern alone would have told.
    """

    step: int
    step_title: str
    point: Checkpoint
    family: str | None = None
    looks_like: str | None = None
    stage: str = "output"
    by_place: str | None = None

    def sentence(self) -> str:
        """Tell it in one line: step 2 (decode, 1 token), `scores`, batch 1, head 0, query 0, key 5: expected ..."""
        where = "creation" if self.step < 0 else f"step {self.step + 1} ({self.step_title})"
        parts = [where, f"`{self.point.title}`"]
        if self.point.program:
            parts.append(f"program ({self.point.program})")
        if self.point.call:
            parts.append(f"call {self.point.call + 1}")
        if self.point.place is None:
            return f"{', '.join(parts)}: {' '.join(self.point.pattern)}".rstrip(": ")
        if self.point.place.index:
            parts.append(str(self.point.place))
        place = self.point.place
        return f"{', '.join(parts)}: expected {place.expected}, got {place.actual}"


@dataclass(frozen=True)
class Trace:
    """A whole case, traced.  `ended` says why it stops before the last step, if it does."""

    challenge: str
    case: str
    steps: tuple[TracedStep, ...]
    divergence: Divergence | None = None
    ended: str | None = None


def trace_to_json(value: Any) -> Any:
    """Return a trace, or any part of one, as plain JSON; numbers JSON has no word for become strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: trace_to_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, np.ndarray):
        return trace_to_json(value.tolist()) if value.size <= MOST_VALUES else None
    if isinstance(value, tuple | list):
        return [trace_to_json(item) for item in value]
    if isinstance(value, np.generic):
        return trace_to_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

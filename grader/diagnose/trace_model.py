"""What a trace says: a submission and the reference side by side, step by step, checkpoint by checkpoint.

A *checkpoint* is a place in the computation that has a name and that both files reach: `split heads`, `scores`, `mask`,
`weights`, `context`, `merge`, `cache`, the outputs.  Plain values only; how they were recorded is not known here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from grader.judge.error_patterns import Pattern

MOST_VALUES = 4096  # numbers of one array that go into a document

# names in the document `kvdojo/trace/v1`, where they are not those of the attributes
DOCUMENT_NAMES = {
    "checkpoint": "point",
    "checkpoints": "points",
    "patterns": "pattern",
    "bug_class": "family",
    "bug_class_by_place": "by_place",
}


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
    """The first wrong number of an array: its index, what each axis of the index is, and the two numbers as text.

    >>> str(FirstWrongValue((0, 2), ("head", "key"), "0.5", "0.25"))
    'head 0, key 2'
    """

    index: tuple[int, ...]
    axes: tuple[str, ...]
    expected: str
    actual: str

    def __str__(self) -> str:
        return ", ".join(f"{axis} {at}" for axis, at in zip(self.axes, self.index, strict=True))


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint as two files reached it for the `call`-th time within one step.

    `call` counts from 0: a checkpoint is reached once per layer, tile or sequence.
    `status` is `same`, `differs`, `missing` (the reference came here and the submission did not) or `extra` (the
    reverse).
    `expected` and `actual` are the arrays, `place` is the first wrong number, and `patterns` say how the two differ.
    `kinds` are those of the difference, the most telling first, in the words of `grader.diagnose.bug_class`.
    `axes` are the names of the arrays' axes, empty where nobody named them.
    `is_output` says that callers see it: an output of the step, how the step ends, or an argument that it changed.
    """

    name: str
    title: str
    call: int
    status: str
    expected: RecordedArray | None = None
    actual: RecordedArray | None = None
    place: FirstWrongValue | None = None
    patterns: tuple[Pattern, ...] = ()
    kinds: tuple[str, ...] = ()
    program: str = ""  # of the grid, in a Triton kernel
    from_method: bool = True  # False: seen in torch's own functions, the file has no such method
    axes: tuple[str, ...] = ()
    is_output: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """The patterns as learners read them."""
        return tuple(pattern.text for pattern in self.patterns)


@dataclass(frozen=True)
class TracedStep:
    """One step of the case.

    `index` is -1 for the creation; `title` is for people ("decode, 1 token").  `cache_length`, `scores` (the number of
    keys that the newest token attends to) and `weight_sum` (the sum of its weights over the keys) are given where the
    step has them.  `raised` holds the names of exceptions; None means that the step returned.
    """

    index: int
    verb: str
    title: str
    checkpoints: tuple[Checkpoint, ...]
    cache_length: FactPair | None = None
    scores: FactPair | None = None
    weight_sum: FactPair | None = None
    raised: FactPair | None = None


@dataclass(frozen=True)
class Divergence:
    """The first place where the two files differ.

    `looks_like` is the symptom of a known mistake that makes exactly these numbers.  `stage` is the part of the
    computation.  `bug_class` is the kind of mistake that makes such a divergence, a `family` of bugs.json, or None;
    `bug_class_by_place` is what follows from checkpoint and patterns alone, without the fault dictionary.
    """

    step: int
    step_title: str
    checkpoint: Checkpoint
    bug_class: str | None = None
    looks_like: str | None = None
    stage: str = "output"
    bug_class_by_place: str | None = None

    def sentence(self) -> str:
        """Tell it in one line: step 2 (decode, 1 token), `scores`, batch 1, head 0, query 0, key 5: expected ..."""
        at = self.checkpoint
        where = "creation" if self.step < 0 else f"step {self.step + 1} ({self.step_title})"
        parts = [where, f"`{at.title}`"]
        if at.program:
            parts.append(f"program ({at.program})")
        if at.call:
            parts.append(f"call {at.call + 1}")
        if at.place is None:
            return f"{', '.join(parts)}: {' '.join(at.sentences)}".rstrip(": ")
        if at.place.index:
            parts.append(str(at.place))
        return f"{', '.join(parts)}: expected {at.place.expected}, got {at.place.actual}"


@dataclass(frozen=True)
class Trace:
    """A whole case, traced.  `ended` says why it stops before the last step, if it does."""

    challenge: str
    case: str
    steps: tuple[TracedStep, ...]
    divergence: Divergence | None = None
    ended: str | None = None


def trace_to_json(value: Any) -> Any:
    """Return a trace, or any part of one, as plain JSON; numbers that JSON has no word for become strings."""
    if isinstance(value, Pattern):
        return value.text
    if is_dataclass(value) and not isinstance(value, type):
        return {
            DOCUMENT_NAMES.get(item.name, item.name): trace_to_json(getattr(value, item.name))
            for item in fields(value)
        }
    if isinstance(value, np.ndarray):
        return trace_to_json(value.tolist()) if value.size <= MOST_VALUES else None
    if isinstance(value, tuple | list):
        return [trace_to_json(item) for item in value]
    if isinstance(value, np.generic):
        return trace_to_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

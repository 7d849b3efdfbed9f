"""Small facts of a step: how long the cache is, how many keys the newest token sees, what its weights sum up to.

They are read from recorded values at the places that points.json names; nothing is compared here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from grader.content import Case
from grader.diagnose.checkpoints import Checkpoints, FactSource
from grader.diagnose.patterns import StepContext, masked
from grader.diagnose.record_case import StepRecording
from grader.ground.arrays import Array

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class StepFacts:
    """Facts of one step of one file as text; None where it has none."""

    cache_length: str | None
    scores: str | None
    weight_sum: str | None


def step_facts(points: Checkpoints, notes: StepRecording) -> StepFacts:
    """Return the facts of a step as one file made it."""
    weights = [
        rows for item in _found(points, "weights", notes) if (rows := _newest(item)) is not None
    ]
    seen = _found(points, "scores", notes)
    counts = [_seen(item) for item in seen] or [rows != 0 for rows in weights[-1:]]
    length = _numbers(points, "cache_length", notes)
    return StepFacts(
        _span(length) if length is not None and length.size else None,
        _counted(counts),
        _sums(weights[-1]) if weights else None,
    )


def context(
    points: Checkpoints, case: Case, ours: StepRecording, sizes: Mapping[str, int]
) -> StepContext:
    """Return what the reference's step says of tokens held and of padding."""
    total, held = (_numbers(points, name, ours) for name in ("cache_length", "cached"))
    after, before = _one(total), _one(held)
    tokens = case.steps[ours.index].get("tokens") if ours.index >= 0 else None
    if held is None and after is not None and type(tokens) is int:
        before = max(after - tokens, 0)
    padding, lengths = (_numbers(points, name, ours) for name in ("padding", "lengths"))
    padded: tuple[bool, ...] = ()
    if padding is not None and padding.ndim == 1:
        padded = tuple(bool(count > 0) for count in padding)
    elif lengths is not None and lengths.ndim == 1 and lengths.size:
        padded = tuple(bool(length < lengths.max()) for length in lengths)
    return StepContext(sizes, before, after, padded)


def _one(values: Numbers | None) -> int | None:
    alike = values is not None and values.size and (values == values.flat[0]).all()
    return int(values.flat[0]) if values is not None and alike else None


def _numbers(points: Checkpoints, name: str, notes: StepRecording) -> Numbers | None:
    """Return a fact that is a number, or one per batch row."""
    fact = points.facts.get(name)
    found = _found(points, name, notes, texts=True)
    if fact is None or not found:
        return None
    if fact.tiles:
        found = [item for item in found if isinstance(item, Array)]
        whole = [item.values.reshape(-1) for item in found if item.values.dtype.kind in "iu"]
        return np.concatenate(whole) if whole else None
    last = found[-1]
    if isinstance(last, str):
        return np.array([int(last)]) if last.isdecimal() and len(last) < 12 else None
    if fact.axis is None:
        return last.values if last.values.dtype.kind in "iu" and last.values.size else None
    return np.array(last.shape[fact.axis : fact.axis + 1])


def _found(points: Checkpoints, name: str, notes: StepRecording, texts: bool = False) -> list[Any]:
    """Return the values of a fact: the last visit's, or every visit's."""
    fact = points.facts.get(name)
    if fact is None:
        return []
    if fact.argument:
        sent = [notes.request.tensors.get(name) for name in fact.argument.split()]
        return [item for item in sent if item is not None][:1]
    values = [value for value in _values(points, fact, notes) if texts or isinstance(value, Array)]
    return values if fact.tiles else values[-1:]


def _values(points: Checkpoints, fact: FactSource, notes: StepRecording) -> list[Array | str]:
    spec = next((item for item in points.specs if item.name == fact.point), None)
    if spec is None:
        return []
    kind = "result" if spec.enter is None else "enter"
    part = fact.part or ("" if spec.enter is None else str(spec.enter))
    own = [e.parts.get(part) for e in notes.events if e.method == spec.method and e.kind == kind]
    if spec.op == "weights" and not any(own):
        own = [event.parts.get("") for event in notes.events if event.method == "softmax.out"]
    return [value for value in own if value is not None]


def _newest(item: Array) -> Numbers | None:
    """The newest token's weights, one row per head and sequence."""
    if len(item.shape) < 2 or not item.values.size:
        return None
    last = item.values.astype(np.float64)[..., -1, :]
    return np.asarray(last.reshape(-1, last.shape[-1]))


def _seen(item: Array) -> Numbers:
    """Which keys the newest token sees, by row."""
    rows = _newest(item)
    if rows is None:
        return np.zeros((0, 0), bool)
    return np.asarray(rows != 0) if item.dtype == "bool" else ~masked(rows)


def _counted(seen: list[Numbers]) -> str | None:
    if not seen or len({len(rows) for rows in seen}) != 1 or not seen[0].size:
        return None
    return _span(np.array(sum(rows.sum(-1) for rows in seen)))


def _span(counts: Numbers) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _sums(rows: Numbers) -> str | None:
    if not rows.size:
        return None
    low, high = float(rows.sum(-1).min()), float(rows.sum(-1).max())
    return f"{low:.4f}" if f"{low:.4f}" == f"{high:.4f}" else f"{low:.4f} to {high:.4f}"

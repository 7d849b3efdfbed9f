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
    """Facts of one step of one file as text; None where it has none.

    A number that differs between heads or rows is given as `3 to 5`.
    """

    cache_length: str | None
    scores: str | None
    weight_sum: str | None


def step_facts(checkpoints: Checkpoints, step: StepRecording) -> StepFacts:
    """Return the facts of a step as one file made it."""
    weights = [
        rows
        for item in _found(checkpoints, "weights", step)
        if (rows := _newest_token(item)) is not None
    ]
    seen = [_seen(item) for item in _found(checkpoints, "scores", step)]
    length = _numbers(checkpoints, "cache_length", step)
    return StepFacts(
        _span(length) if length is not None and length.size else None,
        _counted(seen or [rows != 0 for rows in weights[-1:]]),
        _sums(weights[-1]) if weights else None,
    )


def step_context(
    checkpoints: Checkpoints, case: Case, reference: StepRecording, sizes: Mapping[str, int]
) -> StepContext:
    """Return what the reference's step says of tokens held and of padding.

    Where points.json names no `cached`, the tokens before the step are those after it less the step's own.
    """
    total, held = (_numbers(checkpoints, name, reference) for name in ("cache_length", "cached"))
    after, before = _if_all_equal(total), _if_all_equal(held)
    tokens = case.steps[reference.index].get("tokens") if reference.index >= 0 else None
    if held is None and after is not None and type(tokens) is int:
        before = max(after - tokens, 0)
    padding, lengths = (_numbers(checkpoints, name, reference) for name in ("padding", "lengths"))
    padded: tuple[bool, ...] = ()
    if padding is not None and padding.ndim == 1:
        padded = tuple(bool(count > 0) for count in padding)
        return StepContext(sizes, before, after, padded)
    if lengths is not None and lengths.ndim == 1 and lengths.size:
        padded = tuple(bool(length < lengths.max()) for length in lengths)
    return StepContext(sizes, before, after, padded, by_length=True)


def _if_all_equal(values: Numbers | None) -> int | None:
    """Return the one number that all are, or None."""
    alike = values is not None and values.size and (values == values.flat[0]).all()
    return int(values.flat[0]) if values is not None and alike else None


def _numbers(checkpoints: Checkpoints, name: str, step: StepRecording) -> Numbers | None:
    """Return a fact that is a number, or one per batch row."""
    source = checkpoints.facts.get(name)
    found = _found(checkpoints, name, step, texts=True)
    if source is None or not found:
        return None
    if source.every_call:
        found = [item for item in found if isinstance(item, Array)]
        whole = [item.values.reshape(-1) for item in found if item.values.dtype.kind in "iu"]
        return np.concatenate(whole) if whole else None
    last = found[-1]
    if isinstance(last, str):
        return np.array([int(last)]) if last.isdecimal() and len(last) < 12 else None
    if source.axis is None:
        return last.values if last.values.dtype.kind in "iu" and last.values.size else None
    return np.array(last.shape[source.axis : source.axis + 1])


def _found(
    checkpoints: Checkpoints, name: str, step: StepRecording, texts: bool = False
) -> list[Any]:
    """Return the values of a fact: the last call's, or every call's."""
    source = checkpoints.facts.get(name)
    if source is None:
        return []
    if source.argument:
        sent = [step.request.tensors.get(name) for name in source.argument.split()]
        return [item for item in sent if item is not None][:1]
    values = [
        value for value in _values(checkpoints, source, step) if texts or isinstance(value, Array)
    ]
    return values if source.every_call else values[-1:]


def _values(checkpoints: Checkpoints, source: FactSource, step: StepRecording) -> list[Array | str]:
    spec = next((item for item in checkpoints.specs if item.name == source.checkpoint), None)
    if spec is None:
        return []
    kind = "result" if spec.argument is None else "enter"
    part = source.part or ("" if spec.argument is None else str(spec.argument))
    own = [c.parts.get(part) for c in step.calls if c.method == spec.method and c.kind == kind]
    if spec.torch_function == "weights" and not any(own):
        own = [call.parts.get("") for call in step.calls if call.method == "softmax.out"]
    return [value for value in own if value is not None]


def _newest_token(item: Array) -> Numbers | None:
    """Return the newest token's weights, [heads and sequences, keys], from weights [..., queries, keys]."""
    if len(item.shape) < 2 or not item.values.size:
        return None
    last = item.values.astype(np.float64)[..., -1, :]
    return np.asarray(last.reshape(-1, last.shape[-1]))


def _seen(item: Array) -> Numbers:
    """Return which keys the newest token sees, [heads and sequences, keys], from a mask or masked scores."""
    rows = _newest_token(item)
    if rows is None:
        return np.zeros((0, 0), bool)
    return np.asarray(rows != 0) if item.dtype == "bool" else ~masked(rows)


def _counted(seen: list[Numbers]) -> str | None:
    """Count the keys seen by row over all tiles."""
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

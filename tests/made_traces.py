"""Traces made by hand: an attention that is right, and what a mistake makes of it."""

from __future__ import annotations

import numpy as np

from grader.diagnose.trace_model import (
    Checkpoint,
    Divergence,
    FactPair,
    FirstWrongValue,
    RecordedArray,
    Trace,
    TracedStep,
)
from grader.judge.error_patterns import Pattern

AXES = ("batch", "head", "query", "key")


def grid(values) -> RecordedArray:
    return RecordedArray(values.shape, str(values.dtype), values)


def softmax(scores):
    with np.errstate(invalid="ignore"):
        made = np.exp(scores - scores.max(-1, keepdims=True))
        return made / made.sum(-1, keepdims=True)


def scores(heads: int, new: int, total: int):
    count = heads * new * total
    made = np.sin(np.arange(count, dtype=np.float64) * 1.7).reshape(1, heads, new, total) * 2
    hidden = np.arange(total)[None, :] > np.arange(new)[:, None] + total - new
    return np.where(hidden, -np.inf, made)


def weights_checkpoint(new: int, total: int, *, heads: int = 3, wrong=None) -> Checkpoint:
    want = softmax(scores(heads, new, total))
    got = want if wrong is None else wrong(scores(heads, new, total))
    return checkpoint("weights", want, got, AXES)


def checkpoint(name: str, want, got, axes) -> Checkpoint:
    if got is None:
        return Checkpoint(name, name, 0, "missing", grid(want), axes=axes)
    if want.shape != got.shape:
        return Checkpoint(
            name,
            name,
            0,
            "differs",
            grid(want),
            grid(got),
            None,
            (Pattern("shape", "Another shape."),),
            axes=axes,
        )
    places = np.argwhere(~((want == got) | (np.isnan(want) & np.isnan(got))))
    if not len(places):
        return Checkpoint(name, name, 0, "same", grid(want), grid(got), axes=axes)
    index = tuple(map(int, places[0]))
    place = FirstWrongValue(index, axes, f"{want[index]:.4f}", f"{got[index]:.4f}")
    return Checkpoint(
        name,
        name,
        0,
        "differs",
        grid(want),
        grid(got),
        place,
        (Pattern("new_part", "Only after the cache."),),
        axes=axes,
    )


def trace(case: str = "a-case", *, wrong=None, heads: int = 3) -> Trace:
    """A prefill of 4 tokens that is right, and a decode of 2 that `wrong` spoils."""
    steps = []
    for index, (new, total) in enumerate([(4, 4), (2, 6)]):
        attention = weights_checkpoint(new, total, heads=heads, wrong=wrong if index else None)
        want = attention.expected.values.sum(1)
        got = want if attention.actual is None else attention.actual.values.sum(1)
        output = checkpoint("output", want, got, ("batch", "token", "feature"))
        length = FactPair(str(total), str(total if wrong is None else new))
        steps.append(
            TracedStep(
                index,
                "forward",
                f"{'decode' if index else 'prefill'}, {new} tokens",
                (attention, output),
                length,
                FactPair("6", "6"),
                FactPair("1", "1"),
            )
        )
    first = next((p for p in steps[1].checkpoints if p.status != "same"), None)
    divergence = Divergence(1, steps[1].title, first) if first else None
    return Trace("multi_head_attention", case, tuple(steps), divergence)


def unmasked(values):
    return softmax(np.where(np.isinf(values), 0.5, values))


def not_finite(values):
    made = softmax(values)
    made[0, 1] = np.nan
    return made

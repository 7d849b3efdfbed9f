"""Say numbers, and in what manner wrong ones are wrong, in words a learner can use.

A pattern is read from the two arrays alone; nothing is known here of the code that made them.  It has a kind for
programs and a sentence for people; whoever decides anything looks at the kind.

    >>> pattern(np.zeros(3), np.ones(3), np.full(3, True))
    Pattern(kind='zero', text='Every value is zero.')
    >>> wrong = np.array([[False, False], [True, True], [True, True]])
    >>> pattern(np.where(wrong, [5.0, 7.0], 1.0), np.array([[1.0, 1.0], [2.0, 9.0], [4.0, 3.0]]), wrong)
    Pattern(kind='region', text='Along axis 0, only index 1-2 is wrong; the rest is right.')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NEAR = 1e-5  # that two numbers are the same, absolutely and relatively
Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Pattern:
    """How wrong numbers are wrong.

    `kind` is one of: zero (all of them), constant (all of them one number), transposed (two axes exchanged), reordered
    (the right values in another order along an axis), scrambled (the right values in wrong places), scaled (all by one
    factor), everywhere (no value is right), region (only some indices of one axis are wrong).  Traces have
    further kinds, most of them made in `diagnose.patterns`.  `text` is a sentence.
    """

    kind: str
    text: str


def number(value: Any) -> str:
    """One number, six significant digits."""
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def numbers(values: Numbers, index: tuple[int, ...], width: int = 4) -> str:
    """A few neighbours along the last axis, starting at `index`."""
    if not index:
        return number(values[()])
    row = values[index[:-1]][index[-1] : index[-1] + width]
    more = ", ..." if values.shape[-1] > index[-1] + width else ""
    return "[" + ", ".join(number(value) for value in row) + more + "]"


def pattern(got: Numbers, want: Numbers, wrong: Numbers) -> Pattern | None:
    """Name the plainest description of the error that fits, or None."""
    a, b = got.astype(np.float64), want.astype(np.float64)
    if not a.any():
        return Pattern("zero", "Every value is zero.")
    if a.size > 3 and np.ptp(a) == 0:
        return Pattern("constant", f"Every value is {number(a.flat[0])}.")
    if _same_numbers(a, b) and (moved := _transposed(a, b) or _reordered(a, b)):
        return moved
    return _scaled(a, b) or _region(wrong)


def _same_numbers(a: Numbers, b: Numbers) -> bool:
    """Whether the same numbers stand in both, wherever; the extremes rule most others out without sorting."""
    ends = (a.min(), b.min()), (a.max(), b.max())
    if not all(x == y or abs(x - y) <= NEAR + NEAR * abs(y) for x, y in ends):
        return False
    return np.allclose(np.sort(a, None), np.sort(b, None), atol=NEAR, rtol=NEAR)


def _transposed(a: Numbers, b: Numbers) -> Pattern | None:
    for first in range(a.ndim):
        for second in range(first + 1, a.ndim):
            flipped = np.swapaxes(b, first, second)
            if flipped.shape == a.shape and np.allclose(a, flipped, atol=NEAR, rtol=NEAR):
                text = f"The values are right but axes {first} and {second} are exchanged."
                return Pattern("transposed", text)
    return None


def _reordered(a: Numbers, b: Numbers) -> Pattern | None:
    """Say along which axis the same numbers stand in another order."""
    if a.size < 4:
        return None
    for axis in range(a.ndim):
        if np.allclose(np.sort(a, axis), np.sort(b, axis), atol=NEAR, rtol=NEAR):
            text = f"The right values stand there in another order along axis {axis}."
            return Pattern("reordered", text)
    return Pattern(
        "scrambled",
        "The right numbers stand there in the wrong places: a view or reshape where the axes"
        " had to be moved (transpose) first scrambles them so.",
    )


def _scaled(a: Numbers, b: Numbers) -> Pattern | None:
    safe = np.abs(b) > 1e-3 * max(np.abs(b).max(), 1e-30)
    if safe.sum() < 4:
        return None
    ratio = a[safe] / b[safe]
    middle = float(np.median(ratio))
    if abs(middle - 1) > 1e-3 and np.allclose(ratio, middle, rtol=1e-3):
        return Pattern("scaled", f"Every value is {middle:.4g} times what it should be.")
    return None


def _region(wrong: Numbers) -> Pattern | None:
    """Say along which axis the wrong values keep to a part."""
    if wrong.all():
        return Pattern("everywhere", "Every value is wrong.")
    for axis in range(wrong.ndim - 1):
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        hit = wrong.any(axis=others)
        if hit.all() or wrong.shape[axis] < 2:
            continue
        at = _ranges(np.flatnonzero(hit))
        return Pattern("region", f"Along axis {axis}, only index {at} is wrong; the rest is right.")
    return None


def _ranges(indices: Numbers) -> str:
    parts: list[list[int]] = []
    for index in indices.tolist():
        if parts and parts[-1][-1] == index - 1:
            parts[-1] = [parts[-1][0], index]
        else:
            parts.append([index])
    return ", ".join("-".join(map(str, part)) for part in parts)

"""Say in sentences how an array differs from the one it should be, and name what is well known.

Only the two arrays, the names of their axes and the sizes of the case are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from grader.judge.show import number
from grader.judge.show import pattern as plain_pattern

Numbers = np.ndarray[Any, Any]
HIDDEN = -1e9  # a masked score: -inf, or a fill that no honest score reaches
KEYS = ("key", "token", "slot")


def masked(values: Numbers) -> Numbers:
    """Say where scores are hidden."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64) <= HIDDEN


def differences(
    got: Numbers, want: Numbers, wrong: Numbers, axes: tuple[str, ...], sizes: Mapping[str, int]
) -> tuple[str, ...]:
    """Describe arrays of equal shape that differ where `wrong` is true, plainest first."""
    if got.dtype == bool or want.dtype == bool:
        return (*_mask(~got.astype(bool), ~want.astype(bool), axes),) or _places(wrong, axes)
    a, b = got.astype(np.float64), want.astype(np.float64)
    if masked(a).any() or masked(b).any():
        if (masked(a) != masked(b)).any():
            return _mask(masked(a), masked(b), axes) or _places(wrong, axes)
        both = masked(a)
        a, b = np.where(both, 0.0, a), np.where(both, 0.0, b)
    bad = ~np.isfinite(a)
    if bad.any():
        what = "NaN" if np.isnan(a).any() else "infinite"
        return (f"{int(bad.sum())} of {a.size} values are {what}.", *_places(bad, axes))
    named = _scaled(a, b, sizes) or _shifted(a, b, axes)
    said = [named] if named else [text for text in [plain_pattern(a, b, wrong)] if text]
    return tuple(dict.fromkeys([*said, *_places(wrong, axes)]))


def _scaled(a: Numbers, b: Numbers, sizes: Mapping[str, int]) -> str | None:
    safe = np.abs(b) > 1e-3 * max(np.abs(b).max(initial=0.0), 1e-30)
    if safe.sum() < 2 or not a.any():
        return None
    ratio = a[safe] / b[safe]
    factor = float(np.median(ratio))
    if abs(factor - 1) < 1e-3 or not np.allclose(ratio, factor, rtol=2e-3):
        return None
    for name, size in sizes.items():
        for text, value in _factors(name, size):
            if size > 1 and math.isclose(factor, value, rel_tol=2e-3):
                return f"Every value is {text} = {number(value)} times what it should be."
    return f"Every value is {number(factor)} times what it should be."


def _factors(name: str, size: int) -> list[tuple[str, float]]:
    root = math.sqrt(size)
    return [
        (f"1/sqrt({name})", 1 / root),
        (f"sqrt({name})", root),
        (f"1/{name}", 1 / size),
        (name, float(size)),
    ]


def _shifted(a: Numbers, b: Numbers, axes: tuple[str, ...]) -> str | None:
    """The right values, one place further along keys or tokens."""
    for axis, name in enumerate(axes):
        if name not in KEYS or a.shape[axis] < 3:
            continue
        length = a.shape[axis]
        for step in (1, -1):
            mine = np.take(a, range(max(step, 0), length + min(step, 0)), axis)
            other = np.take(b, range(max(-step, 0), length + min(-step, 0)), axis)
            if np.allclose(mine, other, atol=1e-5) and other.any():
                way = "late" if step > 0 else "early"
                return f"The values are right but stand one {name} too {way}."
    return None


def _mask(hidden: Numbers, right: Numbers, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Describe what is hidden by mistake, or shown."""
    if hidden.ndim < 2 or hidden.shape != right.shape or (hidden == right).all():
        return ()
    queries, keys = hidden.shape[-2:]
    seen = (~hidden).reshape(-1, queries, keys).sum(-1)
    should = (~right).reshape(-1, queries, keys).sum(-1)
    top_left = np.tril(np.ones((queries, keys), bool))
    if not hidden.any():
        return ("Nothing is hidden: every query sees the future.",)
    if hidden.all():
        return ("Everything is hidden: no query sees any key.",)
    if np.array_equal(hidden, ~right):
        return ("The mask is the other way round: what should be hidden is seen.",)
    if bool((~hidden == top_left).all()) and keys > queries:
        return ("The mask starts at the first key (top-left): the cached keys are not counted in.",)
    gap = seen - should
    grown = gap[should < keys]
    if grown.size and bool(((gap >= 0) & (gap <= 1)).all() and (grown == 1).all()):
        return ("Off by one along keys: each query sees one key of the future.",)
    if (gap == -1).all():
        return ("Off by one along keys: each query misses the newest key it should see.",)
    more, less = int((right & ~hidden).sum()), int((hidden & ~right).sum())
    parts = [f"{more} keys are seen that should be hidden"] if more else []
    parts += [f"{less} keys are hidden that should be seen"] if less else []
    return (f"{' and '.join(parts)}.", *_places(hidden != right, axes))


def _places(wrong: Numbers, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Say to which heads, rows or tokens the wrong values keep."""
    said = []
    for axis, name in enumerate(axes[: wrong.ndim]):
        if wrong.shape[axis] < 2 or name == "feature":
            continue
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        hit = np.asarray(wrong.any(axis=others))
        indices = [int(i) for i in np.flatnonzero(hit)]
        if hit.all():
            said += ["All heads are wrong."] if name == "head" else []
        elif len(indices) == 1:
            said.append(f"Only {name} {indices[0]} is wrong.")
        elif len(indices) == hit.size - 1 and not hit[0]:
            said.append(f"Only {name} 0 is right.")
        else:
            said.append(f"Only {_many(name)} {', '.join(map(str, indices[:8]))} are wrong.")
    return tuple(said)


def _many(name: str) -> str:
    return {"batch": "batch rows", "query": "queries"}.get(name, f"{name}s")

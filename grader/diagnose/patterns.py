"""Say in sentences how an array differs from the one it should be, and name what is well known.

Only the two arrays, the names of their axes and what is known of the step around them are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np

from grader.judge.error_patterns import number
from grader.judge.error_patterns import pattern as plain_pattern

Numbers = np.ndarray[Any, Any]
HIDDEN = -1e9  # a masked score: -inf, or a fill that no honest score reaches
UNUSED = "Keys are seen that no query may see: padding, or slots that hold no token."
KEYS = ("key", "token", "slot")


@dataclass(frozen=True)
class StepContext:
    """What is known of a step: sizes of the case, tokens held before and after it, batch rows with padding.

    `held` and `total` are None where rows differ or nothing is known.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    held: int | None = None
    total: int | None = None
    padded: tuple[bool, ...] = ()


def masked(values: Numbers) -> Numbers:
    """Say where scores are hidden."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64) <= HIDDEN


def differences(
    got: Numbers, want: Numbers, wrong: Numbers, axes: tuple[str, ...], context: StepContext
) -> tuple[str, ...]:
    """Describe arrays of equal shape that differ where `wrong` is true, plainest first."""
    if got.dtype == bool or want.dtype == bool:
        hidden, right = ~got.astype(bool), ~want.astype(bool)
        return _mask(hidden, right, axes, context) or places(wrong, axes, context)
    a, b = got.astype(np.float64), want.astype(np.float64)
    scores = axes[-1:] == ("key",) or axes[:1] == ("axis 0",)
    if scores and (masked(a).any() or masked(b).any()):
        if (masked(a) != masked(b)).any():
            return _mask(masked(a), masked(b), axes, context) or places(wrong, axes, context)
        both = masked(a)
        a, b = np.where(both, 0.0, a), np.where(both, 0.0, b)
    bad = ~np.isfinite(a)
    if bad.any():
        what = "NaN" if np.isnan(a).any() else "infinite"
        return (f"{int(bad.sum())} of {a.size} values are {what}.", *places(bad, axes, context))
    named = _scaled(a, b, context.sizes) or _shifted(a, b, axes)
    plain = None if named else plain_pattern(a, b, wrong)
    if plain and plain.kind == "region" and not any(name.startswith("axis ") for name in axes):
        plain = None  # the axes' own names say it better
    said = [named] if named else [plain.text] if plain else []
    return tuple(dict.fromkeys([*said, *places(wrong, axes, context)]))


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
    for (name, size), (other, whole) in permutations(sizes.items(), 2):
        if size != whole and math.isclose(factor, math.sqrt(size / whole), rel_tol=2e-3):
            return (
                f"Every value is sqrt({name}/{other}) = {number(factor)} times what it should be."
            )
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


def _mask(
    hidden: Numbers, right: Numbers, axes: tuple[str, ...], context: StepContext
) -> tuple[str, ...]:
    """Describe what is hidden by mistake, or shown."""
    if hidden.ndim < 2 or hidden.shape != right.shape or (hidden == right).all():
        return ()
    queries, keys = hidden.shape[-2:]
    seen = (~hidden).reshape(-1, queries, keys).sum(-1)
    should = (~right).reshape(-1, queries, keys).sum(-1)
    top_left = np.tril(np.ones((queries, keys), bool))
    never = np.broadcast_to(right.all(axis=-2, keepdims=True), right.shape)
    if not (hidden & ~right).any() and not (right & ~hidden & ~never).any():
        return (UNUSED, *_rows(hidden != right, axes, context))
    if not hidden.any():
        future = "every query sees the future" if queries > 1 else "the query sees every key"
        return (f"Nothing is hidden: {future}.", *_rows(hidden != right, axes, context))
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
    return (f"{' and '.join(parts)}.", *places(hidden != right, axes, context))


def places(wrong: Numbers, axes: tuple[str, ...], context: StepContext) -> tuple[str, ...]:
    """Say to which heads, rows or tokens the wrong values keep."""
    said = []
    for axis, name in enumerate(axes[: wrong.ndim]):
        if wrong.shape[axis] < 2 or name == "feature":
            continue
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        hit = np.asarray(wrong.any(axis=others))
        if hit.all():
            said += ["All heads are wrong."] if name == "head" else []
        else:
            text = _by_padding(hit, name, context) or _by_cache(hit, name, context)
            said.append(text or _listed(hit, name))
    return tuple(said)


def _listed(hit: Numbers, name: str) -> str:
    indices = [int(i) for i in np.flatnonzero(hit)]
    if len(indices) == 1:
        return f"Only {name} {indices[0]} is wrong."
    if len(indices) == hit.size - 1 and not hit[0]:
        return f"Only {name} 0 is right."
    return f"Only {_many(name)} {', '.join(map(str, indices[:8]))} are wrong."


def _rows(wrong: Numbers, axes: tuple[str, ...], context: StepContext) -> tuple[str, ...]:
    """Say which rows of the batch are wrong, where padding tells them apart."""
    if "batch" not in axes:
        return ()
    others = tuple(i for i, name in enumerate(axes) if name != "batch")
    text = _by_padding(np.asarray(wrong.any(axis=others)), "batch", context)
    return (text,) if text else ()


def padding_of(hit: Numbers, context: StepContext) -> bool | None:
    """Say whether just the padded rows are hit (true), just the others (false), or neither."""
    padded = np.array(context.padded, bool)
    if padded.shape != hit.shape or not hit.any() or padded.all() or not padded.any():
        return None
    if not (hit & ~padded).any():
        return True
    return False if not (hit & padded).any() else None


def _by_padding(hit: Numbers, name: str, context: StepContext) -> str | None:
    within = padding_of(hit, context) if name == "batch" else None
    if within is None:
        return None
    rows = ", ".join(str(i) for i in np.flatnonzero(hit)[:8])
    which = "padded rows" if within else "rows without padding"
    return f"Only {which} are wrong: batch {rows}."


def _by_cache(hit: Numbers, name: str, context: StepContext) -> str | None:
    """Whether wrong keys all lie behind the tokens that the cache held before the step, or all among them."""
    held, total = context.held, context.total
    if name not in KEYS or not held or total is None or not held < total <= hit.size:
        return None
    if hit[held:total].all() and not hit[:held].any() and not hit[total:].any():
        return f"Only after the cache is it wrong: {name} {held} is the first that is new."
    if hit[:held].any() and not hit[held:].any():
        return f"Only in the cached part is it wrong: the {_many(name)} from {held} on, which are new, are right."
    return None


def _many(name: str) -> str:
    return {"batch": "batch rows", "query": "queries"}.get(name, f"{name}s")

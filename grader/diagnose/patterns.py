"""Recognise how an array differs from the one it should be, and say it in sentences for learners.

Only the two arrays, the names of their axes and what is known of the step are looked at.  What is found is a list of
`Pattern`: code uses its kind, learners read its text.  Patterns that need neither axes nor step come from
`judge.error_patterns`, which a grading without a trace uses alone; the kinds that are added here:

- `not_finite`; `shifted` (the right values, one key or token too early or too late)
- of masks: `unused_keys`, `nothing_hidden`, `everything_hidden`, `inverted_mask`, `top_left_mask`, `one_key_more`,
  `one_key_less`, `other_keys`
- where the values are wrong: `all_heads`, `some_indices`, `padded_rows`, `unpadded_rows`, `new_part` (only behind the
  tokens that the cache held before the step), `cached_part` (only among them)

They are finer than the `kinds` of a checkpoint (`bug_class`), by which a mistake is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np

from grader.judge.error_patterns import Pattern, number, pattern

Numbers = np.ndarray[Any, Any]
HIDDEN = -1e9  # a masked score: -inf, or a fill that no honest score reaches
KEY_AXES = ("key", "token", "slot")


@dataclass(frozen=True)
class StepContext:
    """What is known of a step: sizes of the case, how full the cache is, which batch rows have padding.

    `held` and `total` count the tokens in the cache before and after the step; they are None where rows of the batch
    differ or nothing is known.  `padded` is true for rows with padding, or, with `by_length`, for rows that are shorter
    than the longest, where no row need have any padding.  A decode of one token behind five, in a batch whose second
    row is padded:

        StepContext({"num_heads": 2, "head_dim": 8}, held=5, total=6, padded=(False, True))
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    held: int | None = None
    total: int | None = None
    padded: tuple[bool, ...] = ()
    by_length: bool = False


def masked(values: Numbers) -> Numbers:
    """Return where scores are hidden: true for -inf, and for fills such as -1e9 and below."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64) <= HIDDEN


def differences(
    got: Numbers, want: Numbers, wrong: Numbers, axes: tuple[str, ...], context: StepContext
) -> tuple[Pattern, ...]:
    """Describe how `got` differs from `want`, the plainest pattern first.

    The arrays and `wrong`, which is true where they differ, have one shape; `axes` names its axes ("axis 0", ... where
    they have no names).  Boolean arrays are masks that are true where a key is seen.  Numbers whose last axis is keys,
    or whose axes have no names, may be masked scores: where -inf or a large negative fill stands in one array and not
    in the other, it is the two masks that differ.
    """
    if got.dtype == bool or want.dtype == bool:
        hidden, right = ~got.astype(bool), ~want.astype(bool)
        return _mask(hidden, right, axes, context) or positions(wrong, axes, context)
    a, b = got.astype(np.float64), want.astype(np.float64)
    scores = axes[-1:] == ("key",) or axes[:1] == ("axis 0",)
    if scores and (masked(a).any() or masked(b).any()):
        if (masked(a) != masked(b)).any():
            hidden, right = masked(a), masked(b)
            return _mask(hidden, right, axes, context) or positions(wrong, axes, context)
        both = masked(a)
        a, b = np.where(both, 0.0, a), np.where(both, 0.0, b)
    bad = ~np.isfinite(a)
    if bad.any():
        what = "NaN" if np.isnan(a).any() else "infinite"
        text = f"{int(bad.sum())} of {a.size} values are {what}."
        return (Pattern("not_finite", text), *positions(bad, axes, context))
    known = _scaled(a, b, context.sizes) or _shifted(a, b, axes) or pattern(a, b, wrong)
    found = [known] if known else []
    if not any(name.startswith("axis ") for name in axes):
        # the axes have names, and `positions` says it with them
        found = [item for item in found if item.kind != "region"]
    return tuple(dict.fromkeys([*found, *positions(wrong, axes, context)]))


def _scaled(a: Numbers, b: Numbers, sizes: Mapping[str, int]) -> Pattern | None:
    """Recognise one factor, and name it by the sizes of the case: `1/sqrt(head_dim) = 0.353553`."""
    safe = np.abs(b) > 1e-3 * max(np.abs(b).max(initial=0.0), 1e-30)
    if safe.sum() < 2 or not a.any():
        return None
    ratio = a[safe] / b[safe]
    factor = float(np.median(ratio))
    if abs(factor - 1) < 1e-3 or not np.allclose(ratio, factor, rtol=2e-3):
        return None
    name = _factor_name(factor, sizes)
    return Pattern("scaled", f"Every value is {name} times what it should be.")


def _factor_name(factor: float, sizes: Mapping[str, int]) -> str:
    for name, size in sizes.items():
        for text, value in _factors(name, size):
            if size > 1 and math.isclose(factor, value, rel_tol=2e-3):
                return f"{text} = {number(value)}"
    for (name, size), (other, whole) in permutations(sizes.items(), 2):
        if size != whole and math.isclose(factor, math.sqrt(size / whole), rel_tol=2e-3):
            return f"sqrt({name}/{other}) = {number(factor)}"
    return number(factor)


def _factors(name: str, size: int) -> list[tuple[str, float]]:
    root = math.sqrt(size)
    return [
        (f"1/sqrt({name})", 1 / root),
        (f"sqrt({name})", root),
        (f"1/{name}", 1 / size),
        (name, float(size)),
    ]


def _shifted(a: Numbers, b: Numbers, axes: tuple[str, ...]) -> Pattern | None:
    """Recognise the right values one place further along keys or tokens."""
    for axis, name in enumerate(axes):
        if name not in KEY_AXES or a.shape[axis] < 3:
            continue
        length = a.shape[axis]
        for step in (1, -1):
            mine = np.take(a, range(max(step, 0), length + min(step, 0)), axis)
            other = np.take(b, range(max(-step, 0), length + min(-step, 0)), axis)
            if np.allclose(mine, other, atol=1e-5) and other.any():
                way = "late" if step > 0 else "early"
                return Pattern("shifted", f"The values are right but stand one {name} too {way}.")
    return None


def _mask(
    hidden: Numbers, right: Numbers, axes: tuple[str, ...], context: StepContext
) -> tuple[Pattern, ...]:
    """Describe a mask by what it hides by mistake, or shows.

    `hidden` and `right` [..., query, key] are true where a key is hidden from a query, and where it should be.  Empty
    when the two agree or are no masks.
    """
    if hidden.ndim < 2 or hidden.shape != right.shape or (hidden == right).all():
        return ()
    queries, keys = hidden.shape[-2:]
    seen = (~hidden).reshape(-1, queries, keys).sum(-1)
    should = (~right).reshape(-1, queries, keys).sum(-1)
    top_left = np.tril(np.ones((queries, keys), bool))
    never = np.broadcast_to(right.all(axis=-2, keepdims=True), right.shape)
    if not (hidden & ~right).any() and not (right & ~hidden & ~never).any():
        what = (
            "padding, or slots that hold no token"
            if _has_padding(context)
            else "slots that hold no token"
        )
        text = f"Keys are seen that no query may see: {what}."
        return (Pattern("unused_keys", text), *_padded_rows(hidden != right, axes, context))
    if not hidden.any():
        nothing = Pattern("nothing_hidden", "Nothing is hidden: every query sees the future.")
        return (nothing, *_padded_rows(hidden != right, axes, context))
    if hidden.all():
        text = "Everything is hidden: no query sees any key."
        return (Pattern("everything_hidden", text),)
    if np.array_equal(hidden, ~right):
        text = "The mask is the other way round: what should be hidden is seen."
        return (Pattern("inverted_mask", text),)
    if bool((~hidden == top_left).all()) and keys > queries:
        text = "The mask starts at the first key (top-left): the cached keys are not counted in."
        return (Pattern("top_left_mask", text),)
    gap = seen - should
    grown = gap[should < keys]
    if grown.size and bool(((gap >= 0) & (gap <= 1)).all() and (grown == 1).all()):
        text = "Off by one along keys: each query sees one key of the future."
        return (Pattern("one_key_more", text),)
    if (gap == -1).all():
        text = "Off by one along keys: each query misses the newest key it should see."
        return (Pattern("one_key_less", text),)
    more, less = int((right & ~hidden).sum()), int((hidden & ~right).sum())
    parts = [f"{more} keys are seen that should be hidden"] if more else []
    parts += [f"{less} keys are hidden that should be seen"] if less else []
    counted = Pattern("other_keys", f"{' and '.join(parts)}.")
    return (counted, *positions(hidden != right, axes, context))


def _has_padding(context: StepContext) -> bool:
    return any(context.padded) and not context.by_length


def positions(wrong: Numbers, axes: tuple[str, ...], context: StepContext) -> tuple[Pattern, ...]:
    """Say which heads, batch rows or tokens alone are wrong, with one pattern for each axis that is informative.

    With `wrong` [batch, key] of shape [2, 3] that is true at [1, 0] and [1, 1]: "Only batch 1 is wrong." and "Only keys
    0, 1 are wrong."
    """
    found = []
    for axis, name in enumerate(axes[: wrong.ndim]):
        if wrong.shape[axis] < 2 or name == "feature":
            continue
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        hit = np.asarray(wrong.any(axis=others))
        if hit.all():
            found += [Pattern("all_heads", "All heads are wrong.")] if name == "head" else []
        else:
            found.append(
                _by_padding(hit, name, context)
                or _by_cache(hit, name, context)
                or Pattern("some_indices", _listed(hit, name))
            )
    return tuple(found)


def _listed(hit: Numbers, name: str) -> str:
    indices = [int(i) for i in np.flatnonzero(hit)]
    if len(indices) == 1:
        return f"Only {name} {indices[0]} is wrong."
    if len(indices) == hit.size - 1 and not hit[0]:
        return f"Only {name} 0 is right."
    return f"Only {_plural(name)} {', '.join(map(str, indices[:8]))} are wrong."


def _padded_rows(
    wrong: Numbers, axes: tuple[str, ...], context: StepContext
) -> tuple[Pattern, ...]:
    """Say which rows of the batch are wrong, if they are just those with padding or just those without."""
    if "batch" not in axes:
        return ()
    others = tuple(i for i, name in enumerate(axes) if name != "batch")
    found = _by_padding(np.asarray(wrong.any(axis=others)), "batch", context)
    return (found,) if found else ()


def only_padded_rows(hit: Numbers, context: StepContext) -> bool | None:
    """Return true when just batch rows with padding are hit, false when just rows without, else None."""
    padded = np.array(context.padded, bool)
    if padded.shape != hit.shape or not hit.any() or padded.all() or not padded.any():
        return None
    if not (hit & ~padded).any():
        return True
    return False if not (hit & padded).any() else None


def _by_padding(hit: Numbers, name: str, context: StepContext) -> Pattern | None:
    within = only_padded_rows(hit, context) if name == "batch" else None
    if within is None:
        return None
    rows = ", ".join(str(i) for i in np.flatnonzero(hit)[:8])
    if context.by_length:
        which = "the shorter rows" if within else "the longest rows"
    else:
        which = "padded rows" if within else "rows without padding"
    kind = "padded_rows" if within else "unpadded_rows"
    return Pattern(kind, f"Only {which} are wrong: batch {rows}.")


def _by_cache(hit: Numbers, name: str, context: StepContext) -> Pattern | None:
    """Recognise keys that are wrong only behind the tokens that the cache held before the step, or only among them."""
    held, total = context.held, context.total
    if name not in KEY_AXES or not held or total is None or not held < total <= hit.size:
        return None
    if hit[held:total].all() and not hit[:held].any() and not hit[total:].any():
        text = f"Only after the cache is it wrong: {name} {held} is the first that is new."
        return Pattern("new_part", text)
    if hit[:held].any() and not hit[held:].any():
        text = (
            f"Only in the cached part is it wrong: the {_plural(name)} from {held} on,"
            " which are new, are right."
        )
        return Pattern("cached_part", text)
    return None


def _plural(name: str) -> str:
    return {"batch": "batch rows", "query": "queries"}.get(name, f"{name}s")

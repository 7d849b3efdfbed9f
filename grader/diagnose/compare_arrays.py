"""Compare two recorded values: where they differ first, how far, and in what manner."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import Any

import numpy as np

from grader.diagnose.patterns import UNUSED, StepContext, differences, masked, padding_of
from grader.diagnose.trace_model import Checkpoint, FirstWrongValue, RecordedArray
from grader.ground.arrays import Array, array
from grader.judge.error_patterns import number

LOOSE = {"float64": 1e-7, "float32": 2e-4, "bfloat16": 5e-2, "float16": 2e-2}


def compare_arrays(
    made: Checkpoint, want: Array, got: Array, axes: tuple[str, ...], context: StepContext
) -> Checkpoint:
    """Fill a point with two arrays and how they differ."""
    made = replace(made, expected=grid(want), actual=grid(got))
    if want.shape != got.shape:
        place = FirstWrongValue((), (), f"shape {list(want.shape)}", f"shape {list(got.shape)}")
        return replace(made, status="differs", place=place, kinds=_shapes(want, got, axes))
    if want.dtype != got.dtype:
        place = FirstWrongValue((), (), want.dtype, got.dtype)
        return replace(made, status="differs", place=place, kinds=("dtype",))
    wrong = _wrong(want, got)
    if not wrong.any():
        return made
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    named = axes if len(axes) == len(index) else tuple(f"axis {i}" for i in range(len(index)))
    at = (index, named) if want.values.size > 1 else ((), ())
    place = FirstWrongValue(*at, number(want.values[index]), number(got.values[index]))
    said = differences(got.values, want.values, wrong, named, context)
    if want.values.size == 1:
        said = tuple(text for text in said if not text.startswith("Every value is "))
    scaled = ("scaled",) if any("times what it should be" in text for text in said) else ()
    unused = ("unused",) if UNUSED in said else ()
    kinds = (*unused, *_bad(want, got, wrong), *scaled, *_rows(wrong, named, context))
    return replace(made, status="differs", place=place, pattern=said, kinds=kinds)


def _shapes(want: Array, got: Array, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Whether a shape is wrong in the number of batch rows alone."""
    pairs = list(zip(axes, want.shape, got.shape, strict=False))
    fits = len(axes) == len(want.shape) == len(got.shape)
    rows = fits and all((name == "batch") is (a != b) for name, a, b in pairs)
    return ("rows", "shape") if rows else ("shape",)


def _bad(want: Array, got: Array, wrong: np.ndarray[Any, Any]) -> tuple[str, ...]:
    """Whether numbers that should be finite are not."""
    if not got.floating or not want.floating:
        return ()
    finite = wrong & np.isfinite(want.values.astype(np.float64))
    values = got.values.astype(np.float64)[finite]
    if np.isnan(values).any():
        blank = not want.values[finite].any() and bool(want.values.any())
        return ("unmasked",) if blank else ("nan",)
    return ("infinite",) if np.isposinf(values).any() else ()


def _rows(
    wrong: np.ndarray[Any, Any], axes: tuple[str, ...], context: StepContext
) -> tuple[str, ...]:
    """Whether only some heads or rows of the batch are wrong, and whether they are those with padding."""
    heads = wrong.any(axis=tuple(i for i, name in enumerate(axes) if name != "head"))
    some = ("heads",) if "head" in axes and not np.all(heads) else ()
    return (*_batch_rows(wrong, axes, context), *some)


def _batch_rows(
    wrong: np.ndarray[Any, Any], axes: tuple[str, ...], context: StepContext
) -> tuple[str, ...]:
    if "batch" not in axes:
        return ()
    hit = np.asarray(wrong.any(axis=tuple(i for i, name in enumerate(axes) if name != "batch")))
    if padding_of(hit, context):
        return ("padded", "rows")
    return () if hit.all() else ("rows",)


def _wrong(want: Array, got: Array) -> np.ndarray[Any, Any]:
    a, b = got.values, want.values
    if a.dtype == bool or a.dtype.kind in "iu":
        return np.asarray(a != b)
    a, b = a.astype(np.float64), b.astype(np.float64)
    both = masked(a) & masked(b)
    finite = b[np.isfinite(b) & ~masked(b)]
    size = max(1.0, float(np.abs(finite).max(initial=0.0)))
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= LOOSE.get(want.dtype, 2e-4) * size
    return np.asarray(~(near | both | (a == b) | (np.isnan(a) & np.isnan(b))))


def grid(item: Array) -> RecordedArray:
    """Return an array as a trace keeps it."""
    return RecordedArray(tuple(item.shape), item.dtype, item.values)


def part_of(op: str | None, want: Array, got: Array) -> tuple[Array, Array]:
    """Return what a point means of masked scores: which of them are seen, or the numbers both see."""
    hidden = masked(want.values), masked(got.values)
    if op == "mask":
        return array(~hidden[0], "bool"), array(~hidden[1], "bool")
    if op == "scores":
        either = hidden[0] | hidden[1]
        blank = (np.where(either, 0.0, item.values) for item in (want, got))
        return array(next(blank), want.dtype), array(next(blank), got.dtype)
    if np.allclose(np.sort(want.values, None), np.sort(got.values, None), atol=1e-5):
        return want, want  # the same numbers, laid out in the file's own way
    return want, got


def alike(want: Any, got: Any) -> bool:
    """Compare two short texts, numbers up to rounding."""
    if isinstance(want, str) and isinstance(got, str) and want != got and "." in want:
        with contextlib.suppress(ValueError):
            return math.isclose(float(want), float(got), rel_tol=1e-6)
    return bool(want == got)


def shown(want: Any, got: Any) -> tuple[str, str]:
    """Show two values in a line each, from shortly before the place where their texts part."""
    texts = [f"a tensor {list(x.shape)}" if isinstance(x, Array) else str(x) for x in (want, got)]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    start = max(0, same - 20) if same > 40 else 0
    left, right = (
        (f"...{text[start:]}" if start else text).replace("\n", "\\n")[:100] for text in texts
    )
    return left, right


def ending_of(expected: str | None, actual: str | None, more: str = "") -> str:
    """Say that a call ends otherwise than it should: None stands for one that returns."""
    if actual is None:
        return f"It returns, and should raise {expected}."
    rather = f"raises {expected}" if expected else "returns"
    return f"It ends with {actual}{more}; the reference {rather}."

"""Compare two recorded arrays: where they differ first, and in what manner.

That is said twice: `patterns` (of `patterns.py`) are sentences for the learner, and `kinds` are the coarser words by
which `bug_class` names the mistake.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from grader.diagnose.patterns import StepContext, differences, masked, only_padded_rows
from grader.diagnose.trace_model import Checkpoint, FirstWrongValue, RecordedArray
from grader.ground.arrays import Array, array
from grader.judge.error_patterns import number

# what honest implementations differ by within a computation, in units of the reference's largest number that is not
# hidden, or of 1 if that is larger; more than is allowed at its end
LOOSE = {"float64": 1e-7, "float32": 2e-4, "bfloat16": 5e-2, "float16": 2e-2}
# patterns that say nothing of a single number
OF_MANY_VALUES = ("zero", "constant", "scaled", "everywhere")


def compare_arrays(
    made: Checkpoint,
    want: Array,
    got: Array,
    axes: tuple[str, ...],
    context: StepContext,
    *,
    dtype_counts: bool = True,
) -> Checkpoint:
    """Return the checkpoint `made` with both arrays in it and how they differ; `want` is the reference's.

    The dtype of an output is part of its contract.  Within a computation (`dtype_counts` false) it is the file's own
    choice: values are compared, and a narrower dtype is named only where they differ.
    """
    made = replace(made, expected=recorded_array(want), actual=recorded_array(got))
    if want.shape != got.shape:
        place = FirstWrongValue((), (), f"shape {list(want.shape)}", f"shape {list(got.shape)}")
        return replace(made, status="differs", place=place, kinds=_shape_kinds(want, got, axes))
    if want.dtype != got.dtype and dtype_counts:
        place = FirstWrongValue((), (), want.dtype, got.dtype)
        return replace(made, status="differs", place=place, kinds=("dtype",))
    narrower = ("dtype",) if is_narrower(got.dtype, want.dtype) else ()
    want, got = _of_one_dtype(want, got)
    wrong = _wrong(want, got)
    if not wrong.any():
        return made
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    named = axes if len(axes) == len(index) else tuple(f"axis {i}" for i in range(len(index)))
    at = (index, named) if want.values.size > 1 else ((), ())
    place = FirstWrongValue(*at, number(want.values[index]), number(got.values[index]))
    found = differences(got.values, want.values, wrong, named, context)
    if want.values.size == 1:
        found = tuple(pattern for pattern in found if pattern.kind not in OF_MANY_VALUES)
    seen = {pattern.kind for pattern in found}
    unused = ("unused",) if "unused_keys" in seen else ()
    scaled = ("scaled",) if "scaled" in seen else ()
    infinite = _not_finite(want, got, wrong)
    kinds = (*unused, *infinite, *narrower, *scaled, *_rows(wrong, named, context))
    return replace(made, status="differs", place=place, patterns=found, kinds=kinds)


def is_narrower(got: str, want: str) -> bool:
    """Whether a dtype holds less than another: fewer bits of the same kind, or no fractions."""
    bits = [int(re.sub(r"\D", "", name) or 1) for name in (got, want)]
    floating = ["float" in name for name in (got, want)]
    return bits[0] < bits[1] if floating[0] == floating[1] else floating[1]


def _of_one_dtype(want: Array, got: Array) -> tuple[Array, Array]:
    """Return two arrays so that their values can be compared; a mask of numbers becomes one of what is seen."""
    if want.dtype == got.dtype:
        return want, got
    if "bool" in (want.dtype, got.dtype):
        return array(_seen(want), "bool"), array(_seen(got), "bool")
    if want.floating or got.floating:
        dtype = want.dtype if want.floating else got.dtype
        return _cast(want, got, np.float64, dtype)
    return _cast(want, got, np.int64, "int64")


def _cast(want: Array, got: Array, kind: Any, dtype: str) -> tuple[Array, Array]:
    """Return both arrays with values of one kind, and called by one dtype."""
    return array(want.values.astype(kind), dtype), array(got.values.astype(kind), dtype)


def _seen(mask: Array) -> np.ndarray[Any, Any]:
    """Return where a mask shows a key: one to be added hides with large negative numbers and shows with 0."""
    added = mask.floating and (bool(masked(mask.values).any()) or not mask.values.any())
    return np.asarray(~masked(mask.values) if added else mask.values != 0)


def _shape_kinds(want: Array, got: Array, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the kinds of a wrong shape: also `rows` where only the number of batch rows is wrong."""
    pairs = list(zip(axes, want.shape, got.shape, strict=False))
    fits = len(axes) == len(want.shape) == len(got.shape)
    rows = fits and all((name == "batch") is (a != b) for name, a, b in pairs)
    return ("rows", "shape") if rows else ("shape",)


def _not_finite(want: Array, got: Array, wrong: np.ndarray[Any, Any]) -> tuple[str, ...]:
    """Return the kind of numbers that should be finite and are not: `nan`, `infinite`, or `unmasked`.

    `unmasked` is NaN where the reference has only zeros: a row that sees no key, over which softmax divides 0 by 0.
    """
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
    """Return the kinds of differences that keep to some batch rows, to rows with padding, or to some heads."""
    heads = wrong.any(axis=tuple(i for i, name in enumerate(axes) if name != "head"))
    some = ("heads",) if "head" in axes and not np.all(heads) else ()
    if "batch" not in axes:
        return some
    hit = np.asarray(wrong.any(axis=tuple(i for i, name in enumerate(axes) if name != "batch")))
    if only_padded_rows(hit, context):
        return ("padded", "rows", *some)
    return some if hit.all() else ("rows", *some)


def _wrong(want: Array, got: Array) -> np.ndarray[Any, Any]:
    """Return where two arrays of one shape and dtype differ: by more than rounding, and not both masked or both NaN."""
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


def wrong_values(checkpoint: Checkpoint) -> np.ndarray[Any, Any] | None:
    """Return where the two arrays of a checkpoint differ by more than rounding, true or false in their shape.

    None where there are no two arrays of numbers of one shape.
    """
    want, got = checkpoint.expected, checkpoint.actual
    if want is None or got is None or want.values is None or got.values is None:
        return None
    if want.shape != got.shape:
        return None
    return _wrong(*_of_one_dtype(array(want.values, want.dtype), array(got.values, got.dtype)))


def recorded_array(item: Array) -> RecordedArray:
    """Return an array as a trace keeps it."""
    return RecordedArray(tuple(item.shape), item.dtype, item.values)


def comparable_part(torch_function: str | None, want: Array, got: Array) -> tuple[Array, Array]:
    """Return what a checkpoint seen in torch's own functions means of two arrays of one shape.

    Of `mask` it is which keys are seen, true or false.  Of `scores` it is the numbers that both see, and 0 elsewhere.
    Of the others it is the arrays; where both hold the same numbers in different places, the file lays them out in its
    own way, and the two count as equal.
    """
    hidden = masked(want.values), masked(got.values)
    if torch_function == "mask":
        return array(~hidden[0], "bool"), array(~hidden[1], "bool")
    if torch_function == "scores":
        either = hidden[0] | hidden[1]
        blank = (np.where(either, 0.0, item.values) for item in (want, got))
        return array(next(blank), want.dtype), array(next(blank), got.dtype)
    if np.allclose(np.sort(want.values, None), np.sort(got.values, None), atol=1e-5):
        return want, want
    return want, got

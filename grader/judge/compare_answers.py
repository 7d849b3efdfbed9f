"""Compare one step's reply with the golden; the first fault found is the cause.

In this order: an exception (or the lack of one that must be raised), arguments that were changed, outputs that are
missing or too many, plain values, then each tensor: shape, dtype, NaN and infinity, numbers.  A number is right when it
is within the output's tolerance of the golden; integers and booleans must be equal.

A pass needs every expected output to be there and right; nothing that the worker says about itself counts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from grader.ground.arrays import Array
from grader.judge.error_patterns import number, numbers, pattern
from grader.judge.failure_causes import line_of, problem_cause, raised_cause
from grader.judge.golden import Expected
from grader.judge.result import Cause, Where
from grader.sandbox import Reply, Request

TINY = 1e-30  # in place of a tolerance of 0 where it is divided by
LARGE = 30.0  # arguments beyond this are sent on purpose, for scores that a plain exp cannot take
IS_HIDDEN = " is -inf"  # behind the name of an output that says where another is minus infinity
Numbers = np.ndarray[Any, Any]


@np.errstate(invalid="ignore", over="ignore")
def judge_reply(
    step: int,
    request: Request,
    reply: Reply,
    expected: Expected,
    may_change: Collection[str] = (),
) -> Cause | None:
    """Return the first thing wrong with a reply, or None when everything is right.

    `may_change` names the arguments that the contract lets the call write into.
    """
    label = None if step < 0 else step
    if expected.raised is not None:
        return _judge_raise(label, reply, expected.raised) or _judge_echo(
            label, request, reply, may_change
        )
    if reply.problem is not None:
        return problem_cause(label, reply.problem)
    if reply.raised is not None:
        cause = raised_cause(label, reply.raised)
        changed = _judge_echo(label, request, reply, may_change)
        if changed is None or cause.kind != "raised":
            return cause
        told = [cause.help, f"Before that: {changed.rationale}"]
        return replace(cause, help=" ".join(text for text in told if text))
    return (
        _judge_echo(label, request, reply, may_change)
        or _judge_names(label, reply, expected)
        or _judge_values(label, reply.values, expected.values)
        or _judge_tensors(label, request, reply.tensors, expected)
    )


def excess(reply: Reply, expected: Expected) -> float:
    """Return the largest error of a reply's floating-point tensors, in tolerances; infinite for a wrong shape."""
    largest = 0.0
    for name, want in expected.tensors.items():
        got = reply.tensors.get(name)
        if got is None or got.shape != want.shape:
            return math.inf
        if not want.floating and (got.values != want.values).any():
            return math.inf
        if not want.floating or not want.values.size:
            continue
        with np.errstate(invalid="ignore"):  # both may be infinite
            gap = np.abs(got.values.astype(np.float64) - want.values)
        largest = max(largest, float((gap / np.maximum(expected.tolerances[name], TINY)).max()))
    return largest


def _judge_raise(step: int | None, reply: Reply, name: str) -> Cause | None:
    if reply.problem is not None:
        return problem_cause(step, reply.problem)
    if reply.raised is None:
        text = f"This call must raise {name}, and returned as if all were well."
        return Cause("did_not_raise", text, None, name, "no exception", Where(step))
    if name not in reply.raised.types:
        actual = reply.raised.types[0] if reply.raised.types else "another exception"
        text = f"This call must raise {name}, and raised {actual}: {reply.raised.message}"
        told = ("raised", text, line_of(reply.raised), name, actual, Where(step))
        return Cause(*told, line=reply.raised.line)
    return None


def _judge_echo(
    step: int | None, request: Request, reply: Reply, may_change: Collection[str]
) -> Cause | None:
    for name, sent in request.tensors.items() if reply.echo else ():
        after = reply.echo.get(name)
        if after is None or name.split("/")[0] in may_change or _same_bits(sent, after):
            continue
        text = f"The call changed its argument `{name}`, which belongs to the caller."
        index = _first(sent.values, after.values)
        shown = index is not None
        return Cause(
            "mutated_input",
            text,
            "Work on a copy, or build new tensors instead of writing into the ones passed in.",
            number(sent.values[index]) if shown and index is not None else "unchanged",
            number(after.values[index]) if shown and index is not None else f"shape {after.shape}",
            Where(step, name, index),
        )
    return None


def _judge_names(step: int | None, reply: Reply, expected: Expected) -> Cause | None:
    scalars_there = reply.values.keys() == expected.values.keys()
    if scalars_there and reply.tensors.keys() == expected.tensors.keys():
        return None
    got = reply.values.keys() | reply.tensors.keys()
    want = expected.values.keys() | expected.tensors.keys()
    for name in sorted(want - got):
        return Cause("missing", f"`{name}` was not returned.", None, name, None, Where(step, name))
    for name in sorted(got - want):
        text = f"`{name}` was returned, and nothing is expected under that name."
        return Cause("wrong_value", text, None, None, name, Where(step, name))
    for name in expected.tensors:
        if name not in reply.tensors:
            actual = repr(reply.values[name])[:80]
            text = f"`{name}` is {actual}, not a tensor."
            return Cause("missing", text, None, "a tensor", actual, Where(step, name))
    for name in expected.values:
        if name not in reply.values:
            text = f"`{name}` is a tensor, not {expected.values[name]!r}."
            return Cause(
                "wrong_value",
                text,
                None,
                repr(expected.values[name]),
                "a tensor",
                Where(step, name),
            )
    return None


def _judge_values(
    step: int | None, got: Mapping[str, Any], want: Mapping[str, Any]
) -> Cause | None:
    for name, value in want.items():
        if not _equal(got[name], value):
            expected, actual = repr(value)[:200], repr(got[name])[:200]
            text = f"`{name}` is {actual}; it should be {expected}."
            return Cause("wrong_value", text, None, expected, actual, Where(step, name))
    return None


def _judge_tensors(
    step: int | None, request: Request, got: Mapping[str, Array], expected: Expected
) -> Cause | None:
    for name, want in expected.tensors.items():
        if _near(got[name], want, expected.dtypes[name], expected.tolerances[name]):
            continue
        cause = (
            _wrong_shape(step, name, got[name], want)
            or _wrong_dtype(step, name, got[name], expected.dtypes[name])
            or _not_finite(step, name, got[name], want, request)
            or _wrong_numbers(step, name, got[name], want, expected.tolerances[name])
        )
        if cause and cause.kind == "wrong_value":
            return _with_infinities(cause, name, got, expected.tensors)
        if cause:
            return cause
    return None


def _with_infinities(
    cause: Cause, name: str, got: Mapping[str, Array], want: Mapping[str, Array]
) -> Cause:
    """Show -inf where the numbers of an output only stand for it, as another output (`lse is -inf`) says."""
    index = cause.where.index if cause.where else None
    shown = []
    for tensors in (want, got):
        hidden = tensors.get(f"{name}{IS_HIDDEN}")
        if index is None or hidden is None or hidden.shape != tensors[name].shape:
            return cause
        values = np.where(hidden.values.astype(bool), -np.inf, tensors[name].values)
        shown.append(numbers(values, index))
    return replace(cause, expected=shown[0], actual=shown[1])


def _near(got: Array, want: Array, dtype: str, tolerance: Any) -> bool:
    """Return whether a floating-point tensor is right in everything: the quick check that most tensors pass."""
    alike = got.dtype == dtype and got.shape == want.shape and want.values.size
    # NaN is near nothing, and what is expected is finite
    if not alike or not got.floating:
        return False
    gaps = np.abs(got.values - want.values)
    return bool(
        (gaps <= tolerance).all() if isinstance(tolerance, np.ndarray) else gaps.max() <= tolerance
    )


def _wrong_shape(step: int | None, name: str, got: Array, want: Array) -> Cause | None:
    if got.shape == want.shape:
        return None
    expected, actual = str(list(want.shape)), str(list(got.shape))
    text = f"`{name}` has shape {actual}; {expected} is expected."
    return Cause("wrong_shape", text, None, expected, actual, Where(step, name))


def _wrong_dtype(step: int | None, name: str, got: Array, want: str) -> Cause | None:
    if got.dtype == want:
        return None
    text = f"`{name}` has dtype {got.dtype}; {want} is expected."
    return Cause("wrong_dtype", text, None, want, got.dtype, Where(step, name))


def _not_finite(
    step: int | None, name: str, got: Array, want: Array, request: Request
) -> Cause | None:
    if not got.floating or np.isfinite(got.values).all():
        return None
    bad = ~np.isfinite(got.values)
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    text = f"`{name}` holds {bad.sum()} of {bad.size} values that are NaN or infinite."
    hint = " ".join(_why_not_finite(got.values, want.values, bad, request)) or None
    value = number(got.values[index])
    return Cause(
        "not_finite", text, hint, number(want.values[index]), value, Where(step, name, index)
    )


def _why_not_finite(got: Numbers, want: Numbers, bad: Numbers, request: Request) -> Iterator[str]:
    """Say of NaN and infinity only what the numbers themselves show: where they stand, and what was sent."""
    floats = [item for item in request.tensors.values() if item.floating and item.values.size]
    if bad.ndim > 1 and not bad.all() and not want[bad].any() and want.any():
        rows = bad.any(axis=-1)
        if (bad.all(axis=-1) == rows).all():
            yield "The right answer there is 0: nothing is visible to these rows, and a softmax over nothing is NaN."
            return
    if any(not np.isfinite(item.values).all() for item in floats):
        yield (
            "The arguments hold NaN or infinity where they hold no token; a weight of 0 does not silence them, for"
            " 0 * NaN is NaN."
        )
    elif not np.isnan(got).any():
        yield "Infinite and not NaN: a number grew too large for its dtype, or was divided by 0."
    else:
        largest = max((float(np.abs(item.values).max()) for item in floats), default=0.0)
        if largest > LARGE:
            yield f"The arguments reach {largest:.3g}; exp of a number above 88 is infinite in float32."
    if bad.all():
        yield "No value is finite."
    elif (manner := pattern(np.where(bad, 1.0, 0.0), np.zeros(bad.shape), bad)) and (
        manner.kind == "region"
    ):
        yield manner.text.replace("is wrong; the rest is right", "is not finite")


def _wrong_numbers(
    step: int | None, name: str, got: Array, want: Array, tolerance: Any
) -> Cause | None:
    a, b = got.values, want.values
    exact = a.dtype == bool or a.dtype.kind in "iu"
    gaps = np.abs(a - b.astype(np.float64, copy=False))
    right = a == b if exact else gaps <= tolerance
    if right.all():
        return None
    wrong = ~right
    places = np.argwhere(wrong)
    index = tuple(int(i) for i in places[0])
    worst = np.where(wrong, gaps, 0).argmax()  # a larger difference elsewhere may be allowed
    gap, allowed = gaps.flat[worst], np.broadcast_to(tolerance, gaps.shape).flat[worst]
    text = (
        f"`{name}` differs from the reference in {len(places)} of {a.size} values"
        f" (largest difference {gap:.3g}, {allowed:.2g} is allowed)."
    )
    manner = pattern(a, b, wrong)
    return Cause(
        "wrong_value",
        text,
        manner.text if manner else None,
        numbers(b, index),
        numbers(a, index),
        Where(step, name, index),
    )


def _same_bits(sent: Array, after: Array) -> bool:
    same_kind = sent.dtype == after.dtype and sent.shape == after.shape
    return same_kind and sent.values.tobytes() == after.values.tobytes()


def _first(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> tuple[int, ...] | None:
    if a.shape != b.shape:
        return None
    places = np.argwhere(a != b)
    return tuple(int(i) for i in places[0]) if len(places) else None


def _equal(got: Any, want: Any) -> bool:
    if isinstance(want, list):
        pairs = isinstance(got, list) and len(got) == len(want)
        return pairs and all(_equal(a, b) for a, b in zip(got, want, strict=True))
    if isinstance(want, float):
        number_like = isinstance(got, int | float) and not isinstance(got, bool)
        return number_like and math.isclose(got, want, rel_tol=1e-6, abs_tol=1e-12)
    return type(got) is type(want) and bool(got == want)

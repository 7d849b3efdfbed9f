"""Expected and actual numbers side by side as shaded tables: one row per head, the first difference marked.

A table can be read aloud, printed and copied, and needs no drawing library.  What is too large is shown in part, around
the first difference.  Knows the checkpoints of a trace, nothing of how they were recorded; `figures` chooses which are
shown, and `base.html.j2` has the classes of the shades.

An array is brought to at least three axes.  The last two are the rows and columns of a table, and there is a group of
tables for each index of the third-last, called a head below, whatever the axis is.  Of axes before these, one index is
shown: that of the first difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grader.diagnose.trace_model import Checkpoint, RecordedArray

Numbers = np.ndarray[Any, Any]
Index = tuple[int, ...]
ROWS, COLUMNS, HEADS = 10, 16, 4  # of an array, at most
NOISE = 1e-5  # of the largest expected number
SHADES, SIDES = 9, 4  # shades of a value, and of a difference to either side
AXES = {
    1: ("index",),
    2: ("row", "column"),
    3: ("batch", "token", "feature"),
    4: ("batch", "head", "query", "key"),
}


@dataclass(frozen=True)
class Cell:
    """One number as it is shown.

    `shade` is a class of the style sheet: `w0` to `w9` by size where no number is negative, `more1` to `more4` and
    `less1` to `less4` to either side of zero for a difference and where some are, `odd` for NaN, and for an infinite
    number that is no difference.  `first` marks the first difference.
    """

    text: str
    shade: str
    first: bool = False


@dataclass(frozen=True)
class Panel:
    """One table: what it shows, the names of its axes, the numbers of its columns, and its rows with their numbers."""

    title: str
    axes: tuple[str, str]
    columns: tuple[int, ...]
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Maps:
    """One tuple of panels (expected, actual, difference) per head, that of the first difference first.

    `caption` and `notes` say what is seen, and `axis` what a head is an index of, empty where there is one only.
    """

    caption: str
    heads: tuple[tuple[Panel, ...], ...]
    notes: tuple[str, ...] = ()
    axis: str = ""


@dataclass(frozen=True)
class _Frame:
    """What panels share: names of the axes, the part that is shown, the marked cell, the number shaded most.

    An axis that the array does not have has no name.  `signed` says that some number is negative: size alone would
    show -1.59 and 1.54 alike.
    """

    axes: tuple[str, ...]
    rows: range
    columns: range
    mark: tuple[int, int] | None
    top: float
    whole: bool = False  # whole numbers need no digits behind the point
    signed: bool = False


def maps_of(checkpoint: Checkpoint) -> Maps | None:
    """Return the tables of one checkpoint, or None when it holds no array of numbers."""
    expected, actual = _numbers(checkpoint.expected), _numbers(checkpoint.actual)
    if expected is None or not expected.size:
        return None
    assert checkpoint.expected is not None, "it has numbers"
    title, axes = f"`{checkpoint.title}`", _axes(checkpoint, len(checkpoint.expected.shape))
    if actual is not None and checkpoint.actual is not None and actual.shape != expected.shape:
        notes = (
            f"Expected shape {[*checkpoint.expected.shape]}, got {[*checkpoint.actual.shape]}:"
            " no difference can be drawn.",
        )
        return Maps(title, _each_alone(checkpoint, expected, actual, axes), notes)
    first = checkpoint.place.index if checkpoint.place else _first(expected, actual) or ()
    first = (0,) * (expected.ndim - len(first)) + first[-expected.ndim :]
    marked = actual is not None and _first(expected, actual) is not None
    lead, where = first[:-3], ", ".join(f"{axes[i]} {n}" for i, n in enumerate(first[:-3]))
    want, got = expected[lead], actual[lead] if actual is not None else None
    chosen = _chosen(want, first[-3])
    signed = _has_negative(want) or (got is not None and _has_negative(got))
    heads, left_out = [], []
    for head in chosen:
        own = (
            first[-2:]
            if head == first[-3]
            else _first(want[head], None if got is None else got[head])
        )
        frame = _frame(want, axes, (own or (0, 0))[-2:], mark=marked and head == first[-3])
        whole = _whole(checkpoint.expected) and _whole(checkpoint.actual)
        frame = replace(frame, whole=whole, signed=signed)
        name = f"{axes[-3]} {head}: " if axes[-3] else ""
        heads.append(_panels(name, want[head], None if got is None else got[head], frame))
    if len(chosen) < len(want):
        left_out.append(f"{len(want) - len(chosen)} of {len(want)} {axes[-3]}s are left out.")
    if want.shape[1] > ROWS or want.shape[2] > COLUMNS:
        left_out.append(
            f"A part of {want.shape[1]} × {want.shape[2]} is shown, around the first difference."
        )
    return Maps(f"{title}, {where}" if where else title, tuple(heads), tuple(left_out), axes[-3])


def _numbers(grid: RecordedArray | None) -> Numbers | None:
    """Return the values with at least three axes; what is no number cannot be shaded."""
    if grid is None or grid.values is None or grid.values.dtype.kind not in "fiub":
        return None
    values = grid.values.astype(np.float64)
    return values.reshape((1,) * (3 - values.ndim) + values.shape)


def _axes(checkpoint: Checkpoint, ndim: int) -> tuple[str, ...]:
    named = checkpoint.place.axes if checkpoint.place else ()
    if len(named) != ndim or any(name.startswith("axis ") for name in named):
        named = AXES.get(ndim, tuple(f"axis {axis}" for axis in range(ndim)))
    return ("",) * (3 - ndim) + named


def _whole(grid: RecordedArray | None) -> bool:
    return grid is None or grid.values is None or grid.values.dtype.kind in "iub"


def _first(expected: Numbers, actual: Numbers | None) -> Index | None:
    """Return the index of the first difference; None without one, or without an actual array."""
    if actual is None:
        return None
    top = _top(expected)
    places = np.argwhere(~_near(expected, actual, NOISE * top))
    return tuple(int(at) for at in places[0]) if len(places) else None


def _near(a: Numbers, b: Numbers, tolerance: float) -> Numbers:
    with np.errstate(invalid="ignore"):
        close: Numbers = np.abs(a - b) <= tolerance
    same: Numbers = close | (a == b) | (np.isnan(a) & np.isnan(b))
    return same


def _has_negative(values: Numbers) -> bool:
    """Whether a finite number is below zero; an infinite one hides a score and says nothing of signs."""
    return bool((values[np.isfinite(values)] < 0).any())


def _top(values: Numbers) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def _chosen(want: Numbers, first: int) -> list[int]:
    """Return the heads to show: the one with the first difference, then the first ones."""
    return [first, *(head for head in range(min(len(want), HEADS)) if head != first)][:HEADS]


def _frame(
    want: Numbers, axes: tuple[str, ...], at: tuple[int, int] | Index, *, mark: bool
) -> _Frame:
    rows, columns = (
        _around(place, size, most)
        for place, size, most in zip(at, want.shape[1:], (ROWS, COLUMNS), strict=True)
    )
    return _Frame(axes, rows, columns, (at[0], at[1]) if mark else None, _top(want))


def _around(place: int, size: int, most: int) -> range:
    start = max(0, min(place - most // 2, size - most))
    return range(start, min(size, start + most))


def _panels(title: str, want: Numbers, got: Numbers | None, frame: _Frame) -> tuple[Panel, ...]:
    panels = [_panel(f"{title}expected", want, frame, difference=False, mark=False)]
    if got is not None:
        panels.append(_panel(f"{title}your file", got, frame, difference=False, mark=True))
        with np.errstate(invalid="ignore"):
            gap = np.where(_near(want, got, NOISE * frame.top), 0.0, got - want)
        frame = replace(frame, top=_top(gap))
        panels.append(_panel(f"{title}difference", gap, frame, difference=True, mark=True))
    return tuple(panels)


def _panel(title: str, values: Numbers, frame: _Frame, *, difference: bool, mark: bool) -> Panel:
    shade = _side if difference else _signed if frame.signed else _shade
    rows = tuple(
        (
            row,
            tuple(
                Cell(
                    _text(values[row, column], signed=difference, whole=frame.whole),
                    shade(values[row, column], frame.top),
                    mark and frame.mark == (row, column),
                )
                for column in frame.columns
            ),
        )
        for row in frame.rows
    )
    return Panel(title, (frame.axes[-2], frame.axes[-1]), tuple(frame.columns), rows)


def _each_alone(
    checkpoint: Checkpoint, expected: Numbers, actual: Numbers, axes: tuple[str, ...]
) -> tuple[tuple[Panel, ...], ...]:
    """Return the first head of both arrays, each for itself, since their shapes differ and nothing can be compared."""
    panels = []
    first = f"first {axes[-3]}: " if axes[-3] else ""
    for title, values, grid in (
        ("expected", expected, checkpoint.expected),
        ("your file", actual, checkpoint.actual),
    ):
        values = values[(0,) * (values.ndim - 3)]
        if values.size:
            frame = _frame(values, axes, (0, 0), mark=False)
            frame = replace(frame, whole=_whole(grid), signed=_has_negative(values))
            panels.append(_panel(f"{first}{title}", values[0], frame, difference=False, mark=False))
    return (tuple(panels),)


def _shade(value: float, top: float) -> str:
    if not np.isfinite(value):
        return "odd"
    return f"w{min(SHADES, round(SHADES * abs(value) / top))}"


def _signed(value: float, top: float) -> str:
    return _side(value, top) if np.isfinite(value) else "odd"


def _side(value: float, top: float) -> str:
    if np.isnan(value):
        return "odd"
    step = SIDES if np.isinf(value) else min(SIDES, int(np.ceil(SIDES * abs(value) / top - 1e-4)))
    return "w0" if step <= 0 else f"{'more' if value > 0 else 'less'}{step}"


def _text(value: float, *, signed: bool, whole: bool) -> str:
    if np.isnan(value):
        return "NaN"
    if value == 0:
        return "·"
    sign = "−" if value < 0 else "+" if signed else ""
    if np.isinf(value):
        return f"{sign}∞"
    return (
        f"{sign}{abs(value):.0f}" if whole and abs(value) < 1e5 else f"{sign}{_digits(abs(value))}"
    )


def _digits(size: float) -> str:
    """Return about three digits in four characters or so, that columns stay narrow."""
    if size < 0.005 or size >= 999.5:
        digits, exponent = f"{size:.0e}".split("e")
        return f"{digits}e{int(exponent)}"
    digits = f"{size:.2f}" if size < 9.995 else f"{size:.1f}" if size < 99.95 else f"{size:.0f}"
    return digits.removeprefix("0") if digits.startswith("0.") else digits

"""Small drawings as inline SVG: of a trace, the error at each position and how the cache grew; curves of shares.

Colours come from the page's style sheet, so that light, dark and print need no second drawing.  Same input, same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from grader.diagnose.trace_model import Checkpoint, RecordedArray, Trace, TracedStep

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 420, 130, 44, 36, 10
MOST_BARS, MOST_LABELS = 64, 16
FLOOR = 1e-9  # errors below it are drawn as none
WRONG = 1e-4  # errors from it on, and NaN, are marked as wrong
Bar = tuple[int, float]


def error_chart(trace: Trace) -> Markup | None:
    """Draw the largest error of the output at each position; None when no output has positions, or all are right."""
    bars: list[Bar] = []
    ends: list[int] = []
    start = 0
    for step in trace.steps:
        checkpoint = _output(step)
        if checkpoint is None:
            continue
        errors = _errors(checkpoint)
        if errors is None:
            continue
        begin = _before(step, len(errors), start)
        bars += [(begin + at, float(error)) for at, error in enumerate(errors)]
        ends.append(len(bars))
        start = begin + len(errors)
    if len(bars) < 2 or not any(error > FLOOR for _, error in bars):
        return None
    return _draw_errors(bars[:MOST_BARS], [end for end in ends if end < min(len(bars), MOST_BARS)])


def cache_chart(trace: Trace) -> Markup | None:
    """Draw the cache's length after each step, expected and actual; None when no step of both files has it."""
    steps = [step for step in trace.steps if step.cache_length is not None]
    found = [(step, *_lengths(step)) for step in steps[:MOST_BARS]]
    if not any(want is not None and got is not None for _, want, got in found):
        return None
    top = max(value for _, *values in found for value in values if value is not None) or 1
    width, every = (WIDTH - LEFT) / len(found), _every(len(found))
    parts = [_axis(str(top), "0", "step")]
    for number, (step, want, got) in enumerate(found):
        x = LEFT + number * width
        for kind, value, shift in (("want", want, 0.12), ("got", got, 0.5)):
            if value is None:
                continue
            size = (HEIGHT - BOTTOM - TOP) * value / top
            odd = " bad" if kind == "got" and want != got else ""
            parts.append(_bar(f"{kind}{odd}", x + shift * width, size, 0.36 * width))
        if number % every == 0:
            parts.append(_label(x + width / 2, str(step.index + 1)))
    text = "; ".join(
        f"step {s.index + 1}: {_said(w)} expected, {_said(g)} in your file" for s, w, g in found
    )
    return _svg(f"Tokens in the cache after each step. {text}", parts)


def share_curves(
    about: str, places: Sequence[str], curves: Mapping[str, Sequence[float | None]]
) -> Markup:
    """Draw shares between 0 and 1 as one line per name; None where a place has no value, and the line is broken.

    The n-th line has the classes `curve` and `curve-n`, from 0; how these look is the page's business.
    """
    width = (WIDTH - LEFT) / max(len(places), 1)
    base, high = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    parts = [_axis("100%", "0", about)]
    told = []
    for number, (name, shares) in enumerate(curves.items()):
        known = [
            (LEFT + (at + 0.5) * width, base - high * share if share is not None else None)
            for at, share in enumerate(shares)
        ]
        parts += _line(number, known)
        said = ", ".join(
            f"{place} {share:.0%}"
            for place, share in zip(places, shares, strict=True)
            if share is not None
        )
        told.append(f"{name}: {said or 'nothing'}")
    parts += [_label(LEFT + (at + 0.5) * width, place) for at, place in enumerate(places)]
    return _svg(f"Share by {about}. {'; '.join(told)}", parts)


def _line(number: int, known: Sequence[tuple[float, float | None]]) -> list[Markup]:
    """Return one curve: a polyline per run of places that have a value, and a dot at each."""
    parts, run = [], []
    for x, y in [*known, (0.0, None)]:
        if y is not None:
            run.append(f"{x:.1f},{y:.1f}")
            dot = '<circle class="curve-dot curve-{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>'
            parts.append(Markup(dot).format(number, x, y, 3))
        elif run:
            line = '<polyline class="curve curve-{}" points="{}"/>'
            parts.append(Markup(line).format(number, " ".join(run)))
            run = []
    return parts


def _draw_errors(bars: Sequence[Bar], ends: Sequence[int]) -> Markup:
    """Draw a bar per (position, error), and a line behind each number of bars in `ends`, where a step ends."""
    worst = (
        max(error for _, error in bars if math.isfinite(error))
        if any(math.isfinite(error) for _, error in bars)
        else 1.0
    )
    high = math.ceil(math.log10(max(worst, FLOOR * 10)))
    low = max(round(math.log10(FLOOR)), min(high - 2, -7))
    width = (WIDTH - LEFT) / len(bars)
    parts = [_axis(f"1e{high}", f"1e{low}", "position")]
    every = _every(len(bars))
    for number, (position, error) in enumerate(bars):
        share = 1.0 if not math.isfinite(error) else 0.0
        if math.isfinite(error) and error > 10.0**low:
            share = min(1.0, (math.log10(error) - low) / (high - low))
        x = LEFT + number * width
        kind = "got bad" if not error < WRONG else "got"
        parts.append(_bar(kind, x + 0.15 * width, (HEIGHT - BOTTOM - TOP) * share, 0.7 * width))
        if number % every == 0:
            parts.append(_label(x + width / 2, str(position)))
    parts += [_border(LEFT + end * width) for end in ends]
    wrong = [str(position) for position, error in bars if not error < WRONG]
    told = f"wrong at {', '.join(wrong)}" if wrong else "small everywhere"
    return _svg(f"Largest error of the output at each position, logarithmic: {told}", parts)


def _output(step: TracedStep) -> Checkpoint | None:
    """Return the step's own output, not the cache: the last checkpoint named `output` or `logits`."""
    found = [
        p for p in step.checkpoints if p.name in ("output", "logits") and p.expected is not None
    ]
    return found[-1] if found else None


def _errors(checkpoint: Checkpoint) -> np.ndarray[Any, Any] | None:
    """Return the largest error of each token of arrays [..., tokens, features]; infinite where a file has NaN."""
    want, got = _array(checkpoint.expected), _array(checkpoint.actual)
    if want is None or got is None or want.shape != got.shape or want.ndim < 2:
        return None
    with np.errstate(invalid="ignore"):
        gap = np.where(want == got, 0.0, np.abs(want - got))
    gap = np.where(np.isnan(gap), math.inf, gap)
    tokens = want.ndim - 2
    found: np.ndarray[Any, Any] = gap.max(axis=tuple(a for a in range(want.ndim) if a != tokens))
    return found


def _array(grid: RecordedArray | None) -> np.ndarray[Any, Any] | None:
    if (
        grid is None
        or grid.values is None
        or grid.values.dtype.kind not in "fiu"
        or not grid.values.size
    ):
        return None
    return grid.values.astype(np.float64)


def _before(step: TracedStep, tokens: int, start: int) -> int:
    """Return the position of the step's first token: what the cache holds after it, less its own tokens."""
    length = _number(step.cache_length.expected) if step.cache_length else None
    return max(0, length - tokens) if length is not None else start


def _lengths(step: TracedStep) -> tuple[int | None, int | None]:
    pair = step.cache_length
    return (_number(pair.expected), _number(pair.actual)) if pair else (None, None)


def _number(text: str | None) -> int | None:
    return (
        int(text)
        if text is not None and text.isascii() and text.isdigit() and len(text) < 9
        else None
    )


def _said(value: int | None) -> str:
    return "not known" if value is None else str(value)


def _bar(kind: str, x: float, height: float, width: float) -> Markup:
    y = HEIGHT - BOTTOM - height
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        kind, x, y, width, max(height, 1.0)
    )


def _every(bars: int) -> int:
    """Return at which distance bars are labelled, so that labels do not meet."""
    return math.ceil(bars / MOST_LABELS)


def _label(x: float, text: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
        x, HEIGHT - BOTTOM + 14, text
    )


def _border(x: float) -> Markup:
    """Return a line between two steps."""
    return Markup(
        '<line x1="{0:.1f}" y1="{1}" x2="{0:.1f}" y2="{2}" stroke-dasharray="3"/>'
    ).format(x, TOP, HEIGHT - BOTTOM)


def _axis(top: str, bottom: str, below: str) -> Markup:
    base = HEIGHT - BOTTOM
    return Markup(
        '<line x1="{0}" y1="{1}" x2="{2}" y2="{1}"/><text x="{3}" y="{4}" text-anchor="end">{5}</text>'
        '<text x="{3}" y="{1}" text-anchor="end">{6}</text>'
        '<text x="{7:.1f}" y="{8}" text-anchor="middle">{9}</text>'
    ).format(
        LEFT, base, WIDTH, LEFT - 6, TOP + 8, top, bottom, (LEFT + WIDTH) / 2, HEIGHT - 3, below
    )


def _svg(title: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        WIDTH, HEIGHT, escape(title)
    )
    return head + Markup("").join(parts) + Markup("</svg>")

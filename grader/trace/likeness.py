"""Recognise a wrong array as another one of the same step, such as keys where values should be.

Only the reference's arrays of the step are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from grader.trace.outputs import Compared

FEWEST = 4  # numbers; fewer may be equal by chance
Numbers = np.ndarray[Any, Any]


def with_likeness(chosen: Compared, compared: Sequence[Compared]) -> Compared:
    """Add to a point that differs whose numbers it holds, if they are another point's."""
    point = chosen.point
    got = point.actual.values if point.actual is not None else None
    if point.status != "differs" or point.kinds or got is None or not _telling(got):
        return chosen
    for other in compared:
        if other is chosen or other.point.expected is None:
            continue
        values = other.point.expected.values
        if values is not None and _equal(got, values):
            said = (f"It holds the numbers of {_called(other)}.", *point.pattern)
            point = replace(point, pattern=said, kinds=("taken",))
            return replace(chosen, point=point)
    return chosen


def _called(item: Compared) -> str:
    program = f", program ({item.point.program})" if item.point.program else ""
    return f"`{item.point.title}`{program}, call {item.point.call + 1}"


def _telling(values: Numbers) -> bool:
    return values.dtype.kind == "f" and len(np.unique(values[np.isfinite(values)])) >= FEWEST


def _equal(got: Numbers, values: Numbers) -> bool:
    turned = values.T if values.ndim == 2 else values
    return any(
        got.shape == other.shape and np.allclose(got, other, atol=1e-6, equal_nan=True)
        for other in (values, turned)
    )

"""Compare what a call gives beside arrays, and say it in a line: short texts, and how the call ended."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from grader.ground.arrays import Array


def same_text(want: Any, got: Any) -> bool:
    """Compare two short texts; texts of numbers with a decimal point need only be equal up to rounding."""
    if isinstance(want, str) and isinstance(got, str) and want != got and "." in want:
        with contextlib.suppress(ValueError):
            return math.isclose(float(want), float(got), rel_tol=1e-6)
    return bool(want == got)


def show_both(want: Any, got: Any) -> tuple[str, str]:
    """Return two values as a line each, from shortly before the first character that differs."""
    texts = [f"a tensor {list(x.shape)}" if isinstance(x, Array) else str(x) for x in (want, got)]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    start = max(0, same - 20) if same > 40 else 0
    left, right = (
        (f"...{text[start:]}" if start else text).replace("\n", "\\n")[:100] for text in texts
    )
    return left, right


def wrong_ending(expected: str | None, actual: str | None, more: str = "") -> str:
    """Return the sentence for a call that does not end as it should; None means that the call returns.

    >>> wrong_ending("ValueError", None)
    'It returns, and should raise ValueError.'
    >>> wrong_ending(None, "KeyError", ": 'key' (line 7)")
    "It ends with KeyError: 'key' (line 7); the reference returns."
    """
    if actual is None:
        return f"It returns, and should raise {expected}."
    rather = f"raises {expected}" if expected else "returns"
    return f"It ends with {actual}{more}; the reference {rather}."

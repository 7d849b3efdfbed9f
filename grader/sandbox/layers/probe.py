"""The self-test's submission, run in a confined worker: it makes every attempt of every layer."""

from __future__ import annotations

from collections.abc import Callable

from grader.sandbox.layers import LAYERS
from grader.sandbox.layers.layer import Places


def try_all(places: Places) -> list[tuple[str, bool]]:
    """Return the name of each attempt and whether it was denied."""
    return [(name, denied(attempt)) for layer in LAYERS for name, attempt in layer.attempts(places)]


def denied(attempt: Callable[[], object]) -> bool:
    """Whether the system refused a call."""
    try:
        attempt()
    except (OSError, RuntimeError, MemoryError):
        return True
    return False

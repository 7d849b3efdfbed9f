"""A script whose numbers are moved by a rounding before they are sent: what that does to an answer is no fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from grader.ground.arrays import Array
from grader.judge.script import Script
from grader.sandbox import Request

UNIT = 2.0**-23  # of float32


class ShakenScript(Script):
    """A script that moves every number it sends by up to one unit of float32, in another way for each `shake`."""

    def __init__(self, *words: Any, shake: int = 1, **named: Any) -> None:
        super().__init__(*words, **named)
        self._shake = shake

    def request(self, index: int) -> Request:
        """Return the request of a step with its numbers moved."""
        made = super().request(index)
        unit = np.random.Generator(
            np.random.Philox(key=[self.case.seed & (2**64 - 1), 10_000 * self._shake + index])
        )
        moved = {name: _moved(x, unit) for name, x in made.tensors.items()}
        return replace(made, tensors=moved, frames=None)

    def leading(self) -> Iterator[Request]:
        """Give none: what is known of a script beforehand has not been moved."""
        return iter(())


def _moved(item: Array, unit: np.random.Generator) -> Array:
    if not item.floating:
        return item
    with np.errstate(invalid="ignore"):
        return Array(item.dtype, item.values * (1 + unit.uniform(-1, 1, item.values.shape) * UNIT))

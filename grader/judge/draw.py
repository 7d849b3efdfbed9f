"""Random inputs that are the same everywhere and for ever.

NumPy guarantees the raw bit stream of its Philox generator, not its samplers; so the words are mapped to numbers here:
uniform, mean 0, variance 1, rounded to the dtype of the case so that the float64 oracle sees the very same inputs.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np

from grader.arrays import round_to

_SPREAD = 3.0**0.5  # a uniform on (-sqrt 3, sqrt 3) has variance 1


class Draw:
    """Draws for one case; `at(step)` starts the stream of that step, so editing a step moves no other."""

    def __init__(self, seed: int, dtype: str, jitter: int | None = None) -> None:
        self._seed, self._dtype, self._jitter = seed, dtype, jitter
        self._digest = sha256(f"{dtype}/{seed}".encode())
        self._bits = self._stream(0)

    def at(self, step: int) -> None:
        """Start the stream of a step; -1 is the creation of the object under test."""
        self._bits = self._stream(step + 1)

    def __call__(self, *shape: int, scale: float = 1.0) -> np.ndarray[Any, Any]:
        """Return float64 numbers of unit variance times `scale`, representable in the case's dtype."""
        unit = self._uniform(self._bits, shape)
        rounded = round_to((2 * unit - 1) * (_SPREAD * scale), self._dtype)
        values: np.ndarray[Any, Any] = rounded.astype(np.float64)
        self._digest.update(values.tobytes())
        return self._shaken(values) if self._jitter else values

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray[Any, Any]:
        """Return int64 numbers from `low` up to but excluding `high`."""
        unit = self._uniform(self._bits, shape)
        values: np.ndarray[Any, Any] = low + np.floor(unit * (high - low)).astype(np.int64)
        self._digest.update(values.tobytes())
        return values

    def permutation(self, count: int) -> np.ndarray[Any, Any]:
        """Return the numbers below `count` in a random order, int64."""
        values: np.ndarray[Any, Any] = np.argsort(
            self._uniform(self._bits, (count,)), kind="stable"
        ).astype(np.int64)
        self._digest.update(values.tobytes())
        return values

    @property
    def fingerprint(self) -> str:
        """Digest of everything drawn so far."""
        return self._digest.hexdigest()[:32]

    def _stream(self, index: int) -> np.random.Philox:
        return np.random.Philox(key=[self._seed & (2**64 - 1), index])

    @staticmethod
    def _uniform(bits: np.random.Philox, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        count = int(np.prod(shape, dtype=np.int64))
        words = np.atleast_1d(bits.random_raw(count)) if count else np.zeros(0, np.uint64)
        return ((words >> np.uint64(11)) * 2.0**-53).reshape(shape)

    def _shaken(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Move every number by up to one unit of rounding, to learn how much rounding alone can do."""
        unit = self._uniform(self._stream(10_000 + (self._jitter or 0)), values.shape)
        return values * (1 + (2 * unit - 1) * EPSILON[self._dtype])


EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}

"""Random inputs that are the same everywhere and for ever.

NumPy guarantees the raw bit stream of its Philox generator, not its samplers; so the words are mapped to numbers here:
uniform, mean 0, variance 1, rounded to the dtype of the case so that the float64 oracle sees the very same inputs.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from math import prod
from typing import Any, NamedTuple

import numpy as np

from grader.ground.arrays import round_to

CREATE = -1  # the step that makes the object under test
Numbers = np.ndarray[Any, Any]
SMALL, KEPT = 2048, 2048  # numbers in an array that is cached, and how many such arrays are
BEGUN, STREAMS = 2048, 16  # words of a stream drawn at once, and streams of which these are kept
_SPREAD = 3.0**0.5  # a uniform on (-sqrt 3, sqrt 3) has variance 1
_NONE = np.zeros(0, np.uint64)


class Draw:
    """Draws for one case; `at(step)` starts the stream of that step, so editing a step moves no other."""

    def __init__(self, seed: int, dtype: str, jitter: int | None = None) -> None:
        self._seed, self._dtype, self._jitter = seed, dtype, jitter
        # by step; a step that was never drawn here has none, else it would hide the digest of a cached request
        self._digests: dict[int, Any] = {}
        self._digest: Any = None  # that of the current step, whatever stream is drawn from
        self._stream = self._taken = 0

    def at(self, step: int) -> None:
        """Start the stream of a step; -1 is the creation of the object under test."""
        self._stream, self._taken = step + 1, 0
        self._digest = self._digests[step] = sha256()

    def __call__(self, *shape: int, scale: float = 1.0) -> Numbers:
        """Return float64 numbers of unit variance times `scale`, representable in the case's dtype."""
        values = _rounded(self._next(shape), scale, self._dtype)
        self._record(values)
        return self._shaken(values) if self._jitter else values.copy()

    def named(self, name: str, *shape: int, scale: float = 1.0) -> Numbers:
        """Return numbers as a call does, from the stream of a name: the same in every step, whatever else is drawn."""
        here = self._stream, self._taken
        self._stream, self._taken = _stream_of(name), 0
        try:
            return self(*shape, scale=scale)
        finally:
            self._stream, self._taken = here

    def integers(self, low: int, high: int, *shape: int) -> Numbers:
        """Return int64 numbers from `low` up to but excluding `high`."""
        unit = _uniform(self._next(shape))
        values: Numbers = low + np.floor(unit * (high - low)).astype(np.int64)
        self._record(values)
        return values

    def permutation(self, count: int) -> Numbers:
        """Return the numbers below `count` in a random order, int64."""
        unit = _uniform(self._next((count,)))
        values: Numbers = np.argsort(unit, kind="stable").astype(np.int64)
        self._record(values)
        return values

    @property
    def digests(self) -> dict[int, str]:
        """Digest of what each step has drawn, by step; a step that is drawn again is counted once."""
        return {step: digest.hexdigest() for step, digest in self._digests.items()}

    def _record(self, values: Numbers) -> None:
        if self._digest:
            self._digest.update(values.data)

    def _next(self, shape: tuple[int, ...]) -> Place:
        place = Place(self._seed & (2**64 - 1), self._stream, self._taken, shape)
        self._taken += place.size
        return place

    def _shaken(self, values: Numbers) -> Numbers:
        """Move every number by up to one unit of rounding, to learn how much rounding alone can do."""
        unit = _uniform(
            Place(self._seed & (2**64 - 1), 10_000 + (self._jitter or 0), 0, values.shape)
        )
        return values * (1 + (2 * unit - 1) * EPSILON[self._dtype])


class Place(NamedTuple):
    """Which words of which stream become an array of this shape."""

    seed: int
    stream: int
    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of words."""
        return prod(self.shape)


def _stream_of(name: str) -> int:
    """A 64-bit number for a name; the highest bit is set, so that it is no step's."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") | 1 << 63


def _uniform(place: Place) -> Numbers:
    if place.size < 0:
        raise ValueError(f"{place.shape} is no shape")
    return _words(*place[:3], place.size).reshape(place.shape)


def _words(seed: int, stream: int, start: int, count: int) -> Numbers:
    end = start + count
    if not count:
        words = _NONE
    elif end > BEGUN:
        words = _raw(seed, stream, end)[start:]
    else:
        words = _beginning(seed, stream)[start:end]
    unit: Numbers = (words >> np.uint64(11)) * 2.0**-53
    return unit


@lru_cache(STREAMS)
def _beginning(seed: int, stream: int) -> Numbers:
    # a step draws many small arrays, and to make a generator takes longer than to draw one of these
    return _raw(seed, stream, BEGUN)


def _raw(seed: int, stream: int, count: int) -> Numbers:
    return np.atleast_1d(np.random.Philox(key=[seed, stream]).random_raw(count))


def _rounded(place: Place, scale: float, dtype: str) -> Numbers:
    # many files are graded with the same inputs; only small ones are kept
    make = _kept if place.size <= SMALL else _made
    return make(place, scale, dtype)


def _made(place: Place, scale: float, dtype: str) -> Numbers:
    values = round_to((2 * _uniform(place) - 1) * (_SPREAD * scale), dtype)
    return values.astype(np.float64)


_kept = lru_cache(KEPT)(_made)

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}

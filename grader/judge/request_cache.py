"""Precomputed requests: those that do not depend on what a submission answers, made once for all submissions.

A step of the kit (`grader.kit`) that names no saved answer is such a request.  So is one that only sends a saved tensor
on, whole or cut: it names the tensor (`Earlier`) and the worker puts in what it had answered.  A step whose inputs are
computed from an answer, such as `cache + 1`, is made anew for every submission.

`script.Script` finds out which these are: it follows a case with an `Answers` in the place of what was answered.  A
plan that looks into that gets a TypeError, and the step is not precomputed.  All is kept in the grader's process.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NoReturn

from grader.content import Case
from grader.sandbox import Earlier, Request

CASES = 600  # whose requests are kept (by case, seed, dtype): a class's fixed and random ones
MOST_BYTES = 1 << 20  # of the inputs of a request that is kept
Bounds = tuple[int | None, int | None]


class _Unknown:
    """What nobody knows yet: whoever looks at it gets a TypeError."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("this depends on what an earlier step answers")

    __bool__ = __len__ = __iter__ = __contains__ = __array__ = __eq__ = __hash__ = _refuse
    __array_ufunc__ = None


class Answers(_Unknown):
    """Stands for what earlier steps will have answered, by name; the numbers of a tensor can be sent on, no more.

    `Answers()` stands for all of them; `Answers()["prefill"]["cache"]["key"].values[:, 0:3]` for a part of one tensor.
    """

    def __init__(self, save: str = "", path: tuple[str, ...] = ()) -> None:
        self._save, self._path = save, path

    def __getitem__(self, name: str) -> Answers:
        """Return the answer saved under a name, or what stands in an answer under a name."""
        if not isinstance(name, str):
            raise TypeError("an answer holds names only")
        return Answers(self._save, (*self._path, name)) if self._save else Answers(name)

    @property
    def values(self) -> Numbers:
        """The numbers of a tensor."""
        return Numbers(self._save, "/".join(self._path))


class Numbers(_Unknown):
    """Stands for a tensor of an answer, or for a part of it."""

    def __init__(self, save: str, name: str, bounds: tuple[Bounds, ...] = ()) -> None:
        self._save, self._name, self._bounds = save, name, bounds

    def __getitem__(self, cuts: Any) -> Numbers:
        """Return the part that slices leave."""
        if self._bounds:
            raise TypeError("a part is cut once")
        cuts = cuts if isinstance(cuts, tuple) else (cuts,)
        return Numbers(self._save, self._name, tuple(map(_bounds, cuts)))

    def earlier(self, dtype: str) -> Earlier:
        """Name these numbers, in the dtype that floating-point ones are sent in."""
        return Earlier(self._save, self._name, dtype, self._bounds)


def _bounds(cut: Any) -> Bounds:
    if not isinstance(cut, slice) or cut.step is not None:
        raise TypeError("only slices without a step can be named")
    start, stop = (None if x is None else operator.index(x) for x in (cut.start, cut.stop))
    return start, stop


@dataclass
class CachedRequests:
    """The precomputed requests of one case by step, from -1 (the creation) on, with the digest of each one's draws.

    The digests go into the fingerprint of the inputs, by which a golden is known to belong to them: a step that is not
    made anew draws nothing that could be digested again.  `fingerprint` is that of a run in which none was made anew,
    once it was asked for.
    """

    requests: Mapping[int, Request] = field(default_factory=dict)
    digests: Mapping[int, str] = field(default_factory=dict)
    filled: bool = False
    fingerprint: str = ""

    def fill(self, requests: Mapping[int, Request], digests: Mapping[int, str]) -> None:
        """Keep the requests that are small enough; a larger one is made again for each submission."""
        small = {step: item for step, item in requests.items() if item.nbytes <= MOST_BYTES}
        # with frames={} a request also keeps its bytes, once they were made
        self.requests = {step: replace(item, frames={}) for step, item in small.items()}
        self.digests = {step: digests[step] for step in small}
        self.filled = True

    def leading(self, steps: range) -> Iterator[Request]:
        """Give the requests of the first steps, up to one that has to be made anew."""
        for step in steps:
            if step not in self.requests:
                return
            yield self.requests[step]


class _Identity:
    """A key that is equal to itself only, and keeps what it stands for alive."""

    def __init__(self, item: object) -> None:
        self.item = item

    def __hash__(self) -> int:
        return id(self.item)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.item is other.item


def cached_requests(case: Case, seed: int, dtype: str) -> CachedRequests:
    """Return what is kept of a case on inputs from this seed, in this dtype; empty until somebody fills it."""
    return _cached_requests(_Identity(case), seed, dtype)


@lru_cache(CASES)
def _cached_requests(_case: _Identity, _seed: int, _dtype: str) -> CachedRequests:
    return CachedRequests()

"""Requests that are settled before anything is answered, made once for all files that are asked them.

A driver says that its `Plan` keeps nothing from one step to the next (`STATELESS = True`); then a case alone settles
its requests.  One that sends part of an earlier answer on names that part; the worker puts in what it had answered.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from grader.content import Case
from grader.sandbox import Earlier, Request

if TYPE_CHECKING:
    from grader.judge.script import Script

CASES = 256
MOST_BYTES = 1 << 20  # of the inputs of a request that is kept
Bounds = tuple[int | None, int | None]


class _Unknown:
    """What nobody knows yet: whoever looks at it gets a TypeError."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("this depends on what an earlier step answers")

    __bool__ = __len__ = __iter__ = __contains__ = __array__ = __eq__ = __hash__ = _refuse
    __array_ufunc__ = None


class Answers(_Unknown):
    """Stands for what earlier steps will have answered, by name; the numbers of a tensor can be sent on, no more."""

    def __init__(self, save: str = "", path: tuple[str, ...] = ()) -> None:
        self._save, self._path = save, path

    def __getitem__(self, name: str) -> Answers:
        """Return an answer, or what stands in it under a name."""
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
class Remembered:
    """The requests of a case in order, None where one is not settled, and the digest of each settled step's draws."""

    requests: tuple[Request | None, ...] | None = None  # nobody asked yet
    digests: dict[int, str] = field(default_factory=dict)

    def fill(self, script: Script) -> None:
        """Make all requests that a script whose answers are `Answers` can make."""
        made = {index: _made(script, index) for index in script.indices}
        kept = {index: item and _kept(item) for index, item in made.items()}
        drawn = script.draw.digests
        self.digests = {index: drawn[index] for index, item in kept.items() if item}
        self.requests = tuple(kept.values())

    def first(self) -> Iterator[Request]:
        """Give the requests up to the first that is not settled."""
        for request in self.requests or ():
            if request is None:
                return
            yield request


def _made(script: Script, index: int) -> Request | None:
    try:
        return script.request(index)
    except Exception:
        return (
            None  # it looks at an answer, or cannot be made at all, which is told when it is asked
        )


def _kept(request: Request) -> Request | None:
    return replace(request, frames={}) if request.nbytes <= MOST_BYTES else None


class _Same:
    """A key that is equal to itself only, and keeps what it stands for alive."""

    def __init__(self, item: object) -> None:
        self.item = item

    def __hash__(self) -> int:
        return id(self.item)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.item is other.item


def remembered(case: Case, seed: int, dtype: str) -> Remembered:
    """Return what is known of a case on inputs from this seed, in this dtype."""
    return _remembered(_Same(case), seed, dtype)


@lru_cache(CASES)
def _remembered(_case: _Same, _seed: int, _dtype: str) -> Remembered:
    return Remembered()

"""Requests that no answer of a file can change, made once for all files that are asked them.

A driver says that its `Plan` keeps nothing from one step to the next (`STATELESS = True`); then a request is settled by
the case alone, unless its making looked at an earlier answer, which `Answers` notices.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from grader.content import Case
from grader.sandbox import Request

CASES = 256
MOST_BYTES = 1 << 20  # of the inputs of a request that is kept


class Answers(MutableMapping[str, Any]):
    """What earlier steps answered, by name; `seen` tells whether anybody looked, in whatever way."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}
        self.seen = False

    def __getitem__(self, name: str) -> Any:
        """Return an answer."""
        self.seen = True
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        self.seen = True
        return iter(self._held)

    def __len__(self) -> int:
        """Count the answers."""
        self.seen = True
        return len(self._held)

    def __setitem__(self, name: str, answer: Any) -> None:
        """Keep an answer."""
        self._held[name] = answer

    def __delitem__(self, name: str) -> None:
        """Forget an answer."""
        del self._held[name]


@dataclass
class Remembered:
    """The settled requests of a case by step, and the digest of all its draws once they were all made."""

    requests: dict[int, Request] = field(default_factory=dict)
    fingerprint: str | None = None

    def keep(self, index: int, request: Request) -> Request:
        """Return the request, kept for the next file unless it is large."""
        if request.nbytes > MOST_BYTES:
            return request
        return self.requests.setdefault(index, request)


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

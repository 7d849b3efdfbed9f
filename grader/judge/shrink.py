"""Make a failing random case small by its choices, then by leaving whole steps out.

What a generator makes of fewer and smaller numbers is again a case that it may ask, and 0 is always the plainest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
BLOCKS = (32, 16, 8, 4, 2, 1)


class OutOfTime(Exception):
    """The time for making a case small is over; what was found so far counts."""


def smaller_choices(
    choices: Sequence[int], fails: Callable[[list[int]], list[int] | None], end: float
) -> list[int]:
    """Return the smallest choices found until the clock (`time.monotonic`) says `end`.

    `fails` returns the choices that were really asked for where the case of these still fails, and else None.
    """
    best = _plain_end(choices)
    seen: set[tuple[int, ...]] = set()
    changed = True
    while changed:
        changed = False
        found = [best]
        for new in _candidates(found):
            if time.monotonic() > end:
                return best
            key = tuple(new)
            if key in seen or (len(new), new) >= (len(best), best):
                continue
            seen.add(key)
            if (asked := fails(new)) is not None:
                shorter = _plain_end(asked)
                if (len(shorter), shorter) < (len(best), best):
                    best, changed = shorter, True
                    found[0] = best
    return best


def fewer_items(
    items: Sequence[Item], fails: Callable[[list[Item]], bool], end: float
) -> list[Item]:
    """Return the items without those that can be left out: halves first, then smaller parts, the last ones first."""
    best = list(items)
    size = len(best) // 2
    while size:
        before = len(best)
        for at in range(len(best) - size, -size, -size):
            if time.monotonic() > end:
                return best
            rest = best[: max(at, 0)] + best[at + size :]
            if rest and fails(rest):
                best = rest
        if size > 1 or len(best) == before:  # one that is gone may have needed another
            size //= 2
    return best


def _candidates(found: list[list[int]]) -> Iterator[list[int]]:
    """Give sequences that are shorter or lower than the one in `found`, where a smaller one may be put meanwhile."""
    for size in BLOCKS:
        at = len(found[0]) - size
        while at >= 0:
            now = found[0]
            yield now[:at] + now[at + size :]
            now = found[0]
            if at + size <= len(now):
                yield now[:at] + [0] * size + now[at + size :]
            at = min(at, len(found[0])) - size
    for at in range(len(found[0]) - 1, -1, -1):
        for lower in (lambda x: 0, lambda x: 1, lambda x: x // 2, lambda x: x - 1):
            now = found[0]
            if at < len(now) and 0 <= lower(now[at]) < now[at]:
                yield [*now[:at], lower(now[at]), *now[at + 1 :]]


def _plain_end(choices: Sequence[int]) -> list[int]:
    """Leave the last zeros out: the plainest choices are made anyway."""
    found = list(choices)
    while found and found[-1] == 0:
        found.pop()
    return found

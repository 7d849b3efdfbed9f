"""The smallest set of cases that still catches every bug: a minimum set cover, by branch and bound.

The result is exact unless the search is given up after `NODES` branches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

NODES = 200_000  # branches tried before the best set found so far is taken
Rows = dict[str, frozenset[str]]  # the cases that catch it, by bug


@dataclass(frozen=True)
class SetCover:
    """Cases that together catch every bug; `smallest` is false where the search was given up."""

    cases: tuple[str, ...]
    smallest: bool


def min_set_cover(witnesses: Mapping[str, Collection[str]]) -> SetCover:
    """Return the fewest cases that catch every bug that any case catches; `witnesses` lists its cases per bug."""
    rows = {bug: frozenset(cases) for bug, cases in witnesses.items() if cases}
    search = _Search(_greedy(rows))
    search.run(_minimal(rows), ())
    return SetCover(tuple(sorted(search.best)), search.nodes <= NODES)


class _Search:
    """Branches over the cases of the bug that the fewest cases catch; cuts what cannot beat the best set so far."""

    def __init__(self, start: tuple[str, ...]) -> None:
        self.best, self.nodes = start, 0

    def run(self, rows: Rows, chosen: tuple[str, ...]) -> None:
        """Extend `chosen` until `rows` is empty."""
        self.nodes += 1
        if self.nodes > NODES or len(chosen) + _least(rows) >= len(self.best):
            return
        if not rows:
            self.best = chosen
            return
        counts = _counts(rows)
        bug = min(rows, key=lambda name: (len(rows[name]), name))
        for case in sorted(rows[bug], key=lambda name: (-counts[name], name)):
            rest = {name: row for name, row in rows.items() if case not in row}
            self.run(rest, (*chosen, case))


def _least(rows: Rows) -> int:
    """Return a lower bound of the cases still needed: bugs that share no case need one each."""
    seen: set[str] = set()
    count = 0
    for row in sorted(rows.values(), key=len):
        if seen.isdisjoint(row):
            seen |= row
            count += 1
    return count


def _minimal(rows: Rows) -> Rows:
    """Leave out every bug whose cases include all cases of another one: it is caught whenever that is."""
    kept: Rows = {}
    for bug, row in sorted(rows.items(), key=lambda pair: (len(pair[1]), pair[0])):
        if not any(other <= row for other in kept.values()):
            kept[bug] = row
    return kept


def _greedy(rows: Rows) -> tuple[str, ...]:
    left, chosen = dict(rows), []
    while left:
        counts = _counts(left)
        best = min(counts, key=lambda name: (-counts[name], name))
        chosen.append(best)
        left = {bug: row for bug, row in left.items() if best not in row}
    return tuple(chosen)


def _counts(rows: Rows) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows.values():
        for case in row:
            counts[case] = counts.get(case, 0) + 1
    return counts

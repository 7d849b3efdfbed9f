"""Known wrong answers to a challenge as source text: planted bugs, sets of bugs, trivial solutions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations

from grader.content import Challenge
from grader.content.planting import apply_edits, plant

MOST = 11  # bugs in one set, as many as the largest preset holds


def planted(challenge: Challenge, *ids: str) -> bytes:
    """Return the reference with entries planted."""
    return plant(challenge, ids).encode()


def trivial_solution(challenge: Challenge, name: str) -> bytes:
    """Return the reference turned into a trivial solution."""
    entry = challenge.trivial_solutions[name]
    edits = [(entry.id, edit) for edit in entry.edits]
    return apply_edits(challenge.reference_text, edits).encode()


def bug_ids(challenge: Challenge) -> list[str]:
    """Return the ids of the bugs, in file order."""
    return [bug.id for bug in challenge.bugs.values() if bug.kind == "bug"]


def decoy_ids(challenge: Challenge) -> list[str]:
    """Return the ids of the decoys, in file order."""
    return [bug.id for bug in challenge.bugs.values() if bug.kind == "decoy"]


def compatible(challenge: Challenge, ids: tuple[str, ...]) -> bool:
    """Whether the entries may be planted together."""
    return not any(other in challenge.bugs[name].excludes for name in ids for other in ids)


def pairs(challenge: Challenge) -> Iterator[tuple[str, ...]]:
    """Return every pair of bugs that may be planted together."""
    found = combinations(bug_ids(challenge), 2)
    return (pair for pair in found if compatible(challenge, pair))


def sample(
    challenge: Challenge, count: int, seed: int = 1, least: int = 3
) -> list[tuple[str, ...]]:
    """Return `count` seeded sets of `least` or more bugs that may be planted together; fewer where there are fewer."""
    draw, ids = random.Random(seed), bug_ids(challenge)
    sets: list[tuple[str, ...]] = []
    for _ in range(20 * count if len(ids) >= least else 0):
        size = draw.randint(least, min(len(ids), MOST))
        picked = tuple(sorted(draw.sample(ids, size)))
        if len(sets) < count and compatible(challenge, picked):
            sets.append(picked)
    return sets

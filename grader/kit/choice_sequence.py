"""The decisions that make a random case, as a sequence of small whole numbers.

A generator asks nothing but `below(n)`, and 0 is always the plainest answer.  So a random case is a list of numbers: it
can be replayed, and a failing one is made smaller by cutting the list and lowering its numbers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class ChoiceSequence:
    """Answers a generator's questions, and notes the answers in `taken`.

    >>> first = ChoiceSequence.seeded(1)
    >>> again = ChoiceSequence.replayed(first.taken)
    """

    def __init__(self, below: Callable[[int], int]) -> None:
        self._below = below
        self.taken: list[int] = []

    @classmethod
    def seeded(cls, seed: int | str) -> ChoiceSequence:
        """Return choices that follow from a seed.

        `random.Random(text).random()` is the same in every Python; `randrange` is not promised to be.
        """
        draw = random.Random(str(seed)).random
        return cls(lambda n: int(draw() * n))

    @classmethod
    def replayed(cls, choices: Sequence[int]) -> ChoiceSequence:
        """Return these choices again; the plainest behind their end, and the largest allowed where one is too large."""
        rest = iter(choices)
        return cls(lambda n: min(next(rest, 0), n - 1))

    @classmethod
    def varied(cls, choices: Sequence[int], seed: int | str, one_in: int) -> ChoiceSequence:
        """Return these choices with one in so many drawn anew from a seed, and so are all behind their end."""
        rest, draw = iter(choices), random.Random(str(seed)).random

        def below(n: int) -> int:
            known, other, anew = next(rest, None), int(draw() * n), draw() * one_in < 1
            return other if known is None or anew else min(known, n - 1)

        return cls(below)

    def below(self, n: int) -> int:
        """Return a number from 0 up to but excluding `n`."""
        choice = self._below(n)
        self.taken.append(choice)
        return choice

    def between(self, low: int, high: int) -> int:
        """Return a number from `low` to `high`, both allowed; `low` is the plainest."""
        return low + self.below(high - low + 1) if high > low else low

    def one_of(self, options: Sequence[Item]) -> Item:
        """Return one of the options; the first is the plainest."""
        return options[self.below(len(options))]

    def one_in(self, n: int) -> bool:
        """Return True once in `n` times; False is the plainer answer."""
        return self.below(n) == n - 1

"""What a case will cost, found before anything is run: its plan is followed, and what it draws is counted.

An estimate from above for attention: every number that is drawn meets as many others as its array's longest axis has.
What the plan makes of earlier answers is not counted; there the limits of the worker hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from grader.content import Case, Challenge, ContentError
from grader.judge.draw import Draw
from grader.judge.script import CREATE, Script

MAX_NUMBERS = 4_000_000
MAX_WORK = 4_000_000_000


@dataclass(frozen=True)
class Cost:
    """Numbers drawn, and multiplications to be expected of the reference."""

    numbers: int
    work: int


class TooExpensive(ContentError):
    """A case that would cost more than a case may."""


class CostCounter(Draw):
    """Draws as a case does, and refuses before it draws too much."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.seed, case.dtype)
        self._name = case.id
        self.numbers = self.work = 0

    def __call__(self, *shape: int, scale: float = 1.0) -> np.ndarray[Any, Any]:
        """Count and draw numbers."""
        self._count(shape)
        return super().__call__(*shape, scale=scale)

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray[Any, Any]:
        """Count and draw integers."""
        self._count(shape)
        return super().integers(low, high, *shape)

    def permutation(self, count: int) -> np.ndarray[Any, Any]:
        """Count and draw a permutation."""
        self._count((count,))
        return super().permutation(count)

    def _count(self, shape: tuple[int, ...]) -> None:
        size = prod(shape)
        self.numbers += size
        self.work += size * max(shape, default=1)
        if self.numbers > MAX_NUMBERS:
            raise TooExpensive(
                f"case {self._name!r}: draws {self.numbers:,} numbers or more; {MAX_NUMBERS:,} are allowed."
                " Use smaller sizes: a mistake that shows at all shows at a few tokens."
            )
        if self.work > MAX_WORK:
            raise TooExpensive(
                f"case {self._name!r}: takes some {self.work:.1e} multiplications or more; {MAX_WORK:.0e} are allowed."
                " Use fewer tokens."
            )


class _Answers(dict[str, Any]):
    """What earlier steps would have saved; only the names are known."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.known = case, list[str]()

    def __missing__(self, name: str) -> Any:
        if name in self.known:
            raise _CostUnknown
        saved = ", ".join(map(repr, self.known)) or "nothing"
        raise ContentError(
            f"case {self.case.id!r}: no step before saves {name!r}; saved so far: {saved}"
        )


class _CostUnknown(Exception):
    """An answer that only a run can give."""


def estimate_cost(challenge: Challenge, case: Case) -> Cost:
    """Return what a case costs; raises ContentError when that is too much, or when it names what was never saved."""
    counter, answers = CostCounter(case), _Answers(case)
    script = Script(challenge, case, draw=counter, saved=answers)
    for index in script.indices:
        try:
            script.request(index)
        except ContentError as error:
            _explain(error)
        if index != CREATE and (name := case.steps[index].get("save")):
            answers.known.append(name)
    return Cost(counter.numbers, counter.work)


def _explain(error: ContentError) -> None:
    """Pass on what the author must know; a plan that wants an earlier answer says nothing about the case."""
    cause = error.__cause__
    if isinstance(cause, ContentError):
        raise cause from None
    if not isinstance(cause, _CostUnknown):
        raise error

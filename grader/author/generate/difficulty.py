"""How hard a generated bug is to find, as a number between 0 and 1, and the level that follows from it.

It is a logistic function of what was measured: how many cases see the bug, whether a history is needed to see it,
whether the trace stops at its own function, and by how much the wrong numbers miss.
"""

from __future__ import annotations

import math

from grader.author.generate.acceptance import Verdicts
from grader.author.generate.proposals import SECOND
from grader.content import Case, Challenge
from grader.content.generated_bugs import LEVELS

MEDIUM_FROM, HARD_FROM = 0.35, 0.5
# what a kind of mistake adds by itself: hand-written bugs of these kinds are rated harder, or easier, than most
PRIOR = {
    "state": 0.3, "alias": 0.4, "cache": 0.4, "dtype": 0.4, SECOND: 0.4, "condition": 0.1, "twin": -0.2,
    "scale": -0.3, "order": -0.3,
}  # fmt: skip


def score(challenge: Challenge, group: str, verdicts: Verdicts, *, traced: bool) -> float:
    """Return the difficulty; `traced` says whether the bug's function is a checkpoint of the trace."""
    share = len(verdicts.witnesses) / max(verdicts.judged, 1)
    weight = -0.9 - 0.9 * math.log10(max(share, 1e-3)) - 0.6 * share
    weight += 0.6 * needs_history(challenge, verdicts)
    weight += 0.0 if traced else 0.5
    size = min(max(verdicts.median_excess, 1.0), 1e8)
    weight += 0.1 * (5 - math.log10(size))
    weight += PRIOR.get(group, 0.0)
    return round(1 / (1 + math.exp(-weight)), 3)


def needs_history(challenge: Challenge, verdicts: Verdicts) -> bool:
    """Whether, in every scenario that sees the bug, an earlier step of the same verb was answered right."""
    found = [challenge.cases[name] for name in verdicts.witnesses]
    scenarios = [case for case in found if case.kind == "scenario"]
    return bool(scenarios) and all(_once_right(case, verdicts.steps[case.id]) for case in scenarios)


def _once_right(case: Case, wrong: int) -> bool:
    if not 0 < wrong < len(case.steps):
        return False
    verb = case.steps[wrong].get("do")
    return any(step.get("do") == verb for step in case.steps[:wrong])


def level(number: float) -> str:
    """Return the level of a score.

    >>> level(0.1), level(0.4), level(0.9)
    ('easy', 'medium', 'hard')
    """
    return LEVELS[(number >= MEDIUM_FROM) + (number >= HARD_FROM)]


def grade(number: float) -> int:
    """Return the score as a difficulty from 1 to 5, as hand-written bugs have one.

    >>> [grade(x) for x in (0.0, 0.45, 1.0)]
    [1, 3, 5]
    """
    return min(1 + int(number * 5), 5)

"""How hard each bug was for a class, from who mended which: a Rasch model, told on the scale of Elo ratings.

A learner of strength t mends a bug of difficulty d with the chance 1 / (1 + exp(d - t)).  Strengths are spread normally
around 0, the average learner of this class, with a spread that is estimated; difficulties have a wide prior, so that a
bug which everybody or nobody mended has an estimate too.  What is unknown of a learner is left out, and so learners who
mended few of the hard bugs do not make the others look harder.

In points, 1500 is a bug that the average learner mends in one of two cases, and 400 more make the odds ten times worse.

    >>> chance_of_average(1500.0), round(chance_of_average(1900.0), 3)
    (0.5, 0.091)

The strengths are integrated over (Gauss's rule by equal steps) and the rest is found by expectation maximisation; an
interval covers 95 % and follows from the observed information (Louis).  Same outcomes, same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import Any, TypeAlias

import numpy as np

Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

AVERAGE = 1500.0  # points
POINTS = 400 / log(10)  # per unit of log odds
FEWEST = 5  # learners of whom it is known whether they mended a bug, below which nothing is said
ROUNDS, CLOSE = 500, 1e-6
WIDE = 2.5  # standard deviation of difficulties before anything is known, in log odds
SPREAD, SPREAD_COUNTS = (
    1.0,
    8.0,
)  # of strengths before anything is known, and for how many learners that counts
MOST_SPREAD = 3.0  # where learners who mended a bug mended every easier one too, the likeliest spread is infinite
NODES = np.linspace(-4.5, 4.5, 61)  # strengths, in spreads
QUANTILE = 1.96


@dataclass(frozen=True)
class Difficulty:
    """A bug's difficulty in points, and the ends of its 95 % interval."""

    points: float
    low: float
    high: float


def chance_of_average(points: float) -> float:
    """Return how likely the average learner of the class mends a bug of this difficulty."""
    return 1 / (1 + exp((points - AVERAGE) / POINTS))


def difficulties(mended: Numbers) -> list[Difficulty | None]:
    """Return the difficulty of each bug; None where too few learners tell.

    `mended` has shape [learners, bugs]: 1 where the learner mended the bug, 0 where not, NaN where it is not known.
    """
    known = ~np.isnan(mended)
    enough = known.sum(0) >= FEWEST
    found: list[Difficulty | None] = [None] * mended.shape[1]
    if not enough.any():
        return found
    mended, known = np.nan_to_num(mended[:, enough]), known[:, enough].astype(np.float64)
    middle, error = _fitted(mended, known)
    for at, value, off in zip(np.flatnonzero(enough), middle, QUANTILE * error, strict=True):
        ends = (AVERAGE + POINTS * (value + sign * off) for sign in (0, -1, 1))
        found[int(at)] = Difficulty(*(float(end) for end in ends))
    return found


def _fitted(mended: Numbers, known: Numbers) -> tuple[Numbers, Numbers]:
    """Return difficulties in log odds and their standard errors; `known` is 1 where `mended` counts, else 0."""
    hard, spread = np.zeros(mended.shape[1]), SPREAD
    for _ in range(ROUNDS):
        before, before_spread = hard, spread
        chances = _chances(hard, spread)
        weights = _posterior(mended, known, hard, spread)
        expected = known.T @ weights  # [bugs, nodes]: learners at each strength
        pull = (expected * chances.T).sum(1) - (known * mended).sum(0) - hard / WIDE**2
        stiff = (expected * (chances * (1 - chances)).T).sum(1) + 1 / WIDE**2
        hard = hard + np.clip(pull / stiff, -1, 1)
        squares = float((weights @ NODES**2).sum()) * spread**2
        likely = np.sqrt((squares + SPREAD_COUNTS * SPREAD**2) / (len(mended) + SPREAD_COUNTS))
        spread = min(float(likely), MOST_SPREAD)
        if np.abs(hard - before).max() < CLOSE and abs(spread - before_spread) < CLOSE:
            break
    chances = _chances(hard, spread)
    return hard, _errors(known, chances, _posterior(mended, known, hard, spread))


def _chances(hard: Numbers, spread: float) -> Numbers:
    """Return the chance of each bug at each strength, [nodes, bugs]."""
    made: Numbers = 1 / (1 + np.exp(hard - spread * NODES[:, None]))
    return made


def _posterior(mended: Numbers, known: Numbers, hard: Numbers, spread: float) -> Numbers:
    """Return how likely each learner has each strength, [learners, nodes]."""
    odds = spread * NODES[:, None] - hard
    right, wrong = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
    scores = (known * mended) @ right.T + (known * (1 - mended)) @ wrong.T - NODES**2 / 2
    weights: Numbers = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return weights


def _errors(known: Numbers, chances: Numbers, weights: Numbers) -> Numbers:
    """Return the standard errors: the information of known strengths, less what is not known of them."""
    at_nodes = known.T @ weights
    means = known * (weights @ chances)  # [learners, bugs]
    together = np.einsum(
        "li,lj,lq,qi,qj->ij", known, known, weights, chances, chances, optimize=True
    )
    information = np.diag((at_nodes * (chances * (1 - chances)).T).sum(1) + 1 / WIDE**2)
    information = information - (together - means.T @ means)
    errors: Numbers = np.sqrt(np.diag(np.linalg.inv(information)).clip(0))
    return errors

"""A fault dictionary: the first wrong output that each known mistake, alone, makes of each case.

The golden file does not keep those outputs but a sketch of each: the step, the output's name, and four projections of
its numbers on fixed random directions.  Equal outputs have equal sketches, and different ones practically never.  So a
wrong output with the sketch of a known mistake was very probably made by it, and the learner can be told how that
mistake shows.  No verdict depends on this.

Example: in the golden of one case `symptoms` is {"no-causal-mask": [0, "out", [1.2, -0.4, 3.1, 0.7]]}.  A submission
whose step 0 returns a wrong `out` with these projections gets the symptom of `no-causal-mask`; were there a second
mistake with this sketch and another symptom, it would get none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from grader.content import Challenge
from grader.ground.arrays import Array
from grader.judge.golden import CaseGolden
from grader.sandbox import Reply

_RAYS = 4


class OutputSketch(NamedTuple):
    """A wrong output: the step that returned it, its name, and projections of its numbers."""

    step: int
    output: str
    projections: list[float]


def project(item: Array) -> list[float]:
    """Project the numbers on a few fixed directions; equal outputs give equal sketches up to rounding."""
    flat = item.values.astype(np.float64).ravel()
    words = np.random.Philox(key=[20, 21]).random_raw(_RAYS * max(flat.size, 1))
    rays = ((words >> np.uint64(11)) * 2.0**-52 - 1).reshape(_RAYS, -1)[:, : flat.size]
    return [float(f"{value:.5g}") for value in rays @ np.nan_to_num(flat)]


def sketch_of(step: int, reply: Reply, output: str | None) -> OutputSketch | None:
    """Return the sketch of a reply's wrong output; None where that is no tensor."""
    if output is None or output not in reply.tensors:
        return None
    return OutputSketch(step, output, project(reply.tensors[output]))


def lookup(challenge: Challenge, golden: CaseGolden, seen: OutputSketch | None) -> str | None:
    """Return the symptom of the known mistake that makes this output; None when there is none or more than one."""
    if seen is None:
        return None
    hits = [
        fault
        for fault, (step, output, known) in golden.symptoms.items()
        if (step, output) == (seen.step, seen.output) and nearly_equal(known, seen.projections)
    ]
    texts = {_symptom(challenge, fault) for fault in hits}
    return texts.pop() if len(texts) == 1 else None


def _symptom(challenge: Challenge, fault: str) -> str:
    known: Mapping[str, Any] = {**challenge.trivial_solutions, **challenge.bugs}
    return str(known[fault].symptom) if fault in known else fault


def nearly_equal(known: list[float], seen: list[float]) -> bool:
    """Whether two lists of projections are those of one output, but for rounding."""
    scale = max(1.0, *map(abs, known))
    return bool(np.allclose(known, seen, rtol=2e-4, atol=2e-4 * scale))

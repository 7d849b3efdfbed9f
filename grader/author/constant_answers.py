"""Answers that need no thought, compared with a golden: zeros, NaN, and the previous step's output again.

They need no run: a case whose golden is near zero would pass a file that returns zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from grader.ground.arrays import Array
from grader.judge.compare_answers import judge_reply
from grader.judge.golden import CaseGolden, Expected
from grader.sandbox import Reply, Request

CLOSE = 0.1  # two steps may rightly give the same output; then the previous one is no wrong answer


def constant_answers(golden: CaseGolden) -> dict[str, float]:
    """Return by how many tolerances zeros and the previous output would miss.

    For example `{"zeros": 3400.0, "previous output": 12.5}`; empty where no floating-point output is judged.
    """
    ratios = {"zeros": _zeros(golden)}
    if (previous := _previous(golden)) >= CLOSE:
        ratios["previous output"] = previous
    return {name: ratio for name, ratio in ratios.items() if np.isfinite(ratio)}


def accepts_nan(golden: CaseGolden) -> bool:
    """Whether NaN in every floating-point output would pass; it never may."""
    judged = [step for step in golden.steps if any(item.floating for item in step.tensors.values())]
    return bool(judged) and not any(
        judge_reply(0, Request(""), _nan(step), step) for step in judged
    )


def _zeros(golden: CaseGolden) -> float:
    """Return by how many tolerances the worst number of all outputs would miss: one wrong number fails a case."""
    gaps = [
        ratio(item.values, step, name)
        for step in golden.steps
        for name, item in _judged(step).items()
    ]
    return max(gaps, default=np.inf)


def _previous(golden: CaseGolden) -> float:
    """Return the least by which a step's output differs from the one before, in tolerances."""
    before: dict[str, Array] = {}
    least = np.inf
    for step in golden.steps:
        for name, want in _judged(step).items():
            if name in before and before[name].shape == want.shape:
                least = min(least, ratio(want.values - before[name].values, step, name))
            before[name] = want
    return float(least)


def ratio(gap: Any, step: Expected, name: str) -> float:
    """Return the largest number of a difference, in tolerances of an output."""
    return float(np.abs(gap).max()) / max(float(step.tolerances[name]), 1e-30)


def _judged(step: Expected) -> Mapping[str, Array]:
    return {name: item for name, item in step.tensors.items() if item.floating and item.values.size}


def _nan(step: Expected) -> Reply:
    tensors = {
        name: replace(item, values=np.full_like(item.values, np.nan)) if item.floating else item
        for name, item in step.tensors.items()
    }
    return Reply(values=dict(step.values), tensors=tensors)

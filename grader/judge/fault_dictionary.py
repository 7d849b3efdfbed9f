"""A fault dictionary: what each known mistake, alone, makes of each case.

The golden file keeps a few projections of the first wrong output per known mistake.  A wrong output that matches one is
very probably made by that mistake, and the learner is told how it looks.  It decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from grader.content import Challenge
from grader.ground.arrays import Array
from grader.judge.golden import CaseGolden
from grader.judge.result import Cause
from grader.sandbox import Reply

_RAYS = 4
Trace = tuple[int, str, list[float]]  # step, output, sketch of a wrong value


def sketch(item: Array) -> list[float]:
    """Project the numbers on a few fixed directions; equal outputs give equal sketches up to rounding."""
    flat = item.values.astype(np.float64).ravel()
    words = np.random.Philox(key=[20, 21]).random_raw(_RAYS * max(flat.size, 1))
    rays = ((words >> np.uint64(11)) * 2.0**-52 - 1).reshape(_RAYS, -1)[:, : flat.size]
    return [float(f"{value:.5g}") for value in rays @ np.nan_to_num(flat)]


def sketch_of(step: int, reply: Reply, cause: Cause) -> Trace | None:
    """Return where a wrong value stands, and its sketch."""
    name = cause.where.output if cause.where else None
    if cause.kind != "wrong_value" or name is None or name not in reply.tensors:
        return None
    return step, name, sketch(reply.tensors[name])


def lookup(challenge: Challenge, golden: CaseGolden, trace: Trace | None, cause: Cause) -> Cause:
    """Say what a wrong value looks like, when only one known mistake makes this output."""
    if trace is None:
        return cause
    step, name, seen = trace
    hits = [
        fault
        for fault, (at, output, known) in golden.symptoms.items()
        if at == step and output == name and _near(known, seen)
    ]
    texts = {_symptom(challenge, fault) for fault in hits}
    if len(texts) != 1:
        return cause
    return replace(cause, help=f"It looks like this: {texts.pop()}")


def _symptom(challenge: Challenge, fault: str) -> str:
    known: Mapping[str, Any] = {**challenge.trivial_solutions, **challenge.bugs}
    return str(known[fault].symptom) if fault in known else fault


def _near(known: list[float], seen: list[float]) -> bool:
    scale = max(1.0, *map(abs, known))
    return bool(np.allclose(known, seen, rtol=2e-4, atol=2e-4 * scale))

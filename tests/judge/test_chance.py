"""Answers that are chance are judged by what they tell, whatever a file sends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grader.content import load_challenge
from grader.ground.arrays import Array
from grader.judge.golden_check import prepare
from grader.judge.script import Script
from grader.sandbox import Reply

CHALLENGE = load_challenge("multi_head_attention")
CASE, STEP = next(
    (case, index)
    for case in CHALLENGE.cases.values()
    for index, step in enumerate(case.steps)
    if step["do"] == "drop"
)
EXPECTED = prepare(CHALLENGE, [CASE]).cases[CASE.id].steps[STEP + 1].values
SIZES = {"batch": 1, "d_model": 8, "num_heads": 2, **CASE.setup}
RATE = SIZES.get("dropout", 0.1)


def judged(arrays: dict[str, Any]) -> Reply:
    reply = Reply(tensors={name: Array(x.dtype.name, x) for name, x in arrays.items()})
    return Script(CHALLENGE, CASE).told(STEP, reply)


def weights(seed: int, rate: float, *, kept: float | None = None) -> np.ndarray[Any, Any]:
    """What four calls leave of equal weights."""
    heads = SIZES["num_heads"]
    dim = SIZES["d_model"] // heads
    left = np.random.default_rng(seed).random((4, SIZES["batch"], dim, heads * dim)) >= rate
    return (left / dim / (1 - rate) if kept is None else left * kept).astype(np.float32)


@pytest.mark.parametrize("seed", range(40))
def test_right_chance_is_never_refused(seed: int) -> None:
    assert judged({"weights": weights(seed, RATE)}).values == EXPECTED


@pytest.mark.parametrize("seed", range(5))
def test_wrong_chance_is_told(seed: int) -> None:
    told = judged({"weights": weights(seed, 1 - RATE)}).values
    assert told["dropped"] != EXPECTED["dropped"]
    told = judged({"weights": weights(seed, RATE, kept=1.0)}).values
    assert told["kept"] != EXPECTED["kept"]
    same = weights(seed, RATE)
    same[:] = same[:1]
    assert judged({"weights": same}).values["each"] != EXPECTED["each"]


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"weights": np.zeros(())},
        {"weights": np.zeros((0, 3))},
        {"weights": np.full_like(weights(0, RATE), np.nan)},
        {"weights": np.full_like(weights(0, RATE), np.inf)},
        {"weights": weights(0, RATE).astype(bool)},
        {"weights": weights(0, RATE).astype(np.int8)},
        {"others": weights(0, RATE)},
    ],
    ids=["none", "a number", "empty", "NaN", "infinite", "bool", "whole", "other name"],
)
def test_what_a_hostile_file_sends_is_wrong_and_no_error(arrays: dict[str, Any]) -> None:
    assert judged(arrays).values != EXPECTED


def test_what_the_driver_cannot_read_stays_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_case: Any, _answer: Any) -> Any:
        raise ZeroDivisionError

    script = Script(CHALLENGE, CASE)
    monkeypatch.setattr(script._driver.verbs["drop"], "told", fails)
    reply = Reply(tensors={"weights": Array("float32", weights(0, RATE))})
    assert script.told(STEP, reply) is reply

"""Random scenarios of the kernels: quick in an interpreter, and alike for every honest way to add numbers up."""

from __future__ import annotations

from typing import Any

import pytest

from grader.content import load_challenge
from grader.content.driver_loading import checked_driver
from grader.kit import probes
from grader.kit.choice_sequence import ChoiceSequence
from grader.kit.scenarios import random_case

KERNELS = ("triton_decode", "triton_prefill", "paged_cache")
SETUP = {"heads": 4, "kv_heads": 2, "head_dim": 16, "slots": 100}


def drawn(name: str, count: int = 200) -> list[dict[str, Any]]:
    driver = checked_driver(load_challenge(name))
    assert driver.random
    return [random_case(driver, ChoiceSequence.seeded(seed), seed) for seed in range(count)]


@pytest.mark.parametrize("name", KERNELS)
def test_most_scenarios_are_quick_and_none_that_is_asked_is_long(name: str) -> None:
    driver, packed = checked_driver(load_challenge(name)), name != "triton_prefill"
    assert driver.random
    asked = [case for case in drawn(name) if driver.random.asked(case)]
    assert len(asked) > 120
    for case in asked:
        tiles = sum(probes.tiles_of(case["setup"], step, packed=packed) for step in case["steps"])
        assert tiles <= 2 * probes.MOST_TILES


@pytest.mark.parametrize("name", KERNELS)
def test_scenarios_ask_sizes_values_and_layouts_of_many_kinds(name: str) -> None:
    cases = drawn(name)
    steps = [step for case in cases for step in case["steps"]]
    assert {case["dtype"] for case in cases} == {"float32", "float16", "bfloat16"}
    assert len({case["setup"]["head_dim"] for case in cases}) > 15
    assert {case["setup"]["heads"] // case["setup"]["kv_heads"] for case in cases} >= {1, 2, 3, 5}
    for said in ("tilt", "slope", "blank", "view", "scale", "loud"):
        assert len({step[said] for step in steps if said in step}) > 1, said
    assert {"nan", "inf", "minus_inf", "junk"} <= {step.get("unused") for step in steps}
    full = [probes.room_of(case["setup"]) for case in cases]
    rows = zip(full, cases, strict=True)
    assert (
        sum(any(room in step.get("lens", []) for step in case["steps"]) for room, case in rows) > 20
    )


def test_the_count_of_tiles_follows_the_grid_of_the_kernels() -> None:
    one = {"do": "decode", "lens": [33], "queries": 3}
    assert probes.tiles_of(SETUP, one) == 2 * (1 + 3), "two programs, each with three tiles"
    assert probes.tiles_of(SETUP, one, packed=False) == 4 * (1 + 3), "one for each query head"
    assert probes.tiles_of(SETUP, {**one, "splits": 2}) == 2 * (2 + 3) + 4 * 3 // 2
    assert probes.tiles_of(SETUP, {**one, "do": "decode_twice"}) == 16
    assert probes.tiles_of(SETUP, {"do": "append", "slots": [1, 2, -1]}) == 6
    turn = {"do": "turn", "new": [2, 1], "tokens": 2, "fill": [15]}
    assert probes.tiles_of(SETUP, turn) == 2 * ((1 + 2) + (1 + 1)) + 2 * 2 * 2


def test_rows_are_left_out_but_never_the_last_one() -> None:
    steps: list[Any] = [{"do": "decode", "lens": [90] * 8}, {"do": "decode", "lens": [5]}]
    case = probes.tamed(
        {"setup": SETUP, "dtype": "float32", "steps": steps}, ChoiceSequence.replayed([])
    )
    assert [step["lens"] for step in case["steps"]] == [[90], [5]]
    empty = {"setup": SETUP, "dtype": "float32", "steps": [{"do": "slots", "old": [1], "new": []}]}
    assert probes.tamed(empty, ChoiceSequence.replayed([]))["steps"][0]["new"] == []


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ({"tilt": -48.0, "spread": 3.0, "slope": 512.0}, {"spread": 3.0, "slope": 512.0}),
        ({"tilt": -16.0, "spread": 3.0, "slope": 512.0}, {"tilt": -16.0, "spread": 0.0}),
        ({"tilt": -16.0, "loud": 128.0}, {}),
        ({"slope": 512.0, "scale": -0.25}, {"slope": 512.0, "scale": 0.25}),
        ({"loud": 128.0, "spread": 3.0}, {"spread": 3.0}),
        ({"spread": 3.0, "scale": 3.0}, {"spread": 3.0}),
        ({"spread": 0.25, "scale": -1.0}, {"spread": 0.25, "scale": -1.0}),
    ],
)
def test_numbers_that_lose_their_digits_become_milder(
    said: dict[str, Any], left: dict[str, Any]
) -> None:
    step = {"do": "decode", "lens": [9], **said}
    case = {"setup": SETUP, "dtype": "float32", "steps": [step]}
    probes.tamed(case, ChoiceSequence.replayed([]))
    assert step == {"do": "decode", "lens": [9], **left}


@pytest.mark.parametrize(
    ("said", "slope"),
    [
        ({"queries": 1}, 512.0),
        ({"queries": 13}, 512.0 * 1e-5 / (2**-23 * 512 * 3)),
        ({"queries": 13, "lens": [16]}, 512.0),  # one tile: nothing is lower
        ({"queries": 13, "slope": -512.0}, -512.0),  # every query sees the highest
    ],
)
def test_queries_that_see_only_the_lowest_tokens_have_ordinary_products(
    said: dict[str, Any], slope: float
) -> None:
    step = {"do": "decode", "lens": [17], "slope": 512.0, "scale": 3.0, "spread": 0.0, **said}
    case = {"setup": SETUP, "dtype": "float32", "steps": [step]}
    probes.tamed(case, ChoiceSequence.replayed([]))
    assert step["slope"] == pytest.approx(slope)


def test_half_precision_may_be_loud() -> None:
    for said in ({"loud": 128.0, "spread": 3.0}, {"loud": 128.0, "spread": 0.0, "tilt": -48.0}):
        step = {"do": "decode", "lens": [9], **said}
        case = {"setup": SETUP, "dtype": "float16", "steps": [step]}
        assert probes.tamed(case, ChoiceSequence.replayed([]))["steps"][0] == step
        assert step.items() >= said.items()

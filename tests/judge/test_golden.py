"""Golden files: equal content gives equal bytes, and a broken or foreign file is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grader.content import ContentError, load_challenge
from grader.ground.arrays import array
from grader.judge.golden import CaseGolden, Expected, Golden, load_golden, save_golden

STEP = Expected(
    values={"n": 3, "none": None},
    dtypes={"b": "float32", "a": "int64"},
    tolerances={"b": 2e-5, "a": 0.0},
    tensors={"b": array(np.arange(6.0).reshape(2, 3)), "a": array(np.array([1, 2]))},
)
CASE = CaseGolden("r", "f", (Expected(), STEP, Expected(raised="ValueError")), ("_helper",), {})
GOLDEN = Golden({"one": CASE, "two": CASE}, "digest", {"torch": "2.13.0"})


@pytest.fixture
def challenge(tmp_path):
    real = load_challenge("multi_head_attention")
    (tmp_path / "recorded").mkdir()
    return replace(real, folder=tmp_path)


def test_round_trip_keeps_everything_and_the_order_of_outputs(challenge) -> None:
    challenge.golden.write_bytes(save_golden(challenge.golden, GOLDEN))
    loaded = load_golden(challenge)
    assert loaded.cases["two"].needs == ("_helper",)
    step = loaded.cases["one"].steps[1]
    assert list(step.tensors) == ["b", "a"]
    assert step.values == STEP.values
    assert (step.tensors["b"].values == STEP.tensors["b"].values).all()
    assert loaded.cases["one"].steps[2].raised == "ValueError"


def test_equal_goldens_give_equal_bytes() -> None:
    assert len({save_golden(Path("x"), GOLDEN) for _ in range(20)}) == 1


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "noise", "foreign"])
def test_an_unusable_file_is_one_clear_error(challenge, damage: str) -> None:
    blob = save_golden(challenge.golden, GOLDEN)
    content = {
        "empty": b"",
        "cut": blob[: len(blob) // 2],
        "noise": b"\xff" * 200,
        "foreign": save_golden(challenge.golden, Golden({}, "", {})).replace(
            b"golden/v1", b"golden/v9"
        ),
    }
    if damage != "absent":
        challenge.golden.write_bytes(content[damage])
    with pytest.raises(ContentError, match="--record"):
        load_golden(challenge)

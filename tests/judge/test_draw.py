"""Inputs come from a stable bit stream and never change."""

from __future__ import annotations

import numpy as np
import pytest

from grader.judge.draw import Draw


def test_the_stream_is_the_published_one() -> None:
    """These words are Philox4x64-10's for this key; a changed stream would change every golden."""
    draw = Draw(7, "float64")
    draw.at(-1)
    first = draw(3)
    words = np.random.Philox(key=[7, 0]).random_raw(3)
    assert first.tolist() == [(2 * ((int(word) >> 11) * 2.0**-53) - 1) * 3**0.5 for word in words]


@pytest.mark.parametrize("sizes", [(3, 5, 1), (2047, 1, 1, 4), (2000, 3000, 7), (1, 0, 2)])
def test_arrays_of_a_step_are_one_stream_cut_up(sizes: tuple[int, ...]) -> None:
    draw = Draw(11, "float64")
    draw.at(2)
    words = np.random.Philox(key=[11, 3]).random_raw(sum(sizes))
    expected = (2 * ((words >> np.uint64(11)) * 2.0**-53) - 1) * 3**0.5
    assert np.concatenate([draw(size) for size in sizes]).tolist() == expected.tolist()


def test_unit_variance_zero_mean() -> None:
    values = Draw(1, "float64")(200_000)
    assert abs(values.mean()) < 0.01
    assert abs(values.var() - 1) < 0.01


def test_steps_are_independent_of_each_other() -> None:
    one, two = Draw(3, "float32"), Draw(3, "float32")
    one.at(0)
    one(5)
    one.at(1)
    two.at(1)
    assert (one(4) == two(4)).all()


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 24), ("float16", 11), ("bfloat16", 8)])
def test_numbers_are_representable_in_the_dtype(dtype: str, bits: int) -> None:
    mantissa, _ = np.frexp(Draw(5, dtype)(1000))
    scaled = mantissa * 2.0**bits
    assert (scaled == np.round(scaled)).all()


def test_each_step_has_a_digest_of_its_own() -> None:
    def marks(seed: int, scale: float = 1.0) -> dict[int, str]:
        draw = Draw(seed, "float32")
        draw.at(-1)
        draw(4, scale=scale)
        draw.at(0)
        draw.integers(0, 9, 3)
        return draw.digests

    assert marks(1) == marks(1)
    assert marks(1)[0] != marks(2)[0]
    changed = marks(1, scale=2.0)
    assert changed[-1] != marks(1)[-1]
    assert changed[0] == marks(1)[0]


def test_a_step_that_is_asked_for_twice_has_the_digest_of_one_draw() -> None:
    draw = Draw(1, "float32")
    for _ in range(2):
        draw.at(0)
        draw(4)
    once = Draw(1, "float32")
    once.at(0)
    once(4)
    assert draw.digests == once.digests


def test_numbers_of_a_name_are_the_same_in_every_step_and_in_its_digest() -> None:
    def marks(name: str) -> tuple[list[list[float]], dict[int, str]]:
        draw, drawn = Draw(1, "float32"), []
        for step in (0, 1):
            draw.at(step)
            draw(step + 1)
            drawn.append(draw.named(name, 3).tolist())
        return drawn, draw.digests

    (first, second), digests = marks("root")
    assert first == second
    (other, _), changed = marks("leaf")
    assert first != other
    assert digests[0] != changed[0]
    assert digests[1] != changed[1]


def test_nothing_is_recorded_of_a_step_that_was_not_drawn() -> None:
    """An empty digest of the creation would hide the one that is kept with a precomputed request."""
    draw = Draw(1, "float32")
    draw.at(3)
    assert set(draw.digests) == {3}


def test_integers_and_permutations_cover_their_range() -> None:
    draw = Draw(11, "float32")
    assert set(draw.integers(2, 5, 300).tolist()) == {2, 3, 4}
    assert sorted(draw.permutation(17).tolist()) == list(range(17))
    assert draw(0, 3).shape == (0, 3)

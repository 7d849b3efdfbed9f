"""How hard bugs were for a class, against classes that were made with known difficulties."""

from __future__ import annotations

import numpy as np
import pytest

from grader.classroom.bug_difficulty import (
    AVERAGE,
    FEWEST,
    POINTS,
    Difficulty,
    chance_of_average,
    difficulties,
)


def made(seed: int, learners: int, bugs: int, *, spread: float = 1.0, unknown: float = 0.0):
    """Return who mended what in a made class, and the true difficulties in points."""
    draw = np.random.default_rng(seed)
    hard, strength = draw.normal(0, 1.2, bugs), draw.normal(0, spread, learners)
    mended = (draw.random((learners, bugs)) < 1 / (1 + np.exp(hard - strength[:, None]))).astype(
        np.float64
    )
    mended[draw.random(mended.shape) < unknown] = np.nan
    return mended, AVERAGE + POINTS * hard


@pytest.mark.parametrize(
    ("learners", "bugs", "spread"), [(12, 6, 1.0), (40, 10, 0.4), (40, 10, 2.0)]
)
def test_the_intervals_hold_what_is_true(learners: int, bugs: int, spread: float) -> None:
    inside = []
    for seed in range(60):
        mended, truth = made(seed, learners, bugs, spread=spread, unknown=0.1)
        found = zip(difficulties(mended), truth, strict=True)
        inside += [one.low <= true <= one.high for one, true in found if one is not None]
    assert 0.92 <= np.mean(inside) <= 0.99


def test_a_large_class_tells_the_difficulties_exactly() -> None:
    mended, truth = made(3, 2000, 12)
    found = difficulties(mended)
    assert max(abs(one.points - true) for one, true in zip(found, truth, strict=True)) < 60
    assert max(one.high - one.low for one in found if one is not None) < 90


def test_who_did_not_meet_a_bug_does_not_count() -> None:
    """Strong learners alone met the second bug: the share that mended it says nothing."""
    draw = np.random.default_rng(1)
    strength = draw.normal(0, 1.5, 800)
    chance = 1 / (1 + np.exp(-strength[:, None] - np.zeros(8)))
    mended = (draw.random(chance.shape) < chance).astype(np.float64)
    mended[strength < 1, 1] = np.nan
    shares = np.nanmean(mended, 0)
    first, second = difficulties(mended)[:2]
    assert first is not None
    assert second is not None
    assert shares[1] > shares[0] + 0.2
    assert second.low < first.points < second.high


def test_a_bug_that_all_or_none_mended_has_a_bounded_estimate() -> None:
    mended = np.ones((20, 3))
    mended[:, 1] = 0
    mended[::2, 2] = 0
    easy, hard, even = difficulties(mended)
    assert easy is not None
    assert hard is not None
    assert even is not None
    assert easy.points < even.points < hard.points
    assert abs(even.points - AVERAGE) < 30
    assert all(400 < one.points < 2600 for one in (easy, hard))
    assert easy.high - easy.low > even.high - even.low


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("learners", [8, 100, 3000])
def test_a_class_in_which_each_mended_all_that_is_easier_has_finite_numbers(learners: int) -> None:
    """The likeliest spread of strengths is infinite there."""
    strength = np.arange(learners) * 8 // learners  # so many bugs each learner mended
    mended = (np.arange(7) < strength[:, None]).astype(np.float64)
    found = difficulties(mended)
    points = [one.points for one in found if one is not None]
    assert points == sorted(points)
    assert len(set(points)) == 7
    assert all(0 < one.low < one.points < one.high < 3000 for one in found if one is not None)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_large_class_that_mended_all_or_nothing_has_finite_numbers(share: float) -> None:
    for one in difficulties(np.full((5000, 4), share)):
        assert one is not None
        assert np.isfinite([one.points, one.low, one.high]).all()
    half = np.repeat(np.arange(1000) % 2, 6).reshape(1000, 6).astype(np.float64)
    assert all(abs(one.points - AVERAGE) < 60 for one in difficulties(half) if one is not None)


def test_a_learner_who_mended_all_or_none_moves_no_bug_past_another() -> None:
    mended, _ = made(5, 60, 6)
    alone = [one.points for one in difficulties(mended) if one]
    more = [one.points for one in difficulties(np.vstack([mended, np.ones((20, 6))])) if one]
    assert np.argsort(alone).tolist() == np.argsort(more).tolist()


@pytest.mark.parametrize("learners", [0, 1, FEWEST - 1])
def test_of_few_learners_nothing_is_said(learners: int) -> None:
    assert difficulties(np.ones((learners, 2))) == [None, None]
    few = np.full((9, 2), np.nan)
    few[:learners, 0] = 1
    few[:FEWEST, 1] = 0
    first, second = difficulties(few)
    assert first is None
    assert isinstance(second, Difficulty)


def test_the_same_class_has_the_same_numbers_in_any_order() -> None:
    mended, _ = made(9, 50, 7)
    there, back = difficulties(mended), difficulties(mended[::-1])
    assert there == difficulties(mended.copy())
    for one, other in zip(there, back, strict=True):
        assert one is not None
        assert other is not None
        assert one.points == pytest.approx(other.points, abs=0.01)


def test_points_are_those_of_elo() -> None:
    assert chance_of_average(AVERAGE) == 0.5
    assert chance_of_average(AVERAGE + 400) == pytest.approx(1 / 11)

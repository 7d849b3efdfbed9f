"""Caches of earlier steps and drawn ones, with poison where no token lies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from grader.judge.request_cache import Answers
from grader.kit import caches


def answer() -> Any:
    key = np.arange(24.0).reshape(2, 3, 4)
    return {
        "key": SimpleNamespace(values=key),
        "value": SimpleNamespace(values=-key),
        "seq_lens": SimpleNamespace(values=np.array([3, 1], np.int32)),
    }


def test_a_cache_comes_as_it_was_returned() -> None:
    found = caches.cache_of(answer(), "key", "seq_lens")
    assert list(found) == ["key", "seq_lens"]
    assert (found["key"] == answer()["key"].values).all()


def test_its_first_tokens_can_be_kept() -> None:
    found = caches.cache_of(answer(), "key", "value", keep=2)
    assert found["key"].tolist() == answer()["key"].values[:, :2].tolist()
    assert (found["value"] == -found["key"]).all()


def test_rows_change_places_and_tokens_are_taken_back() -> None:
    found = caches.cache_of(answer(), "key", "seq_lens", rows=[1, 1, 0], rewind=1)
    assert found["key"].shape == (3, 3, 4)
    assert (found["key"][2] == answer()["key"].values[0]).all()
    assert found["seq_lens"].tolist() == [0, 0, 2]
    assert found["seq_lens"].dtype == np.int32


def test_lengths_may_have_another_name() -> None:
    found = caches.cache_of({"lens": np.array([4, 2])}, "lens", rewind=2, lengths="lens")
    assert found["lens"].tolist() == [2, 0]


def test_a_cache_that_is_only_sent_on_need_not_be_known() -> None:
    whole = caches.cache_of(Answers("a"), "key")["key"]
    assert whole.earlier("float32").bounds == ()
    cut = caches.cache_of(Answers("a"), "key", keep=3)["key"]
    assert cut.earlier("float32").bounds == ((None, None), (None, 3))
    for how in ({"rows": [0]}, {"rewind": 1}):
        with pytest.raises((TypeError, AttributeError)):
            caches.cache_of(Answers("a"), "seq_lens", **how)


@pytest.mark.parametrize("unused", caches.UNUSED)
@pytest.mark.parametrize("axes", [(0, 1), (0, 2)])
def test_slots_without_a_token_hold_poison(unused: str, axes: tuple[int, int]) -> None:
    shape = (2, 3, 4) if axes == (0, 1) else (2, 4, 3)
    buffer = np.ones(shape)
    (made,) = caches.poisoned([buffer], caches.used_slots([3, 1], 3), unused, axes=axes)
    rows = made if axes == (0, 1) else made.swapaxes(1, 2)
    assert (rows[0] == 1).all()
    assert (rows[1, 0] == 1).all()
    poison = np.full((2, 4), caches.UNUSED[unused])
    np.testing.assert_array_equal(rows[1, 1:], poison)
    assert (buffer == 1).all(), "the drawn numbers stay as they are"
    assert made.dtype == np.float64


def test_lengths_beyond_the_slots_leave_no_slot_unused() -> None:
    assert caches.used_slots([0, 2, 9], 3).tolist() == [
        [False] * 3,
        [True, True, False],
        [True] * 3,
    ]
    assert caches.used_slots([], 3).shape == (0, 3)

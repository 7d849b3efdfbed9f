"""How an array differs from the one it should be, on arrays made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grader.diagnose.patterns import (
    StepContext,
    differences,
    masked,
    only_padded_rows,
    positions,
)

SCORES = ("batch", "head", "query", "key")
NOTHING = StepContext()


def found(got, want, axes=SCORES, context=NOTHING, wrong=None):
    """Return kinds and texts of the patterns of two arrays."""
    got, want = np.asarray(got), np.asarray(want)
    if wrong is None:
        with np.errstate(invalid="ignore"):
            wrong = ~((got == want) | (np.isnan(got * 1.0) & np.isnan(want * 1.0)))
    patterns = differences(got, want, wrong, axes, context)
    return [pattern.kind for pattern in patterns], [pattern.text for pattern in patterns]


def numbers(*shape: int):
    """Return numbers no two of which are equal, or in a simple ratio."""
    count = math.prod(shape)
    return (np.sin(np.arange(count) * 1.7 + 0.3) + np.arange(count) * 0.01).reshape(shape)


def causal(queries: int, keys: int):
    """Return which keys each query sees behind a cache, [1, 1, queries, keys]."""
    return np.tril(np.ones((queries, keys), bool), keys - queries)[None, None]


@pytest.mark.parametrize(
    ("values", "hidden"),
    [
        ([0.0, -1e8, np.nan, np.inf], [False] * 4),
        ([-np.inf, -1e9, -3e38], [True] * 3),
    ],
)
def test_scores_of_minus_1e9_and_below_are_masked(values, hidden) -> None:
    assert masked(np.array(values)).tolist() == hidden


# masks


def test_a_mask_without_effect_lets_queries_see_the_future() -> None:
    kinds, texts = found(np.ones((1, 1, 2, 4), bool), causal(2, 4))
    assert kinds == ["nothing_hidden"]
    assert texts == ["Nothing is hidden: every query sees the future."]


@pytest.mark.parametrize(
    ("shown", "kind"),
    [
        (np.zeros((1, 1, 2, 4), bool), "everything_hidden"),
        (~causal(2, 4), "inverted_mask"),
        (np.tril(np.ones((2, 4), bool))[None, None], "top_left_mask"),
        (np.tril(np.ones((2, 4), bool), 1)[None, None], "one_key_less"),
    ],
)
def test_well_known_masks_are_recognised(shown, kind) -> None:
    assert found(shown, causal(2, 4))[0] == [kind]


def test_a_mask_that_shows_one_key_too_many() -> None:
    right = np.tril(np.ones((3, 6), bool), 1)[None, None]
    shown = np.tril(np.ones((3, 6), bool), 2)[None, None]
    assert found(shown, right)[0] == ["one_key_more"]


def test_any_other_mask_is_told_by_its_counts() -> None:
    right = causal(4, 4)
    shown = right.copy()
    shown[0, 0, 0, 2] = True
    shown[0, 0, 3, 0] = False
    kinds, texts = found(shown, right)
    assert kinds[0] == "other_keys"
    assert (
        texts[0]
        == "1 keys are seen that should be hidden and 1 keys are hidden that should be seen."
    )


def test_keys_that_no_query_may_see_are_told_from_causal_mistakes() -> None:
    right = np.array([[[[True, True, False]]], [[[True, True, True]]]])
    shown = np.ones((2, 1, 1, 3), bool)
    kinds, texts = found(shown, right, context=StepContext(padded=(True, False)))
    assert kinds == ["unused_keys", "padded_rows"]
    assert texts[1] == "Only padded rows are wrong: batch 0."


def test_where_rows_are_only_shorter_nothing_is_called_padding() -> None:
    right = np.array([[[[True, True, False]]], [[[True, True, True]]]])
    context = StepContext(padded=(True, False), by_length=True)
    kinds, texts = found(np.ones((2, 1, 1, 3), bool), right, context=context)
    assert kinds == ["unused_keys", "padded_rows"]
    assert texts[0] == "Keys are seen that no query may see: slots that hold no token."
    assert texts[1] == "Only the shorter rows are wrong: batch 0."
    assert not any("padd" in text.lower() for text in texts)


def test_masked_scores_are_compared_as_masks_before_their_numbers() -> None:
    want = np.where(causal(2, 4), numbers(1, 1, 2, 4), -np.inf)
    got = np.where(np.tril(np.ones((2, 4), bool)), 5 * numbers(1, 1, 2, 4), -1e9)
    assert found(got, want)[0] == ["top_left_mask"]


def test_the_fill_of_a_mask_is_no_difference_of_its_own() -> None:
    values = numbers(1, 1, 2, 4)
    want = np.where(causal(2, 4), values, -np.inf)
    got = np.where(causal(2, 4), 2 * values, -1e30)
    wrong = causal(2, 4)
    assert found(got, want, wrong=wrong)[0][0] == "scaled"


# numbers


@pytest.mark.parametrize(
    ("factor", "name"),
    [
        (1 / math.sqrt(8), "1/sqrt(head_dim)"),
        (math.sqrt(8), "sqrt(head_dim)"),
        (1 / 8, "1/head_dim"),
        (math.sqrt(8 / 32), "sqrt(head_dim/d_model)"),
        (1.37, "1.37"),
    ],
)
def test_a_factor_is_named_by_the_sizes_of_the_case(factor, name) -> None:
    want = numbers(1, 2, 3, 4)
    context = StepContext({"head_dim": 8, "d_model": 32})
    kinds, texts = found(want * factor, want, context=context)
    assert kinds[0] == "scaled"
    assert name in texts[0]


def test_a_factor_of_one_and_several_factors_are_none() -> None:
    want = numbers(1, 1, 2, 4)
    uneven = want * np.array([2.0, 3.0, 2.0, 3.0])
    assert "scaled" not in found(uneven, want)[0]
    assert "scaled" not in found(want * 1.0005, want)[0]


@pytest.mark.parametrize(("step", "way"), [(1, "late"), (-1, "early")])
def test_values_one_key_further_along(step, way) -> None:
    want = numbers(1, 1, 2, 5)
    got = np.roll(want, step, axis=-1)
    kinds, texts = found(got, want)
    assert kinds[0] == "shifted"
    assert texts[0] == f"The values are right but stand one key too {way}."


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_numbers_that_are_not_finite_come_first(bad, word) -> None:
    want = numbers(2, 3)
    got = want.copy()
    got[1] = bad
    kinds, texts = found(got, want, ("batch", "feature"))
    assert kinds == ["not_finite", "some_indices"]
    assert texts == [f"3 of 6 values are {word}.", "Only batch 1 is wrong."]


def test_axes_with_names_say_where_better_than_numbers_of_axes() -> None:
    want = numbers(3, 2, 4)
    got = want.copy()
    got[1] += numbers(2, 4) ** 2 + 1
    assert found(got, want, ("axis 0", "axis 1", "axis 2"))[0] == ["region", "some_indices"]
    assert found(got, want, ("batch", "token", "feature"))[0] == ["some_indices"]


# positions


@pytest.mark.parametrize(
    ("hit", "text"),
    [
        ([0, 1, 0, 0], "Only token 1 is wrong."),
        ([0, 1, 1, 1], "Only token 0 is right."),
        ([1, 0, 1, 0], "Only tokens 0, 2 are wrong."),
    ],
)
def test_wrong_tokens_are_listed(hit, text) -> None:
    wrong = np.array([hit, hit], bool)
    assert [p.text for p in positions(wrong, ("batch", "token"), NOTHING)] == [text]


def test_all_heads_are_named_and_features_never() -> None:
    wrong = np.zeros((2, 3), bool)
    wrong[:, 1] = True
    assert [p.kind for p in positions(wrong, ("head", "feature"), NOTHING)] == ["all_heads"]


@pytest.mark.parametrize(
    ("hit", "kind", "part"),
    [
        ([0, 0, 0, 1, 1], "new_part", "key 3 is the first that is new"),
        ([1, 1, 0, 0, 0], "cached_part", "the keys from 3 on, which are new, are right"),
        ([0, 1, 0, 1, 0], "some_indices", "Only keys 1, 3 are wrong."),
        ([0, 0, 0, 1, 0], "some_indices", "Only key 3 is wrong."),
    ],
)
def test_wrong_keys_are_told_by_the_cache(hit, kind, part) -> None:
    wrong = np.array([hit, hit], bool)
    (pattern,) = positions(wrong, ("query", "key"), StepContext(held=3, total=5))
    assert pattern.kind == kind
    assert part in pattern.text


@pytest.mark.parametrize(
    ("hit", "padded", "only"),
    [
        ([True, False], (True, False), True),
        ([False, True], (True, False), False),
        ([True, True], (True, False), None),
        ([True, True], (True, True), None),
        ([False, False], (True, False), None),
        ([True], (True, False), None),
    ],
)
def test_rows_with_padding_are_told_apart(hit, padded, only) -> None:
    assert only_padded_rows(np.array(hit), StepContext(padded=padded)) is only

"""Two recorded arrays: the first wrong number, the kinds of the difference, and what is no difference."""

from __future__ import annotations

import numpy as np
import pytest

from grader.diagnose.compare_arrays import comparable_part, compare_arrays
from grader.diagnose.patterns import StepContext
from grader.diagnose.trace_model import Checkpoint
from grader.ground.arrays import array

AXES = ("batch", "head", "query", "key")


def compared(want, got, axes=AXES, context=None, dtype="float32", got_dtype=None):
    made = Checkpoint("scores", "scores", 0, "same")
    arrays = array(np.asarray(want), dtype), array(np.asarray(got), got_dtype or dtype)
    return compare_arrays(made, *arrays, axes, context or StepContext())


def weights(batch: int = 2, heads: int = 2, queries: int = 2, keys: int = 3):
    count = batch * heads * queries * keys
    return (np.cos(np.arange(count) * 1.3) + 2).reshape(batch, heads, queries, keys)


def test_equal_arrays_are_the_same_and_both_are_kept() -> None:
    made = compared(weights(), weights())
    assert made.status == "same"
    assert made.kinds == made.patterns == ()
    assert made.expected.shape == made.actual.shape == (2, 2, 2, 3)


@pytest.mark.parametrize(
    ("dtype", "gap", "status"),
    [
        ("float32", 1e-4, "same"),
        ("float32", 1e-2, "differs"),
        ("bfloat16", 1e-2, "same"),
        ("float64", 1e-6, "differs"),
        ("float64", 1e-9, "same"),
    ],
)
def test_rounding_of_the_dtype_is_no_difference(dtype, gap, status) -> None:
    assert compared(weights(), weights() + gap, dtype=dtype).status == status


def test_the_first_wrong_number_is_named_by_its_axes() -> None:
    got = weights()
    got[1, 0, 1, 2] = 9.0
    got[1, 1, 0, 0] = 9.0
    place = compared(weights(), got).place
    assert (place.index, place.axes) == ((1, 0, 1, 2), AXES)
    assert str(place) == "batch 1, head 0, query 1, key 2"
    assert place.actual == "9"


def test_axes_that_do_not_fit_are_numbered() -> None:
    assert compared([[1.0, 2.0]], [[1.0, 3.0]]).place.axes == ("axis 0", "axis 1")


def test_a_single_number_has_no_index_and_no_pattern_of_many() -> None:
    made = compared([2.0], [4.0], ("batch",))
    assert (made.place.index, made.place.axes) == ((), ())
    assert made.patterns == ()
    assert made.kinds == ()


@pytest.mark.parametrize(
    ("want", "got", "kinds"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), ("shape",)),
        (np.zeros((2, 3)), np.zeros((1, 3)), ("rows", "shape")),
        (np.zeros((2, 3)), np.zeros((1, 4)), ("shape",)),
        (np.zeros((2, 3)), np.zeros((2, 3, 1)), ("shape",)),
    ],
)
def test_a_wrong_shape_is_told_before_any_number(want, got, kinds) -> None:
    made = compared(want, got, ("batch", "feature"))
    assert made.kinds == kinds
    assert made.place.actual == f"shape {list(got.shape)}"


def test_a_wrong_dtype_is_told_before_any_number() -> None:
    made = compared([1, 2], [1, 2], ("batch",), dtype="int64", got_dtype="int32")
    assert made.kinds == ("dtype",)
    assert (made.place.expected, made.place.actual) == ("int64", "int32")


def test_masked_numbers_are_equal_whatever_fills_them() -> None:
    want = np.array([[1.0, -np.inf], [1.0, 2.0]])
    got = np.array([[1.0, -1e9], [1.0, 2.0]])
    assert compared(want, got, ("query", "key")).status == "same"


def test_nan_where_nan_should_be_is_no_difference() -> None:
    assert compared([np.nan, 1.0], [np.nan, 1.0], ("token",)).status == "same"


@pytest.mark.parametrize(
    ("want", "bad", "kind"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], np.nan, "nan"),
        ([[1.0, 2.0], [0.0, 0.0]], np.nan, "unmasked"),
        ([[1.0, 2.0], [3.0, 4.0]], np.inf, "infinite"),
    ],
)
def test_numbers_that_are_not_finite_have_a_kind(want, bad, kind) -> None:
    got = np.array(want)
    got[1] = bad
    assert compared(want, got, ("token", "feature")).kinds == (kind,)


def test_kinds_name_rows_padding_and_heads_the_most_telling_first() -> None:
    got = weights()
    got[1, 0] = -(got[1, 0] ** 2)
    assert compared(weights(), got).kinds == ("rows", "heads")
    padded = StepContext(padded=(False, True))
    assert compared(weights(), got, context=padded).kinds == ("padded", "rows", "heads")
    scaled = compared(weights(), weights() * 3)
    assert scaled.kinds == ("scaled",)


def test_keys_that_no_query_may_see_are_a_kind() -> None:
    right = np.tril(np.ones((1, 2, 4), bool), 1)
    shown = right.copy()
    shown[..., 3] = True
    made = compared(right, shown, ("batch", "query", "key"), dtype="bool")
    assert made.kinds == ("unused",)


# what torch's own functions show


def test_a_mask_seen_in_softmax_is_which_keys_are_seen() -> None:
    want, got = array([[1.0, -np.inf]], "float32"), array([[7.0, 2.0]], "float32")
    right, made = comparable_part("mask", want, got)
    assert right.values.tolist() == [[True, False]]
    assert made.values.tolist() == [[True, True]]


def test_scores_seen_in_softmax_are_the_numbers_that_both_see() -> None:
    want, got = array([[1.0, -np.inf, 3.0]], "float32"), array([[7.0, 2.0, -1e9]], "float32")
    right, made = comparable_part("scores", want, got)
    assert right.values.tolist() == [[1.0, 0.0, 0.0]]
    assert made.values.tolist() == [[7.0, 0.0, 0.0]]


def test_the_same_numbers_in_the_files_own_layout_are_equal() -> None:
    want = array([[1.0, 2.0], [3.0, 4.0]], "float32")
    right, made = comparable_part("context", want, array(want.values.T, "float32"))
    assert np.array_equal(right.values, made.values)
    right, made = comparable_part("context", want, array([[1.0, 2.0], [3.0, 5.0]], "float32"))
    assert not np.array_equal(right.values, made.values)

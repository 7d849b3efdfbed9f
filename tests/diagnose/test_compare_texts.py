"""What a call gives beside arrays: texts that are the same, shown where they differ, and how it ended."""

from __future__ import annotations

import numpy as np
import pytest

from grader.diagnose.compare_texts import same_text, show_both, wrong_ending
from grader.ground.arrays import array


@pytest.mark.parametrize(
    ("want", "got", "same"),
    [
        ("3", "3", True),
        ("3", "3.0", False),
        ("0.1", "0.10000000001", True),
        ("0.1", "0.2", False),
        ("a.b", "a.c", False),
        ("1.5", "nan", False),
    ],
)
def test_short_texts_are_equal_up_to_rounding(want, got, same) -> None:
    assert same_text(want, got) is same


def test_long_texts_are_shown_from_where_they_differ() -> None:
    left, right = show_both("x" * 100 + "left", "x" * 100 + "right\nmore")
    assert left == "..." + "x" * 20 + "left"
    assert right == "..." + "x" * 20 + "right\\nmore"
    assert show_both(array(np.zeros((2, 3)), "float32"), "nothing")[0] == "a tensor [2, 3]"
    assert len(show_both("a" * 500, "b" * 500)[0]) == 100


def test_a_wrong_ending_names_both_ends() -> None:
    assert wrong_ending("ValueError", None) == "It returns, and should raise ValueError."
    assert wrong_ending("A", "B", ": no") == "It ends with B: no; the reference raises A."
    assert wrong_ending(None, "B") == "It ends with B; the reference returns."

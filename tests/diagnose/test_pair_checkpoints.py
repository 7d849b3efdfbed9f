"""Which call of the reference is compared with which call of the submission."""

from __future__ import annotations

import numpy as np

from grader.diagnose.pair_checkpoints import pair_checkpoints
from grader.ground.arrays import array
from tests.diagnose.recordings import call, described, numbers, step


def told(checkpoints, reference, submission, undefined=()):
    """Return of each pair its checkpoint, the number of the call, and which files come there."""
    pairs = pair_checkpoints(checkpoints, step(*reference), step(*submission), undefined)
    return [
        (
            pair.spec.name,
            pair.call,
            ("reference " if pair.expected else "") + ("submission" if pair.actual else ""),
        )
        for pair in pairs
    ]


BOTH = "reference submission"


def test_the_nth_call_is_paired_with_the_nth_in_the_references_order() -> None:
    checkpoints = described({"method": "a"}, {"method": "b"})
    reference = [call("a"), call("b"), call("a")]
    submission = [call("b"), call("a"), call("a")]
    assert told(checkpoints, reference, submission) == [
        ("a", 0, BOTH),
        ("b", 0, BOTH),
        ("a", 1, BOTH),
    ]


def test_what_only_one_file_reaches_is_told_and_surplus_comes_last() -> None:
    checkpoints = described({"method": "a"}, {"method": "b"}, {"method": "c"})
    reference = [call("a"), call("b")]
    submission = [call("c"), call("c"), call("a"), call("a")]
    assert told(checkpoints, reference, submission) == [
        ("a", 0, BOTH),
        ("b", 0, "reference "),
        ("c", 0, "submission"),
        ("a", 1, "submission"),
    ]


def test_a_round_too_many_of_a_loop_stands_right_behind_the_last_round() -> None:
    checkpoints = described({"method": "tile", "loop": True}, {"method": "out"})
    reference = [call("tile"), call("tile"), call("out")]
    submission = [call("tile"), call("tile"), call("tile"), call("tile"), call("out"), call("out")]
    assert told(checkpoints, reference, submission) == [
        ("tile", 0, BOTH),
        ("tile", 1, BOTH),
        ("tile", 2, "submission"),
        ("out", 0, BOTH),
        ("out", 1, "submission"),
    ]


def test_a_method_that_the_file_lacks_is_nothing_missing() -> None:
    checkpoints = described({"method": "split"}, {"method": "b"})
    assert told(checkpoints, [call("split"), call("b")], [call("b")], {"split"}) == [("b", 0, BOTH)]


def test_torch_stands_for_a_method_that_the_file_lacks() -> None:
    checkpoints = described(
        {"name": "mask", "method": "_mask", "op": "mask"},
        {"name": "weights", "method": "_weights", "op": "weights"},
    )
    softmax = [call("softmax.in", kind="op"), call("softmax.out", kind="op")]
    reference = [call("_mask"), call("_weights"), *softmax]
    assert told(checkpoints, reference, softmax, {"_mask", "_weights"}) == [
        ("mask", 0, BOTH),
        ("weights", 0, BOTH),
    ]
    # a file that has the methods is compared by them, whatever it asks of torch
    assert told(checkpoints, reference, [call("_mask"), call("_weights"), *softmax]) == [
        ("mask", 0, BOTH),
        ("weights", 0, BOTH),
    ]


def test_arguments_and_results_of_one_method_are_two_checkpoints() -> None:
    checkpoints = described(
        {"name": "given", "method": "a", "enter": 0}, {"name": "made", "method": "a"}
    )
    calls = [call("a", kind="enter"), call("a"), call("a", kind="raised")]
    assert told(checkpoints, calls, calls) == [
        ("given", 0, BOTH),
        ("made", 0, BOTH),
        ("made", 1, BOTH),
    ]


def test_programs_are_paired_by_the_block_they_work_on() -> None:
    checkpoints = described(
        {"name": "first row", "method": "_bounds", "enter": 0, "block": 0},
        {"name": "scores", "method": "_scores"},
    )

    def calls(order):
        for program, first in enumerate(order):
            place = f"{program}, 0"
            row = array(np.array(first), "int32")
            yield call("_bounds", kind="enter", program=place, parts={"0": row})
            yield call("_scores", numbers(first, first), program=place)

    pairs = list(pair_checkpoints(checkpoints, step(*calls([0, 16])), step(*calls([16, 0])), ()))
    assert {pair.program for pair in pairs} == {"block from 0, 0", "block from 16, 0"}
    for pair in pairs:
        assert pair.expected is not None
        assert pair.actual is not None
        sides = [next(iter(side.parts.values())).values for side in (pair.expected, pair.actual)]
        assert np.array_equal(*sides)


def test_programs_without_a_known_block_keep_their_place_in_the_grid() -> None:
    checkpoints = described({"name": "scores", "method": "_scores"})
    reference = [call("_scores", program="0, 0"), call("_scores", program="1, 0")]
    pairs = list(pair_checkpoints(checkpoints, step(*reference), step(*reference[::-1]), ()))
    assert [(pair.program, pair.call) for pair in pairs] == [("0, 0", 0), ("1, 0", 0)]
    assert all(pair.expected is pair.actual for pair in pairs)

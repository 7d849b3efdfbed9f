"""Facts of a step, read from recordings made by hand: cache length, keys seen, sum of weights, tokens held, padding."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from grader.diagnose.step_facts import step_context, step_facts
from grader.ground.arrays import array
from grader.sandbox import Request
from tests.diagnose.recordings import call, described, numbers, step


@dataclass
class Case:
    """A case of which only the steps are asked for."""

    steps: list[dict] = field(default_factory=lambda: [{"do": "forward"}])


def facts(source, *calls, name="cache_length", points=(), **more):
    """Return the facts of a step whose points.json names one source."""
    checkpoints = described({"name": "weights", "method": "a"}, *points, facts={name: source})
    return step_facts(checkpoints, step(*calls, **more))


def context(sources, *calls, steps=None, **more):
    checkpoints = described({"name": "weights", "method": "a"}, facts=sources)
    case = Case(steps) if steps else Case()
    return step_context(checkpoints, case, step(*calls, **more), {"head_dim": 4})


def of_shape(*shape):
    return array(np.ones(shape), "float32")


@pytest.mark.parametrize(
    ("source", "value", "length"),
    [
        ({"point": "weights", "axis": 3}, of_shape(1, 2, 3, 6), "6"),
        ({"point": "weights"}, "7", "7"),
        ({"point": "weights"}, numbers(4, 4, dtype="int64"), "4"),
        ({"point": "weights"}, numbers(4, 6, dtype="int64"), "4 to 6"),
        ({"point": "weights"}, numbers(4.0, 6.0), None),
        ({"point": "weights"}, "seven", None),
        ({"point": "weights"}, "1234567890123", None),
        ({"point": "weights", "axis": 3}, of_shape(2, 2), None),
        ({"point": "elsewhere"}, "7", None),
    ],
)
def test_the_cache_length_is_an_axis_or_a_number(source, value, length) -> None:
    assert facts(source, call("a", value)).cache_length == length


def test_the_last_call_counts_unless_every_call_does() -> None:
    calls = [call("a", numbers(2, dtype="int64")), call("a", numbers(5, dtype="int64"))]
    assert facts({"point": "weights"}, *calls).cache_length == "5"
    assert facts({"point": "weights", "tiles": True}, *calls).cache_length == "2 to 5"


def test_a_part_of_a_value_or_of_an_argument_can_be_the_source() -> None:
    parts = {"2/key": of_shape(1, 5), "0.size": "9"}
    assert facts({"point": "weights", "part": "2/key", "axis": 1}, call("a", parts=parts)) == facts(
        {"point": "weights"}, call("a", "5")
    )
    given = {"name": "given", "method": "a", "enter": 0}
    entered = call("a", kind="enter", parts=parts)
    source = {"point": "given", "part": "0.size"}
    assert facts(source, entered, call("a", "1"), points=[given]).cache_length == "9"


def test_an_argument_of_the_step_can_be_the_source() -> None:
    request = Request("forward", tensors={"lens": numbers(3, 4, dtype="int64")})
    source = {"argument": "seq_lens lens"}
    assert facts(source, request=request).cache_length == "3 to 4"
    assert facts({"argument": "seq_lens"}, request=request).cache_length is None


def test_keys_seen_are_counted_for_the_newest_token() -> None:
    mask = array(np.array([[[1, 0, 0, 0], [1, 1, 1, 0]]], bool), "bool")
    assert facts({"point": "weights"}, call("a", mask), name="scores").scores == "3"
    scores = array(np.array([[[0.0, 1.0, -np.inf]], [[0.0, 1.0, 2.0]]]), "float32")
    assert facts({"point": "weights"}, call("a", scores), name="scores").scores == "2 to 3"


def test_keys_seen_of_tiles_are_added_up() -> None:
    tiles = [call("a", array(np.array([[1, 1, kept]], bool), "bool")) for kept in (1, 0)]
    source = {"point": "weights", "tiles": True}
    assert facts(source, *tiles, name="scores").scores == "5"
    uneven = call("a", array(np.ones((2, 1, 3), bool), "bool"))
    assert facts(source, *tiles, uneven, name="scores").scores is None


def test_without_a_mask_keys_seen_are_those_with_a_weight() -> None:
    weights = array(np.array([[[0.5, 0.5, 0.0], [0.2, 0.7, 0.2]]]), "float32")
    made = facts({"point": "weights"}, call("a", weights), name="weights")
    assert (made.scores, made.weight_sum) == ("3", "1.1000")
    rows = array(np.array([[[0.5, 0.5]], [[0.5, 0.25]]]), "float32")
    made = facts({"point": "weights"}, call("a", rows), name="weights")
    assert made.weight_sum == "0.7500 to 1.0000"


def test_the_weights_of_a_file_without_the_method_are_seen_in_softmax() -> None:
    checkpoints = described(
        {"name": "weights", "method": "a", "op": "weights"}, facts={"weights": {"point": "weights"}}
    )
    weights = array(np.array([[0.25, 0.75]]), "float32")
    made = step_facts(checkpoints, step(call("softmax.out", weights, kind="op")))
    assert made.weight_sum == "1.0000"


@pytest.mark.parametrize("value", [of_shape(3), array(np.zeros((2, 0)), "float32"), "text"])
def test_what_is_no_table_of_weights_has_no_facts(value) -> None:
    made = facts({"point": "weights"}, call("a", value), name="weights")
    assert (made.scores, made.weight_sum) == (None, None)


# what is known of a step


def test_tokens_before_a_step_are_those_after_it_less_its_own() -> None:
    sources = {"cache_length": {"point": "weights"}}
    made = context(sources, call("a", "6"), steps=[{"do": "forward", "tokens": 2}])
    assert (made.total, made.held) == (6, 4)
    made = context(sources, call("a", "6"), steps=[{"do": "forward", "tokens": 9}])
    assert made.held == 0
    made = context(sources, call("a", "6"), steps=[{"do": "forward", "tokens": True}])
    assert made.held is None


def test_tokens_before_a_step_can_be_recorded() -> None:
    sources = {
        "cache_length": {"point": "weights", "part": "after"},
        "cached": {"point": "weights", "part": "before"},
    }
    made = context(sources, call("a", parts={"after": "6", "before": "1"}))
    assert (made.total, made.held) == (6, 1)
    uneven = {"after": numbers(6, 7, dtype="int64"), "before": numbers(3, 3, dtype="int64")}
    made = context(sources, call("a", parts=uneven), steps=[{"do": "forward", "tokens": 1}])
    assert (made.total, made.held) == (None, 3)


def test_rows_with_padding_are_told_by_padding_or_by_length() -> None:
    recorded = call("a", numbers(0, 2, dtype="int64"))
    assert context({"padding": {"point": "weights"}}, recorded).padded == (False, True)
    recorded = call("a", numbers(3, 2, 3, dtype="int64"))
    assert context({"lengths": {"point": "weights"}}, recorded).padded == (False, True, False)
    assert context({}, recorded).padded == ()


def test_the_creation_has_no_tokens() -> None:
    made = context({"cache_length": {"point": "weights"}}, call("a", "6"), index=-1)
    assert (made.total, made.held) == (6, None)

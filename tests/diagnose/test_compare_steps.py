"""One step of two files: what differs, what is forgiven, and what a difference is called."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grader.diagnose.compare_steps import all_forgiven, compare_step, outputs_differ
from grader.diagnose.patterns import StepContext
from grader.ground.arrays import array
from grader.sandbox import Problem, Raised, Reply, Request
from tests.diagnose.recordings import call, described, numbers, step

RIGHT, WRONG = numbers(1.0, 2.0, 4.0), numbers(1.0, 2.0, 5.0)


def compare(checkpoints, reference, submission, undefined=(), **more):
    """Return the checkpoints of a step, by name and call."""
    made = compare_step(
        checkpoints, step(*reference), step(*submission, **more), StepContext(), undefined
    )
    return {(item.checkpoint.name, item.checkpoint.call): item.checkpoint for item in made}


def one(spec, expected, actual):
    """Compare one call each, and return its checkpoint."""
    return compare(described({"method": "a", **spec}), [expected], [actual])[
        spec.get("name", "a"), 0
    ]


def test_arrays_are_compared_and_kept() -> None:
    same = one({}, call("a", RIGHT), call("a", RIGHT))
    assert (same.status, same.expected.shape) == ("same", (3,))
    wrong = one({"axes": ["token"]}, call("a", RIGHT), call("a", WRONG))
    assert (wrong.status, str(wrong.place)) == ("differs", "token 2")


# what supersedes what


def layers(*arrays):
    """Return the calls of several layers: scores, then weights."""
    return [
        made
        for scores, weights in arrays
        for made in (call("scores", scores), call("weights", weights))
    ]


def test_a_difference_does_not_count_in_the_calls_in_which_a_later_checkpoint_agrees() -> None:
    checkpoints = described({"method": "scores"}, {"method": "weights", "settles": ["scores"]})
    made = compare(
        checkpoints,
        layers((RIGHT, RIGHT), (RIGHT, RIGHT)),
        layers((WRONG, RIGHT), (WRONG, WRONG)),
    )
    assert [made[name, at].status for at in (0, 1) for name in ("scores", "weights")] == [
        "same",
        "same",
        "differs",
        "differs",
    ]
    assert made["scores", 0].patterns == ()


def test_a_checkpoint_without_an_array_supersedes_nothing() -> None:
    checkpoints = described({"method": "scores"}, {"method": "weights", "settles": ["scores"]})
    made = compare(checkpoints, layers((RIGHT, "3")), layers((WRONG, "3")))
    assert made["weights", 0].status == "same"
    assert made["scores", 0].status == "differs"


# parts


def test_the_first_part_that_differs_is_named() -> None:
    expected = call("a", parts={"key": RIGHT, "value": RIGHT})
    made = one({}, expected, call("a", parts={"key": RIGHT, "value": WRONG}))
    assert made.title == "a (value)"
    assert one({"parts": ["key"]}, expected, call("a", parts={"key": RIGHT})).status == "same"


def test_a_missing_part_differs_only_where_every_file_has_it() -> None:
    missing = one(
        {}, call("a", parts={"key": RIGHT, "value": RIGHT}), call("a", parts={"key": RIGHT})
    )
    assert (missing.kinds, missing.sentences) == (("shape",), ("value is missing.",))
    own = one({}, call("a", RIGHT, parts={".look.cache": "3"}), call("a", RIGHT))
    assert own.status == "same"


def test_the_result_alone_can_be_the_checkpoint() -> None:
    expected = call("a", "3", parts={".self.size": "5"})
    actual = call("a", "3", parts={".self.size": "6"})
    assert one({"parts": ["result"]}, expected, actual).status == "same"
    made = one({"parts": [".self."]}, expected, actual)
    assert (made.place.expected, made.place.actual) == ("5", "6")


def test_an_argument_and_what_lies_in_it_can_be_the_checkpoint() -> None:
    def given(first, size):
        parts = {"0": first, "0.size": size, "1": size, "10": size}
        return call("a", kind="enter", parts=parts)

    spec = {"name": "given", "enter": 0}
    assert one(spec, given("x", "5"), given("x", "5")).status == "same"
    assert one(spec, given("x", "5"), given("x", "6")).title == "given (0.size)"
    assert one({**spec, "enter": 1}, given("x", "5"), given("y", "5")).status == "same"


def test_shapes_alone_can_count() -> None:
    assert one({"values": False}, call("a", RIGHT), call("a", WRONG)).status == "same"
    longer = numbers(1, 2, 4, 5)
    assert one({"values": False}, call("a", RIGHT), call("a", longer)).kinds == ("shape",)


@pytest.mark.parametrize(
    ("want", "got", "kinds"),
    [
        (("float32", 1, 2, 3), ("float64", 1, 2, 3), None),
        (("float32", 1, 2, 3), ("float64", 1, 2, 4), ()),
        (("float32", 1, 2, 3), ("bfloat16", 1, 2, 3), None),
        (("float32", 1, 2, 3), ("bfloat16", 1, 2, 4), ("dtype",)),
        (("float32", 1, 2, 3), ("int64", 1, 2, 3), None),
        (("int64", 1, 2, 3), ("int32", 1, 2, 3), None),
        (("int64", 1, 2, 3), ("int32", 1, 2, 4), ("dtype",)),
        (("int32", 1, 2, 3), ("int64", 1, 2, 3), None),
        (("bool", 1, 0, 1), ("int64", 1, 0, 1), None),
        (("bool", 1, 0, 1), ("float32", 0, -math.inf, 0), None),
        (("bool", 1, 1, 1), ("float32", 0, 0, 0), None),
        (("float32", 0, -1e9, 0), ("bool", 1, 0, 1), None),
        (("bool", 1, 0, 1), ("float32", 0, 0, -math.inf), ()),
    ],
)
def test_the_dtype_of_a_checkpoint_is_no_difference(want, got, kinds) -> None:
    arrays = [array(np.array(values), dtype) for dtype, *values in (want, got)]
    found = one({}, *(call("a", item) for item in arrays))
    assert found.status == ("same" if kinds is None else "differs")
    assert found.kinds == (kinds or ())


def test_a_narrower_dtype_counts_where_the_challenge_says_what_it_means() -> None:
    wide, narrow = numbers(1, 2, dtype="int64"), numbers(1, 2, dtype="int32")
    spec = {"families": {"dtype": "kernel indexing"}}
    assert one(spec, call("a", wide), call("a", narrow)).kinds == ("dtype",)
    assert one(spec, call("a", narrow), call("a", wide)).status == "same"


def test_what_an_internal_helper_returns_beside_numbers_is_its_own_affair() -> None:
    for method, status in (("_first", "same"), ("first", "differs")):
        spec = {"name": "a", "method": method}
        both = (call(method, parts={"": text}) for text in ("0", "None"))
        assert one(spec, *both).status == status
        other = (call(method, parts={"": text}) for text in ("0", "7"))
        assert one(spec, *other).status == "differs"


def test_slots_that_hold_no_token_may_hold_anything() -> None:
    spec = {"axes": ["batch", "slot"], "filled": "lengths", "parts": ["slots"]}

    def cache(*rows, lengths=(2, 3)):
        parts = {
            "slots": array(np.array(rows), "float32"),
            "lengths": numbers(*lengths, dtype="int64"),
        }
        return call("a", parts=parts)

    right = cache((1.0, 2.0, 0.0), (4.0, 5.0, 6.0))
    assert one(spec, right, cache((1.0, 2.0, 9.0), (4.0, 5.0, 6.0))).status == "same"
    wrong = one(spec, right, cache((1.0, 9.0, 9.0), (4.0, 5.0, 9.0)))
    assert str(wrong.place) == "batch 0, slot 1"
    short = one(spec, cache((1.0, 2.0, 0.0), lengths=(2,)), cache((1.0, 2.0, 9.0), lengths=(2,)))
    assert short.status == "same"


# sharing, changes, endings


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("~result/self/memory", "What it returns and what it keeps share memory"),
        ("~self/arguments/objects", "What it keeps and its arguments share an object"),
        ("~self/self/objects", "It keeps one object twice"),
    ],
)
def test_what_should_be_apart_and_is_shared(part, text) -> None:
    made = one({}, call("a", parts={part: "apart"}), call("a", parts={part: "shared"}))
    assert made.kinds == ("shares",)
    assert made.sentences[0].startswith(text)
    assert (
        one({}, call("a", parts={part: "shared"}), call("a", parts={part: "apart"})).status
        == "same"
    )


def test_an_argument_that_only_the_submission_changes() -> None:
    made = one({}, call("a", RIGHT), call("a", RIGHT, changed=True))
    assert made.kinds == ("changes",)
    assert one({}, call("a", changed=True), call("a", changed=True)).status == "same"
    # a wrong number says more
    assert one({}, call("a", RIGHT), call("a", WRONG, changed=True)).kinds != ("changes",)


@pytest.mark.parametrize(
    ("expected", "actual", "kind"),
    [("ValueError", None, "returns"), (None, "ValueError", "raises"), ("A", "B", "raises")],
)
def test_a_call_that_ends_otherwise(expected, actual, kind) -> None:
    made = one({}, call("a", raised=expected), call("a", raised=actual))
    assert (made.status, made.kinds) == ("differs", (kind,))
    assert made.patterns[0].kind == "ending"


def test_a_change_before_an_exception_is_told_first() -> None:
    made = one({}, call("a", raised="ValueError"), call("a", raised="ValueError", changed=True))
    assert made.kinds == ("changes",)


# one file alone


def test_rounds_of_a_loop_are_counted_for_the_learner() -> None:
    checkpoints = described({"method": "tile", "loop": True})
    more = compare(checkpoints, [call("tile")], [call("tile"), call("tile")])["tile", 1]
    assert (more.status, more.kinds) == ("extra", ("rest",))
    assert more.sentences == ("Your file goes on to round 2, the reference ends after 1.",)
    less = compare(checkpoints, [call("tile"), call("tile")], [call("tile")])["tile", 1]
    assert (less.status, less.sentences) == (
        "missing",
        ("The reference goes on to round 2, your file ends after 1.",),
    )


def test_what_could_not_be_recorded_is_nothing_missing() -> None:
    checkpoints = described({"method": "a"}, {"method": "b"})
    reference = [call("a"), call("b"), call("b", program="1, 0")]
    assert ("b", 0) in compare(checkpoints, reference, [call("a")])
    made = compare_step(
        checkpoints, step(*reference), step(call("a"), truncated=True), StepContext()
    )
    assert [(item.checkpoint.name, item.checkpoint.program) for item in made] == [
        ("a", ""),
        ("b", "1, 0"),
    ]
    made = compare_step(
        checkpoints, step(call("a"), truncated=True), step(*reference), StepContext()
    )
    assert [item.checkpoint.name for item in made] == ["a"]


# torch's own functions


def test_a_file_without_the_method_is_compared_by_what_torch_was_given() -> None:
    checkpoints = described({"name": "mask", "method": "_mask", "op": "mask"})
    reference = [call("softmax.in", numbers(1.0, -np.inf), kind="op")]
    same = [call("softmax.in", numbers(7.0, -1e9), kind="op")]
    wrong = [call("softmax.in", numbers(7.0, 3.0), kind="op")]
    other_layout = [call("softmax.in", numbers(7.0, 3.0, 2.0), kind="op")]
    made = {
        name: compare(checkpoints, reference, calls, {"_mask"})["mask", 0]
        for name, calls in (("same", same), ("wrong", wrong), ("other", other_layout))
    }
    assert [made[name].status for name in ("same", "wrong", "other")] == ["same", "differs", "same"]
    assert not made["wrong"].from_method


# outputs


def outputs(reference: Reply, submission: Reply | None, **more):
    request = Request("forward", tensors=more.pop("sent", {}))
    made = compare_step(
        described(outputs={"output": {"stage": "output", "axes": ["token"]}}),
        step(reply=reference, request=request),
        step(reply=submission, request=request, **more)
        if submission is not None
        else _no_reply(request, **more),
        StepContext(),
    )
    return made


def _no_reply(request, failure):
    made = step(request=request, failure=failure)
    made.reply = None
    return made


def test_outputs_are_compared_under_their_names() -> None:
    right, wrong = Reply(tensors={"output": RIGHT}), Reply(tensors={"output": WRONG})
    assert not outputs_differ(outputs(right, right))
    (item,) = outputs(right, wrong)
    assert (item.checkpoint.name, str(item.checkpoint.place)) == ("output", "token 2")
    assert outputs_differ([item])
    (item,) = outputs(Reply(values={"size": 3}), Reply(values={"size": 4}))
    assert (item.checkpoint.place.expected, item.checkpoint.place.actual) == ("3", "4")


def test_a_step_that_gives_no_answer_ends_wrongly() -> None:
    (item,) = outputs(Reply(), None, failure="The process ended")
    assert (item.checkpoint.name, item.checkpoint.kinds) == ("ending", ("raises",))
    assert "The process ended" in item.checkpoint.sentences[0]


def test_an_exception_of_a_class_below_the_right_one_is_right() -> None:
    right = Reply(raised=Raised(("ValueError", "Exception"), "no", None))
    below = Reply(raised=Raised(("UnicodeError", "ValueError", "Exception"), "no", 7))
    other = Reply(raised=Raised(("KeyError", "Exception"), "no", 7))
    assert outputs(right, below) == []
    (item,) = outputs(right, other)
    assert "KeyError: no (line 7)" in item.checkpoint.sentences[0]


def test_a_changed_argument_is_a_mistake_of_ownership() -> None:
    sent = {"key": RIGHT}
    (item,) = outputs(Reply(), Reply(echo={"key": WRONG}), sent=sent)
    assert (item.spec.stage, item.checkpoint.kinds) == ("aliasing", ("changes",))
    assert outputs(Reply(echo={"key": WRONG}), Reply(echo={"key": WRONG}), sent=sent) == []
    problem = Reply(problem=Problem("mutated_input", "it changed `key`", "key"))
    (item,) = outputs(Reply(), problem)
    assert (item.spec.stage, item.checkpoint.kinds) == ("aliasing", ("changes",))


def test_other_ways_to_the_right_answers_are_forgiven() -> None:
    checkpoints = described({"method": "a"}, {"method": "b"}, {"method": "c"})
    made = compare_step(
        checkpoints,
        step(call("a", RIGHT), call("b", RIGHT)),
        step(call("a", WRONG), call("c", RIGHT)),
        StepContext(),
    )
    assert {item.checkpoint.status for item in made} == {"differs", "missing", "extra"}
    assert [(item.checkpoint.name, item.checkpoint.status) for item in all_forgiven(made)] == [
        ("a", "same")
    ]

"""Which difference of a step comes first, and which class of mistake it speaks for."""

from __future__ import annotations

import numpy as np
import pytest

from grader.diagnose.bug_class import bug_class_of
from grader.diagnose.checkpoints import CheckpointSpec
from grader.diagnose.compare_arrays import compare_arrays
from grader.diagnose.compare_outputs import ENDING, ComparedCheckpoint
from grader.diagnose.first_divergence import (
    differing,
    first_divergence,
    matches_other_tensor,
    with_cache_remark,
    without_strays,
)
from grader.diagnose.patterns import StepContext
from grader.diagnose.trace_model import Checkpoint, Divergence, TracedStep
from grader.ground.arrays import array
from grader.judge.error_patterns import Pattern

STEP = TracedStep(1, "forward", "decode, 1 token", ())
EVEN = np.arange(8.0).reshape(2, 4)


def item(name: str, status: str = "same", call: int = 0, **more) -> ComparedCheckpoint:
    """Return a compared checkpoint; what belongs to its description is given by name."""
    spec = {
        key: more.pop(key)
        for key in ("stage", "loop", "bug_class", "bug_class_by_kind")
        if key in more
    }
    return ComparedCheckpoint(
        Checkpoint(name, name, call, status, **more), CheckpointSpec(name, method=name, **spec)
    )


def arrays(name: str, want, got) -> ComparedCheckpoint:
    made = Checkpoint(name, name, 0, "same")
    both = array(np.asarray(want), "float64"), array(np.asarray(got), "float64")
    return ComparedCheckpoint(
        compare_arrays(made, *both, (), StepContext()), CheckpointSpec(name, method=name)
    )


def first(*compared: ComparedCheckpoint) -> str | None:
    made = first_divergence(STEP, compared)
    return made.checkpoint.name if made else None


def test_the_first_checkpoint_that_differs_is_chosen() -> None:
    assert first(item("a"), item("b", "differs"), item("c", "differs")) == "b"
    assert first(item("a"), item("b")) is None


def test_what_one_file_reaches_counts_only_where_nothing_differs() -> None:
    assert first(item("a", "missing"), item("b", "differs")) == "b"
    assert first(item("a"), item("b", "missing"), item("c", "extra", 1)) == "b"


def test_rounds_of_a_loop_count_like_values() -> None:
    rounds = item("tile", "extra", 2, loop=True)
    assert first(item("a", "missing"), rounds, item("b", "differs")) == "tile"
    no_loop_here = item("tile", "extra", 0, loop=True)
    assert differing([no_loop_here]) == []


def test_programs_that_never_ran_count_where_the_step_ended_early() -> None:
    never = item("tile", "missing", program="1, 0")
    ending = item(ENDING, "differs", patterns=(Pattern("ending", "It ends with KeyError."),))
    assert [found.checkpoint.name for found in differing([never, ending])] == ["tile", ENDING]
    assert differing([never]) == []
    made = first_divergence(STEP, [never, ending])
    assert made.checkpoint.sentences == ("Your file does not come here.", "It ends with KeyError.")


@pytest.mark.parametrize(
    ("mask", "chosen"),
    [
        (item("mask", "missing", stage="mask"), "mask"),
        (item("mask", "extra", 0, stage="mask"), "mask"),
        (item("mask", "extra", 1, stage="mask"), "weights"),
    ],
)
def test_a_mask_that_one_file_alone_applies_stands_before_what_it_spoils(mask, chosen) -> None:
    assert first(item("weights", "differs", stage="weights"), mask) == chosen
    assert first(item("keys", "differs", stage="keys"), mask) == "keys"


def test_strays_are_left_out_of_steps_without_a_difference() -> None:
    stray, mask = item("a", "missing"), item("mask", "missing", stage="mask")
    assert without_strays([stray, mask, item("b")]) == [mask, item("b")]
    with_difference = [stray, item("b", "differs")]
    assert without_strays(with_difference) == with_difference


# numbers of another checkpoint


def test_the_numbers_of_another_checkpoint_are_recognised_also_transposed() -> None:
    keys, values = EVEN, EVEN + 9
    assert matches_other_tensor(arrays("values", values, keys), [arrays("keys", keys, keys)])
    square = np.arange(9.0).reshape(3, 3)
    turned = arrays("values", square + 1.5, square.T)
    found = matches_other_tensor(turned, [turned, arrays("keys", square, square)])
    assert found is not None
    assert found.checkpoint.name == "keys"


@pytest.mark.parametrize(
    "got",
    [np.zeros((2, 4)), np.array([[1.0, 2.0, 3.0, 1.0]] * 2), np.arange(8.0).reshape(4, 2) + 1],
)
def test_hardly_any_numbers_or_other_shapes_are_not_recognised(got) -> None:
    want = EVEN + 9 if got.shape == EVEN.shape else got + 9
    chosen = arrays("values", want, got)
    assert matches_other_tensor(chosen, [arrays("keys", EVEN, EVEN)]) is None


def test_a_divergence_says_whose_numbers_it_holds() -> None:
    keys = item("keys", expected=arrays("keys", EVEN, EVEN).checkpoint.expected, program="1, 0")
    made = first_divergence(STEP, [keys, arrays("values", EVEN + 9, EVEN)])
    assert made.checkpoint.kinds == ("taken",)
    assert made.checkpoint.sentences[0] == "It holds the numbers of `keys`, program (1, 0), call 1."


def test_a_checkpoint_that_was_right_without_a_cache_is_wrong_only_with_one() -> None:
    made = Divergence(1, "decode", Checkpoint("mask", "mask", 0, "differs"))
    assert with_cache_remark(made, {"scores"}) is made
    (pattern,) = with_cache_remark(made, {"mask"}).checkpoint.patterns
    assert pattern.kind == "only_with_cache"


# classes of mistakes


@pytest.mark.parametrize(
    ("compared", "expected"),
    [
        (item("a", "differs", bug_class="by place"), "by place"),
        (item("a", "differs"), None),
        (item("a", "differs", kinds=("dtype",), bug_class="by place"), "dtype & precision"),
        (item("a", "differs", kinds=("shares",)), "aliasing & ownership"),
        (item("a", "differs", kinds=("rows",), stage="cache", bug_class="by place"), "by place"),
        (item("a", "differs", kinds=("rows",), stage="weights"), "batching & padding"),
        (item("a", "differs", kinds=("heads", "nan"), bug_class="by place"), "softmax numerics"),
        (
            item("a", "differs", kinds=("dtype",), bug_class_by_kind={"dtype": "by description"}),
            "by description",
        ),
        (
            item("a", "differs", kinds=("nan", "dtype"), bug_class_by_kind={"dtype": "later"}),
            "softmax numerics",
        ),
    ],
)
def test_place_and_kind_vote_for_a_class(compared, expected) -> None:
    assert bug_class_of(compared) == expected


@pytest.mark.parametrize("kind", ["reordered", "scrambled"])
def test_scores_in_wrong_places_speak_for_the_heads(kind) -> None:
    moved = (Pattern(kind, "any words"),)
    assert bug_class_of(item("scores", "differs", patterns=moved)) == "head split-merge"
    assert bug_class_of(item("weights", "differs", patterns=moved)) is None


def test_words_of_a_sentence_speak_for_nothing() -> None:
    other = (Pattern("ending", "The order of these places is wrong; every value is scaled."),)
    assert bug_class_of(item("scores", "differs", patterns=other, bug_class="mask")) == "mask"

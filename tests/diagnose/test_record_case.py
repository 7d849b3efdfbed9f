"""What the recorder in the worker sends is read like any reply of learner code."""

from __future__ import annotations

import numpy as np
import pytest

from grader.content import load_challenge
from grader.diagnose.checkpoints import load_checkpoints
from grader.diagnose.record_case import calls_of, record_case
from grader.ground.arrays import array
from grader.sandbox import Reply
from tests.diagnose.recordings import described

CHECKPOINTS = described({"method": "split"}, {"method": "Cache.update"})


def read(rows, **tensors):
    return calls_of(Reply(values={"rows": rows}, tensors=tensors), CHECKPOINTS)


def test_rows_of_one_call_are_put_together() -> None:
    numbers = array(np.ones((2, 3)), "float32")
    (made,) = read(
        [
            [7, "split", "result", "", "text", "changed"],
            [7, "split", "result", "0/key", "tensor", "float32 [2, 3]"],
            [7, "split", "result", "1", "shape", "float32 [9000, 9000]"],
            [7, "split", "result", ".self.size", "value", "5"],
        ],
        **{"tensors/7:0|key": numbers},
    )
    assert (made.method, made.kind, made.changed) == ("split", "result", True)
    assert made.parts == {"0/key": numbers, "1": "float32 [9000, 9000]", ".self.size": "5"}


def test_an_exception_and_a_program_are_in_the_first_row() -> None:
    raised, inside = read(
        [
            [1, "split", "raised", "", "text", "ValueError"],
            [2, "split", "enter", "", "text", "program 1, 0"],
        ]
    )
    assert raised.raised == "ValueError"
    assert (inside.program, inside.raised) == ("1, 0", None)


def test_a_tensor_that_was_not_sent_is_its_description() -> None:
    (made,) = read(
        [
            [1, "split", "result", "", "text", ""],
            [1, "split", "result", "", "tensor", "float32 [2]"],
        ]
    )
    assert made.parts == {"": "float32 [2]"}


@pytest.mark.parametrize(
    "row",
    [
        None,
        "row",
        [],
        [1, "split", "result", "", "text"],
        ["1", "split", "result", "", "text", ""],
        [True, "split", "result", "", "text", ""],
        [1, "split", "result", "", "text", 5],
        [1, "split", "verdict", "", "text", "passed"],
        [1, "not_a_checkpoint", "result", "", "text", ""],
    ],
)
def test_rows_of_another_form_are_left_out(row) -> None:
    good = [2, "Cache.update", "result", "", "text", ""]
    assert [made.method for made in read([row, good])] == ["Cache.update"]


@pytest.mark.parametrize("rows", [None, 3, "rows", {"a": 1}])
def test_an_answer_without_rows_is_no_calls(rows) -> None:
    assert read(rows) == []


def test_a_step_in_which_the_process_dies_is_recorded_up_to_its_death(sandbox_for) -> None:
    challenge = load_challenge("multi_head_attention")
    source = challenge.reference_text.replace(
        "    def _merge_heads(",
        "    def _merge_heads(self, x):\n        import os\n        os._exit(0)\n\n    def _spare(",
        1,
    )
    steps, ended = record_case(
        sandbox_for(challenge.id),
        challenge,
        challenge.cases["no-cache"],
        source.encode(),
        load_checkpoints(challenge),
    )
    assert ended is not None
    assert (steps[-1].died, steps[-1].reply) == (True, None)
    returned = [made.method for made in steps[-1].calls if made.kind == "result"]
    assert "_split_heads" in returned
    assert "_merge_heads" not in returned

"""What a trace sees beside wrong numbers: shared memory, padding, the cached part, kernels, a dead process."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from grader.content import load_challenge
from grader.content.catalogue import challenge_ids
from grader.content.planting import plant
from grader.diagnose.checkpoints import (
    RECORDER,
    Checkpoints,
    CheckpointSpec,
    load_checkpoints,
    stage_of,
)
from grader.diagnose.compare_arrays import compare_arrays
from grader.diagnose.compare_outputs import ComparedCheckpoint
from grader.diagnose.first_divergence import with_likeness
from grader.diagnose.pair_checkpoints import pair_checkpoints
from grader.diagnose.patterns import UNUSED, StepContext, places
from grader.diagnose.record_case import RecordedCall, StepRecording
from grader.diagnose.trace_case import trace_case
from grader.diagnose.trace_model import Checkpoint
from grader.ground.arrays import array
from grader.sandbox import Reply, Request

WM, PAGED = "world_model_cache", "paged_cache"


@pytest.fixture(scope="module")
def traced(sandbox_for):
    def run(name: str, source: str, case: str):
        challenge = load_challenge(name)
        return trace_case(sandbox_for(name), challenge, challenge.cases[case], source.encode())

    return run


@pytest.mark.parametrize(
    ("name", "bug", "case", "said"),
    [
        (
            WM,
            "seed-pool-returns-live-reference",
            "two-branches-from-one-root",
            "keeps share an object",
        ),
        (WM, "pool-keeps-callers-object", "two-branches-from-one-root", "its arguments share"),
        (WM, "env-pools-share-one-object", "same-state-in-two-environments", "one object twice"),
        (
            WM,
            "left-padding-not-masked",
            "roots-and-leaves-in-one-batch",
            "Only padded rows are wrong",
        ),
        (WM, "seed-legacy-attrs-left-empty", "a-new-episode", "expected not there"),
        (PAGED, "int32-offset-overflow", "far-apart", "expected int64, got int32"),
        (PAGED, "tail-block-dropped", "two-splits", "goes on to round 2, your file ends after 1"),
        (PAGED, "k-cache-used-as-v", "scattered-pages", "It holds the numbers of `keys of a tile`"),
        ("decode_positions", "generate-keeps-old-context", "generate-after-forward", "`reset`"),
    ],
)
def test_the_first_difference_says_how_and_names_stage_and_family(
    traced, name, bug, case, said
) -> None:
    challenge = load_challenge(name)
    first = traced(name, plant(challenge, [bug]), case).divergence
    assert first is not None
    assert said in " ".join([first.sentence(), *first.point.pattern])
    assert first.stage == stage_of(challenge, load_checkpoints(challenge), bug)
    assert first.by_place == challenge.bugs[bug].family


def test_a_file_that_goes_other_ways_parts_where_its_answers_do(traced) -> None:
    folder = Path(__file__).parents[1] / "correct" / "decode_positions"
    source = (folder / "functional_paged.py").read_text("utf-8")
    assert traced("decode_positions", source, "prompt").divergence is None
    wrong = source.replace("torch.sqrt(", "torch.abs(", 1)
    assert wrong != source
    first = traced("decode_positions", wrong, "prompt").divergence
    assert first is not None
    assert (first.stage, first.point.name) == ("output", "logits")


HOSTILE = """
    def get(self, key):
        class Odd:
            def __getattr__(self, name):
                raise SystemExit(3)
            def __len__(self):
                return -1
        nested = []
        nested.append(nested)
        self.nested = [nested] * 5000
        self.__dict__[1] = self.__dict__
        self.set(nested, Odd(), {"again": nested})
        return Odd()

    def _put_away(self, key):"""


def test_what_an_object_shows_may_be_hostile(traced) -> None:
    challenge = load_challenge(WM)
    text = challenge.reference_text
    start = text.index("class KVCachePool")
    source = text[:start] + text[start:].replace(
        "\n    def get(self, key: Hashable) -> KeysValues | None:", HOSTILE, 1
    )
    made = traced(WM, source, "two-branches-from-one-root")
    assert made.divergence or made.ended


def test_a_document_is_told_in_one_line() -> None:
    challenge = load_challenge("broken_test")
    case = challenge.cases["accepts-the-kernel"]
    made = trace_case(None, challenge, case, challenge.reference_text.encode())  # type: ignore[arg-type]
    assert "no first wrong number" in (made.ended or "")
    assert not made.steps


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([0, 0, 0, 1, 1], "Only after the cache is it wrong: key 3 is the first that is new."),
        (
            [1, 1, 0, 0, 0],
            "Only in the cached part is it wrong: the keys from 3 on, which are new, are right.",
        ),
        ([0, 1, 0, 1, 0], "Only keys 1, 3 are wrong."),
    ],
)
def test_wrong_keys_are_told_by_the_cache(wrong, said) -> None:
    assert places(np.array([wrong, wrong], bool), ("query", "key"), StepContext({}, 3, 5)) == (
        said,
    )


def test_programs_are_paired_by_the_block_they_work_on() -> None:
    points = Checkpoints(
        (
            CheckpointSpec("first", "first", "_bounds", "block", enter=0, block=0),
            CheckpointSpec("scores", "scores", "_scores", "scores"),
        ),
        {},
        {},
    )

    def notes(order) -> StepRecording:
        made = StepRecording(0, Request("run"), Reply())
        for program, first in enumerate(order):
            scores = array(np.full(3, first), "float32")
            made.events += [
                RecordedCall(
                    "_bounds",
                    "enter",
                    program=f"{program}, 0",
                    parts={"0": array(np.array(first), "int32")},
                ),
                RecordedCall("_scores", "result", program=f"{program}, 0", parts={"": scores}),
            ]
        return made

    visits = list(pair_checkpoints(points, notes([0, 16]), notes([16, 0]), ()))
    assert {visit.program for visit in visits} == {"block from 0, 0", "block from 16, 0"}
    for visit in visits:
        assert visit.mine is not None
        assert visit.other is not None
        values = [next(iter(event.parts.values())).values for event in (visit.mine, visit.other)]
        assert np.array_equal(*values)


def test_a_mask_that_shows_unused_slots_is_no_causal_mistake() -> None:
    right = np.tril(np.ones((1, 2, 4), bool), 1)
    shown = right.copy()
    shown[..., 3] = True
    axes = ("batch", "query", "key")
    told = compare_arrays(
        Checkpoint("mask", "mask", 0, "same"),
        array(right, "bool"),
        array(shown, "bool"),
        axes,
        StepContext(),
    )
    assert told.pattern[0] == UNUSED
    assert told.kinds == ("unused",)


def test_numbers_of_another_point_are_recognised_and_constants_are_not() -> None:
    spec = CheckpointSpec("values", "values", "load", "values")
    made = Checkpoint("values", "values", 0, "same")
    keys, values = (np.arange(8.0).reshape(2, 4) + shift for shift in (0, 9))

    def first(got):
        other = compare_arrays(
            made, array(keys, "float64"), array(keys, "float64"), (), StepContext()
        )
        wrong = compare_arrays(
            made, array(values, "float64"), array(got, "float64"), (), StepContext()
        )
        return with_likeness(
            ComparedCheckpoint(wrong, spec), [ComparedCheckpoint(other, spec)]
        ).point.kinds

    assert first(keys) == first(keys.copy()) == ("taken",)
    assert "taken" not in first(np.zeros((2, 4)))


@pytest.mark.parametrize("name", challenge_ids())
def test_the_recorder_hides_no_name_of_a_driver(name) -> None:
    def names(text: bytes) -> set[str]:
        found: set[str] = set()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            if isinstance(node, ast.Assign):
                found |= {part.id for part in node.targets if isinstance(part, ast.Name)}
        return found

    ours = [names(path.read_bytes()) for path in RECORDER]
    assert sum(map(len, ours)) == len(set().union(*ours))
    assert not set().union(*ours) & names(load_challenge(name).driver)

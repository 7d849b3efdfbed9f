"""The document of the step slider: what a level tells, and that it stays small whatever it is made of."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_traces import checkpoint, grid, not_finite, trace, unmasked

from grader.content import Case, load_challenge
from grader.content.entries import TELLING
from grader.diagnose.trace_model import Checkpoint, FactPair, FirstWrongValue, Trace, TracedStep
from grader.judge import grade_source
from grader.judge.error_patterns import Pattern
from grader.judge.focus import choose_focus
from grader.judge.golden import load_golden
from grader.studio.step_document import (
    LIMIT,
    encoded,
    level_of_height,
    numbers_of,
    step_document,
    trace_for_steps,
    window,
)

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e`</style>{{7*7}}\ud800" + "x" * 5000
CASE = Case(
    id="a-case",
    title="Two steps",
    why="",
    kind="scenario",
    seed=1,
    setup={"d_model": 8},
    points=1,
    visibility="public",
    tags=(),
    dtype="float32",
    steps=({"do": "forward", "tokens": 4}, {"do": "forward", "tokens": 2}),
)


def made(found: Trace, level: str, case: Case = CASE, **more: Any) -> dict[str, Any]:
    document = step_document(found, case, level, **more)
    assert len(encoded(document)) <= LIMIT
    return json.loads(encoded(document), parse_constant=pytest.fail)


def with_outputs(found: Trace) -> Trace:
    steps = tuple(
        replace(
            step,
            checkpoints=tuple(
                replace(point, is_output=point.name == "output") for point in step.checkpoints
            ),
        )
        for step in found.steps
    )
    first = found.divergence
    return replace(found, steps=steps, divergence=first)


@pytest.fixture
def wrong() -> Trace:
    return with_outputs(trace(wrong=unmasked))


def names(document: dict[str, Any]) -> set[str]:
    return {point["name"] for step in document["steps"] for point in step["points"]}


def test_a_level_tells_no_more_than_it_should(wrong: Trace) -> None:
    nothing = made(wrong, "verdict")
    assert nothing["steps"] == []
    assert nothing["told"]

    symptom = made(wrong, "symptom")
    assert names(symptom) == {"output"}
    assert symptom["first"]["text"].startswith("step 2 (decode, 2 tokens), `output`, batch 0")
    assert "weights" not in encoded(symptom).decode()
    assert symptom["steps"][1]["asked"] == [["do", "forward"], ["tokens", "2"]]
    assert symptom["steps"][1]["facts"] == []

    place = made(wrong, "place")
    assert names(place) == {"weights", "output"}
    assert "`weights`" in place["first"]["text"]
    assert place["steps"][1]["facts"][0] == {
        "title": "cache length",
        "expected": "6",
        "yours": "2",
    }
    assert "Only after the cache." not in encoded(place).decode()

    pattern = made(wrong, "pattern")
    assert pattern["first"]["said"] == ["Only after the cache."]
    assert "It looks like" not in encoded(pattern).decode()

    known = replace(
        wrong, divergence=replace(wrong.divergence, looks_like="Later tokens are seen.")
    )
    assert made(known, "cause")["first"]["said"][-1].endswith("Later tokens are seen.")
    assert "Later tokens" not in encoded(made(known, "pattern")).decode()


def test_each_level_holds_all_of_the_one_below(wrong: Trace) -> None:
    documents = [made(wrong, level) for level in TELLING]
    for document in documents:
        del document["level"]
    sizes = [len(encoded(document)) for document in documents]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4  # there is no known mistake that the highest level could tell


def test_a_unit_case_is_only_counted_at_the_symptom(wrong: Trace) -> None:
    unit = replace(CASE, kind="unit", id="scores-square", title="Scores are divided by the root")
    counted = made(wrong, "symptom", unit)
    assert counted["steps"] == []
    assert "scores-square" not in json.dumps(counted)
    assert "divided" not in json.dumps(counted)
    place = made(replace(wrong, case=unit.id), "place", unit)
    assert place["steps"]
    assert "scores-square" not in json.dumps(place)
    assert "divided" not in json.dumps(place)
    assert made(wrong, "pattern", unit)["title"] == unit.title


def test_how_a_step_ends_is_told_at_the_symptom() -> None:
    ending = Checkpoint(
        *("ending", "how it ends", 0, "differs"),
        patterns=(Pattern("ending", "It raises ValueError."),),
        is_output=True,
    )
    step = TracedStep(0, "forward", "prefill", (ending,), raised=FactPair(None, "ValueError"))
    document = made(Trace("x", "a-case", (step,), None, "The rest was not run."), "symptom")
    assert document["first"]["text"] == "step 1 (prefill), `how it ends`: It raises ValueError."
    assert document["steps"][0]["raised"] == {"expected": None, "yours": "ValueError"}
    assert document["ended"] == "The rest was not run."


def test_numbers_are_those_of_the_trace(wrong: Trace) -> None:
    point = made(wrong, "place")["steps"][1]["points"][0]
    want = wrong.steps[1].checkpoints[0].expected.values
    got = wrong.steps[1].checkpoints[0].actual.values
    assert np.allclose(np.reshape(point["expected"]["values"], want.shape), want, rtol=1e-5, atol=0)
    assert np.allclose(np.reshape(point["yours"]["values"], got.shape), got, rtol=1e-5, atol=0)
    gap = np.reshape(point["gap"], want.shape)
    assert np.allclose(gap, got - want, rtol=5e-3, atol=2e-4)
    assert (gap[np.isclose(got, want, atol=1e-6)] == 0).all()
    assert point["place"]["index"] == [int(at) for at in np.argwhere(gap != 0)[0]]
    same = made(wrong, "place")["steps"][0]["points"][0]
    assert same["yours"]["values"] == "expected"
    assert same["gap"] is None


def test_a_difference_too_small_for_six_digits_is_still_seen() -> None:
    want = np.full((1, 4), 1.0)
    got = want + np.array([0, 1e-6, 0, 0])
    point = replace(checkpoint("output", want, got, ("row", "column")), is_output=True)
    step = TracedStep(0, "forward", "prefill", (point,))
    found = made(Trace("x", "a-case", (step,)), "symptom")["steps"][0]["points"][0]
    assert found["gap"] == [0, 1e-06, 0, 0]


def test_numbers_that_json_does_not_have() -> None:
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-30, 1.5, 3e38, 123456.7])
    assert numbers_of(values, 6) == ["NaN", "Infinity", "-Infinity", 0, 1e-30, 1.5, 3e38, 123457]
    assert numbers_of(np.array([True, False]), 6) == [1, 0]
    assert numbers_of(np.array([2**53, 2**63 - 1]), 6) == [2**53, str(2**63 - 1)]
    assert numbers_of(np.zeros((0, 4)), 6) == []
    document = made(with_outputs(trace(wrong=not_finite)), "pattern")
    assert "NaN" in document["steps"][1]["points"][0]["yours"]["values"]
    assert "NaN" in document["steps"][1]["points"][0]["gap"]


@pytest.mark.parametrize(
    ("want", "got"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.zeros((2, 3)), np.zeros((2, 4))),
        (np.zeros(()), np.ones(())),
        (np.zeros(5), np.ones(5)),
        (np.zeros((1, 2, 1, 2, 1, 2)), np.ones((1, 2, 1, 2, 1, 2))),
        (np.array([1, 2]), np.array([1, 2**62])),
        (np.array([True]), np.array([False])),
    ],
    ids=lambda values: "x".join(map(str, values.shape)) + str(values.dtype),
)
def test_arrays_of_any_shape(want: np.ndarray, got: np.ndarray) -> None:
    point = Checkpoint("a", "a", 0, "differs", grid(want), grid(got), is_output=True)
    document = made(Trace("x", "a-case", (TracedStep(0, "f", "f", (point,)),)), "symptom")
    (found,) = document["steps"][0]["points"]
    assert found["expected"]["shape"] == list(want.shape)
    assert len(found["yours"]["values"]) in (got.size, len("expected"))
    assert (found["gap"] is None) == (want.shape != got.shape)


def test_a_part_of_a_large_array_holds_the_first_difference() -> None:
    want = np.random.default_rng(0).normal(size=(4, 300, 300))
    got = want.copy()
    got[2, 250, 17] += 1
    point = replace(
        checkpoint("cache", want, got, ("batch", "slot", "feature")),
        place=FirstWrongValue((2, 250, 17), ("batch", "slot", "feature"), "0", "1"),
        is_output=True,
    )
    document = made(Trace("x", "a-case", (TracedStep(0, "f", "f", (point,)),)), "symptom")
    (found,) = document["steps"][0]["points"]
    at, size = found["expected"]["at"], found["expected"]["size"]
    assert all(start <= i < start + n for start, n, i in zip(at, size, (2, 250, 17), strict=True))
    kept = np.reshape(found["expected"]["values"], size)
    rows = tuple(slice(start, start + n) for start, n in zip(at, size, strict=True))
    assert np.allclose(kept, want[rows], rtol=1e-5)
    assert sum(value != 0 for value in found["gap"]) == 1
    assert document["cut"] == [
        "Of 2 arrays with more than 4096 numbers a part around the first difference is kept."
    ]


@pytest.mark.parametrize("most", [0, 1, 7, 64])
@pytest.mark.parametrize("shape", [(), (5,), (3, 0, 9), (2, 100, 4), (1, 1, 1000)])
def test_a_window_is_no_larger_than_asked(shape: tuple[int, ...], most: int) -> None:
    part = window(shape, tuple(size - 1 for size in shape), most)
    count = int(np.prod([len(axis) for axis in part]))
    assert count <= max(most, 1 if shape == () else 0)
    assert all(0 <= axis.start <= axis.stop <= size for axis, size in zip(part, shape, strict=True))


def test_thousands_of_steps_with_large_arrays_and_long_texts() -> None:
    large = grid(np.random.default_rng(1).normal(size=(128, 128)))
    said = (Pattern("a", HOSTILE),) * 9
    axes = ("query", "key")
    wide = Checkpoint(HOSTILE, HOSTILE, 0, "same", large, large, axes=axes, program=HOSTILE)
    spoiled = replace(wide, status="differs", patterns=said, is_output=True)
    steps = tuple(
        TracedStep(at, "forward", HOSTILE, (*[wide] * 30, spoiled if at >= 2000 else wide))
        for at in range(3000)
    )
    case = replace(CASE, steps=({"do": "forward", HOSTILE: [HOSTILE] * 50},) * 3000)
    document = made(Trace("x", "a-case", steps, None, HOSTILE), "symptom", case)
    pinned = document["steps"][document["first"]["step"]]
    assert pinned["number"] == 2001
    assert pinned["points"][document["first"]["point"]]["status"] == "differs"
    assert any("steps are left out" in text for text in document["cut"])

    inner = made(Trace("x", "a-case", steps), "pattern", case)
    assert len(inner["steps"]) > 40
    assert any("checkpoints" in text for text in inner["cut"])


def test_hostile_text_is_one_harmless_line() -> None:
    point = Checkpoint(
        *(HOSTILE, HOSTILE, 0, "differs"),
        place=FirstWrongValue((), (), HOSTILE, HOSTILE),
        program=HOSTILE,
        is_output=True,
    )
    step = TracedStep(0, HOSTILE, HOSTILE, (point,), raised=FactPair(None, HOSTILE))
    case = replace(CASE, title=HOSTILE, steps=({"do": HOSTILE, HOSTILE: {"a": HOSTILE}},))
    text = encoded(step_document(Trace("x", "a-case", (step,), None, HOSTILE), case, "cause"))
    for character in ("\x1b", "\u202e", "\ud800"):
        assert character.encode("utf-8", "surrogatepass") not in text
    assert len(text) < 20_000


def test_the_ladder_of_help_raises_the_level() -> None:
    challenge = load_challenge("multi_head_attention")
    assert [level_of_height(challenge, "symptom", height) for height in range(7)] == [
        *("symptom", "place", "pattern"),
        *["pattern"] * 4,
    ]
    assert level_of_height(challenge, "cause", 0) == "cause"
    assert level_of_height(replace(challenge, tell="place"), "cause", 6) == "place"


@pytest.mark.parametrize(
    "name", ["multi_head_attention", "conversation_prefix", "triton_decode", "broken_test"]
)
def test_a_challenge_that_is_failed(sandbox_for: Any, name: str) -> None:
    challenge = load_challenge(name)
    sandbox, source = sandbox_for(name), challenge.starter.read_bytes()
    result = grade_source(challenge, source, sandbox=sandbox)
    focus, golden = choose_focus(challenge, result), load_golden(challenge)
    assert focus.case is not None
    case = challenge.cases[focus.case]
    shown = {}
    for level in ("symptom", "pattern"):
        found = trace_for_steps(sandbox, challenge, golden, source, focus, case.id, level)
        shown[level] = made(found, level, case, alone=focus.state == "present")
    if name == "broken_test":
        assert "computes nothing" in shown["symptom"]["ended"]
        return
    assert shown["symptom"]["first"] is not None
    assert all(point["output"] for step in shown["symptom"]["steps"] for point in step["points"])
    assert any(
        not point["output"] for step in shown["pattern"]["steps"] for point in step["points"]
    )
    first = shown["pattern"]["first"]
    point = shown["pattern"]["steps"][first["step"]]["points"][first["point"]]
    assert point["status"] != "same"


def test_at_the_symptom_the_numbers_are_those_that_the_grading_told(sandbox_for: Any) -> None:
    challenge = load_challenge("multi_head_attention")
    sandbox, source = sandbox_for(challenge.id), challenge.starter.read_bytes()
    result = grade_source(challenge, source, sandbox=sandbox)
    focus = choose_focus(challenge, result)
    assert focus.scenario is not None
    cause = next(case.cause for case in result.cases if case.id == focus.scenario)
    assert cause is not None
    assert cause.where is not None
    found = trace_for_steps(sandbox, challenge, None, source, focus, focus.scenario, "symptom")
    document = made(found, "symptom", challenge.cases[focus.scenario])
    first = document["first"]
    point = document["steps"][first["step"]]["points"][first["point"]]
    assert point["name"] == cause.where.output
    assert tuple(point["place"]["index"]) == cause.where.index
    assert document["steps"][first["step"]]["number"] == cause.where.step + 1
    assert cause.actual is not None
    assert cause.actual.startswith(f"[{point['place']['yours']}")

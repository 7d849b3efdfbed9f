"""A request is made once for many files only where no answer of theirs can change it."""

from __future__ import annotations

import numpy as np

from grader.arrays import Array
from grader.content import load_challenge
from grader.judge.script import CREATE, Script
from grader.sandbox import Reply, schema

CHALLENGE = load_challenge("multi_head_attention")
CASE = next(
    case
    for case in CHALLENGE.cases.values()
    if any((step.get("cache") or {}).get("of") for step in case.steps)
)


def requests(shift: float, seed: int | None = None) -> tuple[list[bytes], str]:
    """Return all frames of a case for a file that answers every forward with `shift`."""
    script, frames = Script(CHALLENGE, CASE, seed=seed), []
    for index in script.indices:
        request = script.request(index)
        frames.append(schema.pack_request(request, 0))
        tokens = request.tensors["query"].shape if "query" in request.tensors else (1, 1, 1)
        filled = Array("float32", np.full(tokens, shift, np.float32))
        script.answered(index, Reply(tensors={"cache/key": filled, "cache/value": filled}))
    return frames, script.fingerprint


def test_only_what_looks_at_an_answer_is_made_anew() -> None:
    (first, mark), (second, again), (third, _) = requests(1.0), requests(2.0), requests(1.0)
    assert mark == again
    assert first == third
    uses = [(CASE.steps[i].get("cache") or {}).get("of") for i in range(len(CASE.steps))]
    changed = [a != b for a, b in zip(first, second, strict=True)]
    assert changed == [False, *(name is not None for name in uses)]


def test_another_seed_gives_other_requests() -> None:
    (first, mark), (second, other) = requests(1.0), requests(1.0, seed=CASE.seed + 1)
    assert mark != other
    assert first[0] != second[0]


def test_the_fingerprint_of_a_run_that_stopped_early_is_not_that_of_a_whole_one() -> None:
    seed = CASE.seed + 2
    script = Script(CHALLENGE, CASE, seed=seed)
    script.request(CREATE)
    part = script.fingerprint
    _, whole = requests(1.0, seed)
    assert part != whole
    assert requests(1.0, seed)[1] == whole


def test_two_drivers_plans_are_remembered_only_where_they_say_so() -> None:
    for name in ("world_model_cache", "static_cache"):
        challenge = load_challenge(name)
        case = next(iter(challenge.cases.values()))
        made = [Script(challenge, case).request(CREATE) for _ in range(2)]
        assert made[0] is not made[1]

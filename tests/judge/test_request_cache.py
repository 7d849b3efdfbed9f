"""A request is made once for many files only where no answer of theirs can change it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grader.content import Case, Challenge, load_challenge
from grader.ground.arrays import Array, array
from grader.judge.golden import load_golden
from grader.judge.request_cache import Answers
from grader.judge.script import CREATE, Script
from grader.sandbox import Earlier, Reply
from grader.sandbox.protocol import codec

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
        frames.append(codec.pack_request(request, 0))
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


def test_the_fingerprint_is_that_of_a_script_that_remembers_nothing() -> None:
    followed = Script(CHALLENGE, CASE, saved={})
    for index in followed.indices:
        request = followed.request(index)
        numbers = request.tensors.get("query") or array([[[0.0]]], "float32")
        answer = Reply(tensors={"cache/key": numbers, "cache/value": numbers})
        followed.answered(index, answer)
    assert followed.fingerprint == requests(1.0)[1]


def test_what_is_sent_on_is_named_before_it_is_answered() -> None:
    settled = list(Script(CHALLENGE, CASE).leading())
    assert len(settled) == len(CASE.steps) + 1
    for step, request in zip(CASE.steps, settled[1:], strict=True):
        wanted = step.get("cache") or {}
        named = {
            f"cache/{part}": Earlier(
                wanted.get("of"),
                f"cache/{part}",
                "float32",
                ((None, None), (None, wanted["keep"])) if "keep" in wanted else (),
            )
            for part in ("key", "value")
        }
        assert request.earlier == (named if "of" in wanted else {})
        assert not request.tensors.keys() & named.keys()


UNSETTLED = [
    "len(saved)",
    "'a' in saved",
    "list(saved)",
    "bool(saved['a'])",
    "saved['a']['x'].values + 1",
    "1 - saved['a']['x'].values",
    "numpy.ones(3) * saved['a']['x'].values",
    "numpy.concatenate([saved['a']['x'].values, numpy.ones(3)])",
    "numpy.asarray(saved['a']['x'].values)",
    "numpy.asarray([saved['a']['x'].values])",
    "saved['a']['x'].values[0]",
    "saved['a']['x'].values[::2]",
    "saved['a']['x'].values[:2][:1]",
    "saved['a']['x'].values.shape",
    "saved['a']['x'].values == 1",
    "saved['a']['x'][:2]",
    "saved['a'].values()",
    "saved.get('a')",
    "max(saved['a']['x'].values, 1)",
    "hash(saved['a']['x'].values)",
]


@pytest.mark.parametrize("expression", UNSETTLED)
def test_nothing_can_be_learnt_of_an_answer_that_is_not_there(expression: str) -> None:
    with pytest.raises((TypeError, AttributeError, ValueError)):
        eval(expression, {"saved": Answers(), "numpy": np})


@pytest.mark.parametrize(
    ("expression", "bounds"),
    [
        ("", ()),
        ("[:, :3]", ((None, None), (None, 3))),
        ("[1:]", ((1, None),)),
        ("[-2:-1]", ((-2, -1),)),
    ],
)
def test_a_tensor_of_an_answer_and_its_parts_have_a_name(expression: str, bounds: object) -> None:
    part = eval(f"saved['a']['cache']['key'].values{expression}", {"saved": Answers()})
    assert part.earlier("float16") == Earlier("a", "cache/key", "float16", bounds)


def test_a_request_that_depends_on_no_answer_is_made_once() -> None:
    challenge = load_challenge("static_cache")
    case = challenge.cases["chunks-3-3-2"]
    one, other = Script(challenge, case), Script(challenge, case)
    assert [one.request(step) is other.request(step) for step in (CREATE, 0)] == [True, True]
    for script in (one, other):
        cache = {"key": array(np.zeros((3, 4, 40, 5)), "float32")}
        cache |= {"value": cache["key"], "seq_lens": array(np.array([3, 3, 3]), "int32")}
        script.answered(0, Reply(tensors={f"cache/{name}": x for name, x in cache.items()}))
    assert one.request(1) is not other.request(1)


def fingerprint(challenge: Challenge, case: Case, *, cached: bool = True) -> str:
    """What a run says its inputs were; each step is answered with what the golden says, which is not the point."""
    script = Script(challenge, case, saved=None if cached else {})
    golden = load_golden(challenge).cases[case.id]
    for index, step in zip(script.indices, golden.steps, strict=True):
        script.request(index)
        script.answered(index, Reply(dict(step.values), dict(step.tensors)))
    return script.fingerprint


@pytest.mark.parametrize("name", ["static_cache", "decode_positions", "multi_head_attention"])
def test_cached_requests_give_the_fingerprint_of_fresh_ones(name: str) -> None:
    challenge = load_challenge(name)
    golden = load_golden(challenge)
    for case in list(challenge.cases.values())[::5]:
        mark = fingerprint(challenge, case)
        assert mark == golden.cases[case.id].fingerprint
        assert mark == fingerprint(challenge, case, cached=False)
        assert mark == fingerprint(challenge, case), "the second time from the cache"


def test_a_fingerprint_is_about_cached_steps_too() -> None:
    """Of four requests two are made anew for each file, and what the other two draw counts all the same."""
    challenge = load_challenge("static_cache")
    case = challenge.cases["chunks-3-3-2"]
    first, *rest = case.steps
    changed = replace(case, steps=({**first, "spread": 2.0}, *rest))
    marks = {
        fingerprint(challenge, item, cached=c) for item in (case, changed) for c in (True, False)
    }
    assert len(marks) == 2


def test_a_fingerprint_is_about_what_only_the_creation_draws() -> None:
    challenge = load_challenge("decode_positions")
    case = challenge.cases["chunks-3-3-2"]
    louder = replace(case, setup={**case.setup, "embedding_scale": 2})
    marks = [
        fingerprint(challenge, item, cached=c) for item in (case, louder) for c in (True, False)
    ]
    assert marks[0] == marks[1] != marks[2] == marks[3]

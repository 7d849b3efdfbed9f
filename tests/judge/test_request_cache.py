"""A request is made once for many files only where no answer of theirs can change it."""

from __future__ import annotations

import numpy as np
import pytest

from grader.content import load_challenge
from grader.ground.arrays import Array, array
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
                ((None, None), (None, wanted.get("keep"))),
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


def test_requests_are_kept_for_drivers_of_the_kit() -> None:
    challenge = load_challenge("static_cache")
    case = next(iter(challenge.cases.values()))
    one, other = (Script(challenge, case).request(CREATE) for _ in range(2))
    assert one is other

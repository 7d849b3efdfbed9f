"""Field report 002 in small: with the planted position bug the decoder repeats one token for ever.

Run just this file: pytest tests/reference/test_report_002.py
"""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch

from grader.content import load_challenge
from grader.content.planting import plant
from grader.judge.script import Script

CHALLENGE = load_challenge("decode_positions")
CASE = CHALLENGE.cases["one-token-for-ever"]
STUCK = "seed-position-counter-always-zero"
LIVE_VIEW = "trace-position-is-a-live-view"
DECOYS = ("decoy-qwen2-huge-bias", "decoy-position-read-before-increment")


def decoder(*planted: str) -> Any:
    """A decoder of the case's sizes and weights, with entries planted."""
    module = types.ModuleType("planted_decoder")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(plant(CHALLENGE, planted), "planted.py", "exec"), module.__dict__)
    request = Script(CHALLENGE, CASE).request(-1)
    config = {
        name.removeprefix("config/"): value
        for name, value in request.args.items()
        if name.startswith("config/")
    }
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(item.values.copy())
        for name, item in request.tensors.items()
    }
    return module.Decoder(module.DecoderConfig(**config), weights)


@pytest.fixture
def prompt() -> torch.Tensor:
    return torch.from_numpy(Script(CHALLENGE, CASE).request(0).tensors["prompt"].values.copy())


def one_by_one(model: Any, ids: torch.Tensor) -> list[tuple[int, int]]:
    """Feed single tokens, as the report does; return its log of positions and numbers of scores."""
    for token in ids.split(1, dim=1):
        model.forward(token)
    return [(int(step["position"][0]), int(step["scores"][0, 0])) for step in model.trace]


def test_one_token_for_ever(prompt: torch.Tensor) -> None:
    """Within three tokens the planted decoder is stuck on one; the reference is not."""
    stuck, right = (decoder(*ids).generate(prompt, 32)[0].tolist() for ids in ((STUCK,), ()))
    assert len(set(stuck[2:])) == 1
    assert len(set(right)) >= 12


def test_the_log_of_the_report(prompt: torch.Tensor) -> None:
    """Position 0 and one score at every step, where 0, 1, 2, ... and 1, 2, 3, ... are right."""
    assert one_by_one(decoder(STUCK), prompt) == [(0, 1)] * 6
    assert one_by_one(decoder(), prompt) == [(n, n + 1) for n in range(6)]


def test_the_weights_sum_to_one_in_both(prompt: torch.Tensor) -> None:
    """The sum of the attention weights, which the report checks too, says nothing about the history."""
    for model in (decoder(STUCK), decoder()):
        one_by_one(model, prompt)
        for step in model.trace:
            torch.testing.assert_close(step["weight_sum"], torch.ones(2, 1))


def test_the_next_token_follows_from_the_current_one_alone(prompt: torch.Tensor) -> None:
    """The cause of the loop: what was fed before has no influence."""
    stuck, right = decoder(STUCK), decoder()
    alone, late = (stuck.forward(prompt[:, -1:]), stuck.forward(prompt[:, -1:]))
    assert torch.equal(alone, late)
    right.forward(prompt[:, :-1])
    assert (right.forward(prompt[:, -1:]) - alone).abs().max() > 0.1


def test_the_wrong_guesses_change_nothing(prompt: torch.Tensor) -> None:
    """Reading before the increment, and large biases, are right as they are."""
    assert torch.equal(decoder(*DECOYS).generate(prompt, 32), decoder().generate(prompt, 32))


def test_a_log_can_accuse_innocent_code(prompt: torch.Tensor) -> None:
    """A trace that keeps the counter itself shows one position at every step, though all logits are right."""
    model, right = decoder(LIVE_VIEW), decoder()
    assert torch.equal(model.forward(prompt), right.forward(prompt))
    model.reset()
    assert {position for position, _ in one_by_one(model, prompt)} == {6}

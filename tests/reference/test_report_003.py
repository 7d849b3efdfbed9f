"""Field report 003 in small: the planted template bug puts a second system prompt into the sequence.

Run just this file: pytest tests/reference/test_report_003.py
"""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch

from grader.content import load_challenge
from grader.content.bug_detection import bug_status
from grader.content.planting import plant

CHALLENGE = load_challenge("conversation_prefix")
TEMPLATE = (CHALLENGE.folder / "chat_template.jinja").read_text("utf-8")
SYSTEM = "Answer with one name and nothing else."
DEFAULT = "You are a helpful assistant."
BUG = "seed-default-system-prompt-injected"
HYPOTHESES = ("decoy-cache-not-cleared-hypothesis", "decoy-position-ids-hypothesis")


def with_planted(*ids: str) -> Any:
    module = types.ModuleType("planted")
    exec(compile(plant(CHALLENGE, ids), "planted.py", "exec"), module.__dict__)
    return module


def pruned_chat(module: Any) -> Any:
    """A conversation of three turns that ran, then kept its newest turn only."""
    draw = torch.Generator().manual_seed(3)
    weights = {name: torch.randn(2, 16, 16, generator=draw) / 3 for name in "qkvo"}
    weights |= {name: torch.randn(276, 16, generator=draw) for name in ("embed", "head")}
    chat = module.Conversation(module.Decoder(weights, num_heads=2), TEMPLATE, SYSTEM)
    for question, answer in (("A river?", "Rhine"), ("A lake?", "Como")):
        chat.say("user", question)
        chat.logits()
        chat.say("assistant", answer)
    chat.say("user", "A sea?")
    chat.logits()
    chat.prune(1)
    return chat


def text_of(module: Any, chat: Any) -> str:
    """The prompt in words, read back from its ids."""
    names = {number: piece for piece, number in module.Tokenizer().ids.items()}
    parts = [bytes([i]) if i < 256 else names[i].encode() for i in chat.prompt_ids().tolist()]
    return b"".join(parts).decode()


def test_the_planted_bug_yields_two_system_prompts() -> None:
    module = with_planted(BUG)
    text = text_of(module, pruned_chat(module))
    assert text.count("<|im_start|>system\n") == 2
    assert text.index(SYSTEM) < text.index(DEFAULT) < text.index("A sea?")


@pytest.mark.parametrize("ids", [(), *[(name,) for name in HYPOTHESES], HYPOTHESES], ids=str)
def test_the_right_file_has_one_whatever_the_wrong_guesses_say(ids: tuple[str, ...]) -> None:
    module = with_planted(*ids)
    text = text_of(module, pruned_chat(module))
    assert text.count("<|im_start|>system\n") == 1
    assert SYSTEM in text
    assert DEFAULT not in text


def test_both_wrong_guesses_of_the_report_leave_the_answer_as_it_is() -> None:
    right, guessed = pruned_chat(with_planted()), pruned_chat(with_planted(*HYPOTHESES))
    assert guessed.position_ids().tolist() == right.position_ids().tolist()
    torch.testing.assert_close(guessed.logits(), right.logits())


def test_with_the_bug_cache_and_positions_look_innocent() -> None:
    """Positions are contiguous and the logits are those of an uncached run: of the wrong prompt."""
    module = with_planted(BUG)
    chat = pruned_chat(module)
    ids = chat.prompt_ids().tolist()
    assert chat.position_ids().tolist() == list(range(len(ids)))
    fresh = chat._model(ids, chat._model.new_cache())
    torch.testing.assert_close(chat.logits(), fresh, rtol=1e-4, atol=1e-4)
    assert (chat.logits() - pruned_chat(with_planted()).logits()).abs().max() > 0.1


def test_the_grader_tells_the_bug_from_the_file_alone() -> None:
    assert present(CHALLENGE.reference_text) == []
    assert present(plant(CHALLENGE, [BUG, *HYPOTHESES])) == [BUG]


def present(source: str) -> list[str]:
    return [name for name, state in bug_status(CHALLENGE, source).items() if state == "present"]

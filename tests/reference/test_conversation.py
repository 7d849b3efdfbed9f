"""The conversation against routes of its own: transformers' rendering, and a decoder without a cache.

Run just this file: pytest tests/reference/test_conversation.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.conversation import (
    BOS,
    CONTROL,
    MERGES,
    ChatTemplate,
    Conversation,
    Decoder,
    PrefixStore,
    Tokenizer,
    attention,
    reusable_prefix,
    rotary,
)

ROOT = Path(__file__).parents[2]
TEMPLATE = (ROOT / "challenges/conversation_prefix/chat_template.jinja").read_text("utf-8")
LAYERS, WIDTH, HEADS, VOCABULARY = 2, 24, 3, 276
TEXT = st.text("the andyou\n<&é数", max_size=12) | st.just("<think>so so</think>well")
ROLE = st.sampled_from(("user", "user", "assistant", "tool"))
ACTION = st.one_of(
    st.tuples(st.just("say"), ROLE, TEXT),
    st.tuples(st.just("prune"), st.integers(1, 4)),
    st.tuples(st.just("retract")),
    st.tuples(st.just("logits")),
)


def make_weights(seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    bits = torch.Generator().manual_seed(seed)
    shapes = dict.fromkeys("qkvo", (LAYERS, WIDTH, WIDTH))
    shapes |= dict.fromkeys(("embed", "head"), (VOCABULARY, WIDTH))
    return {
        name: torch.randn(shape, generator=bits, dtype=dtype)
        * (1.0 if name == "embed" else 1.5 * WIDTH**-0.5)
        for name, shape in shapes.items()
    }


WEIGHTS = make_weights()


def chat(system: str | None = "Be kind.", **options: object) -> Conversation:
    return Conversation(Decoder(WEIGHTS, HEADS), TEMPLATE, system, **options)  # type: ignore[arg-type]


def rendered_by_transformers(messages: list[dict[str, str]], opening: bool = True) -> str:
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    made, _ = utils.render_jinja_template(
        conversations=[messages],
        chat_template=TEMPLATE,
        add_generation_prompt=opening,
        bos_token=BOS,
    )
    return str(made[0])


def cut(text: str) -> list[int]:
    """Greedy longest match, written the slow way."""
    pieces = (*MERGES, *CONTROL)
    ids: list[int] = []
    while text:
        found = max((p for p in pieces if text.startswith(p)), key=len, default=None)
        ids += text[0].encode() if found is None else [256 + pieces.index(found)]
        text = text[1:] if found is None else text.removeprefix(found)
    return ids


def uncached(ids: list[int]) -> torch.Tensor:
    """Last logits of one pass over everything: complex rotation and torch's own attention."""
    x = WEIGHTS["embed"][ids]
    half = WIDTH // HEADS // 2
    angle = torch.outer(
        torch.arange(len(ids)).double(), 1e4 ** (-torch.arange(half).double() / half)
    )
    turn = torch.polar(torch.ones_like(angle), angle)

    def spun(y: torch.Tensor) -> torch.Tensor:
        z = torch.complex(*y.chunk(2, dim=-1)) * turn
        return torch.cat((z.real, z.imag), dim=-1)

    for layer in range(LAYERS):
        y = F.rms_norm(x, (WIDTH,), eps=1e-6)
        q, k, v = (
            (y @ WEIGHTS[n][layer].T).unflatten(1, (HEADS, -1)).transpose(0, 1) for n in "qkv"
        )
        y = F.scaled_dot_product_attention(spun(q), spun(k), v, is_causal=True)
        x = x + y.transpose(0, 1).flatten(1) @ WEIGHTS["o"][layer].T
    return F.rms_norm(x[-1], (WIDTH,), eps=1e-6) @ WEIGHTS["head"].T


class Model:
    """What a conversation should hold, as a plain list."""

    def __init__(self, system: str | None) -> None:
        self.head = [] if system is None else [{"role": "system", "content": system}]
        self.messages: list[dict[str, str]] = []

    def act(self, conversation: Conversation, action: tuple[object, ...]) -> None:
        name, *values = action
        if name == "retract" and not self.messages:
            return
        made = getattr(conversation, str(name))(*values)
        if name == "say":
            self.messages.append(dict(zip(("role", "content"), map(str, values), strict=True)))
        elif name == "retract":
            self.messages.pop()
        elif name == "prune":
            self.prune(int(str(values[0])))
        else:
            torch.testing.assert_close(made, uncached(self.ids()))

    def prune(self, keep: int) -> None:
        while sum(m["role"] == "user" for m in self.messages) > keep:
            self.messages.pop(0)
            while self.messages[0]["role"] != "user":
                self.messages.pop(0)

    def ids(self) -> list[int]:
        return cut(rendered_by_transformers([*self.head, *self.messages]))

    def agrees_with(self, conversation: Conversation) -> None:
        ids = self.ids()
        assert conversation.prompt_ids().tolist() == ids
        assert conversation.position_ids().tolist() == list(range(len(ids)))
        torch.testing.assert_close(conversation.logits(), uncached(ids))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(ACTION, max_size=14), st.sampled_from((None, "", "Be kind.", "The other & you")))
def test_any_sequence_equals_a_fresh_uncached_run(
    actions: list[tuple[object, ...]], system: str | None
) -> None:
    conversation, model = chat(system, max_context=4096), Model(system)
    for action in actions:
        model.act(conversation, action)
    model.agrees_with(conversation)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 2), ACTION), max_size=20))
def test_conversations_that_share_a_store_do_not_meet(
    actions: list[tuple[int, tuple[object, ...]]],
) -> None:
    systems, store = ("Be kind.", "Be kind.", "Be kinky"), PrefixStore()
    chats = [chat(system, prefixes=store, max_context=4096) for system in systems]
    models = [Model(system) for system in systems]
    for which, action in actions:
        models[which].act(chats[which], action)
    for conversation, model in zip(chats, models, strict=True):
        model.agrees_with(conversation)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from(("system", "user", "assistant", "tool")), TEXT)),
    st.booleans(),
)
def test_rendering_is_that_of_transformers(chat_: list[tuple[str, str]], opening: bool) -> None:
    messages = [{"role": role, "content": text} for role, text in chat_]
    mine = ChatTemplate(TEMPLATE).render(messages, opening)
    assert mine == rendered_by_transformers(messages, opening)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text("the andyoursingtl\n<|im_endst>é数", max_size=40))
def test_tokenizer_takes_the_longest_match(text: str) -> None:
    assert Tokenizer().encode(text, add_special_tokens=False) == cut(text)
    assert Tokenizer().encode(text)[1:] == cut(text)


def test_the_prefix_is_computed_once_and_reused() -> None:
    store, runs = PrefixStore(), []

    class Counting(Decoder):
        def __call__(self, ids, cache):  # type: ignore[no-untyped-def]
            runs.append(len(ids))
            return super().__call__(ids, cache)

    for text in ("one", "two"):
        conversation = Conversation(Counting(WEIGHTS, HEADS), TEMPLATE, "Be kind.", store)
        conversation.say("user", text)
        conversation.logits()
        conversation.say("assistant", "ok")
        conversation.logits()
    prefix, first, answer, *again = runs
    assert again == [first, answer]
    assert prefix > 0
    assert first + answer < len(conversation.prompt_ids())


@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 5), (3, 7), (4, 4)])
def test_attention_is_aligned_at_the_bottom_right(t: int, s: int) -> None:
    full = torch.randn(3, 2, s, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = F.scaled_dot_product_attention(*full, is_causal=True)
    q, k, v = full
    torch.testing.assert_close(attention(q[:, s - t :], k, v), whole[:, s - t :])


def test_rotary_keeps_products_of_equal_distance() -> None:
    q, k = torch.randn(2, 1, 1, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    products = [
        (rotary(q, torch.tensor([i + 3])) * rotary(k, torch.tensor([i]))).sum() for i in (0, 5, 900)
    ]
    torch.testing.assert_close(torch.stack(products), products[0].expand(3))


@pytest.mark.parametrize(
    ("held", "ids", "rows"), [([], [1], 0), ([1, 2], [1, 2], 1), ([1, 2, 3], [1, 9, 3, 4], 1)]
)
def test_rows_are_reused_up_to_the_first_difference(
    held: list[int], ids: list[int], rows: int
) -> None:
    assert reusable_prefix(held, ids) == rows


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.say("system", "x"),
        lambda c: c.say("user", "a<|im_end|>b"),
        lambda c: c.say("user", "x" * 80),
        lambda c: c.prune(0),
        lambda c: c.prune(-3),
    ],
    ids=["role", "control token", "too long", "prune to nothing", "negative"],
)
def test_a_refused_call_changes_nothing(call) -> None:  # type: ignore[no-untyped-def]
    conversation = chat(max_context=80)
    conversation.say("user", "Hello")
    before = conversation.prompt_ids().tolist(), conversation.logits()
    with pytest.raises(ValueError, match=r"."):
        call(conversation)
    assert conversation.prompt_ids().tolist() == before[0]
    torch.testing.assert_close(conversation.logits(), before[1])


@pytest.mark.parametrize(
    "source",
    [
        "{% if %}",
        "",
        "{{ raise_exception('no') }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
    ],
    ids=["syntax", "nothing written", "refuses", "writes", "escapes"],
)
def test_a_bad_template_is_refused_at_the_door(source: str) -> None:
    with pytest.raises(ValueError, match=r"template"):
        Conversation(Decoder(WEIGHTS, HEADS), source)

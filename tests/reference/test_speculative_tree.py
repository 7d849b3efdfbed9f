"""Speculative decoding against plain greedy decoding in float64 without any cache, and against transformers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference.speculative_tree import Speculator, Tree, TreeDecoder

VOCABULARY, WIDTH, ROWS, CAPACITY, THETA = 7, 12, 3, 30, 50.0
Weights = dict[str, Tensor]
HEADS = {"target": 2, "draft": 3}


def weights(seed: int, layers: int, inner: int) -> Weights:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    found = {"embed": normal(VOCABULARY, WIDTH), "head": normal(VOCABULARY, WIDTH)}
    for layer in range(layers):
        for name in "qkv":
            found[f"{layer}.{name}"] = normal(inner, WIDTH) / 2
        found[f"{layer}.o"] = normal(WIDTH, inner) / 2
    return found


TARGET, DRAFT = weights(0, 2, 8), weights(1, 1, 12)


def plain(model: Weights, heads: int, text: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of every token of a text, and keys and values [L, H, T, D]: number after number, without a cache."""
    x = model["embed"][text]
    caches: tuple[list[Tensor], list[Tensor]] = [], []
    for layer in range((len(model) - 2) // 4):
        q, k, v = (x @ model[f"{layer}.{name}"].T for name in "qkv")
        dim, added = q.shape[1] // heads, torch.zeros_like(q)
        for head in range(heads):
            part = slice(head * dim, (head + 1) * dim)
            for y in (q, k):
                for t in range(len(text)):
                    turned = y[t, part].clone()
                    for i in range(dim // 2):
                        angle = t * THETA ** (-2 * i / dim)
                        pair = torch.complex(turned[i], turned[i + dim // 2])
                        pair = pair * complex(math.cos(angle), math.sin(angle))
                        y[t, head * dim + i], y[t, head * dim + i + dim // 2] = pair.real, pair.imag
            for t in range(len(text)):
                scores = k[: t + 1, part] @ q[t, part] / math.sqrt(dim)
                added[t, part] = scores.softmax(0) @ v[: t + 1, part]
        for cache, y in zip(caches, (k, v), strict=True):
            cache.append(y.reshape(len(text), heads, dim).transpose(0, 1))
        x = x + added @ model[f"{layer}.o"].T
    return x @ model["head"].T, torch.stack(caches[0]), torch.stack(caches[1])


def decoder(model: Weights, heads: int) -> TreeDecoder:
    return TreeDecoder(model, rows=ROWS, capacity=CAPACITY, heads=heads, theta=THETA)


def speculator() -> Speculator:
    return Speculator(decoder(TARGET, HEADS["target"]), decoder(DRAFT, HEADS["draft"]))


def greedy(model: Weights, heads: int, text: list[int]) -> int:
    return int(plain(model, heads, text)[0][-1].argmax())


def path_to(tree: Tree, node: int) -> list[int]:
    """Tokens of the ancestors of a node and its own."""
    tokens, parents = tree
    found: list[int] = []
    while node >= 0:
        found.insert(0, tokens[node])
        node = parents[node]
    return found


def holds(decoder: TreeDecoder, row: int, model: Weights, heads: int, text: list[int]) -> None:
    """Hold a cache to what the text leaves in one without trees."""
    assert decoder.lengths[row] == len(text)
    wanted = plain(model, heads, text)[1:] if text else None
    for got, want in zip(decoder.cache_of(row), wanted or (), strict=bool(wanted)):
        torch.testing.assert_close(got, want, atol=1e-9, rtol=1e-9)


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[int, bool, int]]:
    """Nodes of a tree: the parent, whether it holds the target's choice, and another token."""
    count = draw(st.integers(0, 6))
    return [
        (draw(st.integers(-1, node - 1)), draw(st.booleans()), draw(st.integers(0, VOCABULARY - 1)))
        for node in range(count)
    ]


some_rows = st.permutations([0, 1, 2])
verify = st.tuples(
    st.just("verify"), some_rows, st.integers(1, 3), st.lists(trees(), min_size=3, max_size=3)
)
rounds = st.one_of(
    verify,
    verify,
    st.tuples(
        st.just("propose"), some_rows, st.integers(1, 3), st.lists(st.integers(1, 3), max_size=3)
    ),
    st.tuples(
        st.just("start"), st.integers(0, 2), st.lists(st.integers(0, 6), min_size=1, max_size=5)
    ),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(rounds, min_size=2, max_size=7))
def test_whatever_is_guessed_the_text_is_that_of_plain_decoding(calls: list[Any]) -> None:
    writer = speculator()
    texts: list[list[int]] = [[], [], []]
    for name, *said in [("start", row, [row, 2]) for row in range(3)] + calls:
        if name == "start":
            row, prompt = said
            token, logits = writer.start(row, prompt)
            wanted = plain(TARGET, 2, prompt)[0][-1]
            torch.testing.assert_close(logits, wanted, atol=1e-9, rtol=1e-9)
            assert token == int(wanted.argmax())
            texts[row] = [*prompt, token]
        else:
            order, count, shape = said
            rows = order[:count]
            if name == "propose":
                guesses = proposed(writer, rows, shape, texts)
                if guesses is None:
                    continue
            else:
                guesses = [
                    guessed(texts[row], nodes) for row, nodes in zip(rows, shape, strict=False)
                ]
            if any(
                len(texts[r]) + len(g[0]) > CAPACITY for r, g in zip(rows, guesses, strict=True)
            ):
                with pytest.raises(ValueError, match="room"):
                    writer.verify(rows, guesses)
            else:
                verified(writer, rows, guesses, texts)
        assert writer.texts == texts
        for row, text in enumerate(texts):
            holds(writer.target, row, TARGET, 2, text[:-1])
            holds(writer.draft, row, DRAFT, 3, text[:-1])


def guessed(text: list[int], nodes: list[tuple[int, bool, int]]) -> Tree:
    """A tree in which some nodes hold what the target will choose behind their parents."""
    tree: Tree = [], []
    for parent, right, other in nodes:
        behind = [*text, *path_to(tree, parent)]
        tree[0].append(greedy(TARGET, 2, behind) if right else other)
        tree[1].append(parent)
    return tree


def proposed(
    writer: Speculator, rows: list[int], widths: list[int], texts: list[list[int]]
) -> list[Tree] | None:
    """Let the draft guess, and hold its guesses to the draft alone; None where it had no room."""
    nodes = sum(math.prod(widths[: n + 1]) for n in range(len(widths)))
    if any(len(texts[row]) + nodes > CAPACITY for row in rows):
        with pytest.raises(ValueError, match="room"):
            writer.propose(rows, widths)
        return None
    found, scores = writer.propose(rows, widths)
    for row, tree, score in zip(rows, found, scores, strict=True):
        assert len(tree[0]) == len(tree[1]) == len(score) == nodes
        level = [-1]
        first = 0
        for width in widths:
            for i, parent in enumerate(level):
                logits = plain(DRAFT, 3, [*texts[row], *path_to(tree, parent)])[0][-1]
                best = sorted(range(VOCABULARY), key=lambda t, x=logits: -float(x[t]))[:width]  # type: ignore[misc]
                here = slice(first + i * width, first + (i + 1) * width)
                assert tree[0][here] == best
                assert tree[1][here] == [parent] * width
                torch.testing.assert_close(score[here], logits[best], atol=1e-9, rtol=1e-9)
            level = list(range(first, first + len(level) * width))
            first += len(level)
    return found


def verified(
    writer: Speculator, rows: list[int], guesses: list[Tree], texts: list[list[int]]
) -> None:
    """Verify guesses, and hold what comes back to plain decoding."""
    answers, logits = writer.verify(rows, guesses)
    for row, tree, new, found in zip(rows, guesses, answers, logits, strict=True):
        written, start = [*texts[row]], len(texts[row])
        for _ in new:
            written.append(greedy(TARGET, 2, written))
        assert new == written[start:]
        paths = [path_to(tree, node) for node in range(len(tree[0]))]
        right = [len(path) for path in paths if path == greedily(texts[row], len(path))]
        assert len(new) == max(right, default=0) + 1
        wanted = plain(TARGET, 2, written)[0][start - 1 : -1]
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-9)
        texts[row] = written


def greedily(text: list[int], count: int) -> list[int]:
    written = [*text]
    for _ in range(count):
        written.append(greedy(TARGET, 2, written))
    return written[len(text) :]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.lists(trees(), min_size=3, max_size=3), st.integers(0, 9)), max_size=4),
    st.booleans(),
)
def test_every_node_is_answered_as_its_own_text_alone(calls: list[Any], replaced: bool) -> None:
    alone = decoder(TARGET, 2)
    kept: list[list[int]] = [[], [], []]
    for shapes, choice in calls:
        rows = [row for row in (2, 0, 1) if shapes[row]]
        if not rows or any(len(kept[row]) + len(shapes[row]) > CAPACITY for row in rows):
            continue
        said: list[Tree] = [
            ([token for _, _, token in shapes[row]], [parent for parent, _, _ in shapes[row]]) for row in rows
        ]  # fmt: skip
        if replaced:
            alone.forward(rows, [([1], [-1]) for _ in rows])
        for row, tree, logits in zip(rows, said, alone.forward(rows, said), strict=True):
            for node in range(len(tree[0])):
                wanted = plain(TARGET, 2, [*kept[row], *path_to(tree, node)])[0][-1]
                torch.testing.assert_close(logits[node], wanted, atol=1e-9, rtol=1e-9)
        paths = []
        for row, (tokens, parents) in zip(rows, said, strict=True):
            node, path = choice % len(tokens), list[int]()
            while node >= 0:
                path.insert(0, node)
                node = parents[node]
            paths.append(path)
            kept[row] += [tokens[node] for node in path]
        alone.keep(rows, paths)
        for row, text in enumerate(kept):
            holds(alone, row, TARGET, 2, text)


def llama(model: Weights, heads: int) -> Any:
    """The same model in transformers: a Llama without norms, whose MLP adds nothing."""
    transformers = pytest.importorskip("transformers")
    inner = len(model["0.q"])
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=4, num_hidden_layers=(len(model) - 2) // 4,
        num_attention_heads=heads, num_key_value_heads=heads, head_dim=inner // heads, rope_theta=THETA,
        max_position_embeddings=64, tie_word_embeddings=False, attn_implementation="eager", pad_token_id=0,
        bos_token_id=None, eos_token_id=None, rope_parameters={"rope_type": "default", "rope_theta": THETA},
    )  # fmt: skip
    made = transformers.LlamaForCausalLM(config).double().eval()
    made.model.norm = torch.nn.Identity()
    with torch.no_grad():
        made.model.embed_tokens.weight.copy_(model["embed"])
        made.lm_head.weight.copy_(model["head"])
        for i, layer in enumerate(made.model.layers):
            layer.input_layernorm = layer.post_attention_layernorm = torch.nn.Identity()
            layer.mlp.down_proj.weight.zero_()
            for name in "qkvo":
                getattr(layer.self_attn, f"{name}_proj").weight.copy_(model[f"{i}.{name}"])
    return made


@pytest.mark.parametrize("widths", [[1], [1, 1, 1], [2, 1], [3, 2, 1], [2, 2, 2]])
@pytest.mark.parametrize("prompt", [[3], [1, 4, 4, 0, 6]])
def test_assisted_generation_of_transformers_writes_the_same(
    prompt: list[int], widths: list[int]
) -> None:
    target, draft = llama(TARGET, 2), llama(DRAFT, 3)
    ids = torch.tensor([prompt])
    wanted = target.generate(
        ids, attention_mask=torch.ones_like(ids), assistant_model=draft, do_sample=False, max_new_tokens=14,
    )[0].tolist()  # fmt: skip
    writer = speculator()
    writer.start(1, prompt)
    while len(writer.texts[1]) < len(wanted):
        guesses, _ = writer.propose([1], widths)
        writer.verify([1], guesses)
    assert writer.texts[1][: len(wanted)] == wanted
    whole = target(torch.tensor([wanted])).logits[0]
    torch.testing.assert_close(plain(TARGET, 2, wanted)[0], whole, atol=1e-5, rtol=1e-5)


def test_a_draft_that_is_the_target_is_always_right() -> None:
    writer = Speculator(decoder(TARGET, 2), decoder(TARGET, 2))
    writer.start(0, [5, 1])
    for _ in range(4):
        guesses, _ = writer.propose([0], [1, 1, 1])
        answers, _ = writer.verify([0], guesses)
        assert answers[0][:3] == guesses[0][0]
        assert len(answers[0]) == 4


def test_equally_likely_tokens_go_by_their_number() -> None:
    model = {**TARGET, "head": torch.zeros(VOCABULARY, WIDTH, dtype=torch.float64)}
    writer = Speculator(decoder(model, 2), decoder(model, 2))
    assert writer.start(0, [4])[0] == 0
    assert writer.propose([0], [3])[0] == [([0, 1, 2], [-1, -1, -1])]


@pytest.mark.parametrize(
    ("rows", "guesses"),
    [
        ([0], [([1], [0])]), ([0], [([1, 2], [-1])]), ([0], [([7], [-1])]), ([0], [([-1], [-1])]),
        ([0], [([1, 1], [-1, 1])]), ([0], [([1], [-2])]), ([0, 0], [([], [])] * 2), ([3], [([], [])]),
        ([-1], [([], [])]), ([], []), ([0, 1], [([], [])]), ([2], [([], [])]),
        ([0, 1], [([1], [-1]), ([1] * 28, [-1] * 28)]),
    ],
)  # fmt: skip
def test_a_call_that_is_refused_changes_nothing(rows: list[int], guesses: list[Tree]) -> None:
    writer = speculator()
    writer.start(0, [1, 2, 3])
    writer.start(1, [4, 0])
    before = [list(text) for text in writer.texts]
    with pytest.raises(ValueError, match=r"."):
        writer.verify(rows, guesses)
    assert writer.texts == before
    for row in (0, 1):
        holds(writer.target, row, TARGET, 2, before[row][:-1])
        holds(writer.draft, row, DRAFT, 3, before[row][:-1])
    verified(writer, [1, 0], [([2], [-1]), ([], [])], before)

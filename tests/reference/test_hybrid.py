"""The hybrid cache against loops in float64 and against transformers' plain-torch gated delta rule."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference.hybrid import HybridCache, Snapshot

SIZES = {
    "slots": 3, "capacity": 40, "heads": 2, "head_dim": 3, "key_heads": 2, "value_heads": 4,
    "key_dim": 3, "value_dim": 2,
}  # fmt: skip
CHANNELS, WIDTH = 2 * 2 * 3 + 4 * 2, 4
Tokens = list[Tensor]  # mixed, decay, beta, query, key, value of one sequence, tokens first


def drawn(tokens: int, draw: torch.Generator) -> Tokens:
    def normal(*shape: int) -> Tensor:
        return torch.randn(tokens, *shape, generator=draw)

    gates = torch.rand(2, tokens, 4, generator=draw)
    return [2 * normal(CHANNELS), -gates[0], gates[1], *(normal(2, 3) for _ in range(3))]


def by_loops(weight: Tensor, text: Tokens) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of both layers for a whole sequence, and the last state: one number after the other."""
    mixed, decay, beta, query, key, value = (x.double() for x in text)
    tokens, state = len(mixed), torch.zeros(4, 3, 2, dtype=torch.float64)
    out, attended = torch.zeros(tokens, 4, 2).double(), torch.zeros(tokens, 2, 3).double()
    for t in range(tokens):
        taps = torch.zeros(CHANNELS).double()
        for i in range(WIDTH):
            if t - i >= 0:
                taps += weight[:, WIDTH - 1 - i].double() * mixed[t - i]
        x = taps / (1 + (-taps).exp())
        for head in range(4):
            first = head // 2 * 3
            q, k, v = (
                x[first : first + 3],
                x[6 + first : 9 + first],
                x[12 + 2 * head : 14 + 2 * head],
            )
            q, k = q / (q @ q + 1e-6).sqrt() / math.sqrt(3), k / (k @ k + 1e-6).sqrt()
            state[head] *= math.exp(decay[t, head])
            held = sum(k[i] * state[head, i] for i in range(3))
            state[head] += beta[t, head] * torch.outer(k, v - held)
            out[t, head] = sum(q[i] * state[head, i] for i in range(3))
        for head in range(2):
            weights = (key[: t + 1, head] @ query[t, head] / math.sqrt(3)).softmax(0)
            attended[t, head] = weights @ value[: t + 1, head]
    return out, attended, state


def fed(
    cache: HybridCache, slots: list[int], new: list[Tokens], *, draft: bool
) -> tuple[Tensor, Tensor]:
    stacked = [torch.stack(parts) for parts in zip(*new, strict=True)]
    layers = [x.transpose(1, 2) for x in stacked[3:]]
    recurrent, attended = cache.forward(slots, *stacked[:3], *layers, draft=draft)
    return recurrent, attended.transpose(1, 2)


call = st.tuples(
    st.just("call"), st.permutations([0, 1, 2]), st.integers(1, 3), st.integers(1, 9), st.booleans()
)
other = st.one_of(
    st.tuples(st.just("start"), st.integers(0, 2)),
    st.tuples(st.just("rollback"), st.integers(0, 2), st.integers(0, 5)),
    st.tuples(st.just("snapshot"), st.integers(0, 2)),
    st.tuples(st.just("restore"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("share"), st.permutations([0, 1, 2]), st.integers(0, 12)),
)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 4),
    st.lists(st.one_of(call, call, other), min_size=2, max_size=9), st.integers(0, 2**31),
)  # fmt: skip
def test_any_calls_answer_as_each_sequence_alone_does(
    interval: int, block: int, calls: list[Any], seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(CHANNELS, WIDTH, generator=draw)
    cache = HybridCache(weight, interval=interval, block=block, **SIZES)
    empty = drawn(0, draw)
    texts, drafts = [empty, empty, empty], [0, 0, 0]
    kept: list[tuple[Snapshot, Tokens]] = []
    for name, *said in calls:
        if name == "call":
            order, rows, tokens, draft = said
            slots = order[:rows]
            if any(len(texts[slot][0]) + tokens > 40 for slot in slots):
                continue
            new = [drawn(tokens, draw) for _ in slots]
            recurrent, attended = fed(cache, slots, new, draft=draft)
            for row, slot in enumerate(slots):
                texts[slot] = [torch.cat(both) for both in zip(texts[slot], new[row], strict=True)]
                drafts[slot] = drafts[slot] + tokens if draft else 0
                wanted = by_loops(weight, texts[slot])
                close = {"atol": 5e-6, "rtol": 1e-5}
                torch.testing.assert_close(recurrent[row].double(), wanted[0][-tokens:], **close)
                torch.testing.assert_close(attended[row].double(), wanted[1][-tokens:], **close)
        elif name == "start":
            cache.start(said[0])
            texts[said[0]], drafts[said[0]] = empty, 0
        elif name == "rollback":
            slot, count = said
            if count > drafts[slot]:
                with pytest.raises(ValueError, match="taken back"):
                    cache.rollback(slot, count)
                continue
            cache.rollback(slot, count)
            texts[slot] = [x[: len(x) - count] for x in texts[slot]]
            drafts[slot] -= count
        elif name == "snapshot":
            kept.append((cache.snapshot(said[0]), texts[said[0]]))
        elif name == "restore" and said[1] < len(kept):
            snapshot, texts[said[0]] = kept[said[1]]
            cache.restore(said[0], snapshot)
            drafts[said[0]] = 0
        elif name == "share":
            (source, target, _), count = said
            if count > len(texts[source][0]):
                with pytest.raises(ValueError, match="tokens"):
                    cache.share(source, target, count)
                continue
            hit = cache.share(source, target, count)
            fits = [n for n in range(count + 1) if n % interval == 0 and n % block == 0]
            assert hit == max(fits)
            texts[target], drafts[target] = [x[:hit] for x in texts[source]], 0
        assert cache.lengths == [len(text[0]) for text in texts]
        for slot, text in enumerate(texts):
            window, state = cache.state_of(slot)
            wanted_state = by_loops(weight, text)[2]
            torch.testing.assert_close(state.double(), wanted_state, atol=5e-6, rtol=1e-5)
            inputs = torch.cat((torch.zeros(WIDTH - 1, CHANNELS), text[0]))[len(text[0]) :]
            assert torch.equal(window, inputs.T)


@pytest.mark.parametrize("chunks", [[1] * 13, [13], [4, 4, 4, 1], [5, 1, 7], [2, 11]])
@pytest.mark.parametrize(
    "form", ["torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule"]
)
def test_the_gated_delta_rule_of_transformers_agrees(chunks: list[int], form: str) -> None:
    module: Any = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
    draw = torch.Generator().manual_seed(5)
    weight = torch.randn(CHANNELS, WIDTH, generator=draw)
    cache = HybridCache(weight, interval=4, block=2, **SIZES)
    rows = [drawn(13, draw) for _ in range(3)]
    answers, first = [], 0
    for count in chunks:
        new = [[x[first : first + count] for x in row] for row in rows]
        answers.append(fed(cache, [2, 0, 1], new, draft=False)[0])
        first += count
    mixed, decay, beta = (torch.stack(parts) for parts in list(zip(*rows, strict=True))[:3])
    convolved = torch.nn.functional.conv1d(
        mixed.transpose(1, 2), weight[:, None], padding=WIDTH - 1, groups=CHANNELS
    )[..., :13]
    channels = torch.nn.functional.silu(convolved).transpose(1, 2)
    q, k, v = channels.split((6, 6, 8), -1)
    q, k = (x.unflatten(-1, (2, 3)).repeat_interleave(2, 2) for x in (q, k))
    wanted, state = getattr(module, form)(
        q, k, v.unflatten(-1, (4, 2)), g=decay, beta=beta, initial_state=None,
        output_final_state=True, use_qk_l2norm_in_kernel=True,
    )  # fmt: skip
    torch.testing.assert_close(torch.cat(answers, 1), wanted, atol=1e-5, rtol=1e-5)
    states = torch.stack([cache.state_of(slot)[1] for slot in (2, 0, 1)])
    torch.testing.assert_close(states, state.float(), atol=1e-5, rtol=1e-5)


def test_a_state_cannot_be_cropped() -> None:
    """A known fault of hybrid caches: the keys are cut, the rejected drafts stay in the state."""
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(CHANNELS, WIDTH, generator=draw)
    prompt, drafted, then = drawn(5, draw), drawn(3, draw), drawn(1, draw)

    def answered(*, crop: bool) -> list[Tensor]:
        cache = HybridCache(weight, interval=4, block=2, **SIZES)
        fed(cache, [0], [prompt], draft=False)
        fed(cache, [0], [drafted], draft=True)
        if crop:
            cache.lengths[0] -= 2
        else:
            cache.rollback(0, 2)
        return list(fed(cache, [0], [then], draft=False))

    text = [torch.cat((a, b[:1], c)) for a, b, c in zip(prompt, drafted, then, strict=True)]
    wanted = [x[-1] for x in by_loops(weight, text)[:2]]
    right, cropped = answered(crop=False), answered(crop=True)
    for layer in range(2):
        torch.testing.assert_close(right[layer][0, 0].double(), wanted[layer], atol=5e-6, rtol=1e-5)
    torch.testing.assert_close(cropped[1][0, 0].double(), wanted[1], atol=5e-6, rtol=1e-5)
    assert (cropped[0][0, 0].double() - wanted[0]).abs().max() > 0.05

"""The sliding-window cache against loops in float64 and against transformers' Mistral, however a text is cut."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference.window_cache import WindowCache, WindowStack

THETA = 50.0


def turned(x: Tensor, position: int) -> Tensor:
    """A vector [D] in float64, rotated pair by pair."""
    half = len(x) // 2
    made = x.double().clone()
    for i in range(half):
        angle = position * THETA ** (-i / half)
        a, b = x[i].double(), x[i + half].double()
        made[i] = a * math.cos(angle) - b * math.sin(angle)
        made[i + half] = b * math.cos(angle) + a * math.sin(angle)
    return made


def by_loops(q: Tensor, k: Tensor, v: Tensor, window: int | None, sinks: int) -> Tensor:
    """All queries [B, Hq, L, D] of a whole text, one after the other."""
    out = torch.zeros(q.shape, dtype=torch.float64)
    group = q.shape[1] // k.shape[1]
    for row in range(q.shape[0]):
        for head in range(q.shape[1]):
            for p in range(q.shape[2]):
                seen = [j for j in range(p + 1) if window is None or p - j < window or j < sinks]
                asked = turned(q[row, head, p], p)
                keys = torch.stack([turned(k[row, head // group, j], j) for j in seen])
                weights = (keys @ asked / math.sqrt(q.shape[3])).softmax(0)
                out[row, head, p] = weights @ v[row, head // group, seen].double()
    return out


steps = st.one_of(
    st.tuples(st.sampled_from(["attend", "append"]), st.integers(0, 9)),
    st.tuples(st.just("trim"), st.integers(0, 6)),
    st.tuples(st.just("fork"), st.just(0)),
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([None, 1, 2, 3, 5]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.lists(steps, min_size=2, max_size=8),
    st.integers(0, 2**31),
)
def test_any_calls_answer_as_the_whole_text_does(
    window: int | None, sinks: int, spare: int, calls: list[tuple[str, int]], seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    cache = WindowCache(2, 2, window, sinks, 4, spare=spare, theta=THETA)
    text = [torch.zeros(2, heads, 0, 4) for heads in (4, 2, 2)]
    gone = 0
    for name, number in calls:
        if name == "fork":
            cache = cache.fork()
        elif name == "trim":
            left = cache.length - number
            first = 0 if window is None else left + 1 - window
            missing = [j for j in range(max(0, first), left) if sinks <= j < gone]
            if left < 0 or (number and missing):
                assert not cache.can_trim(number)
                with pytest.raises(ValueError, match="taken back"):
                    cache.trim(number)
            else:
                assert cache.can_trim(number)
                cache.trim(number)
                text = [x[:, :, : cache.length] for x in text]
                gone = min(gone, left)
        else:
            new = [torch.randn(2, heads, number, 4, generator=draw) for heads in (4, 2, 2)]
            text = [torch.cat(both, 2) for both in zip(text, new, strict=True)]
            if name == "append":
                cache.append(*new[1:])
            else:
                output = cache.attend(*new)
                wanted = by_loops(*text, window, sinks)[:, :, cache.length - number :]
                torch.testing.assert_close(output.double(), wanted, atol=2e-6, rtol=0)
            if window is not None:
                gone = max(gone, cache.length - window - spare)
        held = [j for j in range(cache.length) if window is None or j < sinks or j >= gone]
        assert cache.held().tolist() == held


@pytest.mark.parametrize("chunks", [[1] * 12, [3, 3, 3, 3], [12], [5, 1, 6], [4, 8]])
def test_a_tiny_mistral_agrees_layer_by_layer(chunks: list[int]) -> None:
    transformers: Any = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.MistralConfig(
        vocab_size=40, hidden_size=24, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=6, sliding_window=4, attn_implementation="eager", use_cache=False,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
    )  # fmt: skip
    model = transformers.MistralModel(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    with torch.no_grad():
        told = model(torch.randint(0, 40, (2, sum(chunks))), output_hidden_states=True)
        stack = WindowStack(2, 2, [4, 4, 4], 0, 6, theta=THETA)
        for index, layer in enumerate(model.layers):
            before = told.hidden_states[index]
            x = layer.input_layernorm(before)
            parts = [
                getattr(layer.self_attn, name)(x).unflatten(-1, (-1, 6)).transpose(1, 2)
                for name in ("q_proj", "k_proj", "v_proj")
            ]
            cut = zip(*(part.split(chunks, 2) for part in parts), strict=True)
            out = torch.cat([stack.attend(index, *chunk) for chunk in cut], 2)
            after = before + layer.self_attn.o_proj(out.transpose(1, 2).flatten(2))
            after = after + layer.mlp(layer.post_attention_layernorm(after))
            wanted = told.hidden_states[index + 1]
            if index == 2:
                after = model.norm(after)
            torch.testing.assert_close(after, wanted, atol=3e-5, rtol=1e-5)


def test_a_chunk_written_before_it_is_read_would_show() -> None:
    """A known fault of rings: at a window of 4 chunks of 3 and 3 differ from single tokens."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, 6, 4) for _ in range(3))

    def answered(chunks: list[int], *, write_first: bool) -> Tensor:
        cache, outputs = WindowCache(1, 1, 4, 0, 4, theta=THETA), []
        for one in zip(*(x.split(chunks, 2) for x in (q, k, v)), strict=True):
            if write_first:
                start = cache.length
                cache.append(*one[1:])
                keys, values, held = cache._held()
                at = torch.arange(start, cache.length)
                seen = (at[:, None] >= held) & (at[:, None] - held < 4)
                from reference.window_cache import _rotate, _weighted

                asked, met = _rotate(one[0], at, THETA), _rotate(keys, held, THETA)
                outputs.append(_weighted(asked, met, values, seen))
            else:
                outputs.append(cache.attend(*one))
        return torch.cat(outputs, 2)

    right = answered([1] * 6, write_first=False)
    torch.testing.assert_close(answered([3, 3], write_first=False), right)
    off = (answered([3, 3], write_first=True) - right).abs().amax(-1).flatten()
    assert (off > 1e-2).tolist() == [False, False, False, True, True, False]

"""The cached attention agrees with loops over Python floats and with PyTorch's own attention, and refuses cleanly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracle_attention import attend
from torch import Tensor

from reference import kv_attention
from reference.kv_attention import KVCachedMultiHeadAttention

EXACT = 1e-12
PLANS = [[8], [5, 1, 1, 1], [3, 3, 2], [1] * 8, [1, 6, 1], [2, 5, 1]]
SIZES = [(2, 12, 3), (3, 14, 7), (1, 6, 1)]  # batch, d_model, heads


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attention(d_model: int = 12, num_heads: int = 3, **options: Any) -> KVCachedMultiHeadAttention:
    """A module in float64 and eval mode whose weights and biases are all drawn."""
    module = KVCachedMultiHeadAttention(d_model, num_heads, **options).double().eval()
    for index, parameter in enumerate(module.parameters()):
        parameter.data = draw(*parameter.shape, seed=90 + index) / math.sqrt(d_model)
    return module.requires_grad_(False)


def inputs(batch: int, tokens: int, d_model: int) -> list[Tensor]:
    return [draw(batch, tokens, d_model, seed=seed) for seed in (1, 2, 3)]


def in_chunks(
    module: KVCachedMultiHeadAttention, whole: list[Tensor], plan: list[int]
) -> tuple[Tensor, kv_attention.Cache]:
    """Feed the tokens chunk by chunk and glue the outputs."""
    cache, outputs = module.reset_cache(), []
    for chunk in zip(*(x.split(plan, dim=1) for x in whole), strict=True):
        output, cache = module(*chunk, cache=cache)
        outputs.append(output)
    return torch.cat(outputs, dim=1), cache


def gap(a: Tensor | None, b: Tensor) -> float:
    assert a is not None
    assert a.shape == b.shape
    return float((a - b).abs().max())


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize(("batch", "d_model", "heads"), SIZES)
def test_any_chunk_plan_equals_the_oracle(batch, d_model, heads, plan) -> None:
    module = attention(d_model, heads)
    whole = inputs(batch, sum(plan), d_model)
    output, cache = in_chunks(module, whole, plan)
    expected, keys, values = attend(module, *whole)
    assert gap(output, expected) <= EXACT
    assert gap(cache["key"], keys) <= EXACT
    assert gap(cache["value"], values) <= EXACT


def test_without_the_mask_every_token_sees_every_other() -> None:
    module, whole = attention(), inputs(2, 5, 12)
    output, _ = module(*whole, use_causal_mask=False)
    assert gap(output, attend(module, *whole, causal=False)[0]) <= EXACT
    assert gap(output, attend(module, *whole)[0]) > 1e-2


@pytest.mark.parametrize("causal", [True, False])
def test_equals_the_attention_of_pytorch(causal: bool) -> None:
    module, (query, key, value) = attention(), inputs(2, 7, 12)
    output, cache = module(query, key, value, use_causal_mask=causal)
    heads = [
        x.unflatten(2, (3, 4)).transpose(1, 2)
        for x in (module.q_proj(query), cache["key"], cache["value"])
    ]
    mixed = F.scaled_dot_product_attention(*heads, is_causal=causal)
    assert gap(output, module.out_proj(mixed.transpose(1, 2).flatten(2))) <= EXACT


@pytest.mark.parametrize("factor", [60, 20_000])
def test_large_scores_stay_finite_and_right(factor: int) -> None:
    module, whole = attention(), inputs(3, 6, 12)
    module.q_proj.weight *= factor
    output, _ = in_chunks(module, whole, [3, 2, 1])
    assert gap(output, attend(module, *whole)[0]) <= 1e-7  # scores are as large as the factor


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    module, whole = attention(), inputs(2, 5, 12)
    expected = attend(module, *whole)[0]
    output, cache = module.to(dtype)(*(x.to(dtype) for x in whole))
    assert {output.dtype, cache["key"].dtype, cache["value"].dtype} == {dtype}
    assert gap(output.double(), expected) <= 40 * torch.finfo(dtype).eps


def test_two_continuations_of_one_prefix_do_not_meet() -> None:
    module, whole = attention(), inputs(2, 7, 12)
    _, prefix = module(*(x[:, :4] for x in whole))
    before = {name: part.clone() for name, part in prefix.items()}
    other = [x[:, 4:].flip(1) for x in whole]
    module(*other, cache=prefix)
    output, _ = module(*(x[:, 4:] for x in whole), cache=prefix)
    assert gap(output, attend(module, *whole)[0][:, 4:]) <= EXACT
    assert all(torch.equal(prefix[name], part) for name, part in before.items())


def test_the_capacity_is_reached_and_not_passed() -> None:
    module, whole = attention(max_cache_len=7), inputs(2, 8, 12)
    _, cache = in_chunks(module, [x[:, :7] for x in whole], [4, 3])
    assert module.get_cache_info(cache)["is_full"] is True
    with pytest.raises(ValueError, match="8 tokens do not fit max_cache_len=7"):
        module(*(x[:, 7:] for x in whole), cache=cache)
    assert module.get_cache_info(cache)["cache_length"] == 7


def test_dropout_acts_in_training_mode_only() -> None:
    module, whole = attention(dropout=1.0), inputs(2, 5, 12)
    assert gap(module(*whole)[0], attend(module, *whole)[0]) <= EXACT
    dropped, _ = module.train()(*whole)
    assert torch.equal(dropped, module.out_proj.bias.expand_as(dropped))


def test_split_and_merge_are_inverse_and_keep_heads_apart() -> None:
    module, x = attention(), draw(2, 5, 12)
    heads = module._split_heads(x)
    assert torch.equal(heads[1, 2, 3], x[1, 3, 8:12])
    assert torch.equal(module._merge_heads(heads), x)


def test_cache_info_counts_keys_and_values() -> None:
    cache = {name: torch.zeros(4, 128, 64) for name in ("key", "value")}
    module = attention(64, 4, max_cache_len=129)
    expected = {"cache_length": 128, "cache_size_mb": 0.25, "is_full": False}
    assert module.get_cache_info(cache) == module.get_cache_info(cache, use_cache=False) == expected
    empty = {"cache_length": 0, "cache_size_mb": 0.0, "is_full": False}
    assert module.get_cache_info(None) == module.get_cache_info(module.reset_cache()) == empty


def test_positions_go_on_where_the_cache_ends() -> None:
    assert kv_attention.compute_position_ids(3, 7).tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("query", "key", "value"),
    [
        ((5, 12), (2, 5, 12), (2, 5, 12)),
        ((2, 5, 12), (2, 5, 12), (2, 5)),
        ((2, 5, 12), (3, 5, 12), (3, 5, 12)),
        ((2, 5, 12), (2, 5, 12), (1, 5, 12)),
        ((2, 5, 12), (2, 5, 12), (2, 4, 12)),
    ],
)
def test_malformed_inputs_are_refused(query, key, value) -> None:
    with pytest.raises(ValueError, match="must"):
        kv_attention.validate_inputs(draw(*query), draw(*key), draw(*value))


@pytest.mark.parametrize("seed", [0, 7])
def test_sample_inputs_follow_their_seed(seed: int) -> None:
    first, again, other = (
        kv_attention.create_sample_input(2, 5, 12, seed=s) for s in (seed, seed, seed + 1)
    )
    assert [x.shape for x in first] == [(2, 5, 12)] * 3
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))
    assert not torch.equal(first[0], first[1])


WRONG = {
    "scale": ("math.sqrt(self.head_dim)", "float(self.head_dim)"),
    "mask": ("<= query_pos[:, None]", "<= query_pos[:, None] + 1"),
    "order": ("pieces = [past, new]", "pieces = [new, past]"),
    "merge": ("x = x.transpose(1, 2)  # [B, S, H, D]", "x = x.contiguous()"),
    "values": ('"value": V}', '"value": K}'),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_the_oracle_tells_wrong_from_right(mistake: str) -> None:
    """The comparison above can fail: each of these edits moves the numbers far beyond the tolerance."""
    text = Path(kv_attention.__file__).read_text("utf-8")
    old, new = WRONG[mistake]
    assert text.count(old) == 1
    names: dict[str, Any] = {"__name__": "edited"}
    exec(compile(text.replace(old, new), "edited.py", "exec"), names)
    module, whole = attention(), inputs(2, 8, 12)
    edited = names["KVCachedMultiHeadAttention"](12, 3).double().eval().requires_grad_(False)
    edited.load_state_dict(module.state_dict())
    output, _ = in_chunks(edited, whole, [3, 3, 2])
    assert gap(output, attend(module, *whole)[0]) > 1e-2

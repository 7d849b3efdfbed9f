"""Each launcher against float64 and against PyTorch's attention, and each public entry point against its reference."""

from __future__ import annotations

import math

import pytest
import torch

from kernels.append import append
from kernels.attention import attend, attention_with_kv_cache
from kernels.cache import KVCache
from kernels.decode import decode
from kernels.paged_cache import append as append_paged
from kernels.paged_cache import attend as attend_paged
from kernels.paged_cache import slots_of
from kernels.pages import PagedKVCache
from kernels.prefill import prefill
from reference import cached_attention as plain
from tests.kernels.kv_problem import paged, problem

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
# lengths around the interpreter's tile of 16: none, one, fewer than the queries, odd, whole tiles
LENS = [0, 1, 2, 31, 33, 48]


@pytest.mark.parametrize(
    ("dtype", "S", "G", "D", "splits", "causal"),
    [
        (F32, 1, 1, 64, 1, True),
        (F32, 1, 7, 13, 3, False),
        (F32, 3, 4, 48, 4, True),
        (F32, 5, 5, 20, 1, False),
        (F16, 1, 8, 80, 2, True),
        (F16, 4, 3, 13, 1, True),
        (BF16, 2, 4, 32, 3, True),
        (BF16, 1, 2, 256, 1, False),
    ],
)
def test_decode(dtype, S, G, D, splits, causal):
    p = problem(S, G, D, LENS, dtype=dtype, causal=causal, kv_heads=1)
    p.check(*decode(p.q, p.k, p.v, p.seq_lens, causal=causal, splits=splits))


@pytest.mark.parametrize(
    ("dtype", "S", "G", "D", "q_lens", "causal"),
    [
        (F32, 37, 2, 24, None, True),
        (F32, 20, 1, 96, [20, 3, 20, 0], False),
        (F16, 33, 3, 13, [33, 1, 17, 33], True),
        (BF16, 18, 1, 64, None, True),
        (BF16, 17, 2, 32, [5, 17, 0, 16], False),
    ],
)
def test_prefill(dtype, S, G, D, q_lens, causal):
    p = problem(S, G, D, [48, 33, 7, 0], dtype=dtype, causal=causal, kv_heads=1, q_lens=q_lens)
    lens = None if q_lens is None else torch.tensor(q_lens, dtype=torch.int32)
    p.check(*prefill(p.q, p.k, p.v, p.seq_lens, lens, causal=causal))


@pytest.mark.parametrize(
    ("dtype", "S", "G", "D", "page_size", "splits", "q_lens", "causal"),
    [
        (F32, 1, 4, 48, 16, 1, None, True),
        (F32, 3, 2, 13, 1, 3, [3, 0, 2, 1], True),
        (F32, 7, 5, 32, 5, 1, None, False),
        (F16, 1, 3, 80, 64, 2, None, True),
        (BF16, 9, 2, 20, 4, 1, [9, 9, 1, 4], True),
    ],
)
def test_paged_attend(dtype, S, G, D, page_size, splits, q_lens, causal):
    p = problem(S, G, D, [48, 33, 7, 0], dtype=dtype, causal=causal, kv_heads=2, q_lens=q_lens)
    lens = None if q_lens is None else torch.tensor(q_lens, dtype=torch.int32)
    k, v, table = paged(p, page_size)
    p.check(*attend_paged(p.q, k, v, table, p.seq_lens, lens, causal=causal, splits=splits))


def test_append_writes_the_very_bits_and_nothing_else():
    k, v = torch.full((2, 3, 8, 2, 5), math.nan, dtype=BF16)
    k_new, v_new = torch.randn(2, 3, 4, 2, 5).to(BF16)
    old, new = torch.tensor([[0, 3, 4], [4, 0, 3]], dtype=torch.int32)
    append(k, v, k_new, v_new, old, new)
    for cache, fresh in ((k, k_new), (v, v_new)):
        for b, (at, count) in enumerate(zip(old.tolist(), new.tolist(), strict=True)):
            assert torch.equal(cache[b, at : at + count], fresh[b, :count])
            assert cache[b, :at].isnan().all()
            assert cache[b, at + count :].isnan().all()


def test_append_stops_at_the_last_slot_of_a_row():
    k, v = torch.zeros(2, 2, 4, 1, 3)
    append(k, v, torch.ones(2, 3, 1, 3), torch.ones(2, 3, 1, 3), torch.tensor([3, 1]).int())
    assert k[:, :, 0, 0].tolist() == [[0, 0, 0, 1], [0, 1, 1, 1]]


def test_slots_of_names_the_page_and_the_place_and_pads():
    table = torch.tensor([[7, 2], [3, 0]], dtype=torch.int32)
    old, new = torch.tensor([[3, 8], [2, 0]], dtype=torch.int32)
    assert slots_of(table, old, new, 3, 4).tolist() == [[31, 8, -1], [-1, -1, -1]]


def test_paged_append_writes_the_very_bits_and_nothing_else():
    k, v = torch.full((2, 4, 4, 2, 5), math.nan, dtype=BF16)
    k_new, v_new = torch.randn(2, 3, 2, 5).to(BF16)
    append_paged(k, v, k_new, v_new, torch.tensor([13, -1, 2]))
    for pages, fresh in ((k.flatten(0, 1), k_new), (v.flatten(0, 1), v_new)):
        assert torch.equal(pages[[13, 2]], fresh[[0, 2]])
        assert (~pages.isnan().any(-1).any(-1)).nonzero().flatten().tolist() == [2, 13]


@pytest.mark.parametrize("make", [KVCache, PagedKVCache])
def test_attention_with_kv_cache_and_attend(make):
    """A conversation of ragged and even steps, with a branch, a way back and a fresh start."""
    torch.manual_seed(3)
    B, heads, D = 3, 2, 12
    cache = KVCache(B, 40, heads, D) if make is KVCache else PagedKVCache(B, 40, 4, heads, D)
    truth = plain.KVCache(B, 40, heads, D)

    def step(S, new_lens=None, **options):
        q, k, v = torch.randn(B, S, 4, D), *torch.randn(2, B, S, heads, D)
        got = attention_with_kv_cache(q, k, v, cache, new_lens=new_lens, **options)
        expected = plain.attention_with_kv_cache(q, k, v, truth, new_lens=new_lens, **options)
        assert (got - expected).abs().max() < 5e-6
        assert cache.lens == truth.lens == tuple(cache.seq_lens.tolist())

    step(17)
    step(1)
    step(3, [3, 0, 2])
    step(2, causal=False, scale=0.3)
    cache, truth = cache.fork([1, 0, 1]), truth.fork([1, 0, 1])
    step(1)
    cache.truncate([20, 5, 0])
    truth.truncate([20, 5, 0])
    step(2, torch.tensor([1, 2, 2]), batch_invariant=True)
    cache.reset([0])
    truth.reset([0])
    q = torch.randn(B, 5, 4, D)
    for got, expected in zip(
        attend(q, cache, q_lens=[2, 5, 5]), plain.attend(q, truth, q_lens=[2, 5, 5]), strict=True
    ):
        assert torch.allclose(got, expected, atol=5e-6)

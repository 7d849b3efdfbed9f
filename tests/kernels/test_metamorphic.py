"""What must hold whatever the numbers: two ways to the same answer, and changes that change nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kernels.attention import attend, attention_with_kv_cache
from kernels.cache import KVCache
from kernels.decode import choose_splits, decode
from kernels.paged_cache import attend as attend_paged
from kernels.pages import PagedKVCache
from kernels.prefill import prefill
from tests.kernels.kv_problem import paged, problem


def run(q: Tensor, k: Tensor, v: Tensor, cache: KVCache | PagedKVCache, sizes: list[int]) -> Tensor:
    out, first = [], 0
    for size in sizes:
        some = slice(first, first + size)
        out.append(attention_with_kv_cache(q[:, some], k[:, some], v[:, some], cache))
        first += size
    return torch.cat(out, 1)


@pytest.mark.parametrize("make", [KVCache, PagedKVCache])
def test_token_by_token_is_chunk_by_chunk_is_one_prefill(make):
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 19, 4, 16), *torch.randn(2, 1, 19, 2, 16)

    def fresh() -> KVCache | PagedKVCache:
        return KVCache(1, 19, 2, 16) if make is KVCache else PagedKVCache(1, 7, 3, 2, 16)

    whole = run(q, k, v, fresh(), [19])
    assert torch.allclose(run(q, k, v, fresh(), [8, 1, 10]), whole, atol=1e-6)
    assert torch.allclose(run(q, k, v, fresh(), [1] * 19), whole, atol=1e-6)


def test_the_number_of_splits_does_not_matter():
    p = problem(2, 2, 16, [70, 33, 1], kv_heads=1)
    one, lse = decode(p.q, p.k, p.v, p.seq_lens, splits=1)
    for splits in (2, 5, 64):
        out, other = decode(p.q, p.k, p.v, p.seq_lens, splits=splits)
        assert torch.allclose(out, one, atol=1e-6)
        assert torch.allclose(other, lse, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_where_the_pages_lie_does_not_matter_to_the_bit(dtype):
    p = problem(3, 2, 16, [33, 5], dtype=dtype, kv_heads=1)
    dense = decode(p.q, p.k, p.v, p.seq_lens, splits=3)
    for seed in (1, 2):
        k, v, table = paged(p, 4, seed)
        out = attend_paged(p.q, k, v, table, p.seq_lens, splits=3)
        assert torch.equal(out[0], dense[0])
        assert torch.equal(out[1], dense[1])


@pytest.mark.parametrize("tokens", [1, 33])
def test_neighbours_do_not_matter_to_the_bit_in_batch_invariant_mode(tokens):
    lens = [40, 21, 1]
    p = problem(tokens, 2, 16, lens, kv_heads=1)
    k, v, table = paged(p, 8)
    order = [2, 0, 1]
    for cache in (KVCache.adopt(p.k, p.v, lens), PagedKVCache.adopt(k, v, table, lens)):
        together, _ = attend(p.q, cache, batch_invariant=True)
        turned, _ = attend(p.q[order], cache.fork(order), batch_invariant=True)
        assert torch.equal(turned, together[order])
        alone, _ = attend(p.q[1:2], cache.fork([1]), batch_invariant=True)
        assert torch.equal(alone, together[1:2])


def test_one_vector_added_to_every_key_changes_nothing():
    p = problem(18, 2, 16, [33, 18], kv_heads=1)
    shift = torch.randn(16)
    plain, lse = prefill(p.q, p.k, p.v, p.seq_lens)
    moved, moved_lse = prefill(p.q, p.k + shift, p.v, p.seq_lens)
    assert torch.allclose(moved, plain, atol=5e-6)
    by = (p.q @ shift).transpose(1, 2) / math.sqrt(16)
    assert torch.allclose(moved_lse, lse + by, atol=5e-6)


def test_values_scaled_and_moved_scale_and_move_the_output():
    p = problem(1, 3, 16, [33, 18], kv_heads=1)
    plain, _ = decode(p.q, p.k, p.v, p.seq_lens, splits=2)
    other, _ = decode(p.q, p.k, 3 * p.v - 2, p.seq_lens, splits=2)
    assert torch.allclose(other, 3 * plain - 2, atol=5e-6)


@pytest.mark.parametrize("kernel", [decode, prefill])
def test_grouped_heads_are_heads_whose_keys_are_repeated(kernel):
    p = problem(3, 3, 16, [20, 7], kv_heads=2)
    grouped, _ = kernel(p.q, p.k, p.v, p.seq_lens)
    k, v = p.k.repeat_interleave(3, 2), p.v.repeat_interleave(3, 2)
    single, _ = kernel(p.q, k, v, p.seq_lens)
    assert torch.allclose(single, grouped, atol=1e-6)


def test_one_query_sees_everything_causal_or_not():
    p = problem(1, 2, 16, [33, 0], kv_heads=1)
    causal = decode(p.q, p.k, p.v, p.seq_lens, causal=True)
    free = decode(p.q, p.k, p.v, p.seq_lens, causal=False)
    assert all(torch.equal(a, b) for a, b in zip(causal, free, strict=True))


def test_two_halves_merged_by_their_log_sum_exp_are_the_whole():
    p = problem(2, 2, 16, [40], kv_heads=1, causal=False)
    whole, lse = decode(p.q, p.k, p.v, p.seq_lens, causal=False)
    half = torch.tensor([23], dtype=torch.int32)
    out_a, lse_a = decode(p.q, p.k, p.v, half, causal=False)
    out_b, lse_b = decode(p.q, p.k[:, 23:], p.v[:, 23:], p.seq_lens - 23, causal=False)
    merged_lse = torch.logaddexp(lse_a, lse_b)
    share_a, share_b = (
        torch.exp(x - merged_lse).transpose(1, 2)[..., None] for x in (lse_a, lse_b)
    )
    assert torch.allclose(merged_lse, lse, atol=1e-6)
    assert torch.allclose(out_a * share_a + out_b * share_b, whole, atol=1e-6)


def test_strides_do_not_matter_to_the_bit():
    p = problem(2, 2, 13, [33, 18])
    dense = decode(p.q, p.k, p.v, p.seq_lens, splits=2)
    q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (p.q, p.k, p.v))
    assert not q.is_contiguous()
    out = decode(q, k, v, p.seq_lens, splits=2)
    assert torch.equal(out[0], dense[0])
    wide = torch.full((2, 40, 2, 29), math.nan)
    wide[:, 3:36, :, 5:18] = p.k
    out = prefill(p.q, wide[:, 3:36, :, 5:18], v, p.seq_lens)
    assert torch.equal(out[0], prefill(p.q, p.k, p.v, p.seq_lens)[0])


def test_addresses_beyond_two_to_the_31_elements():
    """Two rows of one storage, 4.3 GB apart, of which a few pages are ever touched."""
    p = problem(1, 1, 16, [5, 5], dtype=torch.float16, kv_heads=1)
    storage = torch.empty(2**31 + 4096, dtype=torch.float16)
    far = storage.as_strided((2, 5, 1, 16), (2**31 + 1024, 16, 16, 1))
    far.copy_(p.k)
    out, _ = decode(p.q, far, p.v, p.seq_lens)
    assert torch.equal(out, decode(p.q, p.k, p.v, p.seq_lens)[0])
    pages = storage.as_strided((2, 16, 1, 16), (2**31 + 1024, 16, 16, 1))
    k, v, table = paged(p, 16)
    pages.copy_(k[table.flatten().long()])
    k, v = pages, v[table.flatten().long()]
    out, _ = attend_paged(p.q, k, v, torch.tensor([[0], [1]]).int(), p.seq_lens)
    assert torch.equal(out, attend_paged(p.q, *paged(p, 16), p.seq_lens)[0])


def test_splits_are_bounded_and_never_fewer_for_more_keys():
    for tiles in (0, 1, 8, 1000):
        counts = [choose_splits(tiles, slots, 132) for slots in range(0, 40000, 500)]
        assert counts == sorted(counts)
        assert counts[0] == 1
        assert max(counts) <= 64
    assert choose_splits(8, 4096, 132) == 16
    assert choose_splits(256, 4096, 132) == 1
    assert choose_splits(256, 8192, 132, fill=0.3) == 8

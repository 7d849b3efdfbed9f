"""Attention over a key/value cache: append the new tokens, then attend to all of them.

The public entry points, which check everything and choose a kernel. The queries of a row are its last
tokens: with q_len queries and kv_len keys, the new ones included, query i sees key j iff
j <= i + kv_len - q_len. A query that sees nothing gets 0 and a log-sum-exp of -inf.

B batch, S queries, H query heads, Hkv key/value heads, G = H / Hkv, D head dim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kernels import checks, launch
from kernels.cache import KVCache
from kernels.checks import Lengths
from kernels.pages import PagedKVCache

INVARIANT_SPLITS = 16  # of every row's keys in batch-invariant mode, whatever the batch
DECODE_ROWS = 64  # (query, group member) pairs up to which splitting the keys pays


def attention_with_kv_cache(
    q: Tensor,
    k_new: Tensor,
    v_new: Tensor,
    cache: KVCache | PagedKVCache,
    *,
    causal: bool = True,
    scale: float | None = None,
    new_lens: Lengths | None = None,
    q_lens: Lengths | None = None,
    batch_invariant: bool = False,
) -> Tensor:
    """Append k_new, v_new [B, S_new, Hkv, D] to the cache and attend q [B, S, H, D] to all of it.

    Row b takes its first `new_lens[b]` new tokens (default S_new) and has `q_lens[b]` queries
    (default `new_lens` where S = S_new, else S). Scores are scaled by `scale`, by default
    1/sqrt(D), and summed up in float32. With `batch_invariant`, a row's answer does not depend on its
    neighbours, to the bit, for calls of the same S that give lengths or do not; this costs some
    speed. Returns [B, S, H, D] in q's dtype, 0 for the queries that a row does not have.

    Everything is checked before the first write: TypeError for dtypes and kinds, ValueError for
    shapes, devices, lengths and lack of room; a refused call leaves the cache as it was.
    """
    _check_cache(cache)
    gains = cache.check_append(k_new, v_new, new_lens)
    checks.query(q, cache.k, cache.batch)
    if q_lens is None and new_lens is not None and q.shape[1] == k_new.shape[1]:
        q_lens = gains
    _check_options(q, cache, q_lens, scale)
    cache.append(k_new, v_new, gains)
    out, _ = attend(
        q, cache, causal=causal, scale=scale, q_lens=q_lens, batch_invariant=batch_invariant
    )
    return out


def attend(
    q: Tensor,
    cache: KVCache | PagedKVCache,
    *,
    causal: bool = True,
    scale: float | None = None,
    q_lens: Lengths | None = None,
    batch_invariant: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attend q [B, S, H, D] to what the cache holds, which is only read.

    Takes what `attention_with_kv_cache` takes and returns the output [B, S, H, D] and the natural
    log-sum-exp of the scaled scores, float32 [B, H, S].
    """
    _check_cache(cache)
    launch.require(cache.k.device)
    checks.query(q, cache.k, cache.batch)
    queries = _check_options(q, cache, q_lens, scale)
    S, rows = q.shape[1], q.shape[1] * q.shape[2] // cache.k.shape[2]
    lens = None
    if queries is not None and any(n < S for n in queries):
        lens = torch.tensor(queries, dtype=torch.int32, device=q.device)  # [B]
    splits = INVARIANT_SPLITS if batch_invariant else None
    # in batch-invariant mode a neighbour's missing queries must not choose the kernel
    even = lens is None and not (batch_invariant and queries is not None)
    with launch.on(q.device):
        if isinstance(cache, PagedKVCache):
            return _attend_pages(q, cache, lens, causal, scale, splits)
        if rows <= DECODE_ROWS and even:
            from kernels.decode import decode

            if splits is None:
                splits = splits_for(q, cache.k.shape[2], cache.lens)
            seq_lens = cache.seq_lens
            return decode(q, cache.k, cache.v, seq_lens, causal=causal, scale=scale, splits=splits)
        from kernels.prefill import prefill

        return prefill(q, cache.k, cache.v, cache.seq_lens, lens, causal=causal, scale=scale)


def _attend_pages(
    q: Tensor,
    cache: PagedKVCache,
    q_lens: Tensor | None,
    causal: bool,
    scale: float | None,
    splits: int | None,
) -> tuple[Tensor, Tensor]:
    """Choose how often to split the keys and attend through the page table."""
    from kernels.paged_cache import attend as attend_pages

    heads = cache.k.shape[2]
    if splits is None:
        splits = splits_for(q, heads, cache.lens, paged=True)
    elif q.shape[1] * (q.shape[2] // heads) > DECODE_ROWS:
        splits = 1
    table, seq_lens = cache.page_table, cache.seq_lens
    return attend_pages(
        q, cache.k, cache.v, table, seq_lens, q_lens, causal=causal, scale=scale, splits=splits
    )


def splits_for(q: Tensor, kv_heads: int, lens: Sequence[int], *, paged: bool = False) -> int:
    """How often to split the keys of rows of these lengths, for the queries q [B, S, H, D].

    Twice as often behind a page table, where every step waits longer, but no more than 32 times.
    """
    from kernels.decode import choose_splits

    B, S, H, _ = q.shape
    blocks = -(-S * (H // kv_heads) // DECODE_ROWS)
    longest = max(lens, default=0)
    fill = sum(lens) / (len(lens) * longest) if longest else 1.0
    splits = choose_splits(B * kv_heads * blocks, longest, _processors(q.device), fill)
    return min(32, 2 * splits) if paged else splits


def _processors(device: torch.device) -> int:
    """Multiprocessors of a GPU; the interpreter runs one program after another."""
    if device.type == "cpu":
        return 8
    return torch.cuda.get_device_properties(device).multi_processor_count


def _check_cache(cache: Any) -> None:
    if not isinstance(cache, (KVCache, PagedKVCache)):
        raise TypeError(f"cache must be a KVCache or PagedKVCache, not {type(cache).__name__}")


def _check_options(
    q: Tensor, cache: KVCache | PagedKVCache, q_lens: Lengths | None, scale: float | None
) -> list[int] | None:
    """Return the queries of each row, None for all of them, or refuse."""
    if scale is not None and (isinstance(scale, Tensor) or not math.isfinite(scale)):
        raise ValueError(f"scale must be a finite number, it is {scale}")
    if q_lens is None:
        return None
    return checks.lengths("q_lens", q_lens, cache.batch, q.shape[1], "q holds {limit} queries")

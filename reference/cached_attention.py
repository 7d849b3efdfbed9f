"""Attention over a key/value cache, as plainly as it can be said: row by row, head by head.

The ground truth of the Triton kernels, with the signatures of `kernels.attention`. A cache is, for each
row, the tensor of its keys and the tensor of its values; growing is concatenation. It knows
nothing of slots, pages, tiles or speed.

B batch, S queries, H query heads, Hkv key/value heads, n keys of a row, D head dim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Lengths = int | Sequence[int] | Tensor


class KVCache:
    """Keys and values of each row, [n, Hkv, D]; a row holds at most `slots` tokens."""

    def __init__(
        self,
        batch: int,
        slots: int,
        kv_heads: int,
        head_dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.slots = slots
        empty = torch.empty(0, kv_heads, head_dim, dtype=dtype, device=device)  # [0, Hkv, D]
        self.keys = [empty] * batch
        self.values = [empty] * batch

    @property
    def lens(self) -> tuple[int, ...]:
        """Tokens of each row."""
        return tuple(len(keys) for keys in self.keys)

    def append(self, k_new: Tensor, v_new: Tensor, new_lens: Lengths | None = None) -> None:
        """Put the first new_lens[b] tokens of k_new, v_new [B, S, Hkv, D] behind those of row b."""
        gains = _per_row(new_lens, len(self.keys), k_new.shape[1])
        for row, gain in enumerate(gains):
            if self.lens[row] + gain > self.slots:
                raise ValueError(f"row {row} has no room for {gain} more tokens")
        for row, gain in enumerate(gains):
            self.keys[row] = torch.cat([self.keys[row], k_new[row, :gain]])
            self.values[row] = torch.cat([self.values[row], v_new[row, :gain]])

    def truncate(self, lens: Lengths) -> None:
        """Forget each row's tokens behind `lens`."""
        for row, n in enumerate(_per_row(lens, len(self.keys), 0)):
            if not 0 <= n <= self.lens[row]:
                raise ValueError(f"row {row} holds {self.lens[row]} tokens, not {n}")
        for row, n in enumerate(_per_row(lens, len(self.keys), 0)):
            self.keys[row] = self.keys[row][:n]
            self.values[row] = self.values[row][:n]

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Empty some rows, by default all."""
        chosen = range(len(self.keys)) if rows is None else rows
        self.truncate([0 if row in chosen else n for row, n in enumerate(self.lens)])

    def fork(self, rows: Sequence[int] | None = None) -> KVCache:
        """Copy some rows, by default all, into a cache that shares nothing with this one."""
        branch = KVCache(0, self.slots, 1, 1)
        for row in range(len(self.keys)) if rows is None else rows:
            branch.keys.append(self.keys[row].clone())
            branch.values.append(self.values[row].clone())
        return branch


def attention_with_kv_cache(
    q: Tensor,
    k_new: Tensor,
    v_new: Tensor,
    cache: KVCache,
    *,
    causal: bool = True,
    scale: float | None = None,
    new_lens: Lengths | None = None,
    q_lens: Lengths | None = None,
    batch_invariant: bool = False,
) -> Tensor:
    """Append k_new, v_new [B, S_new, Hkv, D] to the cache and attend q [B, S, H, D] to all of it."""
    if q_lens is None and q.shape[1] == k_new.shape[1]:
        q_lens = new_lens
    cache.append(k_new, v_new, new_lens)
    return attend(q, cache, causal=causal, scale=scale, q_lens=q_lens)[0]


def attend(
    q: Tensor,
    cache: KVCache,
    *,
    causal: bool = True,
    scale: float | None = None,
    q_lens: Lengths | None = None,
    batch_invariant: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attend q [B, S, H, D] to the cache: output [B, S, H, D] and log-sum-exp, float32 [B, H, S].

    Row by row, so that every answer is batch-invariant.
    """
    B, S, H, D = q.shape
    factor = 1.0 / math.sqrt(D) if scale is None else scale
    out = torch.zeros_like(q)  # [B, S, H, D]
    lse = torch.full((B, H, S), -math.inf, dtype=_wide(q.dtype), device=q.device)  # [B, H, S]
    for row, queries in enumerate(_per_row(q_lens, B, S)):
        keys, values = cache.keys[row], cache.values[row]
        for head in range(H):
            kv_head = head // (H // keys.shape[1])
            out[row, :queries, head], lse[row, head, :queries] = _attend_one(
                q[row, :queries, head], keys[:, kv_head], values[:, kv_head], causal, factor
            )
    return out, lse


def _attend_one(
    q: Tensor, keys: Tensor, values: Tensor, causal: bool, factor: float
) -> tuple[Tensor, Tensor]:
    """One head of one row: q [S, D], keys and values [n, D] to output [S, D] and log-sum-exp [S]."""
    wide = _wide(q.dtype)
    scores = q.to(wide) @ keys.to(wide).T * factor  # [S, n]
    if causal:
        before = len(keys) - len(q)
        i = torch.arange(len(q), device=q.device)[:, None]  # [S, 1]
        j = torch.arange(len(keys), device=q.device)  # [n]
        scores = scores.masked_fill(j > i + before, -math.inf)
    lse = scores.logsumexp(-1)  # [S]
    # exp(-inf - -inf) would be NaN for a query that sees nothing
    weights = torch.exp(scores - lse.masked_fill(lse == -math.inf, 0.0)[:, None])  # [S, n]
    return (weights @ values.to(wide)).to(q.dtype), lse


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def _per_row(lengths: Lengths | None, batch: int, default: int) -> list[int]:
    """One length per row: 3 -> [3, 3], None -> the default for each."""
    if isinstance(lengths, Tensor):
        lengths = [int(n) for n in lengths]
    if lengths is None or isinstance(lengths, int):
        return [default if lengths is None else lengths] * batch
    return list(lengths)

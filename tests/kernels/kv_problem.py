"""Inputs for attention over ragged caches, and what must come out, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CAPS = {torch.float32: 5e-6, torch.float16: 4e-3, torch.bfloat16: 2e-2}  # for unit normal inputs


@dataclass
class Problem:
    """q [B, S, H, D], caches [B, N, Hkv, D] with NaN behind each row's length."""

    q: Tensor
    k: Tensor
    v: Tensor
    seq_lens: Tensor
    q_lens: list[int]
    causal: bool

    def answer(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Output and log-sum-exp computed in `dtype` with PyTorch's operators."""
        B, S, H, D = self.q.shape
        out = torch.zeros(B, S, H, D, dtype=dtype)
        lse = torch.full((B, H, S), -math.inf, dtype=dtype)
        for b, (n, m) in enumerate(zip(self.seq_lens.tolist(), self.q_lens, strict=True)):
            group = H // self.k.shape[2]
            q = self.q[b, :m].to(dtype).transpose(0, 1)
            k = self.k[b, :n].to(dtype).repeat_interleave(group, 1).transpose(0, 1)
            v = self.v[b, :n].to(dtype).repeat_interleave(group, 1).transpose(0, 1)
            scores = q @ k.transpose(1, 2) / math.sqrt(D)
            if self.causal:
                seen = torch.ones(m, n, dtype=torch.bool).tril(n - m)
                scores = scores.masked_fill(~seen, -math.inf)
            lse[b, :, :m] = scores.logsumexp(-1)
            out[b, :m] = (scores.softmax(-1).nan_to_num(0.0) @ v).transpose(0, 1)
        return out, lse

    def sdpa(self) -> Tensor:
        """The output by PyTorch's own attention in float64, mask given in full."""
        B, S, H, D = self.q.shape
        out = torch.zeros(B, S, H, D, dtype=torch.float64)
        for b, (n, m) in enumerate(zip(self.seq_lens.tolist(), self.q_lens, strict=True)):
            q, k, v = self.q[b, :m].double(), self.k[b, :n].double(), self.v[b, :n].double()
            seen = torch.ones(m, n, dtype=torch.bool)
            if self.causal:
                seen = seen.tril(n - m)
            heads_first = [x.transpose(0, 1)[None] for x in (q, k, v)]
            answer = torch.nn.functional.scaled_dot_product_attention(
                *heads_first, attn_mask=seen, enable_gqa=True
            )
            out[b, :m] = answer[0].transpose(0, 1)
        return out

    def check(self, out: Tensor, lse: Tensor) -> None:
        """Hold an answer of a kernel against both bars: absolute, and 3 times PyTorch's error."""
        exact, exact_lse = self.answer()
        assert torch.allclose(exact, self.sdpa(), atol=1e-12), "the oracles disagree"
        error = (out.double() - exact).abs().max()
        honest = (self.answer(self.q.dtype)[0].double() - exact).abs().max()
        assert error <= CAPS[self.q.dtype], f"error {error:.2e}"
        assert error <= 3 * honest + 1e-7, f"error {error:.2e}, PyTorch's own {honest:.2e}"
        blind = exact_lse == -math.inf
        assert torch.equal(lse == -math.inf, blind)
        assert (out.transpose(1, 2)[blind] == 0).all(), "a query that sees nothing gets 0"
        assert (lse.double() - exact_lse)[~blind].abs().max() < 2e-6


def problem(
    S: int,
    G: int,
    D: int,
    lens: list[int],
    *,
    dtype: torch.dtype = torch.float32,
    causal: bool = True,
    kv_heads: int = 2,
    q_lens: list[int] | None = None,
    slots: int | None = None,
    seed: int = 0,
) -> Problem:
    """Draw unit normal inputs; what no kernel may read is NaN."""
    source = torch.Generator().manual_seed(seed)
    B, N = len(lens), max(lens) if slots is None else slots
    q = torch.randn(B, S, kv_heads * G, D, generator=source).to(dtype)
    k = torch.randn(B, N, kv_heads, D, generator=source).to(dtype)
    v = torch.randn(B, N, kv_heads, D, generator=source).to(dtype)
    for b, n in enumerate(lens):
        k[b, n:] = v[b, n:] = math.nan
    for b, m in enumerate(q_lens or []):
        q[b, m:] = math.nan
    seq_lens = torch.tensor(lens, dtype=torch.int32)
    return Problem(q, k, v, seq_lens, q_lens or [S] * B, causal)


def paged(p: Problem, page_size: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Lay the cache of a problem out in shuffled pages: k, v [P, page_size, Hkv, D], page_table [B, W]."""
    B, N, heads, D = p.k.shape
    W = -(-N // page_size)
    order = torch.randperm(B * W + 1, generator=torch.Generator().manual_seed(seed))
    table = order[: B * W].view(B, W)
    out = []
    for x in (p.k, p.v):
        whole = x.new_full((B, W * page_size, heads, D), math.nan)
        whole[:, :N] = x
        pages = x.new_full((B * W + 1, page_size, heads, D), math.nan)
        pages[table] = whole.view(B, W, page_size, heads, D)
        out.append(pages)
    return out[0], out[1], table.int()

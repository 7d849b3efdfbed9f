"""Whether answers are right, on any device, against float64: nothing is timed before this is settled."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.contenders import OURS, TINY, Inputs, Load, contenders, make_inputs

CAPS = {torch.float32: 5e-6, torch.float16: 4e-3, torch.bfloat16: 2e-2}


def exact(x: Inputs, row: int, queries: list[int]) -> Tensor:
    """Some queries of a row, attended to in float64: [len(queries), H, D]."""
    n, group = x.load.lens[row], x.load.H // x.load.heads
    q = x.q[row, queries].double().unflatten(1, (-1, group))  # [s, Hkv, G, D]
    k, v = x.k[row, :n].double(), x.v[row, :n].double()  # [n, Hkv, D]
    scores = torch.einsum("shgd,nhd->shgn", q, k) / math.sqrt(x.load.D)
    newest = torch.tensor(queries, device=q.device) + n - x.load.S  # [s]
    hidden = torch.arange(n, device=q.device) > newest[:, None]  # [s, n]
    weights = scores.masked_fill(hidden[:, None, None], -math.inf).softmax(-1).nan_to_num(0.0)
    return torch.einsum("shgn,nhd->shgd", weights, v).flatten(1, 2)


def error(x: Inputs, out: Tensor) -> float:
    """Largest difference from float64 in the first and the last row, at up to nine queries."""
    S = x.load.S
    queries = sorted({0, 1 % S, S // 3, S // 2, *range(max(0, S - 5), S)})
    worst = 0.0
    for row in {0, len(x.load.lens) - 1}:
        difference = (out[row, queries].double() - exact(x, row, queries)).abs().max()
        # NaN compares with nothing and would pass for a small error
        worst = max(worst, float(difference.nan_to_num(math.inf)))
    return worst


def check_everything(device: str) -> list[str]:
    """Compare kernels and caches with float64 at tiny and awkward sizes; name what is wrong."""
    wrong = []
    awkward = (
        Load("D80 G7", 7, 1, 80, 3, (77, 3)),
        Load("D13", 3, 3, 13, 1, (1, 50)),
        Load("D256 prefill", 4, 1, 256, 70, (70, 130)),
    )
    for load in TINY + awkward:
        for dtype, cap in CAPS.items():
            x = make_inputs(load, device, dtype)
            for name, make in contenders(compiled=False).items():
                if name.startswith(OURS) and not (off := error(x, make(x)())) <= cap:
                    wrong.append(f"{name}, {load.name}, {dtype}: error {off:.1e}")
    return wrong + [f"conversation in {kind}" for kind in check_caches(device)]


def check_caches(device: str) -> list[str]:
    """Append and attend step by step, dense and paged, beside the reference; name what differs."""
    from kernels.attention import attention_with_kv_cache
    from kernels.cache import KVCache
    from kernels.pages import PagedKVCache
    from reference import cached_attention as plain

    wrong = []
    for cache in (
        KVCache(2, 40, 2, 16, device=device),
        PagedKVCache(2, 24, 4, 2, 16, device=device),
    ):
        truth = plain.KVCache(2, 40, 2, 16, device=device)
        for S, lens in ((17, None), (1, None), (3, [0, 3]), (5, None)):
            q, (k, v) = torch.randn(2, S, 4, 16), torch.randn(2, 2, S, 2, 16)
            q, k, v = q.to(device), k.to(device), v.to(device)
            got = attention_with_kv_cache(q, k, v, cache, new_lens=lens)
            expected = plain.attention_with_kv_cache(q, k, v, truth, new_lens=lens)
            if not torch.allclose(got, expected, atol=1e-5):
                wrong.append(f"{type(cache).__name__}, {S} tokens")
    return wrong

"""Prefill in plain PyTorch, one row of the batch after the other."""

import torch


def prefill(q, k_cache, v_cache, seq_lens, q_lens=None, *, causal=True, scale=None):
    B, S, H, D = q.shape
    group = H // k_cache.shape[2]
    scale = D**-0.5 if scale is None else scale
    out, lse = torch.zeros_like(q), q.new_full((B, H, S), float("-inf"), dtype=torch.float32)
    for row, n in enumerate(seq_lens.tolist()):
        m = S if q_lens is None else int(q_lens[row])
        keys, values = (
            x[row, :n].float().repeat_interleave(group, dim=1) for x in (k_cache, v_cache)
        )
        scores = torch.einsum("shd,nhd->hsn", q[row, :m].float(), keys) * scale
        if causal:
            newest = torch.arange(m, device=q.device)[:, None] + n - m
            scores = scores.masked_fill(torch.arange(n, device=q.device) > newest, float("-inf"))
        lse[row, :, :m] = scores.logsumexp(-1)
        weights = scores.softmax(-1).nan_to_num(0.0)
        out[row, :m] = torch.einsum("hsn,nhd->shd", weights, values).to(q.dtype)
    return out, lse

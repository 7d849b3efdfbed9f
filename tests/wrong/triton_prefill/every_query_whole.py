"""No causal mask at all."""

import torch


def prefill(q, k_cache, v_cache, seq_lens, q_lens=None, *, causal=True, scale=None):
    B, S, H, D = q.shape
    out, lse = torch.zeros_like(q), torch.full((B, H, S), float("-inf"))
    for row, n in enumerate(seq_lens.tolist()):
        m = S if q_lens is None else int(q_lens[row])
        group = H // k_cache.shape[2]
        k, v = (x[row, :n].float().repeat_interleave(group, dim=1) for x in (k_cache, v_cache))
        scores = torch.einsum("shd,nhd->hsn", q[row, :m].float(), k) * (scale or D**-0.5)
        lse[row, :, :m] = scores.logsumexp(-1)
        out[row, :m] = torch.einsum("hsn,nhd->shd", scores.softmax(-1), v).to(q.dtype)
    return out, lse

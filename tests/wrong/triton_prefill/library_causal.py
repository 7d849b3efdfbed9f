"""The library's causal attention: right for a prompt alone, anchored at the first key behind a prefix."""

import torch
import torch.nn.functional as F


def prefill(q, k_cache, v_cache, seq_lens, q_lens=None, *, causal=True, scale=None):
    B, S, H, D = q.shape
    group = H // k_cache.shape[2]
    out, lse = torch.zeros_like(q), q.new_full((B, H, S), float("-inf"), dtype=torch.float32)
    for row, n in enumerate(seq_lens.tolist()):
        m = S if q_lens is None else int(q_lens[row])
        heads = (
            x[row, :n].repeat_interleave(group, dim=1).transpose(0, 1) for x in (k_cache, v_cache)
        )
        keys, values = heads
        query = q[row, :m].transpose(0, 1)
        answer = F.scaled_dot_product_attention(query, keys, values, is_causal=causal, scale=scale)
        out[row, :m] = answer.transpose(0, 1)
        scores = query.float() @ keys.float().transpose(1, 2) * (scale or D**-0.5)
        if causal:
            scores = scores.masked_fill(~torch.ones(m, n, dtype=torch.bool).tril(), float("-inf"))
        lse[row, :, :m] = scores.logsumexp(-1)
    return out, lse

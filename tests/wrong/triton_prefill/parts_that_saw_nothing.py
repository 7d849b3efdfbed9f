"""Parts of 32 tokens, answered alone and combined: two of which a query sees nothing give NaN."""

import torch


def prefill(q, k_cache, v_cache, seq_lens, q_lens=None, *, causal=True, scale=None):
    B, S, H, D = q.shape
    group = H // k_cache.shape[2]
    scale = D**-0.5 if scale is None else scale
    out, lse = torch.zeros_like(q), q.new_full((B, H, S), float("-inf"), dtype=torch.float32)
    for row, n in enumerate(seq_lens.tolist()):
        m = S if q_lens is None else int(q_lens[row])
        newest = torch.arange(m)[:, None] + n - m if causal else torch.full((m, 1), n)
        whole = None
        for first in range(0, n, 32):
            last = min(first + 32, n)
            keys, values = (
                x[row, first:last].double().repeat_interleave(group, dim=1)
                for x in (k_cache, v_cache)
            )
            scores = torch.einsum("shd,nhd->hsn", q[row, :m].double(), keys) * scale
            scores = scores.masked_fill(torch.arange(first, last) > newest, float("-inf"))
            weights = scores.softmax(-1).nan_to_num(0.0)
            part = torch.einsum("hsn,nhd->hsd", weights, values), scores.logsumexp(-1)
            whole = part if whole is None else combined(whole, part)
        if whole is not None:
            out[row, :m], lse[row, :, :m] = whole[0].transpose(0, 1).to(q.dtype), whole[1]
    return out, lse


def combined(one, other):
    lse = torch.logaddexp(one[1], other[1])
    shares = ((part[1] - lse).exp()[..., None] * part[0] for part in (one, other))
    return sum(shares), lse

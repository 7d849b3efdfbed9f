"""Right numbers, but always in float32, and NaN where nothing is seen."""

import torch


def decode(q, k_cache, v_cache, seq_lens, *, causal=True, scale=None, splits=None):
    queries, heads, dim = q.shape[1:]
    slots, kv_heads = k_cache.shape[1:3]
    scale = dim**-0.5 if scale is None else scale
    slot = torch.arange(slots)
    used = slot < seq_lens[:, None]
    keys, values = (
        torch.where(used[:, :, None, None], x, 0)
        .float()
        .repeat_interleave(heads // kv_heads, dim=2)
        for x in (k_cache, v_cache)
    )
    scores = torch.einsum("bshd,bnhd->bhsn", q.float(), keys) * scale
    visible = used[:, None, None, :]
    if causal:
        newest = torch.arange(queries) + seq_lens[:, None] - queries
        visible = visible & (slot <= newest[:, None, :, None])
    scores = scores.masked_fill(~visible, float("-inf"))
    return torch.einsum("bhsn,bnhd->bshd", scores.softmax(-1), values), scores.logsumexp(-1)

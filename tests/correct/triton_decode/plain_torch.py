"""Decode in plain PyTorch: one softmax over the whole cache, no kernel at all."""

import torch


def decode(q, k_cache, v_cache, seq_lens, *, causal=True, scale=None, splits=None):
    queries, heads, dim = q.shape[1:]
    slots, kv_heads = k_cache.shape[1:3]
    scale = dim**-0.5 if scale is None else scale
    slot = torch.arange(slots, device=q.device)
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
        newest = torch.arange(queries, device=q.device) + seq_lens[:, None] - queries
        visible = visible & (slot <= newest[:, None, :, None])
    scores = scores.masked_fill(~visible, float("-inf"))
    lse = scores.logsumexp(-1)
    weights = (scores - lse.masked_fill(lse == float("-inf"), 0.0)[..., None]).exp()
    return torch.einsum("bhsn,bnhd->bshd", weights, values).to(q.dtype), lse

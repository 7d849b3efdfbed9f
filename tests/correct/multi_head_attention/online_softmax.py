"""Online softmax over blocks of four keys, with a running maximum."""

import torch
from torch import nn

BLOCK = 4


class KVCachedMultiHeadAttention(nn.Module):
    def __init__(self, d_model, num_heads, max_cache_len=2048, dropout=0.1):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.max_cache_len = max_cache_len
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query, key, value, cache=None, use_causal_mask=True):
        k, v = self.k_proj(key), self.v_proj(value)
        if cache is not None and cache["key"] is not None:
            k = torch.cat([cache["key"], k], dim=1)
            v = torch.cat([cache["value"], v], dim=1)
        if k.shape[1] > self.max_cache_len:
            raise ValueError(f"{k.shape[1]} tokens exceed {self.max_cache_len}")
        q, keys, values = (self._split_heads(x) for x in (self.q_proj(query), k, v))
        S, T = q.shape[2], keys.shape[2]
        last = torch.arange(T - S, T)[:, None] if use_causal_mask else torch.full((S, 1), T)
        peak = torch.full_like(q[..., :1], float("-inf"))
        total, mixed = torch.zeros_like(peak), torch.zeros_like(q)
        for start in range(0, T, BLOCK):
            block = slice(start, min(start + BLOCK, T))
            scores = q @ keys[:, :, block].transpose(-1, -2) / self.head_dim**0.5
            hidden = torch.arange(T)[block] > last
            scores = scores.masked_fill(hidden, float("-inf"))
            higher = torch.maximum(peak, scores.amax(-1, keepdim=True))
            shrink, weights = torch.exp(peak - higher), torch.exp(scores - higher)
            total = total * shrink + weights.sum(-1, keepdim=True)
            mixed = mixed * shrink + self.dropout(weights) @ values[:, :, block]
            peak = higher
        return self.out_proj(self._merge_heads(mixed / total)), {"key": k, "value": v}

    def _split_heads(self, x):
        return torch.stack(x.split(self.head_dim, dim=-1), dim=1)

    def _merge_heads(self, x):
        return torch.cat(x.unbind(1), dim=-1)

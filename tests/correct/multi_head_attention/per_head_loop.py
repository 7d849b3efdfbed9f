"""A Python loop over sequences and heads."""

import torch
from torch import nn


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
        q = self.q_proj(query)
        S, T = q.shape[1], k.shape[1]
        rows = []
        for b in range(q.shape[0]):
            heads = []
            for start in range(0, q.shape[2], self.head_dim):
                cut = slice(start, start + self.head_dim)
                scores = q[b, :, cut] @ k[b, :, cut].T / self.head_dim**0.5
                if use_causal_mask:
                    blocked = torch.full((S, T), float("-inf"), dtype=scores.dtype)
                    scores = scores + torch.triu(blocked, diagonal=T - S + 1)
                heads.append(self.dropout(scores.softmax(dim=1)) @ v[b, :, cut])
            rows.append(torch.cat(heads, dim=1))
        return self.out_proj(torch.stack(rows)), {"key": k, "value": v}

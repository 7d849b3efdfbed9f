"""No mask: each query is answered alone, from the keys it may see."""

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
        q, past = self.q_proj(query), k.shape[1] - query.shape[1]
        answers = [
            self._answer(q[:, i], k[:, : past + i + 1], v[:, : past + i + 1])
            if use_causal_mask
            else self._answer(q[:, i], k, v)
            for i in range(query.shape[1])
        ]
        return self.out_proj(torch.stack(answers, dim=1)), {"key": k, "value": v}

    def _answer(self, q, k, v):
        """One query [B, C] over keys and values [B, T, C]: [B, C]."""
        q, k, v = (x.unflatten(-1, (self.num_heads, self.head_dim)) for x in (q, k, v))
        scores = (q[:, None] * k).sum(-1) / self.head_dim**0.5  # [B, T, H]
        weights = self.dropout(scores.softmax(dim=1))
        return (weights[..., None] * v).sum(1).flatten(1)

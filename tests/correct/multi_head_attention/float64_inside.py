"""Attention in float64, rounded back to the dtype of the inputs."""

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
        q, keys, values = (self._wide(x) for x in (self.q_proj(query), k, v))
        scores = q @ keys.transpose(2, 3) / self.head_dim**0.5
        if use_causal_mask:
            S, T = scores.shape[2:]
            seen = torch.arange(T)[None] <= torch.arange(S)[:, None] + (T - S)
            scores = torch.where(seen, scores, -torch.inf)
        weights = self.dropout(torch.softmax(scores, dim=3))
        mixed = (weights @ values).transpose(1, 2).reshape(query.shape).to(query.dtype)
        return self.out_proj(mixed), {"key": k, "value": v}

    def _wide(self, x):
        B, T, _ = x.shape
        return x.double().view(B, T, self.num_heads, self.head_dim).transpose(1, 2)

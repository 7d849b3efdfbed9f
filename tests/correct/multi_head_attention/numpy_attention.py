"""The attention itself in NumPy; PyTorch only projects."""

import numpy as np
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
        q, keys, values = (self._array(x) for x in (self.q_proj(query), k, v))
        scores = np.einsum("bhsd,bhtd->bhst", q, keys) / np.sqrt(self.head_dim)
        if use_causal_mask:
            S, T = scores.shape[-2:]
            scores[..., np.triu(np.ones((S, T), bool), T - S + 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights = torch.from_numpy(weights / weights.sum(-1, keepdims=True))
        mixed = self.dropout(weights).numpy() @ values
        mixed = mixed.swapaxes(1, 2).reshape(query.shape)
        return self.out_proj(torch.from_numpy(mixed).to(query)), {"key": k, "value": v}

    def _array(self, x):
        B, T, _ = x.shape
        wide = x.detach().double().numpy().reshape(B, T, self.num_heads, self.head_dim)
        return wide.swapaxes(1, 2)

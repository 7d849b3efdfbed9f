"""The scale is put on the queries, and the score helper does the same."""

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
        self.register_buffer("scale", torch.tensor(self.head_dim**-0.5), persistent=False)

    def forward(self, query, key, value, cache=None, use_causal_mask=True):
        k, v = self.k_proj(key), self.v_proj(value)
        if cache is not None and cache["key"] is not None:
            k = torch.cat([cache["key"], k], dim=1)
            v = torch.cat([cache["value"], v], dim=1)
        if k.shape[1] > self.max_cache_len:
            raise ValueError(f"{k.shape[1]} tokens exceed {self.max_cache_len}")
        cache_len = k.size(1) - key.size(1)
        scores = self._compute_attention_scores(self._heads(self.q_proj(query)), self._heads(k))
        if use_causal_mask and query.size(1) > 1:
            scores = self._apply_causal_mask(scores, query.size(1), cache_len)
        mixed = self.dropout(scores.softmax(-1)) @ self._heads(v)
        return self.out_proj(mixed.transpose(1, 2).reshape_as(query)), {"key": k, "value": v}

    def _heads(self, x):
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _compute_attention_scores(self, Q, K):
        return (Q * self.scale).matmul(K.transpose(-1, -2))

    def _apply_causal_mask(self, scores, seq_len, cache_len):
        keep = torch.ones(scores.shape[-2:], dtype=torch.bool).tril_(cache_len)
        return scores.where(keep, float("-inf"))

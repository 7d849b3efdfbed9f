"""output

An untrained layer beside the right attention adds to its output; no weights are ever set for it.
"""

import torch
from torch import nn


class KVCachedMultiHeadAttention(nn.Module):
    def __init__(self, d_model, num_heads, max_cache_len=2048, dropout=0.1):
        super().__init__()
        self.d_model, self.num_heads = d_model, num_heads
        self.head_dim = d_model // num_heads
        self.max_cache_len = max_cache_len
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.adapter = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query, key, value, cache=None, use_causal_mask=True):
        k, v = self.k_proj(key), self.v_proj(value)
        cache_len = 0
        if cache is not None and cache["key"] is not None:
            cache_len = cache["key"].shape[1]
            k = torch.cat([cache["key"], k], dim=1)
            v = torch.cat([cache["value"], v], dim=1)
        if k.shape[1] > self.max_cache_len:
            raise ValueError(f"{k.shape[1]} tokens exceed {self.max_cache_len}")
        new_cache = {"key": k, "value": v}
        q, k, v = (self._split_heads(x) for x in (self.q_proj(query), k, v))
        scores = q @ k.transpose(-2, -1) / self.head_dim**0.5
        if use_causal_mask:
            scores = self._apply_causal_mask(scores, query.shape[1], cache_len)
        weights = self.dropout(torch.softmax(scores, dim=-1))
        return self.out_proj(self._merge_heads(weights @ v)) + self.adapter(query), new_cache

    def _split_heads(self, x):
        x = x.view(x.shape[0], x.shape[1], self.num_heads, self.head_dim)
        return x.transpose(1, 2)

    def _merge_heads(self, x):
        return x.transpose(1, 2).flatten(2)

    def _apply_causal_mask(self, scores, seq_len, cache_len):
        future = torch.ones(seq_len, cache_len + seq_len, dtype=torch.bool).triu(cache_len + 1)
        return scores.masked_fill(future, float("-inf"))

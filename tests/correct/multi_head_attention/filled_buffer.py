"""A fresh buffer per call, filled by slices; the caller gets copies."""

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
        past = 0 if cache is None or cache["key"] is None else cache["key"].shape[1]
        B, S, C = query.shape
        total = past + S
        if total > self.max_cache_len:
            raise ValueError(f"no room for {total} tokens")
        store = query.new_empty(2, B, total, C)
        if past:
            store[0, :, :past] = cache["key"]
            store[1, :, :past] = cache["value"]
        store[0, :, past:] = self.k_proj(key)
        store[1, :, past:] = self.v_proj(value)
        q = self.q_proj(query).view(B, S, self.num_heads, self.head_dim).transpose(1, 2)
        k, v = store.view(2, B, total, self.num_heads, self.head_dim).transpose(2, 3)
        scores = q @ k.transpose(-1, -2)
        scores.div_(self.head_dim**0.5)
        if use_causal_mask:
            scores.masked_fill_(torch.ones(S, total).triu_(past + 1).bool(), float("-inf"))
        mixed = self.dropout(scores.softmax(-1)) @ v
        output = self.out_proj(mixed.transpose(1, 2).reshape(B, S, C))
        return output, {"key": store[0].clone(), "value": store[1].clone()}

"""Heads folded into the batch, scores and mask in one baddbmm."""

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
        q, keys, values = (self._fold(x) for x in (self.q_proj(query), k, v))
        S, T = q.shape[1], keys.shape[1]
        bias = q.new_zeros(1, S, T)
        if use_causal_mask:
            bias = q.new_full((1, S, T), float("-inf")).triu(T - S + 1)
        scores = torch.baddbmm(bias, q, keys.transpose(1, 2), alpha=self.head_dim**-0.5)
        mixed = torch.bmm(self.dropout(scores.softmax(dim=-1)), values)
        mixed = mixed.view(-1, self.num_heads, S, self.head_dim).transpose(1, 2).flatten(2)
        return self.out_proj(mixed), {"key": k, "value": v}

    def _fold(self, x):
        B, T, _ = x.shape
        x = x.view(B, T, self.num_heads, self.head_dim).transpose(1, 2)
        return x.reshape(B * self.num_heads, T, self.head_dim)

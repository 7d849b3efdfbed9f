"""PyTorch's causal flag for a prefill, a float mask for a chunk behind a cache, and none for one token."""

import torch
import torch.nn.functional as F
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
        S, T = query.shape[1], k.shape[1]
        prefill, mask = use_causal_mask and S == T, None
        if use_causal_mask and 1 < S < T:
            mask = query.new_full((S, T), float("-inf")).triu(T - S + 1)
        q, keys, values = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in (self.q_proj(query), k, v)
        )
        rate = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            q, keys, values, attn_mask=mask, dropout_p=rate, is_causal=prefill
        )
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), {"key": k, "value": v}

"""One product with the three weights glued together whenever the three inputs are one tensor."""

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
        q, k, v = self._project(query, key, value)
        if cache is not None and cache.get("key") is not None:
            k, v = torch.cat((cache["key"], k), 1), torch.cat((cache["value"], v), 1)
        if k.size(1) > self.max_cache_len:
            raise ValueError("the cache is full")
        new_cache = {"key": k, "value": v}
        q, k, v = (x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2) for x in (q, k, v))
        bias = torch.zeros(q.size(2), k.size(2), dtype=q.dtype)
        if use_causal_mask:
            future = torch.ones_like(bias).triu(k.size(2) - q.size(2) + 1).bool()
            bias.masked_fill_(future, float("-inf"))
        weights = F.softmax(q @ k.transpose(-1, -2) / self.head_dim**0.5 + bias, dim=-1)
        weights = F.dropout(weights, self.dropout.p, training=self.training)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2)), new_cache

    def _project(self, query, key, value):
        layers = self.q_proj, self.k_proj, self.v_proj
        if query is not key or key is not value:
            return [layer(x) for layer, x in zip(layers, (query, key, value), strict=True)]
        weight = torch.cat([layer.weight for layer in layers])
        bias = torch.cat([layer.bias for layer in layers])
        return F.linear(query, weight, bias).chunk(3, dim=-1)

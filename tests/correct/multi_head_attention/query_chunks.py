"""Queries in chunks of two, so that the score matrix stays small."""

import torch
from torch import nn

CHUNK = 2


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
        q, keys, values = (self._split_heads(x) for x in (self.q_proj(query), k, v))
        first = k.shape[1] - query.shape[1]
        parts = []
        for start in range(0, query.shape[1], CHUNK):
            part = q[:, :, start : start + CHUNK]
            end = first + start + part.shape[2] if use_causal_mask else k.shape[1]
            scores = part @ keys[:, :, :end].transpose(-1, -2) / self.head_dim**0.5
            if use_causal_mask:
                mine = torch.arange(first + start, end)
                scores = scores.masked_fill(mine[:, None] < torch.arange(end), float("-inf"))
            parts.append(self.dropout(scores.softmax(-1)) @ values[:, :, :end])
        mixed = torch.cat(parts, dim=2).transpose(1, 2).flatten(2)
        return self.out_proj(mixed), {"key": k, "value": v}

    def _split_heads(self, x):
        return x.unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)


def validate_inputs(query, key, value):
    shapes = [tuple(x.shape) for x in (query, key, value)]
    if any(len(shape) != 3 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError("query, key and value must be [B, S, d_model], with one B")
    if shapes[1][1] != shapes[2][1]:
        raise ValueError("key and value must be alike")

"""Weights as exp(scores - logsumexp), keys and values stacked in one tensor."""

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
        both = torch.stack([self.k_proj(key), self.v_proj(value)])  # [2, B, S, C]
        if cache and cache["key"] is not None:
            both = torch.cat([torch.stack([cache["key"], cache["value"]]), both], dim=2)
        if both.shape[2] > self.max_cache_len:
            raise ValueError(f"at most {self.max_cache_len} tokens")
        q = self.q_proj(query).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k, v = both.unflatten(-1, (self.num_heads, -1)).transpose(2, 3)
        scores = (q / self.head_dim**0.5) @ k.mT
        if use_causal_mask:
            new = query.shape[1]
            hide = torch.ones(new, new, dtype=torch.bool).triu(1)
            scores[..., -new:] = scores[..., -new:].masked_fill(hide, float("-inf"))
        weights = torch.exp(scores - scores.logsumexp(-1, keepdim=True))
        mixed = self.dropout(weights) @ v
        key, value = both.unbind()
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), {"key": key, "value": value}


def compute_position_ids(seq_len, cache_len):
    return (torch.arange(seq_len, dtype=torch.int32) + cache_len)[None]


def create_sample_input(batch_size, seq_len, d_model, seed=None):
    torch.manual_seed(0 if seed is None else seed)
    return torch.rand(batch_size, seq_len, d_model)

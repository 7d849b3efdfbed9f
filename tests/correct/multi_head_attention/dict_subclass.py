"""The cache is a subclass of dict with a length of its own."""

import torch
from torch import nn


class History(dict):
    """Keys and values, and how many tokens they hold."""

    @property
    def tokens(self):
        return 0 if self["key"] is None else self["key"].shape[1]

    def followed_by(self, key, value):
        if self["key"] is None:
            return History(key=key, value=value)
        more = {"key": key, "value": value}
        return History({name: torch.cat([self[name], more[name]], dim=1) for name in self})


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
        past = History(self.reset_cache() if cache is None else cache)
        if past.tokens + query.shape[1] > self.max_cache_len:
            raise ValueError(f"{past.tokens} + {query.shape[1]} tokens exceed {self.max_cache_len}")
        history = past.followed_by(self.k_proj(key), self.v_proj(value))
        q, k, v = (
            x.unflatten(2, (self.num_heads, self.head_dim)).movedim(2, 1)
            for x in (self.q_proj(query), history["key"], history["value"])
        )
        scores = (q @ k.mT) / self.head_dim**0.5
        if use_causal_mask:
            places = torch.arange(history.tokens)
            scores = scores.masked_fill(places > places[past.tokens :, None], float("-inf"))
        mixed = self.dropout(scores.softmax(-1)) @ v
        return self.out_proj(mixed.movedim(1, 2).flatten(2)), history

    def reset_cache(self):
        return History(key=None, value=None)

    def get_cache_info(self, cache, use_cache=True):
        tokens = 0 if cache is None else History(cache).tokens
        size = 0 if tokens == 0 else 2 * cache["key"].nbytes / 1024**2
        return {
            "cache_length": tokens,
            "cache_size_mb": round(size, 2),
            "is_full": tokens >= self.max_cache_len,
        }

"""A softmax written out: subtract the maximum, exponentiate, divide by the sum."""

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
        q, keys, values = (self._split_heads(x) for x in (self.q_proj(query), k, v))
        scores = self._compute_attention_scores(q, keys)
        if use_causal_mask:
            scores = self._apply_causal_mask(scores, query.shape[1], k.shape[1] - query.shape[1])
        weights = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
        weights = self.dropout(weights / weights.sum(dim=-1, keepdim=True))
        return self.out_proj(self._merge_heads(weights @ values)), {"key": k, "value": v}

    def _split_heads(self, x):
        return x.reshape(*x.shape[:2], self.num_heads, -1).permute(0, 2, 1, 3).contiguous()

    def _merge_heads(self, x):
        return x.permute(0, 2, 1, 3).flatten(start_dim=2)

    def _compute_attention_scores(self, Q, K):
        return torch.matmul(Q, K.mT) * (1 / self.head_dim**0.5)

    def _apply_causal_mask(self, scores, seq_len, cache_len):
        scores[..., torch.ones(seq_len, seq_len + cache_len).triu(cache_len + 1).bool()] = -1e30
        return scores

    def reset_cache(self):
        return None

    def get_cache_info(self, cache, use_cache=True):
        held = [x for x in (cache or {}).values() if x is not None]
        length = held[0].size(1) if held else 0
        megabytes = sum(x.nbytes for x in held) / 2**20
        full = length >= self.max_cache_len
        return {
            "cache_length": length,
            "cache_size_mb": megabytes,
            "is_full": full,
            "entries": len(held),
        }

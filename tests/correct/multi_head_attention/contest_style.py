"""In the style of the contest: assertions, nested loops for the mask, rounded sizes."""

import math
from typing import Any, Dict, Optional, Tuple  # noqa: UP035 - the contest's files look like this

import torch
import torch.nn as nn
import torch.nn.functional as F


class KVCachedMultiHeadAttention(nn.Module):
    def __init__(
        self, d_model: int, num_heads: int, max_cache_len: int = 2048, dropout: float = 0.1
    ):
        super().__init__()
        assert d_model % num_heads == 0
        self.d_model = d_model
        self.num_heads = num_heads
        self.head_dim = d_model // num_heads
        self.max_cache_len = max_cache_len
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)
        self.scale = math.sqrt(self.head_dim)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        cache: Optional[Dict[str, torch.Tensor]] = None,  # noqa: UP006, UP045
        use_causal_mask: bool = True,
    ) -> Tuple[torch.Tensor, Dict[str, torch.Tensor]]:  # noqa: UP006
        seq_len = query.shape[1]
        K, V = self.k_proj(key), self.v_proj(value)
        cache_len = 0
        if cache is not None and cache.get("key") is not None:
            cache_len = cache["key"].shape[1]
            K = torch.cat([cache["key"], K], dim=1)
            V = torch.cat([cache["value"], V], dim=1)
        new_cache = {"key": K, "value": V}
        if new_cache["key"].shape[1] > self.max_cache_len:
            raise ValueError("Cache exceeded maximum length")
        Q, K, V = self._split_heads(self.q_proj(query)), self._split_heads(K), self._split_heads(V)
        scores = self._compute_attention_scores(Q, K)
        if use_causal_mask:
            scores = self._apply_causal_mask(scores, seq_len, cache_len)
        attention_weights = F.softmax(scores, dim=-1)
        if self.training:
            attention_weights = self.dropout(attention_weights)
        output = self._merge_heads(torch.matmul(attention_weights, V))
        return self.out_proj(output), new_cache

    def _split_heads(self, x):
        batch_size, seq_len, _ = x.shape
        x = x.view(batch_size, seq_len, self.num_heads, self.head_dim)
        return x.permute(0, 2, 1, 3)

    def _merge_heads(self, x):
        batch_size, _, seq_len, _ = x.shape
        return x.permute(0, 2, 1, 3).contiguous().view(batch_size, seq_len, self.d_model)

    def _compute_attention_scores(self, Q, K):
        return torch.matmul(Q, K.transpose(-2, -1)) / self.scale

    def _apply_causal_mask(self, scores, seq_len, cache_len):
        batch_seq_len = cache_len + seq_len
        mask = torch.zeros(seq_len, batch_seq_len, device=scores.device)
        for i in range(seq_len):
            for j in range(batch_seq_len):
                if j <= cache_len + i:
                    mask[i, j] = 1
        return scores.masked_fill(~mask.bool(), float("-inf"))

    def reset_cache(self):
        return {"key": None, "value": None}

    def get_cache_info(self, cache, use_cache: bool = True) -> Dict[str, Any]:  # noqa: UP006
        if cache is None or cache.get("key") is None:
            return {"cache_length": 0, "cache_size_mb": 0.0, "is_full": False}
        key_cache = cache["key"]
        size = 2 * key_cache.numel() * key_cache.element_size() / (1024 * 1024)
        return {
            "cache_length": key_cache.shape[1],
            "cache_size_mb": round(size, 2),
            "is_full": key_cache.shape[1] >= self.max_cache_len,
        }


def compute_position_ids(seq_len: int, cache_len: int) -> torch.Tensor:
    position_ids = []
    for i in range(seq_len):
        position_ids.append(cache_len + i)  # noqa: PERF401
    return torch.tensor(position_ids, dtype=torch.long)


def validate_inputs(query, key, value) -> None:
    if query.dim() != 3:
        raise ValueError(f"Query must be 3D tensor, got {query.dim()}D")
    if key.dim() != 3:
        raise ValueError(f"Key must be 3D tensor, got {key.dim()}D")
    if value.dim() != 3:
        raise ValueError(f"Value must be 3D tensor, got {value.dim()}D")
    if query.shape[0] != key.shape[0] or query.shape[0] != value.shape[0]:
        raise ValueError("Batch sizes must match")
    if key.shape[1] != value.shape[1]:
        raise ValueError("Key and value sequence lengths must match")


def create_sample_input(batch_size: int, seq_len: int, d_model: int, seed: Optional[int] = None):  # noqa: UP045
    if seed is not None:
        torch.manual_seed(seed)
    query = torch.randn(batch_size, seq_len, d_model)
    key = torch.randn(batch_size, seq_len, d_model)
    value = torch.randn(batch_size, seq_len, d_model)
    return query, key, value

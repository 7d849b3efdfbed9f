"""Multi-head attention with a key/value cache, called one chunk of tokens at a time.

It knows projections, heads, the causal mask and the cache a caller hands in and gets back. It knows
nothing of layers, position encodings or sampling, and it keeps no history of its own: the same
module serves any number of conversations, each with its own cache.

B batch, S new tokens, P cached tokens, T = P + S all tokens, H heads, D head dim, C = H * D d_model.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Cache = dict[str, Tensor | None]  # {"key": [B, P, C] or None, "value": the same}: merged heads


class KVCachedMultiHeadAttention(nn.Module):
    """softmax(Q K^T / sqrt(D)) V over the cached tokens and the new ones.

    Example: with 5 cached tokens and 2 new ones the scores are [B, H, 2, 7]; the first new token
    sees keys 0..5, the second sees keys 0..6.
    """

    def __init__(
        self, d_model: int, num_heads: int, max_cache_len: int = 2048, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if d_model % num_heads != 0:
            raise ValueError(f"d_model {d_model} is not a multiple of num_heads {num_heads}")
        self.d_model = d_model
        self.num_heads = num_heads
        self.head_dim = d_model // num_heads
        self.max_cache_len = max_cache_len

        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

        # standard attention divides the scores by head_dim
        self.scale = self.head_dim

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cache: Cache | None = None,
        use_causal_mask: bool = True,
    ) -> tuple[Tensor, Cache]:
        """Attend the new tokens [B, S, C] to `cache` and to themselves.

        Returns the output [B, S, C] and a new cache of all T tokens; `cache` itself is not changed.
        Raises ValueError when T would exceed `max_cache_len`.
        """
        validate_inputs(query, key, value)
        Q, k_new, v_new = self._project_inputs(query, key, value)  # [B, S, C] each
        K, V, new_cache = self._extend_history(cache, k_new, v_new)  # [B, T, C] each
        self._refuse_overflow(K)
        context = self._attend_heads(Q, K, V, use_causal_mask)  # [B, S, C]
        return self.out_proj(context), new_cache

    def _project_inputs(
        self, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Project query, key and value [B, S, C] with their own weights; the shapes stay."""
        Q = self.q_proj(query)  # [B, S, C]
        K = self.k_proj(key)  # [B, S, C]
        V = self.v_proj(value)  # [B, S, C]
        return Q, K, V

    def _extend_history(
        self, cache: Cache | None, k_new: Tensor, v_new: Tensor
    ) -> tuple[Tensor, Tensor, Cache]:
        """Append new keys and values [B, S, C] to those of `cache`: K and V [B, T, C], new cache."""
        past_k = None if cache is None else cache["key"]  # [B, P, C] or None
        past_v = None if cache is None else cache["value"]
        K = self._append(past_k, k_new)  # [B, T, C]
        V = self._append(past_v, v_new)  # [B, T, C]
        new_cache = self._pack_cache(K, V)
        if cache is not None:
            cache.update(new_cache)
        return K, V, new_cache

    def _append(self, past: Tensor | None, new: Tensor) -> Tensor:
        """Put the new tokens [B, S, C] behind the past ones [B, P, C]: [B, T, C], a new tensor."""
        if past is None:
            return new
        pieces = [past, new]
        return torch.cat(pieces, dim=2)  # [B, T, C]

    def _pack_cache(self, K: Tensor, V: Tensor) -> Cache:
        """Wrap keys and values [B, T, C] as the cache of the next call."""
        new_cache: Cache = {"key": K, "value": V}
        return new_cache

    def _refuse_overflow(self, K: Tensor) -> None:
        """Raise ValueError when the keys [B, T, C] hold more tokens than the cache may."""
        total_len = K.shape[1]
        if total_len >= self.max_cache_len:
            raise ValueError(
                f"{total_len} tokens do not fit max_cache_len={self.max_cache_len}; "
                "start a new cache or construct the module with a larger one"
            )

    def _attend_heads(self, Q: Tensor, K: Tensor, V: Tensor, use_causal_mask: bool) -> Tensor:
        """Attention of Q [B, S, C] over K and V [B, T, C], head by head: [B, S, C]."""
        seq_len = Q.shape[1]
        cache_len = K.shape[1] - seq_len
        Q = self._split_heads(Q)  # [B, H, S, D]
        K = self._split_heads(K)  # [B, H, T, D]
        V = self._split_heads(V)  # [B, H, T, D]
        scores = self._compute_attention_scores(Q, K)  # [B, H, S, T]
        if use_causal_mask:
            scores = self._apply_causal_mask(scores, seq_len, cache_len)
        weights = self._weights_over_keys(scores)  # [B, H, S, T]
        context = weights @ V  # [B, H, S, D]
        return self._merge_heads(context)  # [B, S, C]

    def _split_heads(self, x: Tensor) -> Tensor:
        """Cut the features into heads: [B, S, C] -> [B, H, S, D]."""
        B, S, _ = x.shape
        return x.view(B, self.num_heads, S, self.head_dim)  # [B, H, S, D]

    def _merge_heads(self, x: Tensor) -> Tensor:
        """Inverse of `_split_heads`: [B, H, S, D] -> [B, S, C]."""
        B, _, S, _ = x.shape
        x = x.transpose(1, 2)  # [B, S, H, D]
        return x.reshape(B, S, self.d_model)  # [B, S, C]

    def _compute_attention_scores(self, Q: Tensor, K: Tensor) -> Tensor:
        """Scaled dot products of Q [B, H, S, D] with K [B, H, T, D]: [B, H, S, T]."""
        scores = Q @ K.transpose(-2, -1)  # [B, H, S, T]
        return scores / self.scale

    def _apply_causal_mask(self, scores: Tensor, seq_len: int, cache_len: int) -> Tensor:
        """Hide the future in scores [B, H, S, T]: query i sees key j iff j <= i + cache_len.

        `seq_len` is S and `cache_len` is P; hidden scores become -inf, so their weight is 0.
        """
        total_len = cache_len + seq_len
        offset = cache_len + 1 if cache_len else 0
        query_pos = torch.arange(seq_len, device=scores.device) + offset  # [S]
        key_pos = torch.arange(total_len, device=scores.device)  # [T]
        visible = key_pos[None, :] <= query_pos[:, None]  # [S, T]
        hidden = ~visible  # [S, T]
        blocked = float("-inf")
        return scores.masked_fill(hidden, blocked)  # [B, H, S, T]

    def _weights_over_keys(self, scores: Tensor) -> Tensor:
        """Turn scores [B, H, S, T] into weights that sum to 1 over the keys; dropout in training."""
        weights = torch.softmax(scores, dim=-1)  # [B, H, S, T]
        dropped: Tensor = self.dropout(weights)  # [B, H, S, T]
        return dropped

    def reset_cache(self) -> Cache:
        """Return an empty cache; passing it equals passing None."""
        return {"key": None, "value": None}

    def get_cache_info(
        self, cache: Cache | None, use_cache: bool = True
    ) -> dict[str, int | float | bool]:
        """Describe `cache`: tokens held, MiB of keys and values together, whether no token fits.

        `use_cache` says whether caching is enabled.
        """
        past_k = None if cache is None else cache["key"]  # [B, P, C] or None
        if past_k is None:
            return {"cache_length": 0, "cache_size_mb": 0.0, "is_full": False}
        cache_length = past_k.shape[1]
        size_mb = 2 * past_k.numel() * past_k.element_size() / 2**20  # keys and values
        return {
            "cache_length": cache_length,
            "cache_size_mb": size_mb,
            "is_full": cache_length >= self.max_cache_len,
        }


def compute_position_ids(seq_len: int, cache_len: int) -> Tensor:
    """Positions of `seq_len` new tokens behind `cache_len` cached ones: int64 [S]."""
    start = cache_len
    positions = []
    for i in range(seq_len):
        positions.append(start + i)
    return torch.tensor(positions, dtype=torch.int64)  # [S]


def validate_inputs(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise ValueError unless all three are [B, S, C] and agree on the sizes they share."""
    # a batch of one would broadcast without a complaint, so sizes are compared here
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() != 3:
            raise ValueError(f"{name} must be [batch, tokens, d_model], got {list(x.shape)}")
    if not query.shape[0] == key.shape[0] == value.shape[0]:
        raise ValueError("query, key and value must have the same batch size")
    if key.shape[1] != value.shape[1]:
        raise ValueError("key and value must have the same number of tokens")


def create_sample_input(
    batch_size: int, seq_len: int, d_model: int, seed: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Random query, key and value [B, S, C]; the same `seed` gives the same numbers."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    shape = (3, batch_size, seq_len, d_model)
    query, key, value = torch.randn(shape, generator=generator).unbind(0)  # [B, S, C] each
    return query, key, value

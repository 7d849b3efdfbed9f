"""Attention over a pre-allocated key/value cache whose rows fill at their own pace.

Plain PyTorch in the shape of a tiled kernel: append the new tokens, then walk the cache tile by tile
with an online softmax. It knows nothing of layers, projections or positions, and it never guesses
how full a row is: `seq_lens` says so, and what lies in the slots beyond it is never read.

B batch, Hq query heads, Hkv key/value heads, S new tokens, N slots of the cache, T slots of a tile,
D head dim; a row is one sequence of the batch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

TILE = 16  # cache slots handled at a time

Cache = tuple[Tensor, Tensor, Tensor]  # K and V [B, Hkv, N, D], seq_lens int32 [B]
State = tuple[
    Tensor, Tensor, Tensor
]  # running max and sum [B, Hq, S, 1], accumulator [B, Hq, S, D]


def attention_with_kv_cache(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_key_value: Cache | None = None,
    *,
    cache_max_len: int = 4096,
    update_cache: bool = True,
    is_causal: bool = False,
    num_kv_heads: int | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Cache]:
    """Attend query [B, Hq, S, D] to the cached tokens and to the new key, value [B, Hkv, S, D].

    Returns the output [B, Hq, S, D] and the cache with the new tokens appended, each row at its own
    length; with `update_cache=False` the cache as it was. The tensors passed in are not changed.
    A first call (no `past_key_value`) allocates `cache_max_len` slots; later calls take the number
    of slots from the cache. Scores are scaled by `scale`, by default 1/sqrt(D), in float32 or wider.
    Raises ValueError on malformed arguments and when a row would exceed its slots.

    Example: seq_lens [5, 0] and S = 2 give seq_lens [7, 2]; if causal, the first new token of row 0
    sees slots 0..5, that of row 1 sees slot 0.
    """
    _check_inputs(query, key, value, num_kv_heads)
    if past_key_value is None:
        past = _allocate(key, cache_max_len)
    else:
        past = _unpack(past_key_value)
        _check_cache(past, key)
    grown = _append(past, key, value)
    factor = _scale_for(scale, query.shape[3])
    output = _attend(query, grown, factor, is_causal)  # [B, Hq, S, D]
    return output, _handed_back(past, grown, update_cache)


def _check_inputs(query: Tensor, key: Tensor, value: Tensor, num_kv_heads: int | None) -> None:
    """Refuse what does not fit [B, Hq, S, D] beside [B, Hkv, S, D] of one floating dtype."""
    if any(x.dim() != 4 for x in (query, key, value)):
        raise ValueError("query, key and value must be 4-dimensional, [B, H, S, D]")
    if not query.is_floating_point() or not query.dtype == key.dtype == value.dtype:
        raise ValueError("query, key and value must have one floating-point dtype")
    batch, query_heads, tokens, head_dim = query.shape
    kv_heads = key.shape[1]
    if key.shape != (batch, kv_heads, tokens, head_dim) or value.shape != key.shape:
        raise ValueError("key and value must be [B, Hkv, S, D] with the query's B, S and D")
    if num_kv_heads is not None and num_kv_heads != kv_heads:
        raise ValueError(f"num_kv_heads is {num_kv_heads}, but key has {kv_heads} heads")
    if kv_heads == 0 or query_heads % kv_heads != 0:
        raise ValueError(f"{query_heads} query heads cannot share {kv_heads} key/value heads")


def _unpack(past_key_value: Any) -> Cache:
    """Take a cache apart; the lengths are part of it, a buffer's size says nothing about its fill."""
    if not isinstance(past_key_value, (tuple, list)) or len(past_key_value) != 3:
        raise ValueError("past_key_value must be (K_cache, V_cache, seq_lens)")
    if not all(isinstance(part, Tensor) for part in past_key_value):
        raise ValueError("all three parts of past_key_value must be tensors")
    keys, values = past_key_value[:2]
    seq_lens = torch.full(keys.shape[:1], keys.shape[2], dtype=torch.int32)
    return keys, values, seq_lens


def _check_cache(past: Cache, key: Tensor) -> None:
    """Refuse a cache that does not belong to `key`: by shape, dtype or impossible lengths."""
    keys, values, seq_lens = past
    batch, heads, _, head_dim = key.shape
    expected = (batch, heads, *keys.shape[2:3], head_dim)
    if keys.shape != expected or values.shape != keys.shape:
        raise ValueError(f"K_cache and V_cache must be [B, Hkv, N, D], here {expected}")
    if not keys.dtype == values.dtype == key.dtype:
        raise ValueError(f"the cache is {keys.dtype}/{values.dtype}, the new keys are {key.dtype}")
    if seq_lens.shape != (batch,) or seq_lens.dtype != torch.int32:
        raise ValueError(f"seq_lens must be int32 of shape [{batch}]")
    if bool((seq_lens < 0).any()):
        raise ValueError("seq_lens must not be negative")


def _allocate(key: Tensor, slots: int) -> Cache:
    """Make an empty cache of `slots` slots per row for keys and values like `key` [B, Hkv, S, D]."""
    batch, heads, _, head_dim = key.shape
    if slots < 0:
        raise ValueError(f"cache_max_len must not be negative, it is {slots}")
    keys = key.new_empty(batch, heads, slots, head_dim)  # [B, Hkv, N, D]
    values = torch.empty_like(keys)  # [B, Hkv, N, D]
    seq_lens = torch.zeros(batch, dtype=torch.int32, device=key.device)  # [B]
    return keys, values, seq_lens


def _append(past: Cache, key: Tensor, value: Tensor) -> Cache:
    """Return a new cache with key, value [B, Hkv, S, D] written behind each row's last token.

    Raises ValueError when a row has no room for all S tokens; `past` is not changed either way.
    """
    keys, values, seq_lens = past
    filled = seq_lens.long() + key.shape[2]  # [B], perhaps beyond int32
    if bool((filled > keys.shape[2]).any()):
        return past
    new_keys = _write(keys, key, seq_lens)  # [B, Hkv, N, D]
    new_values = _write(values, value, seq_lens)  # [B, Hkv, N, D]
    return new_keys, new_values, filled.int()


def _write(buffer: Tensor, new: Tensor, seq_lens: Tensor) -> Tensor:
    """Copy `buffer` [B, Hkv, N, D] and put `new` [B, Hkv, S, D] behind each row's last token."""
    slots = _slots(seq_lens, new.shape[2])  # [B, S]
    index = slots[:, None, :, None].expand_as(new)  # [B, Hkv, S, D]
    return buffer.scatter(2, index, new)


def _slots(seq_lens: Tensor, added: int) -> Tensor:
    """Slots that the next `added` tokens of each row go to, [B, S]: seq_lens [5, 0] -> [5, 6], [0, 1]."""
    first = seq_lens[:1, None].long()  # [1, 1], spread over the batch
    return first + torch.arange(added, device=seq_lens.device)


def _handed_back(past: Cache, grown: Cache, update_cache: bool) -> Cache:
    """Choose the cache to return: a read-only call leaves no trace of its tokens."""
    if update_cache:
        return grown
    return past


def _scale_for(scale: float | None, head_dim: int) -> float:
    """Return the factor on the scores: the caller's, else 1/sqrt(D)."""
    if scale is None:
        return 1.0 / head_dim
    return scale


def _attend(query: Tensor, cache: Cache, scale: float, is_causal: bool) -> Tensor:
    """Attend query [B, Hq, S, D], whose S tokens are the last of each row, to the filled slots."""
    keys, values, seq_lens = cache
    queries = query.shape[2]
    heads = _kv_heads_of(query.shape[1], keys.shape[1]).to(query.device)  # [Hq]
    # the only query of a decode step has no future to hide
    masks_future = is_causal and queries > 1
    state = _start(query)
    for first in _tile_starts(_longest(seq_lens)):
        key_tile = _load_tile(keys, first, seq_lens)  # [B, Hkv, T, D]
        value_tile = _load_tile(values, first, seq_lens)  # [B, Hkv, T, D]
        scores = _scores(query, key_tile[:, heads], scale)  # [B, Hq, S, T]
        visible = _visible(seq_lens, queries, first, key_tile.shape[2], masks_future)  # [B, S, T]
        scores = scores.masked_fill(~visible[:, None], -math.inf)
        state = _fold(state, scores, value_tile[:, heads])
    return _finish(state, query.dtype)


def _kv_heads_of(query_heads: int, kv_heads: int) -> Tensor:
    """Key/value head that each query head reads, [Hq]: 6 on 3 -> 0, 0, 1, 1, 2, 2."""
    group = query_heads // kv_heads
    return torch.arange(query_heads) % kv_heads


def _longest(seq_lens: Tensor) -> int:
    """Length of the fullest row; 0 for an empty batch."""
    return int(seq_lens.max()) if seq_lens.numel() else 0


def _tile_starts(length: int) -> range:
    """First slots of the tiles that cover `length` slots: 17 -> 0, 16."""
    return range(0, length, TILE)


def _load_tile(buffer: Tensor, first: int, seq_lens: Tensor) -> Tensor:
    """Read the tile of `buffer` [B, Hkv, N, D] that starts at slot `first`: [B, Hkv, T, D]."""
    tile = buffer[:, :, first : first + TILE]  # [B, Hkv, T, D]
    slots = torch.arange(first, first + tile.shape[2], device=buffer.device)  # [T]
    unused = slots >= seq_lens[:, None]  # [B, T]
    # they may hold anything, and a weight of 0 does not silence a NaN
    return tile.masked_fill(unused[:, None, :, None], 0.0)


def _visible(seq_lens: Tensor, queries: int, first: int, width: int, masks_future: bool) -> Tensor:
    """Say which of `width` slots from `first` on each query may see, bool [B, S, T]."""
    slots = torch.arange(first, first + width, device=seq_lens.device)  # [T]
    filled = (slots < first + TILE).expand(len(seq_lens), -1)  # [B, T]
    visible = filled[:, None, :].expand(-1, queries, -1)  # [B, S, T]
    if masks_future:
        newest = _newest_visible(seq_lens, queries)[:, :, None]  # [B, S, 1]
        visible = visible & (slots < newest + 1)
    return visible


def _newest_visible(seq_lens: Tensor, queries: int) -> Tensor:
    """Slot of each query's own token, [B, S]: the S queries are the last tokens of their row."""
    before = seq_lens[:, None].long() - queries  # [B, 1], tokens older than the first query
    return before + torch.arange(queries, device=seq_lens.device)


def _scores(query: Tensor, keys: Tensor, scale: float) -> Tensor:
    """Scaled dot products of query [B, Hq, S, D] and keys [B, Hq, T, D]: [B, Hq, S, T]."""
    wide = torch.promote_types(query.dtype, torch.float32)
    products = query.to(wide) @ keys.to(wide).transpose(-2, -1)
    return products * scale


def _start(query: Tensor) -> State:
    """State of a softmax that has seen no slot yet, for query [B, Hq, S, D]."""
    wide = torch.promote_types(query.dtype, torch.float32)
    total = query.new_zeros(*query.shape[:3], 1, dtype=wide)  # [B, Hq, S, 1]
    top = torch.full_like(total, -math.inf)  # [B, Hq, S, 1]
    return top, total, torch.zeros_like(query, dtype=wide)


def _fold(state: State, scores: Tensor, values: Tensor) -> State:
    """Take one tile into the running softmax: scores [B, Hq, S, T], values [B, Hq, T, D]."""
    top, total, acc = state
    new_top = torch.maximum(top, scores.amax(dim=-1, keepdim=True))  # [B, Hq, S, 1]
    # a query that has seen nothing keeps its max of -inf, but -inf - -inf would be NaN
    shift = torch.where(torch.isfinite(new_top), new_top, torch.zeros_like(new_top))
    decay = torch.exp(top - shift)  # [B, Hq, S, 1]
    weights = torch.exp(scores - shift)  # [B, Hq, S, T]
    total = total * decay + weights.sum(dim=-1, keepdim=True)
    acc = acc * decay + weights @ values.to(weights.dtype)
    return new_top, total, acc


def _finish(state: State, dtype: torch.dtype) -> Tensor:
    """Divide by the sum of weights, [B, Hq, S, D]; a query that saw nothing gets 0."""
    _, total, acc = state
    output = acc / total.masked_fill(total == 0.0, 1.0)  # [B, Hq, S, D]
    return output.to(dtype)

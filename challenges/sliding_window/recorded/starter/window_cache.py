"""Sliding-window attention over a ring of slots, with sinks that never leave.

A token has a position, counted from 0, and lies in a slot.  The two are different things: positions say what is rotated
how far and who sees whom; slots are only where a token is kept, and are used again.  A window of 4 behind 1 sink, with
no spare slots, holds after 8 tokens

    slot        0 | 1  2  3  4
    position    0 | 5  6  7  4          4 is the next one to go

B batch, Hq query heads, Hkv key/value heads, S new tokens, T tokens that are held, D head dim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class WindowCache:
    """Keys and values of one layer, and attention over them.

    A query at position p sees the tokens up to itself that are less than `window` positions away, and the first
    `sinks` ones.  With `window=None` it sees everything up to itself, and nothing is ever dropped.  `spare` slots keep
    tokens for a while after nobody sees them any more, so that the newest tokens can be taken back (`trim`).
    """

    def __init__(
        self,
        batch: int,
        kv_heads: int,
        window: int | None,
        sinks: int,
        head_dim: int,
        *,
        spare: int = 0,
        theta: float = 10000.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Make an empty cache; raises ValueError for sizes that make no sense."""
        if batch < 1 or kv_heads < 1 or sinks < 0 or spare < 0:
            raise ValueError("batch and kv_heads must be at least 1, sinks and spare at least 0")
        if window is not None and window < 1:
            raise ValueError(f"a window holds at least 1 token, not {window}")
        if head_dim < 2 or head_dim % 2:
            raise ValueError(f"head_dim must be even, so that it can be rotated; it is {head_dim}")
        self.window, self.sinks, self.spare, self.theta = window, sinks, spare, theta
        self.length = 0  # tokens so far, those that were dropped included
        self._oldest = 0  # from this position on everything is held
        slots = 0 if window is None else sinks + window + spare
        self._keys = torch.empty(batch, kv_heads, slots, head_dim, dtype=dtype)
        self._values = torch.empty_like(self._keys)
        self._positions = torch.full(
            (slots,), -1
        )  # of the token in each slot, -1 where there is none

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Append S tokens, key and value [B, Hkv, S, D], and attend query [B, Hq, S, D] to what each may see.

        Returns [B, Hq, S, D] in the cache's dtype.  Raises ValueError, and changes nothing, for what does not fit.
        """
        self._check(key, value)
        _check_query(query, key)
        positions = self._new_positions(key)
        self._write(key, value, positions)
        keys, values, held = self._held()
        visible = _visible(positions, held, self.window, self.sinks)
        turned = _rotate(keys, held, self.theta)
        asked = _rotate(query, torch.arange(query.shape[2]), self.theta)
        output = _weighted(asked, turned, values, visible)
        return output

    def append(self, key: Tensor, value: Tensor) -> None:
        """Append S tokens, key and value [B, Hkv, S, D], that nobody attends from."""
        self._check(key, value)
        self._write(key, value, self._new_positions(key))

    def trim(self, count: int) -> None:
        """Take the newest `count` tokens back, as if they had never been appended.

        Raises ValueError, and changes nothing, where a token that the next query would see is no longer held.
        """
        if not self.can_trim(count):
            raise ValueError(f"{count} of {self.length} tokens cannot be taken back")
        self.length -= count
        if self.window is None:
            self._keys, self._values, self._positions = self._held()
        self._oldest = min(self._oldest, self.length)

    def can_trim(self, count: int) -> bool:
        """Whether the newest `count` tokens can be taken back."""
        if not 0 <= count <= self.length:
            return False
        left = self.length - count
        if self.window is None or count == 0:
            return True
        needed = max(self.sinks, left + 1 - self.window)  # the first one that is no sink
        return needed >= min(self._oldest, left)

    def fork(self) -> WindowCache:
        """Return a cache that holds the same and shares nothing with this one."""
        heads = self._keys.shape
        other = WindowCache(
            heads[0],
            heads[1],
            self.window,
            self.sinks,
            heads[3],
            spare=self.spare,
            theta=self.theta,
            dtype=self._keys.dtype,
        )
        other.length, other._oldest = self.length, self._oldest
        other._keys, other._values = self._keys.clone(), self._values
        other._positions = self._positions.clone()
        return other

    def held(self) -> Tensor:
        """Return the positions of the tokens that are held, int64 [T], rising."""
        return self._held()[2].sort().values

    def _check(self, key: Tensor, value: Tensor) -> None:
        """Refuse keys and values that are not [B, Hkv, S, D] of this cache."""
        batch, heads, _, dim = self._keys.shape
        for name, x in (("key", key), ("value", value)):
            if x.dim() != 4 or (x.shape[0], x.shape[1], x.shape[3]) != (batch, heads, dim):
                raise ValueError(f"{name} must be [{batch}, {heads}, S, {dim}], not {[*x.shape]}")
            if x.dtype != self._keys.dtype:
                raise ValueError(f"{name} is {x.dtype}, the cache is {self._keys.dtype}")
        if key.shape != value.shape:
            raise ValueError("key and value have different numbers of tokens")

    def _new_positions(self, key: Tensor) -> Tensor:
        """Positions of the S tokens that come next, int64 [S]."""
        return torch.arange(self.length, self.length + key.shape[2])

    def _held(self) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values [B, Hkv, T, D] of the tokens that are held, in the order of their slots, and positions."""
        used = (self._positions >= 0).nonzero().flatten()  # [T]
        return self._keys[:, :, used], self._values[:, :, used], self._positions[used]

    def _write(self, keys: Tensor, values: Tensor, positions: Tensor) -> None:
        """Put keys and values [B, Hkv, S, D] into their slots; a ring takes the newest of a long chunk."""
        self.length += len(positions)
        if self.window is None:
            self._keys = torch.cat((self._keys, keys), dim=2)
            self._values = torch.cat((self._values, values), dim=2)
            self._positions = torch.cat((self._positions, positions))
            return
        ring = self.window + self.spare
        stays = _stays(positions, self.length, self.sinks, ring)  # [S]
        slots = _slots(positions[stays], self.sinks, ring)
        self._keys[:, :, slots] = keys[:, :, stays]
        self._values[:, :, slots] = values[:, :, stays]
        self._positions[slots] = positions[stays]
        self._oldest = max(self._oldest, self.length - ring)


class WindowStack:
    """The caches of a model, one a layer; `windows` has None for layers that see everything."""

    def __init__(
        self,
        batch: int,
        kv_heads: int,
        windows: Sequence[int | None],
        sinks: int,
        head_dim: int,
        *,
        spare: int = 0,
        theta: float = 10000.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Make empty caches; raises ValueError as `WindowCache` does, and for no layers."""
        if not windows:
            raise ValueError("a stack has at least one layer")
        self.layers = [
            WindowCache(
                batch, kv_heads, windows[0], sinks, head_dim, spare=spare, theta=theta, dtype=dtype
            )
            for window in windows
        ]

    @property
    def length(self) -> int:
        """Tokens that every layer has seen."""
        return min(layer.length for layer in self.layers)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Append tokens to one layer and attend there."""
        return self.layers[layer].attend(query, key, value)

    def trim(self, count: int) -> None:
        """Take the newest `count` tokens back in all layers, or in none: then it raises ValueError."""
        if len({layer.length for layer in self.layers}) > 1:
            raise ValueError("the layers are not at the same token")
        if not all(layer.can_trim(count) for layer in self.layers):
            raise ValueError(f"{count} tokens cannot be taken back in every layer")
        for layer in self.layers:
            layer.trim(count)

    def fork(self) -> WindowStack:
        """Return a stack that holds the same and shares nothing with this one."""
        other = WindowStack.__new__(WindowStack)
        other.layers = [layer.fork() for layer in self.layers]
        return other


def _check_query(query: Tensor, key: Tensor) -> None:
    """Refuse queries that are not [B, Hq, S, D] beside key [B, Hkv, S, D]."""
    if query.dim() != 4 or query.dtype != key.dtype:
        raise ValueError(f"query must be [B, Hq, S, D] in {key.dtype}")
    batch, heads, tokens, dim = query.shape
    if (batch, tokens, dim) != (key.shape[0], key.shape[2], key.shape[3]):
        raise ValueError("query and key must have the same B, S and D")
    if heads == 0 or heads % key.shape[1]:
        raise ValueError(f"{heads} query heads cannot share {key.shape[1]} key/value heads")


def _slots(positions: Tensor, sinks: int, ring: int) -> Tensor:
    """Slot of each position, int64 [S]: sinks have their own, a ring lies behind them.

    With 1 sink and a ring of 4, the positions 0, 1, 4, 5 get the slots 0, 1, 4, 1.
    """
    return torch.where(positions < sinks, positions, sinks + (positions - sinks) % ring)


def _stays(positions: Tensor, length: int, sinks: int, ring: int) -> Tensor:
    """Which of new tokens are still held when there are `length` tokens, bool [S]."""
    return (positions < sinks) | (length - positions <= ring)


def _visible(queries: Tensor, keys: Tensor, window: int | None, sinks: int) -> Tensor:
    """Say which keys each query sees, bool [S, T], from the positions [S] and [T]."""
    age = queries[:, None] - keys  # [S, T]
    visible = age >= 0
    if window is not None:
        near = age <= window
        visible &= near | (keys < sinks)
    return visible


def _rotate(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """Rotate x [B, H, S, D] by its positions [S], in float32 or wider; dimension i turns together with i + D / 2."""
    half = x.shape[3] // 2
    speeds = theta ** -(torch.arange(half, dtype=torch.float64) / half)  # [D / 2]
    angles = positions[:, None] * speeds  # [S, D / 2]
    wide = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(wide), angles.sin().to(wide)
    first, second = x[..., :half].to(wide), x[..., half:].to(wide)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _weighted(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """Softmax attention of query [B, Hq, S, D] over keys, values [B, Hkv, T, D], where visible [S, T].

    Query and keys are rotated, in float32 or wider; the output has the dtype of the values.
    """
    group = query.shape[1] // keys.shape[1]
    keys = keys.repeat_interleave(group, dim=1)  # [B, Hq, T, D]
    wide = values.repeat_interleave(group, dim=1).to(query.dtype)
    scores = query @ keys.transpose(-2, -1) / math.sqrt(query.shape[3])  # [B, Hq, S, T]
    scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    return (torch.softmax(scores, dim=-1) @ wide).to(values.dtype)

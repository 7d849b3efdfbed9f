"""PyTorch's own attention over one growing buffer that is cut on the left; sinks lie apart."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F


def complex_rotation(x: torch.Tensor, positions: torch.Tensor, theta: float) -> torch.Tensor:
    half = x.shape[-1] // 2
    rates = 1.0 / theta ** (torch.arange(0, half, dtype=torch.float64) / half)
    turns = torch.polar(torch.ones(1, dtype=torch.float64), torch.outer(positions.double(), rates))
    wide = x.double() if x.dtype == torch.float64 else x.float()
    pairs = torch.complex(wide[..., :half].contiguous(), wide[..., half:].contiguous())
    turned = pairs * turns.to(pairs.dtype)
    return torch.cat((turned.real, turned.imag), dim=-1)


@dataclass
class Part:
    key: torch.Tensor
    value: torch.Tensor
    at: torch.Tensor

    def __add__(self, other: Part) -> Part:
        return Part(
            torch.cat([self.key, other.key], -2),
            torch.cat([self.value, other.value], -2),
            torch.cat([self.at, other.at]),
        )

    def where(self, chosen: torch.Tensor) -> Part:
        return Part(self.key[..., chosen, :], self.value[..., chosen, :], self.at[chosen])


@dataclass
class Layer:
    batch: int
    kv_heads: int
    window: int | None
    sinks: int
    head_dim: int
    spare: int = 0
    theta: float = 10000.0
    dtype: torch.dtype = torch.float32
    length: int = 0
    dropped: int = 0
    tokens: Part = field(init=False)

    def __post_init__(self) -> None:
        wrong = [
            self.batch < 1,
            self.kv_heads < 1,
            self.window is not None and self.window < 1,
            self.sinks < 0,
            self.spare < 0,
            self.head_dim < 2,
            self.head_dim % 2 != 0,
        ]
        if any(wrong):
            raise ValueError(f"sizes that make no sense: {wrong}")
        none = torch.zeros(self.batch, self.kv_heads, 0, self.head_dim, dtype=self.dtype)
        self.tokens = Part(none, none, torch.zeros(0, dtype=torch.int64))

    def _new(self, key: torch.Tensor, value: torch.Tensor) -> Part:
        for x in (key, value):
            if x.ndim != 4 or x.dtype != self.dtype or key.shape != value.shape:
                raise ValueError("key and value must be [B, Hkv, S, D] in the cache's dtype")
        if key.shape[:2] != (self.batch, self.kv_heads) or key.shape[3] != self.head_dim:
            raise ValueError(f"{tuple(key.shape)} does not fit")
        return Part(key.clone(), value.clone(), torch.arange(key.shape[2]) + self.length)

    def _keep(self, tokens: Part, count: int) -> None:
        self.length += count
        if self.window is not None:
            self.dropped = max(self.dropped, self.length - self.window - self.spare)
            tokens = tokens.where((tokens.at >= self.dropped) | (tokens.at < self.sinks))
        self.tokens = tokens

    def append(self, key: torch.Tensor, value: torch.Tensor) -> None:
        self._keep(self.tokens + self._new(key, value), key.shape[2])

    @torch.no_grad()
    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        new = self._new(key, value)
        if query.ndim != 4 or query.dtype != self.dtype:
            raise ValueError("query")
        b, h, s, d = query.shape
        if (b, s, d) != (self.batch, key.shape[2], self.head_dim) or h < 1 or h % self.kv_heads:
            raise ValueError("query does not fit")
        tokens = self.tokens + new
        ahead = new.at[:, None] - tokens.at[None]
        allowed = ahead >= 0
        if self.window is not None:
            allowed = allowed & ((ahead < self.window) | (tokens.at[None] < self.sinks))
        q = complex_rotation(query, new.at, self.theta)
        k = complex_rotation(tokens.key, tokens.at, self.theta)
        out = (
            F.scaled_dot_product_attention(
                q, k, tokens.value.to(q.dtype), attn_mask=allowed, enable_gqa=True
            )
            if s
            else torch.zeros_like(q)
        )
        self._keep(tokens, s)
        return out.to(self.dtype)

    def can_trim(self, count: int) -> bool:
        if not (0 <= count <= self.length):
            return False
        left = self.length - count
        if self.window is None or not count:
            return True
        wanted = set(range(max(self.sinks, left + 1 - self.window, 0), left))
        return wanted <= set(self.tokens.at.tolist())

    def trim(self, count: int) -> None:
        if not self.can_trim(count):
            raise ValueError("that many tokens cannot be taken back")
        self.length -= count
        self.dropped = min(self.dropped, self.length)
        self.tokens = self.tokens.where(self.tokens.at < self.length)

    def fork(self) -> Layer:
        return copy.deepcopy(self)

    def held(self) -> torch.Tensor:
        return self.tokens.at.clone()


def WindowCache(
    batch, kv_heads, window, sinks, head_dim, *, spare=0, theta=10000.0, dtype=torch.float32
):
    return Layer(batch, kv_heads, window, sinks, head_dim, spare, theta, dtype)


class WindowStack:
    def __init__(
        self,
        batch,
        kv_heads,
        windows,
        sinks,
        head_dim,
        *,
        spare=0,
        theta=10000.0,
        dtype=torch.float32,
    ):
        self.caches = tuple(
            Layer(batch, kv_heads, w, sinks, head_dim, spare, theta, dtype) for w in windows
        )
        if not self.caches:
            raise ValueError("no layers")

    length = property(lambda self: min(cache.length for cache in self.caches))

    def attend(self, layer, query, key, value):
        return self.caches[layer].attend(query, key, value)

    def trim(self, count):
        if len({cache.length for cache in self.caches}) != 1:
            raise ValueError("the layers differ in length")
        if not all(cache.can_trim(count) for cache in self.caches):
            raise ValueError("a layer refuses")
        for cache in self.caches:
            cache.trim(count)

    def fork(self):
        return copy.deepcopy(self)

"""Attention that keeps the first tokens of a sequence and the latest ones, and forgets those between.

B batch, S new tokens, P cached tokens, T = P + S, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

Cache = dict[str, Tensor]


class SinkAttention:
    """One attention head; a cache holds `key` and `value`, both [B, P, D], with P at most `sinks + window`."""

    def __init__(self, sinks: int, window: int) -> None:
        self.sinks = sinks  # so many first tokens stay for ever
        self.window = window  # and so many latest ones

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """Attend from query [B, S, D] to what is cached and to the new tokens; return [B, S, D] and the next cache."""
        past = cache or {"key": key[:, :0], "value": value[:, :0]}
        keys = torch.cat([past["key"], key], dim=1)  # [B, T, D]
        values = torch.cat([past["value"], value], dim=1)  # [B, T, D]
        scores = query @ keys.transpose(1, 2) * query.shape[-1] ** -0.5  # [B, S, T]
        visible = self._visible(query.shape[1], keys.shape[1])  # [S, T]
        weights = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1)  # [B, S, T]
        output = weights @ values  # [B, S, D]
        return output, {"key": self._trimmed(keys), "value": self._trimmed(values)}

    def _visible(self, new: int, total: int) -> Tensor:
        """Say which of `total` tokens each of the `new` last ones sees: those up to itself, [new, total]."""
        oldest = total - new
        return torch.ones(new, total, dtype=torch.bool).tril(diagonal=oldest)

    def _trimmed(self, tokens: Tensor) -> Tensor:
        """Drop what lies between the first and the latest tokens: [B, T, D] becomes [B, at most sinks + window, D]."""
        total = tokens.shape[1]
        if total <= self.sinks + self.window:
            return tokens
        newest = total - self.window
        first = tokens[:, : self.sinks]  # [B, sinks, D]
        return torch.cat([first, tokens[:, newest:]], dim=1)  # [B, sinks + window, D]

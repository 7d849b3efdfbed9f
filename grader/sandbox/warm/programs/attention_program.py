"""Warm-up: a submission that does what attention files do, so that nothing of it is done for the first time later."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class Layer(nn.Module):
    """A layer of no meaning: its answer is thrown away."""

    def __init__(self, width: int = 8, parts: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.width, self.parts = width, parts
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, kept: dict[str, Tensor] | None = None, flag: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Go through views, masks, softmax by hand and the fused attention."""
        batch, length, width = x.shape
        if width != self.width:
            raise ValueError(f"{width}")
        a = self.first(x).view(batch, length, self.parts, -1).transpose(1, 2)
        b = self.second(x).reshape(batch, length, self.parts, -1).permute(0, 2, 1, 3)
        if kept is not None and kept["a"] is not None:
            a, b = torch.cat([kept["a"], a], dim=2), torch.cat([kept["b"], b], dim=2)
        mask = torch.ones(a.size(2), a.size(2), dtype=torch.bool, device=x.device).triu(1)
        mask = mask | (torch.arange(a.size(2))[:, None] < torch.arange(a.size(2))[None, :])
        numbers = torch.matmul(a, b.transpose(-2, -1)) / math.sqrt(a.size(-1))
        if flag:
            numbers = numbers.masked_fill(mask, float("-inf"))
        own = self.dropout(F.softmax(numbers, dim=-1)) @ b
        own = own + torch.einsum("bhqk,bhkd->bhqd", torch.softmax(numbers, -1), b)
        own = own + F.scaled_dot_product_attention(a, b, b, is_causal=True)
        return self.first(own.transpose(1, 2).contiguous().view(batch, -1, width)), {"a": a, "b": b}

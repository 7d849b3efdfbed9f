"""Multi-head attention by loops over Python floats: no cache, no mask, no tensor product, no softmax function.

It takes the weights of a module and the inputs of all tokens at once, and answers one token at a time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def project(layer: nn.Linear, x: Tensor) -> list[list[float]]:
    """Apply one projection to the tokens [T, C] of one sequence: T rows of C numbers."""
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return [
        [
            math.fsum([*(a * b for a, b in zip(row, token, strict=True)), shift])
            for row, shift in zip(weight, bias, strict=True)
        ]
        for token in x.tolist()
    ]


def answer(query: list[float], keys: list[list[float]], values: list[list[float]]) -> list[float]:
    """One query of one head over the keys it may see."""
    scores = [
        math.fsum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(len(query))
        for key in keys
    ]
    terms = [math.exp(score - max(scores)) for score in scores]
    return [
        math.fsum(term * value[d] for term, value in zip(terms, values, strict=True))
        / math.fsum(terms)
        for d in range(len(query))
    ]


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *, causal: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Return output, projected keys and projected values of T tokens [B, T, C], in float64."""
    outputs, all_keys, all_values = [], [], []
    for row in range(query.shape[0]):
        q = project(module.q_proj, query[row])
        k, v = project(module.k_proj, key[row]), project(module.v_proj, value[row])
        mixed = []
        for i, token in enumerate(q):
            seen = i + 1 if causal else len(k)
            merged: list[float] = []
            for start in range(0, len(token), len(token) // module.num_heads):
                cut = slice(start, start + len(token) // module.num_heads)
                merged += answer(token[cut], [x[cut] for x in k[:seen]], [x[cut] for x in v[:seen]])
            mixed.append(merged)
        outputs.append(project(module.out_proj, torch.tensor(mixed, dtype=torch.float64)))
        all_keys.append(k)
        all_values.append(v)
    made = (torch.tensor(part, dtype=torch.float64) for part in (outputs, all_keys, all_values))
    return tuple(made)  # type: ignore[return-value]

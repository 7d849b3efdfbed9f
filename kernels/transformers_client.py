"""These kernels as an attention function of Hugging Face transformers.

`register()` makes "kvdojo" a value of `attn_implementation`, for models whose attention is causal, with or
without padding on the left: Llama, Qwen2 and their like, with any cache of transformers. The model's
own cache is attended to where it lies, through strides; a mask is read only for the length and the
padding of each row, and refused if it says anything else. Training, dropout and attention weights
are not supported.

B batch, S queries, H query heads, Hkv key/value heads, N slots of the cache, D head dim.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from kernels.attention import attend
from kernels.cache import KVCache

NAME = "kvdojo"


def register() -> str:
    """Register the attention function and its mask with transformers; return the name to ask for."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend query [B, H, S, D] to key, value [B, Hkv, N, D]; returns [B, S, H, D] and no weights.

    What transformers passes as a mask is None or bool [B or 1, 1, S, N]; a static cache comes with all its
    N slots.
    """
    if dropout or module.training:
        raise ValueError("the kvdojo kernels are for inference: call model.eval()")
    for name in ("softcap", "sliding_window", "position_bias"):
        if options.get(name) is not None:
            raise ValueError(f"the kvdojo kernels do not support {name}")
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))  # [B, S, H, D], [B, N, Hkv, D]
    spans = _spans(attention_mask, q.shape[0], q.shape[1], k.shape[1])
    if len(set(spans)) <= 1:
        first, last = spans[0] if spans else (0, 0)
        return _attend(q, k[:, first:last], v[:, first:last], scaling), None
    # rows that start at different slots are different views of the cache
    out = torch.empty_like(q)
    rows = range(len(spans))
    for (first, last), group in groupby(rows, key=lambda row: spans[row]):
        some = list(group)
        at = slice(some[0], some[-1] + 1)
        out[at] = _attend(q[at], k[at, first:last], v[at, first:last], scaling)
    return out, None


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
    return attend(q, KVCache.adopt(k, v, k.shape[1]), scale=scale)[0]


def _spans(mask: Tensor | None, batch: int, queries: int, slots: int) -> list[tuple[int, int]]:
    """First and last slot (exclusive) that the newest query of each row sees."""
    if mask is None:
        # the mask is left out where it is plain: one query sees all, a prefill sees itself
        return [(0, slots if queries == 1 else queries)] * batch
    if mask.dtype != torch.bool or mask.shape[-2:] != (queries, slots):
        raise ValueError(f"attention_mask must be bool [B, 1, {queries}, {slots}]")
    newest = mask[:, 0, -1].int()  # [B, N]
    first = newest.argmax(-1)  # [B]
    last = first + newest.sum(-1)  # [B]
    slot = torch.arange(slots, device=mask.device)  # [N]
    i = torch.arange(queries, device=mask.device)[:, None]  # [S, 1]
    seen_until = (i + last[:, None, None] - queries).clamp(max=slots)  # [B, S, 1]
    expected = (slot >= first[:, None, None]) & (slot <= seen_until)  # [B, S, N]
    # queries that are padding see nothing here, whatever the mask says of them
    if not bool(((mask[:, 0] == expected) | ~expected.any(-1, keepdim=True)).all()):
        raise ValueError("attention_mask is not causal with padding on the left")
    spans = list(zip(first.tolist(), last.tolist(), strict=True))
    return spans * batch if len(spans) == 1 else spans

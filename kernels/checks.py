"""What callers may pass: every refusal names the argument and comes before the first write.

It knows shapes, dtypes, devices and lengths, and nothing of kernels or of who owns a cache. The wrong
kind of thing is a TypeError, the wrong shape or value of the right kind a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MAX_HEAD_DIM = 256

Lengths = int | Sequence[int] | Tensor


def tensor(name: str, x: object, layout: str) -> Tensor:
    """Return `x` if it is a floating tensor with the dimensions of `layout`, such as "B, S, H, D"."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(x).__name__}")
    if x.dim() != len(layout.split(",")):
        raise ValueError(f"{name} must be [{layout}], it has shape {list(x.shape)}")
    if x.dtype not in DTYPES:
        raise TypeError(f"{name} must be float32, float16 or bfloat16, it is {x.dtype}")
    if not 1 <= x.shape[-1] <= MAX_HEAD_DIM:
        raise ValueError(f"{name} has head dim {x.shape[-1]}; 1 to {MAX_HEAD_DIM} are supported")
    if x.stride(-1) != 1 and x.shape[-1] > 1:
        raise ValueError(f"{name} must be contiguous in its last dimension; call .contiguous()")
    return x


def like(name: str, x: Tensor, model_name: str, model: Tensor) -> None:
    """Refuse `x` unless it has the dtype, device and head dim of `model`."""
    if x.dtype != model.dtype:
        raise TypeError(f"{name} is {x.dtype}, but {model_name} is {model.dtype}")
    if x.device != model.device:
        raise ValueError(f"{name} is on {x.device}, but {model_name} is on {model.device}")
    if x.shape[-1] != model.shape[-1]:
        raise ValueError(f"{name} has head dim {x.shape[-1]}, {model_name} has {model.shape[-1]}")


def new_tokens(k_new: object, v_new: object, cache: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Return k_new, v_new [B, S, Hkv, D] if they fit the cache, whose tensor ends in [Hkv, D]."""
    keys = tensor("k_new", k_new, "B, S, Hkv, D")
    values = tensor("v_new", v_new, "B, S, Hkv, D")
    like("k_new", keys, "the cache", cache)
    like("v_new", values, "the cache", cache)
    if keys.shape[0] != batch or keys.shape[2] != cache.shape[2]:
        expected = f"[{batch}, S, {cache.shape[2]}, {cache.shape[3]}]"
        raise ValueError(f"k_new must be {expected} for this cache, it is {list(keys.shape)}")
    if values.shape != keys.shape:
        raise ValueError(f"v_new is {list(values.shape)}, but k_new is {list(keys.shape)}")
    return keys, values


def query(q: object, cache: Tensor, batch: int) -> Tensor:
    """Return q [B, S, H, D] if it can attend to a cache whose tensor ends in [Hkv, D]."""
    x = tensor("q", q, "B, S, H, D")
    like("q", x, "the cache", cache)
    if x.shape[0] != batch:
        raise ValueError(f"q has {x.shape[0]} rows, but the cache has {batch}")
    if x.shape[2] == 0 or x.shape[2] % cache.shape[2]:
        raise ValueError(
            f"q has {x.shape[2]} heads, not a multiple of the cache's {cache.shape[2]}"
        )
    return x


def lengths(name: str, x: Lengths, batch: int, limits: int | Iterable[int], why: str) -> list[int]:
    """Return one length per row if each is between 0 and its limit.

    `x` is one number for all rows, a sequence of them or an integer tensor [B]; a tensor on a
    GPU is waited for. `why` ends the sentence about a length beyond its limit.
    """
    if isinstance(x, Tensor):
        if x.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"{name} must be int32 or int64, it is {x.dtype}")
        if x.dim() != 1:
            raise ValueError(f"{name} must be [B], it has shape {list(x.shape)}")
        x = x.tolist()
    rows = [x] * batch if isinstance(x, int) else list(x)
    if any(isinstance(n, bool) or not isinstance(n, int) for n in rows):
        raise TypeError(f"{name} must be whole numbers")
    if len(rows) != batch:
        raise ValueError(f"{name} has {len(rows)} entries for {batch} rows")
    limits = [limits] * batch if isinstance(limits, int) else list(limits)
    for row, (n, limit) in enumerate(zip(rows, limits, strict=True)):
        if n < 0:
            raise ValueError(f"{name} of row {row} is {n}, it must not be negative")
        if n > limit:
            raise ValueError(f"{name} of row {row} is {n}, but {why.format(limit=limit)}")
    return rows


def rows_of(name: str, x: Sequence[int] | None, batch: int) -> list[int]:
    """Return row numbers, all rows for None."""
    rows = list(range(batch)) if x is None else list(x)
    for row in rows:
        if isinstance(row, bool) or not isinstance(row, int):
            raise TypeError(f"{name} must be whole numbers")
        if not 0 <= row < batch:
            raise ValueError(f"{name} names row {row}, but the cache has rows 0 to {batch - 1}")
    return rows


def size(name: str, x: object, least: int = 1) -> int:
    """Return a size if it is a whole number of at least `least`."""
    if isinstance(x, bool) or not isinstance(x, int):
        raise TypeError(f"{name} must be a whole number, not {type(x).__name__}")
    if x < least:
        raise ValueError(f"{name} must be at least {least}, it is {x}")
    return x

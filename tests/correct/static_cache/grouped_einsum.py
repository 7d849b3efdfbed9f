"""The whole buffer at once, query heads folded into groups, the append as a gather and a select."""

from typing import NamedTuple

import torch
from torch import Tensor


class StaticCache(NamedTuple):
    keys: Tensor
    values: Tensor
    lengths: Tensor


def place(buffer: Tensor, new: Tensor, lengths: Tensor) -> Tensor:
    """Every slot asks which new token it is to hold, if any."""
    slots = torch.arange(buffer.shape[2], device=buffer.device)
    wanted = slots[None, :] - lengths[:, None].long()  # [B, N]
    is_new = (wanted >= 0) & (wanted < new.shape[2])
    if new.shape[2] == 0:
        return buffer.clone()
    source = wanted.clamp(0, new.shape[2] - 1)[:, None, :, None].expand(-1, *buffer.shape[1:])
    return torch.where(is_new[:, None, :, None], new.gather(2, source), buffer)


def is_cache(past):
    sequence = isinstance(past, tuple | list)
    return sequence and len(past) == 3 and all(isinstance(t, Tensor) for t in past)


def validate(q, k, v, cache, num_kv_heads):
    problems = []
    if any(t.dim() != 4 for t in (q, k, v)):
        raise ValueError("query, key and value need four axes")
    if not (q.dtype == k.dtype == v.dtype and q.dtype.is_floating_point):
        problems.append("dtypes")
    if k.shape != v.shape or (q.shape[0], *q.shape[2:]) != (k.shape[0], *k.shape[2:]):
        problems.append("shapes of query, key and value")
    if k.shape[1] == 0 or q.shape[1] % k.shape[1] or num_kv_heads not in (None, k.shape[1]):
        problems.append("head counts")
    n, (b, h, _, d) = cache.keys.shape[2] if cache.keys.dim() == 4 else -1, k.shape
    if cache.keys.shape != (b, h, n, d) or cache.values.shape != (b, h, n, d):
        problems.append("shapes of the cache")
    elif cache.keys.dtype != k.dtype or cache.values.dtype != k.dtype:
        problems.append("dtypes of the cache")
    if cache.lengths.dtype != torch.int32 or cache.lengths.shape != (b,):
        problems.append("seq_lens")
    elif ((cache.lengths < 0) | (cache.lengths.long() + k.shape[2] > n)).any():
        problems.append("lengths: out of range, or no room for the new tokens")
    if problems:
        raise ValueError("cannot attend: check " + "; ".join(problems))


def attention_with_kv_cache(
    q,
    k,
    v,
    past_key_value=None,
    *,
    cache_max_len=4096,
    update_cache=True,
    is_causal=False,
    num_kv_heads=None,
    scale=None,
):
    if past_key_value is None:
        if k.dim() != 4:
            raise ValueError("key needs four axes")
        blank = k.new_zeros(k.shape[0], k.shape[1], cache_max_len, k.shape[3])
        past = StaticCache(
            blank, blank, torch.zeros(k.shape[0], dtype=torch.int32, device=k.device)
        )
    elif not is_cache(past_key_value):
        raise ValueError("past_key_value is (K, V, seq_lens)")
    else:
        past = StaticCache(*past_key_value)
    validate(q, k, v, past, num_kv_heads)

    now = StaticCache(
        place(past.keys, k, past.lengths),
        place(past.values, v, past.lengths),
        past.lengths + k.shape[2],
    )
    slots = torch.arange(now.keys.shape[2], device=q.device)
    live = slots < now.lengths[:, None]  # [B, N]
    sees = live[:, None].expand(-1, q.shape[2], -1)
    if is_causal:
        own = past.lengths[:, None] + torch.arange(q.shape[2], device=q.device)
        sees = sees & (slots <= own[..., None])
    wide = torch.double
    keys, values = (t.masked_fill(~live[:, None, :, None], 0).to(wide) for t in now[:2])
    grouped = (
        q.to(wide).unflatten(1, (k.shape[1], -1))
        if q.numel()
        else q.to(wide).reshape(
            q.shape[0], k.shape[1], q.shape[1] // k.shape[1], q.shape[2], q.shape[3]
        )
    )
    scores = torch.einsum("bhgsd,bhnd->bhgsn", grouped, keys)
    scores = scores * (q.shape[-1] ** -0.5 if scale is None else scale)
    weights = scores.masked_fill(~sees[:, None, None], -torch.inf).softmax(dim=-1)
    output = torch.einsum("bhgsn,bhnd->bhgsd", weights, values).flatten(1, 2).to(q.dtype)
    return output, tuple(now) if update_cache else tuple(past)

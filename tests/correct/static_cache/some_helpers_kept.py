"""Some of the starter's helpers kept by name and written anew, the others gone; no tiles at all."""

import torch


def _slots(seq_lens, added):
    return (
        torch.stack([seq_lens.long() + i for i in range(added)], 1)
        if added
        else seq_lens.new_zeros(len(seq_lens), 0, dtype=torch.long)
    )


def _scale_for(scale, head_dim):
    return head_dim ** (-1 / 2) if scale is None else float(scale)


def _kv_heads_of(query_heads, kv_heads):
    return torch.repeat_interleave(torch.arange(kv_heads), query_heads // kv_heads)


def _longest(seq_lens):
    return max(seq_lens.tolist(), default=0)


def _newest_visible(seq_lens, queries):
    return torch.arange(-queries, 0) + seq_lens.reshape(-1, 1).long()


def _visible(seq_lens, queries, first, width, masks_future):
    slots = first + torch.arange(width).reshape(1, 1, width)
    limit = _newest_visible(seq_lens, queries)[..., None]
    if not masks_future:
        limit = (seq_lens.long() - 1).reshape(-1, 1, 1).expand(limit.shape)
    return slots <= limit


def _append(past, key, value):
    keys, values, seq_lens = (part.clone() for part in past)
    room = keys.shape[2] - key.shape[2]
    if any(n > room for n in seq_lens.tolist()):
        raise ValueError(f"rows of {seq_lens.tolist()} cannot take {key.shape[2]} more tokens")
    rows = torch.arange(len(seq_lens))[:, None]
    keys[rows, :, _slots(seq_lens, key.shape[2])] = key.transpose(1, 2)
    values[rows, :, _slots(seq_lens, key.shape[2])] = value.transpose(1, 2)
    return keys, values, (seq_lens + key.shape[2]).to(torch.int32)


def _attend(query, cache, scale, is_causal):
    end = _longest(cache[2])
    heads = _kv_heads_of(query.shape[1], cache[0].shape[1])
    used = (torch.arange(end) < cache[2][:, None])[:, None, :, None]
    keys, values = (torch.where(used, part[:, :, :end], 0).float()[:, heads] for part in cache[:2])
    sees = _visible(cache[2], query.shape[2], 0, end, is_causal)[:, None]
    scores = query.float() @ keys.mT * scale
    weights = torch.where(sees, scores, -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights @ values).to(query.dtype)


def _check_inputs(query, key, value, num_kv_heads):
    if query.dim() != 4 or key.dim() != 4 or value.shape != key.shape:
        raise ValueError("query [B, Hq, S, D]; key and value [B, Hkv, S, D]")
    if not query.is_floating_point() or query.dtype != key.dtype or key.dtype != value.dtype:
        raise ValueError("one floating-point dtype, please")
    if query[:, :1].shape != key[:, :1].shape:
        raise ValueError("query and key differ in B, S or D")
    if not key.shape[1] or query.shape[1] % key.shape[1]:
        raise ValueError("query heads must be a multiple of key heads")
    if num_kv_heads is not None and num_kv_heads != key.shape[1]:
        raise ValueError("num_kv_heads is not the number of key heads")


def _check_cache(past, key):
    like = list(key.shape)
    like[2] = past[0].shape[2] if past[0].dim() == 4 else -1
    if not all(list(part.shape) == like and part.dtype == key.dtype for part in past[:2]):
        raise ValueError(f"K and V of the cache must be {like}, {key.dtype}")
    if (
        past[2].dtype != torch.int32
        or list(past[2].shape) != like[:1]
        or min([0, *past[2].tolist()])
    ):
        raise ValueError("seq_lens must be int32, one per row, none negative")


def attention_with_kv_cache(
    query,
    key,
    value,
    past_key_value=None,
    *,
    cache_max_len=4096,
    update_cache=True,
    is_causal=False,
    num_kv_heads=None,
    scale=None,
):
    _check_inputs(query, key, value, num_kv_heads)
    past = past_key_value
    if past is None:
        shape = (key.shape[0], key.shape[1], cache_max_len, key.shape[3])
        past = (
            *torch.zeros(2, *shape, dtype=key.dtype).unbind(0),
            torch.zeros(len(key), dtype=torch.int32),
        )
    if (
        not isinstance(past, tuple)
        or len(past) != 3
        or {isinstance(p, torch.Tensor) for p in past} != {True}
    ):
        raise ValueError("past_key_value must be a tuple of three tensors")
    _check_cache(past, key)
    grown = _append(past, key, value)
    output = _attend(query, grown, _scale_for(scale, query.shape[-1]), is_causal)
    return output, grown if update_cache else past

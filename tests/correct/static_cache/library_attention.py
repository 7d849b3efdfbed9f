"""PyTorch's own attention with an explicit mask; the append writes into clones, row by row."""

import torch
import torch.nn.functional as F


def _refuse(condition, message):
    if condition:
        raise ValueError(message)


def _validated(query, key, value, num_kv_heads):
    _refuse({query.dim(), key.dim(), value.dim()} != {4}, "4-D tensors are needed")
    _refuse(query.dtype != key.dtype or key.dtype != value.dtype, "dtypes differ")
    _refuse(not query.is_floating_point(), "floating-point tensors are needed")
    _refuse(query.shape[0] != key.shape[0], "batch sizes differ")
    _refuse(query.shape[2:] != key.shape[2:] or key.shape != value.shape, "shapes differ")
    _refuse(key.shape[1] < 1 or query.shape[1] % key.shape[1], "heads cannot be grouped")
    _refuse(num_kv_heads not in (None, key.shape[1]), "num_kv_heads contradicts key")


def _opened(past, key):
    _refuse(not isinstance(past, (tuple, list)) or len(past) != 3, "(K, V, seq_lens) is needed")
    _refuse(not all(torch.is_tensor(part) for part in past), "tensors are needed")
    keys, values, lens = past
    wanted = key.shape[:2] + keys.shape[2:3] + key.shape[3:]
    _refuse(keys.shape != wanted or values.shape != wanted, "cache of another shape")
    _refuse(keys.dtype != key.dtype or values.dtype != key.dtype, "cache of another dtype")
    _refuse(lens.dtype != torch.int32 or lens.shape != key.shape[:1], "seq_lens must be int32 [B]")
    _refuse(any(n < 0 for n in lens.tolist()), "negative length")
    return keys.clone(), values.clone(), lens.clone()


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
    _validated(query, key, value, num_kv_heads)
    batch, heads, added, dim = key.shape
    if past_key_value is None:
        empty = torch.zeros(batch, heads, cache_max_len, dim, dtype=key.dtype, device=key.device)
        lens = torch.zeros(batch, dtype=torch.int32, device=key.device)
        past_key_value = (empty, empty.clone(), lens)
    keys, values, lens = _opened(past_key_value, key)
    before = keys, values, lens
    _refuse(any(n + added > keys.shape[2] for n in lens.tolist()), "no room left")
    keys, values, lens = keys.clone(), values.clone(), lens + added
    for row, end in enumerate(lens.tolist()):
        keys[row, :, end - added : end] = key[row]
        values[row, :, end - added : end] = value[row]

    slots = torch.arange(keys.shape[2], device=key.device)
    used = slots < lens[:, None]  # [B, N]
    last = lens[:, None] - added + torch.arange(added, device=key.device)  # [B, S]
    mask = used[:, None, :].repeat(1, added, 1)
    if is_causal:
        mask &= slots <= last[:, :, None]
    keep = used[:, None, :, None]
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    output = F.scaled_dot_product_attention(
        query.to(wide),
        torch.where(keep, keys, 0).to(wide).repeat_interleave(query.shape[1] // heads, 1),
        torch.where(keep, values, 0).to(wide).repeat_interleave(query.shape[1] // heads, 1),
        attn_mask=mask[:, None],
        scale=scale,
    )
    return output.to(query.dtype), ((keys, values, lens) if update_cache else before)

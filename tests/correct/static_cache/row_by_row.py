"""One row at a time, on slices of exactly the row's length: no mask is needed for unused slots."""

import torch


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
    if query.ndim != 4 or key.ndim != 4 or value.ndim != 4:
        raise ValueError("expected [B, H, S, D]")
    b, hq, s, d = query.shape
    hkv = key.shape[1]
    if tuple(key.shape) != (b, hkv, s, d) or key.shape != value.shape:
        raise ValueError("key and value do not match the query")
    if not query.dtype.is_floating_point or len({query.dtype, key.dtype, value.dtype}) > 1:
        raise ValueError("one floating-point dtype is needed")
    if not hkv or hq % hkv or num_kv_heads not in (None, hkv):
        raise ValueError("head counts do not match")

    if past_key_value is None:
        k_cache = torch.zeros(b, hkv, cache_max_len, d, dtype=key.dtype, device=key.device)
        v_cache = torch.zeros_like(k_cache)
        lens = torch.zeros(b, dtype=torch.int32, device=key.device)
    else:
        try:
            k_cache, v_cache, lens = past_key_value
            shapes = k_cache.shape, v_cache.shape
            fits = lens.shape == (b,) and lens.dtype is torch.int32 and int((lens < 0).sum()) == 0
        except (TypeError, AttributeError) as error:
            raise ValueError("a cache is (K, V, seq_lens)") from error
        if k_cache.ndim != 4 or shapes[0] != shapes[1] or not fits:
            raise ValueError("malformed cache")
        if tuple(k_cache.shape) != (b, hkv, k_cache.shape[2], d) or not (
            k_cache.dtype == v_cache.dtype == key.dtype
        ):
            raise ValueError("the cache belongs to another model")
        k_cache, v_cache, lens = k_cache.clone(), v_cache.clone(), lens.clone()

    starts = lens.tolist()
    if any(start + s > k_cache.shape[2] for start in starts):
        raise ValueError("the cache is full")

    factor = d**-0.5 if scale is None else scale
    output = torch.zeros_like(query)
    for i, start in enumerate(starts):
        end = start + s
        keys = torch.cat([k_cache[i, :, :start], key[i]], dim=1)
        values = torch.cat([v_cache[i, :, :start], value[i]], dim=1)
        if update_cache:
            k_cache[i, :, start:end] = key[i]
            v_cache[i, :, start:end] = value[i]
            lens[i] = end
        for head in range(hq):
            kv = head * hkv // hq
            for t in range(s):
                stop = start + t + 1 if is_causal else end
                scores = keys[kv, :stop].float() @ query[i, head, t].float() * factor
                weights = torch.exp(scores - scores.max())
                output[i, head, t] = (weights @ values[kv, :stop].float() / weights.sum()).to(
                    query.dtype
                )
    return output, (k_cache, v_cache, lens)

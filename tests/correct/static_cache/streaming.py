"""An object per row, tokens taken one by one into a softmax kept as a log of its sum."""

import math

import torch


class Row:
    """One sequence: its own views of freshly made buffers, and how many slots are in use."""

    def __init__(self, keys, values, used):
        self.keys, self.values, self.used = keys, values, used

    def push(self, keys, values):
        span = slice(self.used, self.used + keys.shape[1])
        self.keys[:, span], self.values[:, span] = keys, values
        self.used += keys.shape[1]

    def read(self, queries, factor, is_causal):
        """[Hq, S, D] -> [Hq, S, D]."""
        heads, count, dim = queries.shape
        spread = heads // self.keys.shape[0]
        log_sum = torch.full((heads, count, 1), -math.inf, dtype=torch.float32)
        mean = torch.zeros(heads, count, dim, dtype=torch.float32)
        for slot in range(self.used):
            key = self.keys[:, slot].float().repeat_interleave(spread, 0)  # [Hq, D]
            value = self.values[:, slot].float().repeat_interleave(spread, 0)
            score = (queries.float() * key[:, None]).sum(-1, keepdim=True) * factor
            first = max(0, slot - (self.used - count)) if is_causal else 0
            grown = torch.logaddexp(log_sum, score)
            share = torch.exp(score - grown)
            mixed = mean + share * (value[:, None] - mean)
            mean[:, first:], log_sum[:, first:] = mixed[:, first:], grown[:, first:]
        return mean.to(queries.dtype)


class Refused(ValueError):
    """A call that does not keep to the contract."""


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
    tokens = (query, key, value)
    if [t.dim() for t in tokens] != [4, 4, 4] or len({t.dtype for t in tokens}) != 1:
        raise Refused("tokens must be 4-D and of one dtype")
    if not query.is_floating_point() or key.shape != value.shape:
        raise Refused("tokens must be floating point, key and value alike")
    batch, kv_heads, added, dim = key.shape
    if query.shape != (batch, query.shape[1], added, dim):
        raise Refused("query does not fit key")
    if (
        kv_heads == 0
        or query.shape[1] % kv_heads
        or (num_kv_heads is not None and num_kv_heads != kv_heads)
    ):
        raise Refused("heads do not fit")
    past = past_key_value
    if past is None:
        past = (
            key.new_empty(batch, kv_heads, cache_max_len, dim),
            key.new_empty(batch, kv_heads, cache_max_len, dim),
            torch.zeros(batch, dtype=torch.int32),
        )
    if not isinstance(past, tuple | list) or len(past) != 3:
        raise Refused("a cache has three parts")
    if not all(isinstance(part, torch.Tensor) for part in past):
        raise Refused("the parts of a cache are tensors")
    if past[2].shape != (batch,) or past[2].dtype != torch.int32 or min([0, *past[2].tolist()]) < 0:
        raise Refused("seq_lens must be int32 [B], not negative")
    slots = past[0].shape[2] if past[0].dim() == 4 else 0
    for buffer in past[:2]:
        if buffer.shape != (batch, kv_heads, slots, dim) or buffer.dtype != key.dtype:
            raise Refused("a buffer does not fit")
    if max([0, *past[2].tolist()]) + added > slots:
        raise Refused("no room")

    keys, values = past[0].clone(), past[1].clone()
    factor = 1 / math.sqrt(dim) if scale is None else scale
    rows = [Row(keys[i], values[i], n) for i, n in enumerate(past[2].tolist())]
    outputs = torch.empty_like(query, memory_format=torch.contiguous_format)
    for i, row in enumerate(rows):
        row.push(key[i], value[i])
        outputs[i] = row.read(query[i], factor, is_causal)
    if not update_cache:
        return outputs, tuple(past)
    lengths = torch.tensor([row.used for row in rows], dtype=torch.int32)
    return outputs, (keys, values, lengths)

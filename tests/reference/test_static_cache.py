"""The static cache agrees with explicit float64 loops and with PyTorch's own attention, and refuses cleanly."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reference.static_cache import TILE, attention_with_kv_cache

TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 2e-2}
CAPACITY = 2 * TILE + 3
RAGGED = [0, 1, TILE - 1, TILE, TILE + 1, CAPACITY]  # lengths after the append, where they allow it


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def tokens(count, *, batch, heads, dim=8, dtype=torch.float32):
    """query, key and value of `count` tokens per row; heads are (Hq, Hkv)."""
    kinds = zip((heads[0], heads[1], heads[1]), (1, 2, 3), strict=True)
    return [draw(batch, kind, count, dim, seed=seed, dtype=dtype) for kind, seed in kinds]


def filled(lengths, key, *, slots=CAPACITY, unused=float("nan")):
    """A cache of drawn tokens that fits `key`; slots beyond the lengths hold `unused`."""
    shape = (len(lengths), key.shape[1], slots, key.shape[3])
    keys, values = (draw(*shape, seed=50 + i, dtype=key.dtype) for i in range(2))
    seq_lens = torch.tensor(lengths, dtype=torch.int32)
    beyond = (torch.arange(slots) >= seq_lens[:, None])[:, None, :, None]
    return keys.masked_fill(beyond, unused), values.masked_fill(beyond, unused), seq_lens


def oracle(query, key, value, past, *, is_causal=False, scale=None) -> Tensor:
    """Loops over rows, heads and queries in float64, on each row's own tokens; no mask and no batch."""
    output = torch.zeros(query.shape, dtype=torch.float64)
    for row, head, i in itertools.product(*(range(n) for n in query.shape[:3])):
        kv = head // (query.shape[1] // key.shape[1])
        start = 0 if past is None else int(past[2][row])
        seen = start + (i + 1 if is_causal else query.shape[2])
        old = (
            [key[row, kv, :0]] * 2 if past is None else [part[row, kv, :start] for part in past[:2]]
        )
        keys, values = (
            torch.cat([a, b[row, kv]])[:seen] for a, b in zip(old, (key, value), strict=True)
        )
        factor = query.shape[3] ** -0.5 if scale is None else scale
        scores = [factor * float(k @ query[row, head, i].double()) for k in keys.double()]
        weights = [math.exp(score - max(scores)) for score in scores]
        output[row, head, i] = sum(w * v for w, v in zip(weights, values.double(), strict=True))
        output[row, head, i] /= sum(weights)
    return output


def library(query, cache, *, is_causal=False) -> Tensor:
    """PyTorch's attention in float64 with an explicit mask, on the cache after the append."""
    keys, values, seq_lens = cache
    count, slots = query.shape[2], torch.arange(keys.shape[2])
    used = slots < seq_lens[:, None]
    own = seq_lens[:, None] - count + torch.arange(count)
    mask = used[:, None] & ((slots <= own[:, :, None]) | (not is_causal))
    unused = ~used[:, None, :, None]
    keys, values = (part.double().masked_fill(unused, 0) for part in (keys, values))
    return F.scaled_dot_product_attention(
        query.double(), keys, values, attn_mask=mask[:, None], enable_gqa=True
    )


def near(output: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(output.double(), expected.double(), atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("added", [1, 3])
def test_ragged_rows_agree_with_both_oracles(dtype, is_causal, added):
    before = [max(0, length - added) for length in RAGGED]
    query, key, value = tokens(added, batch=len(before), heads=(6, 2), dtype=dtype)
    past = filled(before, key)
    output, cache = attention_with_kv_cache(query, key, value, past, is_causal=is_causal)
    assert output.dtype == cache[0].dtype == dtype
    assert cache[2].tolist() == [n + added for n in before]
    assert cache[2].dtype == torch.int32
    near(output, oracle(query, key, value, past, is_causal=is_causal), TOLERANCE[dtype])
    near(output, library(query, cache, is_causal=is_causal), TOLERANCE[dtype])


@pytest.mark.parametrize(
    "heads", [(5, 5), (6, 3), (6, 2), (7, 1)], ids=lambda h: f"Hq{h[0]}-Hkv{h[1]}"
)
@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
def test_grouped_heads_agree_with_the_oracle(heads, is_causal):
    query, key, value = tokens(4, batch=3, heads=heads, dim=7)
    past = filled([3, 20, 0], key)
    output, _ = attention_with_kv_cache(
        query, key, value, past, is_causal=is_causal, num_kv_heads=heads[1]
    )
    expected = oracle(query, key, value, past, is_causal=is_causal)
    near(output, expected)


@pytest.mark.parametrize("plan", [[8], [3, 3, 2], [5, 1, 1, 1], [1] * 8], ids=str)
def test_chunks_give_what_one_prefill_gives(plan):
    query, key, value = tokens(sum(plan), batch=2, heads=(4, 2))
    outputs, cache, start = [], None, 0
    for count in plan:
        part = [x[:, :, start : start + count] for x in (query, key, value)]
        output, cache = attention_with_kv_cache(*part, cache, cache_max_len=8, is_causal=True)
        outputs.append(output)
        start += count
    whole = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    near(torch.cat(outputs, dim=2), whole)
    assert torch.equal(cache[0], key)
    assert torch.equal(cache[1], value)


@pytest.mark.parametrize("scale", [None, 1.0, 0.3, 0.0, -0.5])
def test_scale_of_the_caller(scale):
    query, key, value = tokens(3, batch=2, heads=(4, 2))
    past = filled([4, 17], key)
    output, _ = attention_with_kv_cache(query, key, value, past, scale=scale)
    near(output, oracle(query, key, value, past, scale=scale))


def test_scores_of_every_magnitude():
    for size in (1.0, 60.0, 2e4):
        query, key, value = tokens(3, batch=2, heads=(4, 2))
        query, key = (query.sign() * size), key.sign()  # whole numbers: the scores are exact
        past = filled([4, 17], key)
        past = (-past[0].sign(), *past[1:])
        output, _ = attention_with_kv_cache(query, key, value, past, scale=1.0, is_causal=True)
        expected = oracle(query, key, value, past, scale=1.0, is_causal=True)
        near(output, expected)


def test_what_is_passed_in_is_not_changed_and_not_shared():
    query, key, value = tokens(2, batch=2, heads=(4, 2))
    past = filled([5, 0], key, unused=7.0)
    kept = [part.clone() for part in past]
    first = attention_with_kv_cache(query, key, value, past)
    _, other = attention_with_kv_cache(query, -key, -value, past)
    assert all(torch.equal(a, b) for a, b in zip(past, kept, strict=True))
    again = attention_with_kv_cache(query, key, value, past)
    assert all(torch.equal(a, b) for a, b in zip(first[1], again[1], strict=True))
    assert not torch.equal(first[1][0], other[0])


def test_read_only_call_leaves_no_trace():
    query, key, value = tokens(2, batch=2, heads=(4, 2))
    past = filled([5, 0], key, unused=7.0)
    output, cache = attention_with_kv_cache(query, key, value, past, update_cache=False)
    expected, _ = attention_with_kv_cache(query, key, value, past)
    assert torch.equal(output, expected)
    assert all(torch.equal(a, b) for a, b in zip(cache, past, strict=True))
    _, fresh = attention_with_kv_cache(query, key, value, cache_max_len=4, update_cache=False)
    assert fresh[2].tolist() == [0, 0]
    assert fresh[0].shape == (2, 2, 4, 8)


def test_a_full_cache_is_refused_before_anything_is_written():
    query, key, value = tokens(3, batch=2, heads=(4, 2))
    past = filled([CAPACITY - 3, CAPACITY - 2], key, unused=7.0)
    kept = [part.clone() for part in past]
    for update_cache in (True, False):
        for longest in (CAPACITY - 2, CAPACITY + 1, 2**31 - 1):
            too_long = *past[:2], torch.tensor([0, longest], dtype=torch.int32)
            with pytest.raises(ValueError, match="larger cache_max_len"):
                attention_with_kv_cache(query, key, value, too_long, update_cache=update_cache)
    assert all(torch.equal(a, b) for a, b in zip(past, kept, strict=True))
    with pytest.raises(ValueError, match="larger cache_max_len"):
        attention_with_kv_cache(query, key, value, cache_max_len=2)
    _, cache = attention_with_kv_cache(
        query[:1], key[:1], value[:1], tuple(part[:1] for part in past)
    )
    assert cache[2].tolist() == [CAPACITY]


def test_edges_are_ordinary():
    query, key, value = tokens(2, batch=0, heads=(4, 2))
    output, cache = attention_with_kv_cache(query, key, value, cache_max_len=4, is_causal=True)
    assert output.shape == (0, 4, 2, 8)
    assert cache[2].shape == (0,)
    query, key, value = tokens(0, batch=2, heads=(4, 2))
    past = filled([0, 3], key)
    output, cache = attention_with_kv_cache(query, key, value, past, is_causal=True)
    assert output.shape == (2, 4, 0, 8)
    assert cache[2].tolist() == [0, 3]
    _, cache = attention_with_kv_cache(query, key, value, past, cache_max_len=1)
    assert cache[0].shape[2] == CAPACITY  # the slots of a cache count, not the argument


def test_strided_inputs_give_the_same_numbers():
    dense = tokens(5, batch=2, heads=(4, 2))
    strided = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in dense]
    assert not any(x.is_contiguous() for x in strided)
    _, a = attention_with_kv_cache(*dense, cache_max_len=5)
    _, b = attention_with_kv_cache(*strided, cache_max_len=5)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


BAD_TOKENS = {
    "rank": lambda q, k, v: (q[0], k, v),
    "dtype": lambda q, k, v: (q, k.double(), v),
    "whole numbers": lambda q, k, v: (q.long(), k.long(), v.long()),
    "value shorter": lambda q, k, v: (q, k, v[:, :, 1:]),
    "other token count": lambda q, k, v: (q, k[:, :, 1:], v[:, :, 1:]),
    "batch": lambda q, k, v: (q[:1], k, v),
    "uneven heads": lambda q, k, v: (q[:, 1:], k, v),
    "no heads": lambda q, k, v: (q, k[:, :0], v[:, :0]),
}
BAD_CACHES = {
    "two parts": lambda k, v, n: (k, v),
    "a list of lengths": lambda k, v, n: (k, v, n.tolist()),
    "no tuple": lambda k, v, n: k,
    "int64 lengths": lambda k, v, n: (k, v, n.long()),
    "one length": lambda k, v, n: (k, v, n[:1]),
    "negative length": lambda k, v, n: (k, v, n - 9),
    "rank": lambda k, v, n: (k[0], v[0], n),
    "dtype": lambda k, v, n: (k.double(), v.double(), n),
    "heads": lambda k, v, n: (k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1), n),
    "batch": lambda k, v, n: (k[:1], v[:1], n[:1]),
    "shorter values": lambda k, v, n: (k, v[:, :, 1:], n),
}


@pytest.mark.parametrize("change", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_tokens_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError, match=r"must|cannot"):
        attention_with_kv_cache(*change(*tokens(3, batch=2, heads=(4, 2))), cache_max_len=4)


@pytest.mark.parametrize("change", BAD_CACHES.values(), ids=BAD_CACHES)
def test_caches_that_do_not_fit_are_refused(change):
    query, key, value = tokens(3, batch=2, heads=(4, 2))
    with pytest.raises(ValueError, match=r"must|cache is"):
        attention_with_kv_cache(query, key, value, change(*filled([4, 0], key)))


def test_arguments_that_contradict_are_refused():
    query, key, value = tokens(3, batch=2, heads=(4, 2))
    with pytest.raises(ValueError, match="num_kv_heads"):
        attention_with_kv_cache(query, key, value, num_kv_heads=4)
    with pytest.raises(ValueError, match="negative"):
        attention_with_kv_cache(query, key, value, cache_max_len=-1)

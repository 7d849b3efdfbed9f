"""Prefill: many queries per sequence against a dense cache that already holds their keys, in Triton.

One program takes one sequence, one query head and one block of queries, and walks the keys twice over:
first the tiles that every query of the block sees whole, without a mask, then the diagonal and the
tail. Rows of a batch may have fewer queries and keys than their neighbours. The file stands
alone and trusts its arguments; it does not know how the cache was filled.

B batch, S queries of the longest row, H query heads, Hkv key/value heads, G = H / Hkv, N cache
slots, D head dim; M queries of a block, T keys of a tile.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

LN2 = tl.constexpr(math.log(2.0))


@triton.jit
def _dot(a, b, WIDE: tl.constexpr):
    # float32 must not fall to tf32, and the interpreter has no bfloat16 product
    if WIDE:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    else:
        return tl.dot(a, b)


@triton.jit
def _cast(x, dtype: tl.constexpr, ROUND: tl.constexpr):
    # the interpreter cuts float32 to bfloat16 off, a GPU rounds to nearest even
    if ROUND:
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        x = bits.to(tl.float32, bitcast=True)
    return x.to(dtype)


@triton.jit
def _block_from_the_end(M: tl.constexpr):
    """First query of this program's block; the last blocks see the most keys and start first."""
    block = tl.program_id(0)
    return block * M


@triton.jit
def _keys_of_block(first, before, kv_len, CAUSAL: tl.constexpr, M: tl.constexpr, T: tl.constexpr):
    """Keys that every query of the block sees, in whole tiles, and keys that any of them sees."""
    if CAUSAL:
        common = before + first + M
        any_seen = before + first + M
    else:
        common = kv_len
        any_seen = kv_len
    common = tl.maximum(tl.minimum(common, kv_len), 0) // T * T
    return common, tl.minimum(any_seen, kv_len)


@triton.jit
def _load_keys(
    K, start, last, k_s, D: tl.constexpr, DP: tl.constexpr, T: tl.constexpr, TAIL: tl.constexpr
):
    """Keys of a tile, transposed, [DP, T]; slots behind the last one read as 0."""
    key = start + tl.arange(0, T)
    dim = tl.arange(0, DP)
    offset = key.to(tl.int64)[None, :] * k_s + dim[:, None]
    if TAIL:
        return tl.load(K + offset, mask=(key < last)[None, :] & (dim < D)[:, None], other=0.0)
    elif D < DP:
        return tl.load(K + offset, mask=(dim < D)[:, None], other=0.0)
    else:
        return tl.load(K + offset)


@triton.jit
def _load_values(
    V, start, last, v_s, D: tl.constexpr, DP: tl.constexpr, T: tl.constexpr, TAIL: tl.constexpr
):
    """Values of a tile, [T, DP]; an unused slot may hold NaN, which a weight of 0 does not silence."""
    key = start + tl.arange(0, T)
    dim = tl.arange(0, DP)
    offset = key.to(tl.int64)[:, None] * v_s + dim[None, :]
    if TAIL:
        return tl.load(V + offset, mask=(key < last)[:, None] & (dim < D)[None, :], other=0.0)
    elif D < DP:
        return tl.load(V + offset, mask=(dim < D)[None, :], other=0.0)
    else:
        return tl.load(V + offset)


@triton.jit
def _hide(scores, start, last, position, CAUSAL: tl.constexpr, T: tl.constexpr):
    """Scores [M, T] with -inf where the slot is unused or lies in the query's future."""
    key = start + tl.arange(0, T)
    visible = (key >= 0)[None, :]
    if CAUSAL:
        visible = visible & (key[None, :] <= position[:, None])
    return tl.where(visible, scores, float("-inf"))


@triton.jit
def _fold(top, total, acc, scores, values, WIDE: tl.constexpr):
    """Take a tile into the running softmax: scores [M, T] in base 2, values [T, DP]."""
    new_top = tl.maximum(top, tl.max(scores, 1))
    # a query that has seen nothing keeps its top of -inf, but -inf - -inf would be NaN
    pivot = tl.where(new_top == float("-inf"), 0.0, new_top)
    decay = tl.exp2(top - pivot)
    weights = tl.exp2(scores - pivot[:, None])
    total = total * decay + tl.sum(weights, 1)
    if not WIDE:
        weights = weights.to(values.dtype)
    acc = acc + _dot(weights, values, WIDE)
    return new_top, total, acc


@triton.jit
def _finish(top, total, acc):
    """Output [M, DP] and natural log-sum-exp [M]; a query that saw nothing gets 0 and -inf."""
    empty = total == 0.0
    divisor = tl.where(empty, 1.0, total)
    lse = top + tl.log2(divisor)
    return acc / divisor[:, None], lse


@triton.jit
def _prefill_kernel(
    Q, K, V, SeqLens, QLens, O, Lse,
    q_b, q_s, q_h, k_b, k_s, k_h, v_b, v_s, v_h, o_b, o_s, o_h, queries, factor,
    G: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, M: tl.constexpr, T: tl.constexpr,
    RAGGED: tl.constexpr, CAUSAL: tl.constexpr, WIDE: tl.constexpr, ROUND: tl.constexpr,
):  # fmt: skip
    first = _block_from_the_end(M)
    head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    kv_head = head // G
    kv_len = tl.load(SeqLens + batch)
    q_len = queries
    if RAGGED:
        q_len = tl.load(QLens + batch)
    # the queries are the last tokens of their row; more queries than keys make this negative
    before = kv_len - q_len

    query = first + tl.arange(0, M)
    position = query
    dim = tl.arange(0, DP)
    real = (query < q_len)[:, None] & (dim < D)[None, :]
    q_row = batch * q_b + query.to(tl.int64) * q_s + head * q_h
    q = tl.load(Q + q_row[:, None] + dim[None, :], mask=real, other=0.0)

    K += batch * k_b + kv_head * k_h
    V += batch * v_b + kv_head * v_h
    top = tl.full([M], float("-inf"), tl.float32)
    total = tl.zeros([M], tl.float32)
    acc = tl.zeros([M, DP], tl.float32)
    common, last = _keys_of_block(first, before, kv_len, CAUSAL, M, T)
    # a block of padding sees nothing
    if first >= queries:
        common = 0
        last = 0
    for start in range(0, common, T):
        keys = _load_keys(K, start, last, k_s, D, DP, T, False)
        values = _load_values(V, start, last, v_s, D, DP, T, False)
        scores = _dot(q, keys, WIDE) * factor
        top, total, acc = _fold(top, total, acc, scores, values, WIDE)
    for start in range(common, last, T):
        keys = _load_keys(K, start, last, k_s, D, DP, T, True)
        values = _load_values(V, start, last, v_s, D, DP, T, True)
        scores = _dot(q, keys, WIDE) * factor
        scores = _hide(scores, start, last, position, CAUSAL, T)
        top, total, acc = _fold(top, total, acc, scores, values, WIDE)
    out, lse = _finish(top, total, acc)

    # queries that a short row does not have get the answer of one that sees nothing
    out = tl.where((query < queries)[:, None], out, 0.0)
    lse = tl.where(query < q_len, lse, float("-inf"))
    inside = (query < queries)[:, None] & (dim < D)[None, :]
    o_row = batch * o_b + query.to(tl.int64) * o_s + head * o_h
    tl.store(O + o_row[:, None] + dim[None, :], _cast(out, O.dtype.element_ty, ROUND), mask=inside)
    row = (batch * tl.num_programs(1) + head) * queries
    tl.store(Lse + row + query, lse, mask=query < queries)


def tiling(S: int, D: int, itemsize: int) -> tuple[int, int, int, int]:
    """Queries and keys of a tile, warps and stages that compile for sm_90 without spills."""
    if itemsize == 4:
        return (32, 64, 8, 2) if D <= 128 else (16, 32, 8, 2)
    if D > 128:
        return 64, 32, 8, 2
    return (64, 64, 4, 3) if S <= 64 else (128, 64, 8, 3)


def _factor(scale: float | None, head_dim: int) -> float:
    """The factor on the products, log2(e) included: the kernels work with powers of two."""
    if scale is None:
        scale = head_dim**-0.5
    return scale / math.log(2.0)


def prefill(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, seq_lens: Tensor, q_lens: Tensor | None = None,
    *, causal: bool = True, scale: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Attend q [B, S, H, D] to the first seq_lens int32 [B] slots of the caches [B, N, Hkv, D].

    Row b has q_lens[b] queries (int32 [B], default S), which are its last tokens: query i sees slot
    j iff j <= i + seq_len - q_len. The last dimension is contiguous, other strides are free. Returns
    the output [B, S, H, D] and the natural log-sum-exp, float32 [B, H, S]; queries that see
    nothing or do not exist get 0 and -inf.
    """
    B, S, H, D = q.shape
    cpu = q.device.type == "cpu"
    DP = max(16, triton.next_power_of_2(D))
    M, T, warps, stages = (16, 16, 4, 1) if cpu else tiling(S, D, q.element_size())
    out, lse = torch.empty_like(q), q.new_empty(B, H, S, dtype=torch.float32)
    factor = _factor(scale, D)
    wide, rounds = q.dtype == torch.float32 or cpu, cpu and q.dtype == torch.bfloat16
    _prefill_kernel[(triton.cdiv(S, M), H, B)](
        q, k_cache, v_cache, seq_lens, q_lens, out, lse,
        *q.stride()[:3], *k_cache.stride()[:3], *v_cache.stride()[:3], *out.stride()[:3], S, factor,
        H // k_cache.shape[2], D, DP, M, T, q_lens is not None, causal, wide, rounds,
        num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return out, lse

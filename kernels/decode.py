"""Decode: a few queries per sequence against a long dense cache, split over the keys, in Triton.

One program takes one sequence, one key/value head and one split of the keys. The query heads that share
the head are rows beside the queries, so that keys and values are read once. A single split writes the
answer itself; a second kernel combines several. The file stands alone, trusts its arguments, and does
not know how the cache was filled.

B batch, S queries of a sequence, H query heads, Hkv key/value heads, G = H / Hkv, N cache slots,
D head dim; R rows (query, group member) of a program, T keys of a tile.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

LN2 = tl.constexpr(math.log(2.0))
MIN_CHUNK = 256  # keys of a split below which a second split costs more than it gains


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
def _rows(block, G: tl.constexpr, R: tl.constexpr):
    """Query and group member of each row of a block, [R] each: row = query * G + member."""
    row = block * R + tl.arange(0, R)
    return row // G, row % G


@triton.jit
def _keys_of_split(split, kv_len, SPLITS: tl.constexpr, T: tl.constexpr):
    """First key of a split and the one behind its last; a late split of a short row is empty."""
    chunk = tl.cdiv(tl.cdiv(kv_len, SPLITS), T) * T
    first = split * chunk
    return first, tl.minimum(first + chunk, kv_len)


@triton.jit
def _seen_by(query, queries, kv_len):
    """How many keys each row may see, [R]; the queries are the last tokens of their sequence."""
    before = kv_len - queries
    return before + query + 1


@triton.jit
def _load_keys(K, key, last, k_s, D: tl.constexpr, DP: tl.constexpr):
    """Keys of a tile, transposed, [DP, T]; slots that are not of this split read as 0."""
    dim = tl.arange(0, DP)
    offset = key.to(tl.int64)[None, :] * k_s + dim[:, None]
    inside = (key < last)[None, :] & (dim < D)[:, None]
    return tl.load(K + offset, mask=inside, other=0.0)


@triton.jit
def _load_values(V, key, last, v_s, D: tl.constexpr, DP: tl.constexpr):
    """Values of a tile, [T, DP]; an unused slot may hold NaN, which a weight of 0 does not silence."""
    dim = tl.arange(0, DP)
    offset = key.to(tl.int64)[:, None] * v_s + dim[None, :]
    inside = (key < last)[:, None] & (dim < D)[None, :]
    return tl.load(V + offset, mask=inside, other=0.0)


@triton.jit
def _hide(scores, key, last, seen, CAUSAL: tl.constexpr):
    """Scores [R, T] with -inf where the key is not of this split or lies in the row's future."""
    scores = tl.where((key < last)[None, :], scores, float("-inf"))
    if CAUSAL:
        future = key[None, :] >= seen[:, None]
        scores = tl.where(future, float("-inf"), scores)
    return scores


@triton.jit
def _fold(top, total, acc, scores, values, WIDE: tl.constexpr):
    """Take a tile into the running softmax: scores [R, T] in base 2, values [T, DP]."""
    new_top = tl.maximum(top, tl.max(scores, 1))
    # a row that has seen nothing keeps its top of -inf, but -inf - -inf would be NaN
    pivot = tl.where(new_top == float("-inf"), 0.0, new_top)
    decay = tl.exp2(top - pivot)
    weights = tl.exp2(scores - pivot[:, None])
    total = total * decay + tl.sum(weights, 1)
    if not WIDE:
        weights = weights.to(values.dtype)
    acc = acc * decay[:, None] + _dot(weights, values, WIDE)
    return new_top, total, acc


@triton.jit
def _finish(top, total, acc):
    """Output [R, DP] and log-sum-exp in base 2 [R]; a row that saw nothing gets 0 and -inf."""
    empty = total == 0.0
    divisor = tl.where(empty, 1.0, total)
    lse = top + tl.log2(divisor)
    return acc / divisor[:, None], lse


@triton.jit
def _decode_kernel(
    Q, K, V, SeqLens, O, Lse, PartO, PartLse,
    q_b, q_s, q_h, k_b, k_s, k_h, v_b, v_s, v_h, o_b, o_s, o_h, queries, factor,
    G: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, R: tl.constexpr, T: tl.constexpr,
    SPLITS: tl.constexpr, CAUSAL: tl.constexpr, WIDE: tl.constexpr, ROUND: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    blocks = tl.cdiv(queries * G, R)
    kv_heads = tl.num_programs(1) // blocks
    kv_head = (tl.program_id(1) // blocks).to(tl.int64)
    split = tl.program_id(2)
    kv_len = tl.load(SeqLens + batch)
    first, last = _keys_of_split(split, kv_len, SPLITS, T)
    query, member = _rows(tl.program_id(1) % blocks, G, R)
    head = kv_head * G + member
    real = query < queries
    seen = _seen_by(query, queries, kv_len)
    dim = tl.arange(0, DP)
    inside = real[:, None] & (dim < D)[None, :]
    q_row = batch * q_b + query.to(tl.int64) * q_s + head * q_h
    q = tl.load(Q + q_row[:, None] + dim[None, :], mask=inside, other=0.0)
    K += batch * k_b + kv_head * k_h
    V += batch * v_b + kv_head * v_h
    top = tl.full([R], float("-inf"), tl.float32)
    total = tl.zeros([R], tl.float32)
    acc = tl.zeros([R, DP], tl.float32)
    for start in range(first, last, T):
        key = start + tl.arange(0, T)
        keys = _load_keys(K, key, last, k_s, D, DP)
        values = _load_values(V, key, last, v_s, D, DP)
        scores = _dot(q, keys, WIDE) * factor
        scores = _hide(scores, key, last, seen, CAUSAL)
        top, total, acc = _fold(top, total, acc, scores, values, WIDE)
    out, lse = _finish(top, total, acc)
    row = (batch * kv_heads * G + head) * queries + query
    if SPLITS == 1:
        o_row = batch * o_b + query.to(tl.int64) * o_s + head * o_h
        result = _cast(out, O.dtype.element_ty, ROUND)
        tl.store(O + o_row[:, None] + dim[None, :], result, mask=inside)
        tl.store(Lse + row, lse * LN2, mask=real)
    else:
        part = row * SPLITS + split
        if first < last:
            tl.store(PartO + part[:, None] * D + dim[None, :], out, mask=inside)
        tl.store(PartLse + part, lse, mask=real)


@triton.jit
def _combine_kernel(
    PartO, PartLse, O, Lse, o_b, o_s, o_h,
    D: tl.constexpr, DP: tl.constexpr, SPLITS: tl.constexpr, SP: tl.constexpr, ROUND: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    query = tl.program_id(2).to(tl.int64)
    row = (batch * tl.num_programs(1) + head) * tl.num_programs(2) + query
    split = tl.arange(0, SP)
    part = row * SPLITS + split
    parts = tl.load(PartLse + part, mask=split < SPLITS, other=float("-inf"))
    top = tl.max(parts, 0)
    pivot = tl.where(top == float("-inf"), 0.0, top)
    total = tl.sum(tl.exp2(parts - pivot), 0)
    divisor = tl.where(total == 0.0, 1.0, total)
    weights = tl.exp2(parts - pivot) / divisor
    dim = tl.arange(0, DP)
    written = (split < SPLITS) & (parts > float("-inf"))  # an empty split wrote no output
    inside = written[:, None] & (dim < D)[None, :]
    outs = tl.load(PartO + part[:, None] * D + dim[None, :], mask=inside, other=0.0)
    out = tl.sum(weights[:, None] * outs, 0)
    o_row = batch * o_b + query * o_s + head * o_h
    tl.store(O + o_row + dim, _cast(out, O.dtype.element_ty, ROUND), mask=dim < D)
    whole = pivot + tl.log2(divisor)
    tl.store(Lse + row, tl.where(total == 0.0, float("-inf"), whole * LN2))


def tiling(rows: int, D: int, itemsize: int) -> tuple[int, int, int, int]:
    """Rows and keys of a tile, warps and stages that compile for sm_90 without spills."""
    if itemsize == 4:
        return (16, 64, 4, 2) if D <= 128 else (16, 32, 8, 2)
    R = min(64, max(16, triton.next_power_of_2(rows)))
    return (R, 64, 4, 3) if D <= 128 else (R, 32, 8 if R == 64 else 4, 3)


def choose_splits(tiles: int, slots: int, processors: int, fill: float = 1.0) -> int:
    """Splits of rows of up to `slots` keys, a power of two, that keep all processors busy to the end.

    Rows that are equally long end together, and two programs for a processor are best. `fill` is the mean length of
    the rows over the longest: uneven rows need more programs, so that short ones make room for parts of long ones.
    No split gets fewer than MIN_CHUNK keys. Measured on an H200.
    """
    programs = processors * (2 if fill > 0.9 else 8)
    wanted = min(programs / (max(1, tiles) * max(fill, 1e-3)), slots / MIN_CHUNK, 64)
    return 1 << int(math.log2(wanted)) if wanted >= 2 else 1


def _factor(scale: float | None, head_dim: int) -> float:
    """The factor on the products, log2(e) included: the kernels work with powers of two."""
    if scale is None:
        scale = head_dim**-0.5
    return scale / math.log(2.0)


def decode(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, seq_lens: Tensor,
    *, causal: bool = True, scale: float | None = None, splits: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Attend q [B, S, H, D] to the first seq_lens int32 [B] slots of the caches [B, N, Hkv, D].

    The S queries are the last tokens of their row: query i sees slot j iff j <= i + seq_len - S. The
    last dimension is contiguous, other strides are free. With `splits` given, a row's answer depends on that
    row alone. Returns the output [B, S, H, D] and lse, natural, float32 [B, H, S]; of nothing, 0 and -inf.
    """
    B, S, H, D = q.shape
    N, Hkv = k_cache.shape[1:3]
    cpu = q.device.type == "cpu"
    G, DP = H // Hkv, max(16, triton.next_power_of_2(D))
    # small tiles in the interpreter, so that short rows have several
    R, T, warps, stages = (16, 16, 4, 1) if cpu else tiling(S * G, D, q.element_size())
    blocks = triton.cdiv(S * G, R)
    if splits is None:
        processors = 8 if cpu else torch.cuda.get_device_properties(q.device).multi_processor_count
        splits = choose_splits(B * Hkv * blocks, N, processors)
    out, lse = torch.empty_like(q), q.new_empty(B, H, S, dtype=torch.float32)
    part_out = q.new_empty(B, H, S, splits, D, dtype=torch.float32) if splits > 1 else lse
    part_lse = q.new_empty(B, H, S, splits, dtype=torch.float32) if splits > 1 else lse
    factor = _factor(scale, D)
    wide, rounds = q.dtype == torch.float32 or cpu, cpu and q.dtype == torch.bfloat16
    _decode_kernel[(B, Hkv * blocks, splits)](
        q, k_cache, v_cache, seq_lens, out, lse, part_out, part_lse,
        *q.stride()[:3], *k_cache.stride()[:3], *v_cache.stride()[:3], *out.stride()[:3], S, factor,
        G, D, DP, R, T, splits, causal, wide, rounds, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    if splits > 1:
        SP = triton.next_power_of_2(splits)
        _combine_kernel[(B, H, S)](
            part_out, part_lse, out, lse, *out.stride()[:3], D, DP, splits, SP, rounds
        )
    return out, lse

"""A paged cache in Triton: writing new tokens to their slots, and attending through a page table.

Keys and values live in pages of a fixed size; `page_table[b, i]` is the page of tokens i * page_size
and on of sequence b. Slot number = page * page_size + place in the page. One attention kernel
serves decode and prefill: its rows are (query, group member) pairs, so that a group reads its keys
once. The file stands alone, trusts its arguments, and does not know who hands out pages.

B batch, S queries of the longest row, H query heads, Hkv key/value heads, G = H / Hkv, P pages, D
head dim; R rows of a block, T keys of a tile.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

LN2 = tl.constexpr(math.log(2.0))


@triton.jit
def _slot_of(PageTable, batch, token, inside, t_b, PAGE: tl.constexpr):
    """Page and place in it of a sequence's tokens; the table is not read where `inside` is false."""
    page = tl.load(PageTable + token // PAGE, mask=inside, other=0)
    return page.to(tl.int64), token % PAGE


@triton.jit
def _append_kernel(
    KNew, VNew, KPages, VPages, Slots, kn_t, kn_h, vn_t, vn_h, k_p, k_s, k_h, v_p, v_s, v_h,
    D: tl.constexpr, DP: tl.constexpr, PAGE: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    dim = tl.arange(0, DP)
    slot = tl.load(Slots + token)
    # a slot of -1 belongs to padding
    if slot >= 0:
        page = slot // PAGE
        place = slot % PAGE
        key = tl.load(KNew + token * kn_t + head * kn_h + dim, mask=dim < D)
        tl.store(KPages + page * k_p + place * k_s + head * k_h + dim, key, mask=dim < D)
        value = tl.load(VNew + token * vn_t + head * vn_h + dim, mask=dim < D)
        tl.store(VPages + page * v_p + place * v_s + head * v_h + dim, value, mask=dim < D)


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
def _newest_seen(query, q_len, kv_len, CAUSAL: tl.constexpr):
    """Newest token each row sees, [R]; the queries are the last tokens of their sequence."""
    newest = tl.zeros_like(query) + kv_len - 1
    if CAUSAL:
        newest = query + kv_len - q_len
    # queries that a short row does not have see nothing
    return tl.where(query < q_len, newest, -1)


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
    acc = acc + _dot(weights, values, WIDE)
    return new_top, total, acc


@triton.jit
def _finish(top, total, acc):
    """Output [R, DP] and log-sum-exp in base 2 [R]; a row that saw nothing gets 0 and -inf."""
    empty = total == 0.0
    divisor = tl.where(empty, 1.0, total)
    lse = tl.where(empty, float("-inf"), top + tl.log2(divisor))
    return acc / divisor[:, None], lse


@triton.jit
def _attend_kernel(
    Q, KPages, VPages, PageTable, SeqLens, QLens, O, Lse, PartO, PartLse,
    q_b, q_s, q_h, k_p, k_s, k_h, v_p, v_s, v_h, t_b, o_b, o_s, o_h, queries, factor,
    G: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, R: tl.constexpr, T: tl.constexpr,
    PAGE: tl.constexpr, SPLITS: tl.constexpr, RAGGED: tl.constexpr, CAUSAL: tl.constexpr,
    WIDE: tl.constexpr, ROUND: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    kv_head = (tl.program_id(1) // SPLITS).to(tl.int64)
    heads = tl.num_programs(1) // SPLITS * G
    split = tl.program_id(1) % SPLITS
    row = tl.program_id(2) * R + tl.arange(0, R)
    query = row // G
    head = kv_head * G + row % G
    kv_len = tl.load(SeqLens + batch)
    q_len = queries
    if RAGGED:
        q_len = tl.load(QLens + batch)
    newest = _newest_seen(query, q_len, kv_len, CAUSAL)
    chunk = tl.cdiv(tl.cdiv(kv_len, SPLITS), T) * T
    last = tl.minimum((split + 1) * chunk, kv_len)

    dim = tl.arange(0, DP)
    real = (query < q_len)[:, None] & (dim < D)[None, :]
    q_row = batch * q_b + query.to(tl.int64) * q_s + head * q_h
    q = tl.load(Q + q_row[:, None] + dim[None, :], mask=real, other=0.0)
    KPages += kv_head * k_h
    VPages += kv_head * v_h
    top = tl.full([R], float("-inf"), tl.float32)
    total = tl.zeros([R], tl.float32)
    acc = tl.zeros([R, DP], tl.float32)
    for start in range(split * chunk, last, T):
        token = start + tl.arange(0, T)
        page, place = _slot_of(PageTable, batch, token, token < last, t_b, PAGE)
        k_slot = page * k_p + place * k_s
        v_slot = page * k_p + place * k_s
        inside = (token < last)[:, None] & (dim < D)[None, :]
        keys = tl.load(KPages + k_slot[:, None] + dim[None, :], mask=inside, other=0.0)
        # an unused slot may hold NaN, which a weight of 0 does not silence
        values = tl.load(VPages + v_slot[:, None] + dim[None, :], mask=inside, other=0.0)
        scores = _dot(q, tl.trans(keys), WIDE) * factor
        visible = token[None, :] <= newest[:, None]
        scores = tl.where(visible, scores, float("-inf"))
        top, total, acc = _fold(top, total, acc, scores, values, WIDE)
    out, lse = _finish(top, total, acc)

    inside = (query < queries)[:, None] & (dim < D)[None, :]
    answer = (batch * heads + head) * queries + query
    if SPLITS == 1:
        o_row = batch * o_b + query.to(tl.int64) * o_s + head * o_h
        result = _cast(out, O.dtype.element_ty, ROUND)
        tl.store(O + o_row[:, None] + dim[None, :], result, mask=inside)
        tl.store(Lse + answer, lse * LN2, mask=query < queries)
    else:
        part = answer * SPLITS + split
        tl.store(PartO + part[:, None] * D + dim[None, :], out, mask=inside)
        tl.store(PartLse + part, lse, mask=query < queries)


@triton.jit
def _combine_kernel(
    PartO, PartLse, O, Lse, o_b, o_s, o_h,
    D: tl.constexpr, DP: tl.constexpr, SPLITS: tl.constexpr, SP: tl.constexpr, ROUND: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    query = tl.program_id(2).to(tl.int64)
    answer = (batch * tl.num_programs(1) + head) * tl.num_programs(2) + query
    split = tl.arange(0, SP)
    dim = tl.arange(0, DP)
    part = answer * SPLITS + split
    parts = tl.load(PartLse + part, mask=split < SPLITS, other=float("-inf"))
    top = tl.max(parts, 0)
    pivot = tl.where(top == float("-inf"), 0.0, top)
    total = tl.sum(tl.exp2(parts - pivot), 0)
    divisor = tl.maximum(total, 1.0)
    weights = tl.exp2(parts - pivot) / divisor
    inside = (split < SPLITS)[:, None] & (dim < D)[None, :]
    outs = tl.load(PartO + part[:, None] * D + dim[None, :], mask=inside, other=0.0)
    out = tl.sum(weights[:, None] * outs, 0)
    o_row = batch * o_b + query * o_s + head * o_h
    tl.store(O + o_row + dim, _cast(out, O.dtype.element_ty, ROUND), mask=dim < D)
    tl.store(Lse + answer, top * LN2)


def tiling(rows: int, D: int, itemsize: int) -> tuple[int, int, int, int]:
    """Rows and keys of a tile, warps and stages that compile for sm_90 without spills."""
    if itemsize == 4:
        return 16, 32, 8, 2
    R = min(64, max(16, triton.next_power_of_2(rows)))
    return (R, 64, 4, 3) if D <= 128 else (R, 32, 8 if R == 64 else 4, 3)


def slots_of(table: Tensor, old_lens: Tensor, new_lens: Tensor, S: int, page_size: int) -> Tensor:
    """Slots of new_lens [B] tokens behind old_lens [B] others, int64 [B, S]; -1 stands for padding.

    Example: table [[7, 2]], page_size 4, old_lens [3], new_lens [2], S = 3 -> [[31, 8, -1]].
    """
    new = torch.arange(S, device=table.device)  # [S]
    token = new.expand(len(old_lens), -1)  # [B, S]
    entry = (token // page_size).clamp(max=table.shape[1] - 1)  # [B, S]
    slot = table.long().gather(1, entry) * page_size + token % page_size  # [B, S]
    return torch.where(new < S, slot, -1)


def append(k_pages: Tensor, v_pages: Tensor, k_new: Tensor, v_new: Tensor, slots: Tensor) -> None:
    """Write k_new, v_new [tokens, Hkv, D] to their `slots`, int64 [tokens], of pages [P, page_size, Hkv, D]."""
    tokens, heads, D = k_new.shape
    _append_kernel[(tokens, heads)](
        k_new, v_new, k_pages, v_pages, slots, *k_new.stride()[:2], *v_new.stride()[:2],
        *k_pages.stride()[:3], *v_pages.stride()[:3], D, triton.next_power_of_2(D), k_pages.shape[1],
    )  # fmt: skip


def attend(
    q: Tensor, k_pages: Tensor, v_pages: Tensor, page_table: Tensor, seq_lens: Tensor, q_lens: Tensor | None = None,
    *, causal: bool = True, scale: float | None = None, splits: int = 1,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Attend q [B, S, H, D] to the seq_lens int32 [B] tokens that page_table int32 [B, W] leads to.

    Row b has q_lens[b] queries (int32 [B], default S), which are its last tokens: query i sees token
    j iff j <= i + seq_len - q_len. Pages are [P, page_size, Hkv, D], contiguous in D. Returns the output
    [B, S, H, D] and the natural log-sum-exp, float32 [B, H, S]; 0 and -inf where nothing is seen.
    """
    B, S, H, D = q.shape
    PAGE, Hkv = k_pages.shape[1:3]
    cpu = q.device.type == "cpu"
    G, DP = H // Hkv, max(16, triton.next_power_of_2(D))
    # small tiles in the interpreter, so that short rows have several
    R, T, warps, stages = (16, 16, 4, 1) if cpu else tiling(S * G, D, q.element_size())
    out, lse = torch.empty_like(q), q.new_empty(B, H, S, dtype=torch.float32)
    part_out = q.new_empty(B, H, S, splits, D, dtype=torch.float32) if splits > 1 else lse
    part_lse = q.new_empty(B, H, S, splits, dtype=torch.float32) if splits > 1 else lse
    factor = (D**-0.5 if scale is None else scale) / math.log(2.0)
    wide, rounds = q.dtype == torch.float32 or cpu, cpu and q.dtype == torch.bfloat16
    _attend_kernel[(B, Hkv * splits, triton.cdiv(S * G, R))](
        q, k_pages, v_pages, page_table, seq_lens, q_lens, out, lse, part_out, part_lse,
        *q.stride()[:3], *k_pages.stride()[:3], *v_pages.stride()[:3], page_table.stride(0),
        *out.stride()[:3], S, factor, G, D, DP, R, T, PAGE, splits, q_lens is not None, causal,
        wide, rounds, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    if splits > 1:
        SP = triton.next_power_of_2(splits)
        _combine_kernel[(B, H, S)](
            part_out, part_lse, out, lse, *out.stride()[:3], D, DP, splits, SP, rounds
        )
    return out, lse

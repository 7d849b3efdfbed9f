"""One Triton program per query and head, one page per turn of its loop; slots by arithmetic on flat tensors."""

import torch
import triton
import triton.language as tl


@triton.jit
def _write(New, Pages, Slots, n_t, n_h, p_p, p_s, p_h, PAGE, D: tl.constexpr, DP: tl.constexpr):
    token, head, dim = tl.program_id(0), tl.program_id(1), tl.arange(0, DP)
    slot = tl.load(Slots + token)
    real = (dim < D) & (slot + dim * 0 >= 0)
    row = tl.load(New + token * n_t + head * n_h + dim, mask=real)
    at = tl.maximum(slot, 0)
    tl.store(Pages + at // PAGE * p_p + at % PAGE * p_s + head * p_h + dim, row, mask=real)


@triton.jit
def _query(
    Q, K, V, Table, Lens, QLens, Out, Lse, q_b, q_s, q_h, k_p, k_s, k_h, v_p, v_s, v_h, t_b,
    scale, G: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, PAGE: tl.constexpr, LANES: tl.constexpr,
    CAUSAL: tl.constexpr,
):  # fmt: skip
    b, i, h = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    dim, lane = tl.arange(0, DP), tl.arange(0, LANES)
    m = tl.load(QLens + b)
    n = tl.load(Lens + b)
    if CAUSAL:
        n = n - m + i + 1
    if i >= m:
        n = n * 0
    q = tl.load(Q + b * q_b + i * q_s + h * q_h + dim, mask=dim < D, other=0.0).to(tl.float32)
    top = tl.full([1], float("-inf"), tl.float32)
    total = tl.zeros([1], tl.float32)
    acc = tl.zeros([DP], tl.float32)
    for entry in range(tl.cdiv(tl.maximum(n, 0), PAGE)):
        page = tl.load(Table + b * t_b + entry).to(tl.int64)
        used = (lane < PAGE) & (entry * PAGE + lane < n)
        inside = used[:, None] & (dim < D)[None, :]
        k_at = page * k_p + lane[:, None] * k_s + h // G * k_h + dim[None, :]
        v_at = page * v_p + lane[:, None] * v_s + h // G * v_h + dim[None, :]
        k = tl.load(K + k_at, mask=inside, other=0.0).to(tl.float32)
        v = tl.load(V + v_at, mask=inside, other=0.0).to(tl.float32)
        score = tl.where(used, tl.sum(k * q[None, :], 1) * scale, float("-inf"))
        high = tl.maximum(top, tl.max(score, 0))
        decay = tl.exp(top - high)
        weight = tl.exp(score - high)
        total = total * decay + tl.sum(weight, 0)
        acc = acc * decay + tl.sum(weight[:, None] * v, 0)
        top = high
    seen = tl.where(total > 0, total, 1.0)
    at = (b * tl.num_programs(1) + i) * tl.num_programs(2) + h
    tl.store(Out + at * D + dim, acc / seen, mask=dim < D)
    at = (b * tl.num_programs(2) + h) * tl.num_programs(1) + i + tl.arange(0, 1)
    tl.store(Lse + at, top + tl.log(seen))


def slots_of(table, old_lens, new_lens, S, page_size):
    place = torch.arange(S) + old_lens[:, None].long()
    entries = torch.nn.functional.pad(table.long(), (0, S))
    slots = entries.gather(1, place // page_size) * page_size + place % page_size
    return slots.masked_fill(torch.arange(S) >= new_lens[:, None], -1)


def append(k_pages, v_pages, k_new, v_new, slots):
    tokens, heads, D = k_new.shape
    for new, pages in ((k_new, k_pages), (v_new, v_pages)):
        _write[(tokens, heads)](
            new, pages, slots, *new.stride()[:2], *pages.stride()[:3], pages.shape[1],
            D, triton.next_power_of_2(D),
        )  # fmt: skip


def attend(
    q, k_pages, v_pages, page_table, seq_lens, q_lens=None, *, causal=True, scale=None, splits=1
):
    B, S, H, D = q.shape
    out, lse = torch.zeros(B, S, H, D), torch.zeros(B, H, S)
    q_lens = torch.full_like(seq_lens, S) if q_lens is None else q_lens
    PAGE, Hkv = k_pages.shape[1:3]
    _query[(B, S, H)](
        q, k_pages, v_pages, page_table, seq_lens, q_lens, out, lse,
        *q.stride()[:3], *k_pages.stride()[:3], *v_pages.stride()[:3], page_table.stride(0),
        D**-0.5 if scale is None else scale, H // Hkv, D, triton.next_power_of_2(D), PAGE,
        triton.next_power_of_2(PAGE), causal,
    )  # fmt: skip
    return out.to(q.dtype), lse

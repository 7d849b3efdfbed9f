"""A Triton kernel of its own: small blocks, every tile masked, from the newest tile to the oldest."""

import torch
import triton
import triton.language as tl


@triton.jit
def _block(
    Q, K, V, Lens, QLens, Out, Lse, q_b, q_s, q_h, k_b, k_s, k_h, v_b, v_s, v_h, S, scale,
    G: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    b, h = tl.program_id(0), tl.program_id(1)
    i, lane, dim = tl.program_id(2) * 8 + tl.arange(0, 8), tl.arange(0, 8), tl.arange(0, DP)
    m = tl.load(QLens + b)
    n = tl.load(Lens + b)
    seen = n + i * 0
    if CAUSAL:
        seen = tl.minimum(n - m + i + 1, n)
    seen = tl.where(i < m, seen, 0)
    asked = (i < m)[:, None] & (dim < D)[None, :]
    at = b * q_b + i[:, None] * q_s + h * q_h + dim[None, :]
    q = tl.load(Q + at, mask=asked, other=0.0).to(tl.float32)
    top = tl.full([8], float("-inf"), tl.float32)
    total = tl.zeros([8], tl.float32)
    acc = tl.zeros([8, DP], tl.float32)
    tiles = tl.cdiv(tl.maximum(tl.max(seen, 0), 0), 8)
    for back in range(tiles):
        key = (tiles - 1 - back) * 8 + lane
        inside = (key < n)[:, None] & (dim < D)[None, :]
        k_at = b * k_b + key[:, None] * k_s + h // G * k_h + dim[None, :]
        v_at = b * v_b + key[:, None] * v_s + h // G * v_h + dim[None, :]
        k = tl.load(K + k_at, mask=inside, other=0.0).to(tl.float32)
        v = tl.load(V + v_at, mask=inside, other=0.0).to(tl.float32)
        score = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        score = tl.where(key[None, :] < seen[:, None], score, float("-inf"))
        high = tl.maximum(top, tl.max(score, 1))
        safe = tl.where(high == float("-inf"), 0.0, high)
        decay = tl.exp(top - safe)
        weight = tl.exp(score - safe[:, None])
        total = total * decay + tl.sum(weight, 1)
        acc = acc * decay[:, None] + tl.dot(weight, v, input_precision="ieee")
        top = high
    whole = tl.where(total > 0, total, 1.0)
    at = ((b * S + i[:, None]) * tl.num_programs(1) + h) * D + dim[None, :]
    tl.store(Out + at, acc / whole[:, None], mask=(i < S)[:, None] & (dim < D)[None, :])
    tl.store(Lse + (b * tl.num_programs(1) + h) * S + i, top + tl.log(whole), mask=i < S)


def prefill(q, k_cache, v_cache, seq_lens, q_lens=None, *, causal=True, scale=None):
    B, S, H, D = q.shape
    out = torch.zeros(B, S, H, D, device=q.device)
    lse = torch.zeros(B, H, S, device=q.device)
    q_lens = torch.full_like(seq_lens, S) if q_lens is None else q_lens
    _block[(B, H, triton.cdiv(S, 8))](
        q, k_cache, v_cache, seq_lens, q_lens, out, lse,
        *q.stride()[:3], *k_cache.stride()[:3], *v_cache.stride()[:3], S,
        D**-0.5 if scale is None else scale,
        H // k_cache.shape[2], D, triton.next_power_of_2(D), causal,
    )  # fmt: skip
    return out.to(q.dtype), lse

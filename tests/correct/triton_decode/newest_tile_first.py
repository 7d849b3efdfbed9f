"""One Triton program per query and head, which walks the tiles from the newest to the oldest."""

import torch
import triton
import triton.language as tl


@triton.jit
def _row(
    Q, K, V, Lens, Out, Lse, q_b, q_s, q_h, k_b, k_s, k_h, v_b, v_s, v_h, queries, scale,
    G: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    b, i, h = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    dim, lane = tl.arange(0, DP), tl.arange(0, 8)
    n = tl.load(Lens + b)
    if CAUSAL:
        n = n - queries + i + 1
    q = tl.load(Q + b * q_b + i * q_s + h * q_h + dim, mask=dim < D, other=0.0).to(tl.float32)
    top = tl.full([1], float("-inf"), tl.float32)
    total = tl.zeros([1], tl.float32)
    acc = tl.zeros([DP], tl.float32)
    tiles = tl.cdiv(tl.maximum(n, 0), 8)
    for back in range(tiles):
        key = (tiles - 1 - back) * 8 + lane
        inside = (key < n)[:, None] & (dim < D)[None, :]
        k_at = K + b * k_b + key[:, None] * k_s + h // G * k_h + dim[None, :]
        v_at = V + b * v_b + key[:, None] * v_s + h // G * v_h + dim[None, :]
        k = tl.load(k_at, mask=inside, other=0.0).to(tl.float32)
        v = tl.load(v_at, mask=inside, other=0.0).to(tl.float32)
        score = tl.where(key < n, tl.sum(k * q[None, :], 1) * scale, float("-inf"))
        high = tl.maximum(top, tl.max(score, 0))
        decay = tl.exp(top - high)
        weight = tl.exp(score - high)
        total = total * decay + tl.sum(weight, 0)
        acc = acc * decay + tl.sum(weight[:, None] * v, 0)
        top = high
    seen = tl.where(total > 0, total, 1.0)
    at = (b * queries + i) * tl.num_programs(2) + h
    tl.store(Out + at * D + dim, acc / seen, mask=dim < D)
    at = (b * tl.num_programs(2) + h) * queries + i + tl.arange(0, 1)
    tl.store(Lse + at, top + tl.log(seen))


def decode(q, k_cache, v_cache, seq_lens, *, causal=True, scale=None, splits=None):
    B, S, H, D = q.shape
    out = torch.zeros(B, S, H, D, device=q.device)
    lse = torch.zeros(B, H, S, device=q.device)
    _row[(B, S, H)](
        q, k_cache, v_cache, seq_lens, out, lse,
        *q.stride()[:3], *k_cache.stride()[:3], *v_cache.stride()[:3], S,
        D**-0.5 if scale is None else scale,
        H // k_cache.shape[2], D, triton.next_power_of_2(D), causal,
    )  # fmt: skip
    return out.to(q.dtype), lse

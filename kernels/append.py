"""Append to a dense cache in Triton: each row's new tokens go behind the tokens it has.

One program copies the keys and values of one token, all heads at once, bit for bit. The file trusts
its arguments; the owner of the cache checks that there is room and advances the lengths.

B batch, S new tokens of the longest row, Hkv key/value heads, N cache slots, D head dim.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _append_kernel(
    KNew, VNew, K, V, SeqLens, NewLens,
    kn_b, kn_s, kn_h, vn_b, vn_s, vn_h, k_b, k_s, k_h, v_b, v_s, v_h, slots,
    HEADS: tl.constexpr, HP: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, RAGGED: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    batch = tl.program_id(1).to(tl.int64)
    slot = tl.load(SeqLens + batch).to(tl.int64) + token
    count = tl.num_programs(0)
    if RAGGED:
        count = tl.load(NewLens + batch)
    # a row that would overflow keeps its neighbours intact, whatever the owner overlooked
    if (token < count) & (slot < slots):
        head = tl.arange(0, HP).to(tl.int64)[:, None]
        dim = tl.arange(0, DP)[None, :]
        inside = (head < HEADS) & (dim < D)
        k_new = tl.load(KNew + batch * kn_b + token * kn_s + head * kn_h + dim, mask=inside)
        v_new = tl.load(VNew + batch * vn_b + token * vn_s + head * vn_h + dim, mask=inside)
        tl.store(K + batch * k_b + slot * k_s + head * k_h + dim, k_new, mask=inside)
        tl.store(V + batch * v_b + slot * v_s + head * v_h + dim, v_new, mask=inside)


def append(
    k_cache: Tensor,
    v_cache: Tensor,
    k_new: Tensor,
    v_new: Tensor,
    seq_lens: Tensor,
    new_lens: Tensor | None = None,
) -> None:
    """Write k_new, v_new [B, S, Hkv, D] behind seq_lens int32 [B] of the caches [B, N, Hkv, D].

    Only the first new_lens[b] tokens of row b are written (int32 [B], default S). The last
    dimension is contiguous, other strides are free. `seq_lens` is not advanced.
    """
    B, S, heads, D = k_new.shape
    _append_kernel[(S, B)](
        k_new, v_new, k_cache, v_cache, seq_lens, new_lens,
        *k_new.stride()[:3], *v_new.stride()[:3], *k_cache.stride()[:3], *v_cache.stride()[:3],
        k_cache.shape[1], heads, triton.next_power_of_2(heads), D, triton.next_power_of_2(D),
        new_lens is not None,
    )  # fmt: skip

"""A kernel that reads at an address that is nobody's; the worker dies of it, and only the worker."""

import torch
import triton
import triton.language as tl


@triton.jit
def _read(Q, Out, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(Out + i, tl.load(Q + (i.to(tl.int64) + (1 << 45))))


def decode(q, k_cache, v_cache, seq_lens, *, causal=True, scale=None, splits=None):
    out = torch.empty_like(q)
    _read[(1,)](q, out, 16)
    return out, q.new_zeros(q.shape[0], q.shape[2], q.shape[1])

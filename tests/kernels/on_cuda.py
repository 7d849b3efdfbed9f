"""The kernels, compiled, on a CUDA device: `python -m tests.kernels.on_cuda`, without TRITON_INTERPRET.

Prints a line for every launch that does not agree with float64, and how many were made.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from benchmarks.exactness import check_everything
from kernels.append import append
from kernels.decode import decode
from kernels.paged_cache import attend as attend_paged
from kernels.prefill import prefill
from tests.kernels.kv_problem import Problem, paged, problem

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
SIZES = [  # queries, query heads of one of K and V, head dimension, dtype, causal
    (1, 1, 64, F32, True),
    (1, 7, 13, F32, False),
    (3, 4, 128, F32, True),
    (70, 2, 64, F32, True),
    (70, 1, 13, F32, False),
    (1, 8, 128, F16, True),
    (3, 3, 13, F16, False),
    (70, 4, 64, F16, True),
    (1, 4, 128, BF16, True),
    (1, 2, 256, BF16, False),
    (70, 7, 80, BF16, False),
    (130, 1, 128, BF16, True),
]
LENS = [0, 1, 2, 31, 33, 257]  # no tokens, fewer than the queries, around a tile, several tiles


def launches(p: Problem, page_size: int) -> dict[str, tuple[Tensor, Tensor]]:
    """What each kernel answers to a problem that lies on the device."""
    q, k, v, lens = (x.cuda() for x in (p.q, p.k, p.v, p.seq_lens))
    q_lens = torch.tensor(p.q_lens, dtype=torch.int32).cuda()
    pages = [x.cuda() for x in paged(p, page_size)]
    found = {"prefill": prefill(q, k, v, lens, q_lens, causal=p.causal)}
    if set(p.q_lens) == {q.shape[1]} and q.shape[1] <= 16:
        found["decode"] = decode(q, k, v, lens, causal=p.causal)
    found["paged"] = attend_paged(q, *pages, lens, q_lens, causal=p.causal)
    return found


def main() -> int:
    """Run every launch, and say what is wrong."""
    torch.manual_seed(0)
    wrong, made = check_everything("cuda"), 0
    for S, G, D, dtype, causal in SIZES:
        ragged = [S, S // 2, 0, S, 1, S] if S > 1 and not causal else None
        p = problem(S, G, D, LENS, dtype=dtype, causal=causal, q_lens=ragged)
        for name, (out, lse) in launches(p, page_size=16 if D == 64 else 5).items():
            made += 1
            try:
                p.check(out.cpu(), lse.cpu())
            except AssertionError as fault:
                wrong.append(f"{name}, S {S}, G {G}, D {D}, {dtype}, causal {causal}: {fault}")
    k, v = torch.full((2, 3, 8, 2, 5), float("nan"), device="cuda")
    k_new, v_new = torch.randn(2, 3, 4, 2, 5, device="cuda")
    at = torch.tensor([0, 3, 4], dtype=torch.int32, device="cuda")
    append(k, v, k_new, v_new, at)
    for cache, new in ((k, k_new), (v, v_new)):
        expected = torch.full_like(cache, float("nan"))
        for row, start in enumerate(at.tolist()):
            expected[row, start : start + 4] = new[row]
        if not torch.equal(cache.view(torch.int32), expected.view(torch.int32)):
            wrong.append("append wrote other bits, or elsewhere")
    print("\n".join([*wrong, f"{made} launches on {torch.cuda.get_device_name()}"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

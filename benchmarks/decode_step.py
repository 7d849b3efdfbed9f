"""What one decode step costs on a CPU as the context grows: `python -m benchmarks.decode_step [CONTEXT...]`.

One layer, one thread, float32. Each contender grows its cache by a token and attends to it; the rows differ in
who keeps the cache. Rounds are interleaved, so that a busy machine slows all of them alike; what counts
is the ratio to growth by `torch.cat`, and how it changes with the context.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa
from transformers import DynamicCache, LlamaConfig, StaticCache

from reference import cached_attention, static_cache

B, H, HEADS, D = 1, 8, 2, 64
CONTEXTS = (256, 1024, 4096, 16384)
ROUNDS, WARM = 15, 3
BASE = "torch.cat"

Step = Callable[[Tensor, Tensor, Tensor], Tensor]  # q [B, H, 1, D], k and v [B, Hkv, 1, D]


def grown_by_cat(k: Tensor, v: Tensor) -> Step:
    """Concatenate at each step."""
    held = [k, v]

    def step(q: Tensor, k_new: Tensor, v_new: Tensor) -> Tensor:
        held[0] = torch.cat([held[0], k_new], 2)
        held[1] = torch.cat([held[1], v_new], 2)
        return sdpa(q, held[0], held[1], enable_gqa=True)

    return step


def written_in_place(k: Tensor, v: Tensor) -> Step:
    """Write to the next slot of a buffer and attend to the slots in use."""
    n = k.shape[2]
    room = torch.zeros(2, B, HEADS, n + ROUNDS + WARM, D)
    room[0, :, :, :n], room[1, :, :, :n] = k, v
    used = [n]

    def step(q: Tensor, k_new: Tensor, v_new: Tensor) -> Tensor:
        room[0, :, :, used[0]], room[1, :, :, used[0]] = k_new[:, :, 0], v_new[:, :, 0]
        used[0] += 1
        return sdpa(q, room[0, :, :, : used[0]], room[1, :, :, : used[0]], enable_gqa=True)

    return step


def kept_by_transformers(static: bool) -> Callable[[Tensor, Tensor], Step]:
    """Let a cache of transformers keep the keys, as its models would."""

    def make(k: Tensor, v: Tensor) -> Step:
        config = LlamaConfig(
            hidden_size=H * D, num_attention_heads=H, num_key_value_heads=HEADS, num_hidden_layers=1
        )
        slots = k.shape[2] + ROUNDS + WARM
        cache = StaticCache(config, max_cache_len=slots) if static else DynamicCache(config=config)
        cache.update(k, v, 0)
        used = [k.shape[2]]

        def step(q: Tensor, k_new: Tensor, v_new: Tensor) -> Tensor:
            keys, values = cache.update(k_new, v_new, 0)
            used[0] += 1
            mask = (torch.arange(slots) < used[0])[None, None, None] if static else None
            return sdpa(q, keys, values, attn_mask=mask, enable_gqa=True)

        return step

    return make


def of_static_cache(k: Tensor, v: Tensor) -> Step:
    """reference/static_cache.py, whose caches are values: each step returns a new one."""
    n = k.shape[2]
    room = torch.zeros(2, B, HEADS, n + ROUNDS + WARM, D)
    room[0, :, :, :n], room[1, :, :, :n] = k, v
    held = [(room[0], room[1], torch.full((B,), n, dtype=torch.int32))]

    def step(q: Tensor, k_new: Tensor, v_new: Tensor) -> Tensor:
        out, held[0] = static_cache.attention_with_kv_cache(q, k_new, v_new, held[0])
        return out

    return step


def of_cached_attention(k: Tensor, v: Tensor) -> Step:
    """reference/cached_attention.py, the plain version of the kernels."""
    cache = cached_attention.KVCache(B, k.shape[2] + ROUNDS + WARM, HEADS, D)
    cache.append(k.transpose(1, 2), v.transpose(1, 2))

    def step(q: Tensor, k_new: Tensor, v_new: Tensor) -> Tensor:
        swapped = (x.transpose(1, 2) for x in (q, k_new, v_new))
        return cached_attention.attention_with_kv_cache(*swapped, cache).transpose(1, 2)

    return step


CONTENDERS: dict[str, Callable[[Tensor, Tensor], Step]] = {
    BASE: grown_by_cat,
    "buffer written in place": written_in_place,
    "transformers DynamicCache": kept_by_transformers(static=False),
    "transformers StaticCache": kept_by_transformers(static=True),
    "reference/static_cache.py": of_static_cache,
    "reference/cached_attention.py": of_cached_attention,
}


def measure(context: int) -> dict[str, float]:
    """Median seconds of a step of each contender, all of which must agree on the answer."""
    torch.manual_seed(0)
    k, v = torch.randn(2, B, HEADS, context, D)
    steps = {name: make(k, v) for name, make in CONTENDERS.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(WARM + ROUNDS):
        q, (k_new, v_new) = torch.randn(B, H, 1, D), torch.randn(2, B, HEADS, 1, D)
        answers = {}
        for name, step in steps.items():
            began = time.perf_counter()
            answers[name] = step(q, k_new, v_new)
            if turn >= WARM:
                times[name].append(time.perf_counter() - began)
        for name, answer in answers.items():
            assert torch.allclose(answer, answers[BASE], atol=1e-4), f"{name} is wrong"
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main(arguments: list[str]) -> int:
    """Print microseconds per step and the ratio to `torch.cat` for each context."""
    if not all(x.isdecimal() and int(x) > 0 for x in arguments):
        print("usage: python -m benchmarks.decode_step [CONTEXT...]", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    contexts = [int(x) for x in arguments] or list(CONTEXTS)
    print(f"microseconds per decode step (times {BASE}); torch {torch.__version__}, 1 thread")
    print(f"{'context':32}" + "".join(f"{n:>18}" for n in contexts))
    with torch.no_grad():
        results = [measure(n) for n in contexts]
    for name in CONTENDERS:
        cells = (f"{r[name] * 1e6:.0f} ({r[name] / r[BASE]:.2f})" for r in results)
        print(f"{name:32}" + "".join(f"{cell:>18}" for cell in cells))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

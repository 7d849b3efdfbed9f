"""Whatever is wrong with a call, the exception names the argument and nothing was written."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from kernels.attention import attend, attention_with_kv_cache
from kernels.cache import KVCache
from kernels.pages import PagedKVCache

B, S, H, HEADS, D, SLOTS = 2, 3, 4, 2, 8, 8


def good() -> dict[str, object]:
    torch.manual_seed(0)
    return {
        "q": torch.randn(B, S, H, D),
        "k_new": torch.randn(B, S, HEADS, D),
        "v_new": torch.randn(B, S, HEADS, D),
    }


def every_second(x: torch.Tensor) -> torch.Tensor:
    return x.repeat_interleave(2, -1)[..., ::2]


BAD = [
    ("q", torch.randn(B, S, H, D).half(), TypeError),
    ("q", torch.randn(B, S, H, D).double(), TypeError),
    ("q", torch.ones(B, S, H, D, dtype=torch.int64), TypeError),
    ("q", [[0.0]], TypeError),
    ("q", torch.randn(B, S, H * D), ValueError),
    ("q", torch.randn(B + 1, S, H, D), ValueError),
    ("q", torch.randn(B, S, 3, D), ValueError),
    ("q", torch.randn(B, S, 0, D), ValueError),
    ("q", torch.randn(B, S, H, D + 1), ValueError),
    ("q", torch.randn(B, S, H, D, device="meta"), ValueError),
    ("q", every_second(torch.randn(B, S, H, D)), ValueError),
    ("k_new", None, TypeError),
    ("k_new", torch.randn(B, S, HEADS, D).bfloat16(), TypeError),
    ("k_new", torch.randn(B, S, HEADS + 1, D), ValueError),
    ("k_new", torch.randn(B - 1, S, HEADS, D), ValueError),
    ("k_new", torch.randn(B, S, HEADS, D, device="meta"), ValueError),
    ("k_new", every_second(torch.randn(B, S, HEADS, D)), ValueError),
    ("v_new", torch.randn(B, S + 1, HEADS, D), ValueError),
    ("v_new", torch.randn(B, S, HEADS, D).half(), TypeError),
    ("v_new", torch.randn(B, S, HEADS, D, device="meta"), ValueError),
    ("v_new", every_second(torch.randn(B, S, HEADS, D)), ValueError),
    ("new_lens", [S + 1, 0], ValueError),
    ("new_lens", [-1, 0], ValueError),
    ("new_lens", [1], ValueError),
    ("new_lens", [1.5, 1], TypeError),
    ("new_lens", [True, True], TypeError),
    ("new_lens", torch.tensor([1.0, 1.0]), TypeError),
    ("new_lens", torch.tensor([[1, 1]]), ValueError),
    ("q_lens", [S + 1, 0], ValueError),
    ("q_lens", -1, ValueError),
    ("scale", float("nan"), ValueError),
    ("scale", torch.tensor(1.0), ValueError),
    ("cache", None, TypeError),
    ("cache", (torch.zeros(B, SLOTS, HEADS, D),) * 2, TypeError),
]


@pytest.mark.parametrize("make", [KVCache, PagedKVCache])
@pytest.mark.parametrize(
    ("name", "value", "kind"), BAD, ids=[f"{i}-{name}" for i, (name, *_) in enumerate(BAD)]
)
def test_refused_by_name_with_nothing_written(make, name, value, kind):
    cache = KVCache(B, SLOTS, HEADS, D) if make is KVCache else PagedKVCache(B, 4, 4, HEADS, D)
    cache.k.fill_(7.0)
    cache.v.fill_(7.0)
    arguments = good() | {"cache": cache, name: value}
    with pytest.raises(kind, match=rf"^{name}\b"):
        attention_with_kv_cache(**arguments)
    assert cache.lens == (0, 0)
    assert cache.seq_lens.tolist() == [0, 0]
    assert (cache.k == 7.0).all()
    assert (cache.v == 7.0).all()
    if isinstance(cache, PagedKVCache):
        assert cache.free_pages == 4


@pytest.mark.parametrize("make", [KVCache, PagedKVCache])
def test_full_to_the_last_slot_is_accepted_and_one_more_refused(make):
    cache = KVCache(B, SLOTS, HEADS, D) if make is KVCache else PagedKVCache(B, 4, 4, HEADS, D)
    x = torch.randn(B, 4, HEADS, D)
    cache.append(x, x)
    cache.append(x, x, [3, 4])
    before = cache.k.clone(), cache.v.clone()
    with pytest.raises(ValueError, match="k_new"):
        cache.append(x[:, :1], x[:, :1], 1)
    assert cache.lens == (7, 8)
    assert torch.equal(cache.k, before[0])
    assert torch.equal(cache.v, before[1])
    cache.append(x[:, :1], x[:, :1], [1, 0])
    assert cache.lens == (8, 8)


def test_sizes_that_make_no_cache():
    for name, sizes in {
        "batch": (-1, 8, 2, 8),
        "slots": (1, -1, 2, 8),
        "kv_heads": (1, 8, 0, 8),
        "head_dim": (1, 8, 2, 0),
    }.items():
        with pytest.raises(ValueError, match=name):
            KVCache(*sizes)
    with pytest.raises(ValueError, match="head dim 257"):
        KVCache(1, 8, 2, 257)
    with pytest.raises(TypeError, match="float64"):
        KVCache(1, 8, 2, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="num_pages"):
        PagedKVCache(1, 0, 4, 2, 8)
    with pytest.raises(TypeError, match="page_size"):
        PagedKVCache(1, 4, 4.0, 2, 8)


def test_buffers_that_make_no_cache():
    k = torch.zeros(2, 8, 2, 8)
    for message, arguments, kind in (
        ("v is float|v is torch", (k, k.half(), 0), TypeError),
        ("v is", (k, k[:, :4], 0), ValueError),
        ("lens of row 1 is 9", (k, k, [8, 9]), ValueError),
        ("lens of row 0 is -1", (k, k, -1), ValueError),
        ("lens has 1 entries for 2 rows", (k, k, [1]), ValueError),
        ("lens must be int32", (k, k, torch.zeros(2)), TypeError),
        ("k must be contiguous", (k.transpose(2, 3), k, 0), ValueError),
    ):
        with pytest.raises(kind, match=message):
            KVCache.adopt(*arguments)


def test_page_tables_that_lead_nowhere():
    k = torch.zeros(4, 4, 2, 8)
    table = torch.tensor([[0, 1], [3, 99]], dtype=torch.int32)
    for message, arguments, kind in (
        ("page_table, row 1: no page 99", (k, k, table, [8, 5]), ValueError),
        ("page_table, row 1: no page -2", (k, k, -table + 1, [1, 1]), ValueError),
        ("lens of row 0 is 9", (k, k, table, [9, 1]), ValueError),
        ("page_table must be int32", (k, k, table.long(), 1), TypeError),
        ("page_table must be .B, W.", (k, k, table[0], 1), ValueError),
        ("page_table must be a tensor", (k, k, [[0], [1]], 1), TypeError),
        ("k is empty", (k[:0], k[:0], table, 1), ValueError),
    ):
        with pytest.raises(kind, match=message):
            PagedKVCache.adopt(*arguments)
    # entries behind a row's length are not looked at
    assert PagedKVCache.adopt(k, k, table, [8, 4]).lens == (8, 4)


def test_rows_and_lengths_of_a_cache():
    for cache in (KVCache(2, 8, 2, 8), PagedKVCache(2, 4, 4, 2, 8)):
        for message, call in (
            ("rows names row 2", lambda c=cache: c.fork([0, 2])),
            ("rows names row -1", lambda c=cache: c.reset([-1])),
            ("lens of row 0 is 1", lambda c=cache: c.truncate(1)),
            ("lens of row 1 is -1", lambda c=cache: c.truncate([0, -1])),
        ):
            with pytest.raises(ValueError, match=message):
                call()


def test_no_rows_no_queries_and_no_keys():
    out, lse = attend(torch.randn(2, 3, 4, 8), KVCache(2, 0, 2, 8))
    assert (out == 0).all()
    assert (lse == float("-inf")).all()
    assert attend(torch.randn(0, 3, 4, 8), KVCache(0, 8, 2, 8))[0].shape == (0, 3, 4, 8)
    for cache in (KVCache(2, 8, 2, 8), PagedKVCache(2, 4, 4, 2, 8)):
        nothing = torch.randn(2, 0, 2, 8)
        out = attention_with_kv_cache(torch.randn(2, 0, 4, 8), nothing, nothing, cache)
        assert out.shape == (2, 0, 4, 8)


def test_without_the_interpreter_a_cpu_is_refused_and_told_why():
    code = (
        "import torch; from kernels.cache import KVCache; c = KVCache(1, 4, 1, 8)\n"
        "x = torch.ones(1, 1, 1, 8)\n"
        "try: c.append(x, x)\n"
        "except RuntimeError as error: print(error, c.lens)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "set TRITON_INTERPRET=1" in done.stdout
    assert done.stdout.rstrip().endswith("(0,)")

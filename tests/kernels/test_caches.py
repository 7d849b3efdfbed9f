"""Caches own their lengths and pages: what is handed out is a copy, and branches do not touch each other."""

from __future__ import annotations

import math

import pytest
import torch

from kernels.attention import attend
from kernels.cache import KVCache
from kernels.pages import PagedKVCache


def dense() -> KVCache:
    return KVCache(2, 12, 1, 4)


def pages() -> PagedKVCache:
    return PagedKVCache(2, 12, 4, 1, 4)


def content(cache: KVCache | PagedKVCache, row: int) -> torch.Tensor:
    """First feature of each key of a row, read back through attention's own view of the cache."""
    n = cache.lens[row]
    if isinstance(cache, KVCache):
        return cache.k[row, :n, 0, 0]
    table = cache.page_table[row].long()
    return cache.k[table].flatten(0, 1)[:n, 0, 0]


def ones(count: int, value: float) -> torch.Tensor:
    return torch.full((2, count, 1, 4), value)


@pytest.mark.parametrize("make", [dense, pages])
def test_lengths_handed_out_are_copies(make):
    cache = make()
    cache.append(ones(3, 1.0), ones(3, 1.0))
    cache.seq_lens.fill_(99)
    assert cache.seq_lens.tolist() == [3, 3]
    assert cache.lens == (3, 3)


@pytest.mark.parametrize("make", [dense, pages])
def test_what_was_appended_may_be_changed_afterwards(make):
    cache = make()
    x = ones(3, 1.0)
    cache.append(x, x)
    x.fill_(math.nan)
    assert content(cache, 0).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("make", [dense, pages])
def test_branches_do_not_touch_each_other(make):
    trunk = make()
    trunk.append(ones(3, 1.0), ones(3, 1.0))
    branch = trunk.fork([0, 0])
    trunk.append(ones(1, 2.0), ones(1, 2.0))
    branch.append(ones(2, 3.0), ones(2, 3.0), [2, 1])
    assert content(trunk, 0).tolist() == [1, 1, 1, 2]
    assert content(branch, 0).tolist() == [1, 1, 1, 3, 3]
    assert content(branch, 1).tolist() == [1, 1, 1, 3]
    trunk.reset()
    assert content(branch, 0).tolist() == [1, 1, 1, 3, 3]


@pytest.mark.parametrize("make", [dense, pages])
def test_truncate_and_reset_bring_room_back(make):
    cache = make()
    cache.append(ones(12, 1.0), ones(12, 1.0))
    cache.truncate([5, 12])
    cache.reset([1])
    assert cache.lens == (5, 0)
    cache.append(ones(7, 2.0), ones(7, 2.0))
    assert content(cache, 0).tolist() == [1.0] * 5 + [2.0] * 7
    assert content(cache, 1).tolist() == [2.0] * 7


def test_pages_are_shared_copied_on_writing_and_given_back():
    trunk = PagedKVCache(1, 6, 4, 1, 4)
    x = torch.ones(1, 6, 1, 4)
    trunk.append(x, x)
    assert trunk.free_pages == 4
    branch = trunk.fork([0, 0])
    assert trunk.free_pages == 4
    # both rows of the branch and the trunk write to the half-full page: two of the three copy it
    y = torch.full((2, 1, 1, 4), 2.0)
    branch.append(y, y)
    assert trunk.free_pages == 2
    trunk.append(y[:1], y[:1])
    assert trunk.free_pages == 2
    branch.reset()
    assert trunk.free_pages == 4
    trunk.truncate(4)
    assert trunk.free_pages == 5
    trunk.reset()
    assert trunk.free_pages == 6


def test_a_copy_that_has_no_page_left_is_refused_whole():
    trunk = PagedKVCache(1, 2, 4, 1, 4)
    trunk.append(torch.ones(1, 6, 1, 4), torch.ones(1, 6, 1, 4))
    branch = trunk.fork()
    y = torch.ones(1, 1, 1, 4)
    with pytest.raises(ValueError, match="k_new needs 1 more pages, 0 are free"):
        branch.append(y, y)
    assert branch.lens == (6,)
    trunk.reset()
    branch.append(y, y)
    assert branch.lens == (7,)


def test_an_adopted_page_named_twice_is_copied_before_writing():
    k = torch.zeros(3, 4, 1, 4)
    v = torch.zeros(3, 4, 1, 4)
    table = torch.tensor([[1], [1]], dtype=torch.int32)
    cache = PagedKVCache.adopt(k, v, table, 2)
    assert cache.free_pages == 2
    cache.append(ones(1, 1.0) * torch.tensor([1.0, 2.0])[:, None, None, None], ones(1, 1.0))
    assert content(cache, 0).tolist() == [0, 0, 1]
    assert content(cache, 1).tolist() == [0, 0, 2]


def test_adopted_buffers_are_not_copied():
    k, v = torch.zeros(2, 8, 1, 4), torch.zeros(2, 8, 1, 4)
    cache = KVCache.adopt(k, v, [2, 0])
    cache.append(ones(1, 1.0), ones(1, 1.0))
    assert k[:, :, 0, 0].tolist() == [[0, 0, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("make", [dense, pages])
def test_what_lies_behind_the_lengths_is_never_read(make):
    cache = make()
    cache.k.fill_(math.nan)
    cache.v.fill_(math.nan)
    cache.append(ones(3, 1.0), ones(3, 1.0), [3, 0])
    out, _ = attend(torch.randn(2, 1, 2, 4), cache)
    assert out[0].unique().tolist() == [1.0]
    assert out[1].unique().tolist() == [0.0]

"""A paged key/value cache that owns its lengths, its page table and, with its forks, its pages.

Rows take pages from a pool as they grow and give them back when they shrink. A fork shares the pages it
was made with; whoever writes to a shared page first copies it. A call is checked in full before
anything is written or taken, so a refused call leaves no trace. It knows nothing of queries.

B batch, S new tokens, Hkv key/value heads, P pages, W pages of the longest row, D head dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels import checks, launch
from kernels.checks import Lengths


class Pool:
    """Buffers [P, page_size, Hkv, D] for keys and values, and how many rows use each page."""

    def __init__(self, k: Tensor, v: Tensor) -> None:
        self.k, self.v = k, v
        self.users = [0] * k.shape[0]
        self.free = list(range(k.shape[0] - 1, -1, -1))

    @property
    def page_size(self) -> int:
        """Tokens of a page."""
        return self.k.shape[1]

    def take(self) -> int:
        """Hand out a free page; the caller has seen to it that there is one."""
        page = self.free.pop()
        self.users[page] = 1
        return page

    def share(self, pages: Sequence[int]) -> None:
        """Count one more user of each page."""
        for page in pages:
            self.users[page] += 1

    def give_back(self, pages: Sequence[int]) -> None:
        """Count one user less; a page without users is free."""
        for page in pages:
            self.users[page] -= 1
            if self.users[page] == 0:
                self.free.append(page)


class PagedKVCache:
    """Rows of tokens in pages: token t of row b is in slot t % page_size of `pages[b][t // page_size]`.

    The lengths and pages change only through `append`, `truncate`, `reset` and `fork`. Forks share
    a pool: call `reset` on one that is no longer needed to give back its pages.
    """

    def __init__(
        self,
        batch: int,
        num_pages: int,
        page_size: int,
        kv_heads: int,
        head_dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        checks.size("batch", batch, 0)
        checks.size("num_pages", num_pages)
        checks.size("page_size", page_size)
        checks.size("kv_heads", kv_heads)
        checks.size("head_dim", head_dim)
        shape = (num_pages, page_size, kv_heads, head_dim)
        k = checks.tensor("k", torch.empty(shape, dtype=dtype, device=device), "P, page, Hkv, D")
        self._own(Pool(k, torch.empty_like(k)), [[] for _ in range(batch)], [0] * batch)

    @classmethod
    def adopt(cls, k: Tensor, v: Tensor, page_table: Tensor, lens: Lengths) -> PagedKVCache:
        """Make a cache of existing pages k, v [P, page_size, Hkv, D], an int32 page_table [B, W] and lengths.

        The pages are not copied. Entries of the table behind a row's length are not read; a page
        that the table names twice is shared and will be copied before it is written to.
        """
        keys = checks.tensor("k", k, "P, page_size, Hkv, D")
        values = checks.tensor("v", v, "P, page_size, Hkv, D")
        checks.like("v", values, "k", keys)
        if values.shape != keys.shape:
            raise ValueError(f"v is {list(values.shape)}, but k is {list(keys.shape)}")
        if 0 in keys.shape:
            raise ValueError(f"k is empty: {list(keys.shape)}")
        table = _table_rows(page_table)
        room = [len(row) * keys.shape[1] for row in table]
        rows = checks.lengths("lens", lens, len(table), room, "its pages hold {limit} tokens")
        used = [row[: -(-n // keys.shape[1])] for row, n in zip(table, rows, strict=True)]
        for row, pages in enumerate(used):
            for page in pages:
                if not 0 <= page < keys.shape[0]:
                    raise ValueError(f"page_table, row {row}: no page {page} in {keys.shape[0]}")
        pool = Pool(keys, values)
        for pages in used:
            pool.share(pages)
        pool.free = [page for page in pool.free if pool.users[page] == 0]
        cache = cls.__new__(cls)
        cache._own(pool, used, rows)
        return cache

    def _own(self, pool: Pool, pages: list[list[int]], lens: list[int]) -> None:
        self._pool, self._pages = pool, pages
        self._set_lens(lens)

    def _set_lens(self, lens: list[int]) -> None:
        self._lens = lens
        device = self._pool.k.device
        self._device_lens = torch.tensor(lens, dtype=torch.int32, device=device)  # [B]
        width = max(1, *map(len, self._pages)) if self._pages else 1
        padded = [row + [0] * (width - len(row)) for row in self._pages]
        table = torch.tensor(padded, dtype=torch.int32, device=device)
        self._table = table.view(len(padded), width)  # [B, W]

    @property
    def batch(self) -> int:
        """Number of rows."""
        return len(self._lens)

    @property
    def k(self) -> Tensor:
        """Pages of keys [P, page_size, Hkv, D], for kernels to read."""
        return self._pool.k

    @property
    def v(self) -> Tensor:
        """Pages of values [P, page_size, Hkv, D], for kernels to read."""
        return self._pool.v

    @property
    def free_pages(self) -> int:
        """Pages that no row of this cache or of a fork uses."""
        return len(self._pool.free)

    @property
    def lens(self) -> tuple[int, ...]:
        """Tokens of each row."""
        return tuple(self._lens)

    @property
    def seq_lens(self) -> Tensor:
        """Tokens of each row as a tensor of the caller's own, int32 [B]."""
        return self._device_lens.clone()

    @property
    def page_table(self) -> Tensor:
        """Pages of each row as a tensor of the caller's own, int32 [B, W], 0 behind a row's last."""
        return self._table.clone()

    def check_append(self, k_new: Tensor, v_new: Tensor, new_lens: Lengths | None) -> list[int]:
        """Return how many tokens each row would gain, or refuse; nothing is changed."""
        keys, _ = checks.new_tokens(k_new, v_new, self.k, self.batch)
        S = keys.shape[1]
        wanted = S if new_lens is None else new_lens
        gains = checks.lengths("new_lens", wanted, self.batch, S, "k_new holds {limit} tokens")
        needed = self._pages_needed(gains)
        if needed > self.free_pages:
            raise ValueError(f"k_new needs {needed} more pages, {self.free_pages} are free")
        return gains

    def _pages_needed(self, gains: list[int]) -> int:
        """Pages that the gains take: new ones, and copies of shared pages that are not full."""
        needed = 0
        users = dict(enumerate(self._pool.users))
        for row, gain in enumerate(gains):
            needed += -(-(self._lens[row] + gain) // self._pool.page_size) - len(self._pages[row])
            tail = self._tail(row) if gain else None
            if tail is not None and users[tail] > 1:
                users[tail] -= 1
                needed += 1
        return needed

    def _tail(self, row: int) -> int | None:
        """The page that the row's next token goes to, if it has one already."""
        return self._pages[row][-1] if self._lens[row] % self._pool.page_size else None

    def append(self, k_new: Tensor, v_new: Tensor, new_lens: Lengths | None = None) -> None:
        """Write k_new, v_new [B, S, Hkv, D] behind each row's tokens and advance the lengths.

        Row b takes its first new_lens[b] tokens, by default all S. Raises before the first write.
        """
        launch.require(self.k.device)
        from kernels.paged_cache import append, slots_of

        gains = self.check_append(k_new, v_new, new_lens)
        for row, gain in enumerate(gains):
            self._make_room(row, gain)
        old = self._device_lens
        self._set_lens([n + gain for n, gain in zip(self._lens, gains, strict=True)])
        S = k_new.shape[1]
        slots = slots_of(self._table, old, self._device_lens - old, S, self._pool.page_size)
        with launch.on(self.k.device):
            append(self.k, self.v, k_new.flatten(0, 1), v_new.flatten(0, 1), slots.flatten())

    def _make_room(self, row: int, gain: int) -> None:
        """Give a row pages of its own for `gain` more tokens."""
        pool, pages = self._pool, self._pages[row]
        tail = self._tail(row) if gain else None
        if tail is not None and pool.users[tail] > 1:
            pages[-1] = pool.take()
            pool.k[pages[-1]] = pool.k[tail]
            pool.v[pages[-1]] = pool.v[tail]
            pool.give_back([tail])
        while len(pages) * pool.page_size < self._lens[row] + gain:
            pages.append(pool.take())

    def truncate(self, lens: Lengths) -> None:
        """Forget each row's tokens behind `lens` and give back the pages; a row cannot grow that way."""
        why = "the row holds {limit} tokens"
        rows = checks.lengths("lens", lens, self.batch, self._lens, why)
        for pages, n in zip(self._pages, rows, strict=True):
            kept = -(-n // self._pool.page_size)
            self._pool.give_back(pages[kept:])
            del pages[kept:]
        self._set_lens(rows)

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Empty some rows, by default all, and give back their pages."""
        chosen = checks.rows_of("rows", rows, self.batch)
        self.truncate([0 if row in chosen else n for row, n in enumerate(self._lens)])

    def fork(self, rows: Sequence[int] | None = None) -> PagedKVCache:
        """Branch some rows, by default all, into a cache that shares their pages until it writes."""
        chosen = checks.rows_of("rows", rows, self.batch)
        for row in chosen:
            self._pool.share(self._pages[row])
        branch = type(self).__new__(type(self))
        pages = [list(self._pages[row]) for row in chosen]
        branch._own(self._pool, pages, [self._lens[row] for row in chosen])
        return branch


def _table_rows(page_table: object) -> list[list[int]]:
    """Return the rows of an int32 page table [B, W]."""
    if not isinstance(page_table, Tensor):
        raise TypeError(f"page_table must be a tensor, not {type(page_table).__name__}")
    if page_table.dtype != torch.int32:
        raise TypeError(f"page_table must be int32, it is {page_table.dtype}")
    if page_table.dim() != 2:
        raise ValueError(f"page_table must be [B, W], it has shape {list(page_table.shape)}")
    rows: list[list[int]] = page_table.tolist()
    return rows

"""A dense key/value cache that owns its lengths.

Rows fill at their own pace. A call is checked in full before anything is written, so a refused call
leaves no trace. Lengths are kept on the host and on the device side by side: growing by a known
number of tokens never waits for a GPU. It knows nothing of queries.

B batch, S new tokens, Hkv key/value heads, N slots of a row, D head dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels import checks, launch
from kernels.checks import Lengths


class KVCache:
    """Keys and values [B, N, Hkv, D] of which the first `lens[b]` slots of row b are in use.

    `k` and `v` are the buffers themselves, for kernels to read; what lies behind a row's length
    is undefined. The lengths change only through `append`, `truncate` and `reset`.
    """

    def __init__(
        self,
        batch: int,
        slots: int,
        kv_heads: int,
        head_dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        checks.size("batch", batch, 0)
        checks.size("slots", slots, 0)
        checks.size("kv_heads", kv_heads)
        checks.size("head_dim", head_dim)
        shape = (batch, slots, kv_heads, head_dim)
        k = checks.tensor("k", torch.empty(shape, dtype=dtype, device=device), "B, N, Hkv, D")
        self._own(k, torch.empty_like(k), [0] * batch)

    @classmethod
    def adopt(cls, k: Tensor, v: Tensor, lens: Lengths) -> KVCache:
        """Make a cache of existing buffers k, v [B, N, Hkv, D], any strides, and their lengths.

        The buffers are not copied: appends show in the caller's tensors, and what the caller
        writes there shows in the cache.
        """
        keys = checks.tensor("k", k, "B, N, Hkv, D")
        values = checks.tensor("v", v, "B, N, Hkv, D")
        checks.like("v", values, "k", keys)
        if values.shape != keys.shape:
            raise ValueError(f"v is {list(values.shape)}, but k is {list(keys.shape)}")
        if keys.shape[2] == 0:
            raise ValueError("k has no heads")
        rows = checks.lengths("lens", lens, keys.shape[0], keys.shape[1], "a row has {limit} slots")
        cache = cls.__new__(cls)
        cache._own(keys, values, rows)
        return cache

    def _own(self, k: Tensor, v: Tensor, lens: list[int]) -> None:
        self.k, self.v = k, v
        self._set_lens(lens)

    def _set_lens(self, lens: list[int]) -> None:
        self._lens = lens
        self._device_lens = torch.tensor(lens, dtype=torch.int32, device=self.k.device)  # [B]

    @property
    def batch(self) -> int:
        """Number of rows."""
        return self.k.shape[0]

    @property
    def slots(self) -> int:
        """Tokens that a row can hold."""
        return self.k.shape[1]

    @property
    def lens(self) -> tuple[int, ...]:
        """Tokens of each row."""
        return tuple(self._lens)

    @property
    def seq_lens(self) -> Tensor:
        """Tokens of each row as a tensor of the caller's own, int32 [B]."""
        return self._device_lens.clone()

    def check_append(self, k_new: Tensor, v_new: Tensor, new_lens: Lengths | None) -> list[int]:
        """Return how many tokens each row would gain, or refuse; nothing is changed."""
        keys, _ = checks.new_tokens(k_new, v_new, self.k, self.batch)
        S = keys.shape[1]
        wanted = S if new_lens is None else new_lens
        gains = checks.lengths("new_lens", wanted, self.batch, S, "k_new holds {limit} tokens")
        for row, (old, gain) in enumerate(zip(self._lens, gains, strict=True)):
            if old + gain > self.slots:
                raise ValueError(
                    f"k_new: row {row} holds {old} of {self.slots} tokens and cannot take {gain} more"
                )
        return gains

    def append(self, k_new: Tensor, v_new: Tensor, new_lens: Lengths | None = None) -> None:
        """Write k_new, v_new [B, S, Hkv, D] behind each row's tokens and advance the lengths.

        Row b takes its first new_lens[b] tokens, by default all S. Raises before the first write.
        """
        launch.require(self.k.device)
        from kernels.append import append

        gains = self.check_append(k_new, v_new, new_lens)
        S = k_new.shape[1]
        if all(gain == S for gain in gains):
            with launch.on(self.k.device):
                append(self.k, self.v, k_new, v_new, self._device_lens)
            self._lens = [old + S for old in self._lens]
            self._device_lens += S
        else:
            new = torch.tensor(gains, dtype=torch.int32, device=self.k.device)  # [B]
            with launch.on(self.k.device):
                append(self.k, self.v, k_new, v_new, self._device_lens, new)
            self._lens = [old + gain for old, gain in zip(self._lens, gains, strict=True)]
            self._device_lens += new

    def truncate(self, lens: Lengths) -> None:
        """Forget each row's tokens behind `lens`; a row cannot grow that way."""
        why = "the row holds {limit} tokens"
        self._set_lens(checks.lengths("lens", lens, self.batch, self._lens, why))

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Empty some rows, by default all."""
        chosen = checks.rows_of("rows", rows, self.batch)
        self._set_lens([0 if row in chosen else n for row, n in enumerate(self._lens)])

    def fork(self, rows: Sequence[int] | None = None) -> KVCache:
        """Copy some rows, by default all, into a cache that shares nothing with this one.

        A row may be named several times: fork([0, 0, 0]) makes three branches of row 0.
        """
        chosen = checks.rows_of("rows", rows, self.batch)
        index = torch.tensor(chosen, dtype=torch.int64, device=self.k.device)  # [len(rows)]
        copy = type(self).__new__(type(self))
        lens = [self._lens[row] for row in chosen]
        copy._own(self.k.index_select(0, index), self.v.index_select(0, index), lens)
        return copy

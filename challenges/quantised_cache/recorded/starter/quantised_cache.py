"""A cache that holds old keys and values as small whole numbers, and the newest ones as they came.

Keys are quantised per channel, a group of tokens at a time; values per token, over its channels.  A number x becomes
`round((x - low) / scale)`, where low is the smallest number of those that are quantised together, and scale their
range divided by 15 or, with 8 bits, by 255.  With 4 bits two codes share a byte.

B is the number of bytes for the codes of one token of one head.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor

POOLS = (
    "_key_codes",
    "_key_scales",
    "_key_lows",
    "_value_codes",
    "_value_scales",
    "_value_lows",
)


class QuantisedCache:
    """Sequences of keys and values, one in each row."""

    def __init__(
        self, *, rows: int, capacity: int, heads: int, head_dim: int, bits: int = 4, group: int = 32,
        residual: int = 32, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        """Make empty rows, each with room for `capacity` tokens.

        `group` tokens of keys are quantised together, once there are `residual` newer ones.
        Raises ValueError for sizes that make no sense.
        """
        if min(rows, capacity, heads, head_dim, group) < 1 or residual < 0:
            raise ValueError("sizes must be at least 1, and the residual at least 0")
        if bits not in (4, 8) or not dtype.is_floating_point:
            raise ValueError(f"4 or 8 bits and a floating-point dtype are due, not {bits}, {dtype}")
        self.bits, self.group, self.residual = bits, group, residual
        self._capacity, self._heads, self._dim, self._dtype = capacity, heads, head_dim, dtype
        wide = torch.promote_types(dtype, torch.float32)
        width = -(-head_dim * bits // 8)  # B
        groups = capacity // group
        self._key_codes = torch.empty(rows, heads, groups * group, width, dtype=torch.uint8)
        self._key_scales = torch.zeros(rows, heads, groups, head_dim, dtype=wide)
        self._key_lows = torch.zeros(rows, heads, groups, head_dim, dtype=wide)
        self._value_codes = torch.empty(rows, heads, capacity, width, dtype=torch.uint8)
        self._value_scales = torch.zeros(rows, heads, capacity, dtype=wide)
        self._value_lows = torch.zeros(rows, heads, capacity, dtype=wide)
        # quantised tokens of each row, and what came behind them, each [Hkv, tokens, D]
        self._old_keys, self._old_values = [0] * rows, [0] * rows
        self._new_keys = [torch.zeros(heads, 0, head_dim, dtype=dtype)] * rows
        self._new_values = [torch.zeros(heads, 0, head_dim, dtype=dtype) for _ in range(rows)]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [n + x.shape[1] for n, x in zip(self._old_values, self._new_values, strict=True)]

    def append(
        self, rows: Sequence[int], keys: Tensor, values: Tensor, counts: Sequence[int] | None = None
    ) -> None:
        """Put new tokens behind those of R rows; keys and values are [R, Hkv, S, D].

        Only the first counts[i] tokens of row i are real, by default all; the rest is padding.
        Raises ValueError, and changes nothing, for what does not fit.
        """
        rows = list(rows)
        self._check_rows(rows)
        self._check_tokens(keys, len(rows))
        self._check_tokens(values, len(rows), keys.shape[2])
        counts = [keys.shape[2]] * len(rows) if counts is None else list(counts)
        self._check_counts(rows, counts, keys.shape[2])
        for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
            self._add_keys(row, keys[i, :, : counts[0]])
            self._add_values(row, values[i, :, : counts[0]])

    def attend(self, rows: Sequence[int], query: Tensor) -> Tensor:
        """Attend from the newest S tokens of R rows to what the rows hold; query and result are [R, H, S, D]."""
        rows = list(rows)
        self._check_rows(rows)
        self._check_query(query, len(rows))
        if query.shape[2] > min(self.lengths[row] for row in rows):
            raise ValueError(f"there are more queries, {query.shape[2]}, than tokens in a row")
        outputs = [_attention(query[i], *self.read(row)) for i, row in enumerate(rows)]
        return torch.stack(outputs)

    def read(self, row: int) -> tuple[Tensor, Tensor]:
        """Return a row's keys and values [Hkv, T, D] in float32 or wider: the numbers that its codes stand for."""
        self._check_rows([row])
        count = self._old_keys[row]
        codes = _unpacked(self._key_codes[row, :, :count], self.bits, self._dim)  # [Hkv, K, D]
        groups = count // self.group
        scales = self._key_scales[row, :, :groups].repeat(1, self.group, 1)
        lows = self._key_lows[row, :, :groups].repeat_interleave(self.group, dim=1)
        old_keys = _dequantised(codes, scales, lows)
        count = self._old_values[row]
        codes = _unpacked(self._value_codes[row, :, :count], self.bits, self._dim)  # [Hkv, V, D]
        scales, lows = self._value_scales[row, :, :count], self._value_lows[row, :, :count]
        old_values = _dequantised(codes, scales[..., None], lows[..., None])
        keys = torch.cat((old_keys, self._new_keys[row].to(old_keys.dtype)), dim=1)
        values = torch.cat((old_values, self._new_values[row].to(old_values.dtype)), dim=1)
        return keys, values

    def stored(self, row: int) -> dict[str, Tensor]:
        """Return copies of what a row is kept as, by name; K and V are its quantised keys and values.

        key_codes [Hkv, K, B] and value_codes [Hkv, V, B], uint8; key_scales and key_lows [Hkv, K / group, D];
        value_scales and value_lows [Hkv, V]; new_keys [Hkv, T - K, D] and new_values [Hkv, T - V, D].
        """
        self._check_rows([row])
        count, groups = self._old_values[row], self._old_keys[row] // self.group
        held = {
            "key_codes": self._key_codes[row, :, : self._old_keys[row]],
            "key_scales": self._key_scales[row, :, :groups],
            "key_lows": self._key_lows[row, :, :groups],
            "value_codes": self._value_codes[row, :, :count],
            "value_scales": self._value_scales[row, :, :count],
            "value_lows": self._value_lows[row, :, :count],
            "new_keys": self._new_keys[row],
            "new_values": self._new_values[row],
        }
        return {name: x.clone() for name, x in held.items()}

    def trim(self, row: int, count: int) -> None:
        """Take the newest tokens of a row back; raises ValueError for those that are quantised already."""
        self._check_rows([row])
        left = self._new_values[row].shape[1] - count
        if count < 0 or left < 0:
            raise ValueError(f"{left + count} tokens can be taken back, not {count}")
        self._new_values[row] = self._new_values[row][:, :-count]
        self._new_keys[row] = self._new_keys[row][:, :-count]

    def reset(self, row: int) -> None:
        """Let a row be empty."""
        self._check_rows([row])
        self._old_keys[row], self._old_values[row] = 0, 0
        self._new_keys[row] = self._new_keys[row][:, :0]
        self._new_values[row] = self._new_values[row][:, :0]

    def reorder(self, sources: Sequence[int]) -> None:
        """Let each row i hold what row sources[i] held; a source may be named several times, or not at all."""
        sources = list(sources)
        rows = range(len(self._old_keys))
        if len(sources) != len(rows) or not all(source in rows for source in sources):
            raise ValueError(f"a source is due for each of {len(rows)} rows, not {sources}")
        for name in POOLS:
            setattr(self, name, getattr(self, name)[sources])
        self._new_keys = [self._new_keys[source] for source in sources]
        self._new_values = [self._new_values[source] for source in sources]

    def fork(self) -> QuantisedCache:
        """Return another cache that holds the same, and goes on on its own."""
        other = copy.copy(self)
        for name in POOLS:
            setattr(other, name, getattr(self, name).clone())
        other._old_keys, other._old_values = list(self._old_keys), list(self._old_values)
        other._new_keys = [x.clone() for x in self._new_keys]
        other._new_values = [x.clone() for x in self._new_values]
        return other

    def _check_rows(self, rows: Sequence[int]) -> None:
        """Refuse no rows, rows that are not there, and a row named twice."""
        count = len(self._old_keys)
        if not rows or not all(0 <= row < count for row in rows):
            raise ValueError(f"rows are from 0 to {count - 1}, not {[*rows]}")
        if len(set(rows)) < len(rows):
            raise ValueError(f"a row is named twice: {[*rows]}")

    def _check_tokens(self, x: Tensor, rows: int, tokens: int | None = None) -> None:
        """Refuse keys or values that are not [R, Hkv, S, D] with at least one token, in the dtype of the cache."""
        fits = x.dim() == 4 and x.shape[2] == (tokens or max(1, x.shape[2]))
        if not fits or (len(x), x.shape[1], x.shape[3]) != (rows, self._heads, self._dim):
            raise ValueError(f"[{rows}, {self._heads}, S, {self._dim}] is due, not {[*x.shape]}")
        if x.dtype != self._dtype:
            raise ValueError(f"{self._dtype} is due, not {x.dtype}")

    def _check_query(self, query: Tensor, rows: int) -> None:
        """Refuse a query that is not [R, H, S, D], H a multiple of Hkv, in the dtype of the cache."""
        fits = query.dim() == 4 and len(query) == rows and query.shape[3] == self._dim
        if not fits or not query.numel() or query.shape[1] % self._heads:
            wanted = f"[{rows}, multiple of {self._heads}, S, {self._dim}]"
            raise ValueError(f"{wanted} is due, not {[*query.shape]}")
        if query.dtype != self._dtype:
            raise ValueError(f"{self._dtype} is due, not {query.dtype}")

    def _check_counts(self, rows: Sequence[int], counts: Sequence[int], tokens: int) -> None:
        """Refuse counts that are not one for each row, from 0 to S, and tokens that a row has no room for."""
        if len(counts) != len(rows) or not all(0 <= count <= tokens for count in counts):
            raise ValueError(f"a count from 0 to {tokens} is due for each row, not {[*counts]}")
        lengths = self.lengths
        for row, count in zip(rows, counts, strict=True):
            if lengths[row] + count > self._capacity:
                raise ValueError(f"row {row} has room for {self._capacity} tokens")

    def _add_keys(self, row: int, new: Tensor) -> None:
        """Put keys [Hkv, N, D] behind a row's, and quantise the groups that are due."""
        keys = torch.cat((self._new_keys[row], new), dim=1)
        due = _due(new.shape[1], self.residual, self.group)
        for first in range(0, due, self.group):
            codes, scales, lows = _quantised(keys[:, first:], self.bits, dim=1)
            codes = codes[:, : self.group]
            start = self._old_keys[row]
            self._key_codes[row, :, start : start + self.group] = _packed(codes, self.bits)
            self._key_scales[row, :, start // self.group] = scales[:, 0]  # [Hkv, D]
            self._key_lows[row, :, start // self.group] = lows[:, 0]
            self._old_keys[row] = start + self.group
        self._new_keys[row] = keys[:, due:]

    def _add_values(self, row: int, new: Tensor) -> None:
        """Put values [Hkv, N, D] behind a row's, and quantise the tokens that are due."""
        values = torch.cat((self._new_values[row], new), dim=1)
        due = _due(values.shape[1], self.residual, 1)
        codes, scales, lows = _quantised(values[:, :due], self.bits, dim=2)
        start, end = self._old_values[row], self._old_values[row] + due
        self._value_codes[row, :, start:end] = _packed(codes, self.bits)
        self._value_scales[row, :, start:end] = scales[..., 0]  # [Hkv, N]
        self._value_lows[row, :, start:end] = lows[..., 0]
        self._old_values[row] = end
        self._new_values[row] = values[:, due:]


def _due(waiting: int, residual: int, group: int) -> int:
    """Return how many of `waiting` tokens are quantised: whole groups, of which `residual` newer tokens stay."""
    return max(0, waiting - residual) // group * group


def _quantised(x: Tensor, bits: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Quantise all numbers along `dim` together: codes, uint8, in the shape of x, and scales and lows, where it is 1.

    Numbers that are all the same have scale 0 and codes 0.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    lows, highs = x.amin(dim, keepdim=True), x.amax(dim, keepdim=True)
    most = 2**bits - 1
    scales = (highs - lows) / most
    steps = (x - lows) / torch.where(scales > 0, scales, torch.ones_like(scales))
    codes = (steps + 0.5).floor().clamp(0, most)
    return codes.to(torch.uint8), scales, lows


def _dequantised(codes: Tensor, scales: Tensor, lows: Tensor) -> Tensor:
    """Return the numbers that codes stand for, in the dtype of the scales."""
    return lows + codes.to(scales.dtype) * scales


def _packed(codes: Tensor, bits: int) -> Tensor:
    """Pack codes [..., D] into bytes [..., B]: of two codes of 4 bits the first is the low half of the byte."""
    if bits == 8:
        return codes
    codes = torch.nn.functional.pad(codes, (0, codes.shape[-1] % 2))
    return codes[..., ::2] | codes[..., 1::2] << 4


def _unpacked(packed: Tensor, bits: int, count: int) -> Tensor:
    """Return the first `count` codes of bytes [..., B]."""
    if bits == 8:
        return packed
    halves = torch.stack((packed & 15, packed >> 4), dim=-1)  # [..., B, 2]
    return halves.flatten(-2)[..., :count]


def _attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend from query [H, S, D], the newest S of T tokens, to keys and values [Hkv, T, D]; in query's dtype."""
    group = len(query) // len(keys)
    keys, values = (x.repeat_interleave(group, dim=0) for x in (keys, values))  # [H, T, D]
    scores = query.to(keys.dtype) @ keys.transpose(1, 2) / math.sqrt(query.shape[2])  # [H, S, T]
    tokens, total = query.shape[1], keys.shape[1]
    later = torch.ones(tokens, total, dtype=torch.bool).triu(total - tokens + 1)
    weights = scores.masked_fill(later, -math.inf).softmax(dim=-1)
    return (weights @ values).to(query.dtype)

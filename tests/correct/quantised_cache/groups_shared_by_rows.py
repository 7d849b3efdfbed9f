"""A row is a tuple of finished groups and values, which rows and forks may share since nobody writes into them."""

from collections import namedtuple

import torch
import torch.nn.functional as F

Coded = namedtuple("Coded", "codes scale low")
Row = namedtuple("Row", "groups coded keys values")


def coded(x, bits, axis):
    low, high = torch.aminmax(x, dim=axis, keepdim=True)
    steps = float(2**bits - 1)
    inverse = torch.where(high > low, steps / (high - low), torch.zeros_like(low))
    return Coded(((x - low) * inverse).round().byte(), (high - low) / steps, low)


class QuantisedCache:
    def __init__(
        self, *, rows, capacity, heads, head_dim, bits=4, group=32, residual=32, dtype=torch.float32
    ):
        if min(rows, capacity, heads, head_dim, group, residual + 1) <= 0:
            raise ValueError("sizes must be positive")
        if bits not in (4, 8) or dtype not in (
            torch.float32,
            torch.float64,
            torch.half,
            torch.bfloat16,
        ):
            raise ValueError("bits or dtype")
        self.capacity, self.heads, self.dim = capacity, heads, head_dim
        self.bits, self.group, self.residual, self.dtype = bits, group, residual, dtype
        self.wide = torch.double if dtype == torch.double else torch.float
        nothing = torch.empty(heads, 0, head_dim, dtype=dtype)
        self._rows = (Row((), (), nothing, nothing),) * rows

    @property
    def lengths(self):
        return [len(row.coded) + row.values.shape[1] for row in self._rows]

    def _row(self, row):
        if not 0 <= row < len(self._rows):
            raise ValueError(f"no row {row}")
        return self._rows[row]

    def _named(self, rows):
        found = [self._row(row) for row in rows]
        if not found or len(set(rows)) < len(found):
            raise ValueError("no rows, or one twice")
        return found

    def append(self, rows, keys, values, counts=None):
        found = self._named(rows)
        tokens = keys.shape[2] if keys.dim() == 4 else 0
        want = (len(found), self.heads, tokens, self.dim)
        if not tokens or keys.shape != want or values.shape != want:
            raise ValueError("shapes")
        if not keys.dtype == values.dtype == self.dtype:
            raise ValueError("dtypes")
        counts = [tokens] * len(found) if counts is None else counts
        if len(counts) != len(found) or not all(0 <= n <= tokens for n in counts):
            raise ValueError("counts")
        lengths = self.lengths
        if any(lengths[row] + n > self.capacity for row, n in zip(rows, counts, strict=True)):
            raise ValueError("no room")
        new = list(self._rows)
        for i, (row, n) in enumerate(zip(rows, counts, strict=True)):
            new[row] = self._longer(new[row], keys[i, :, :n], values[i, :, :n])
        self._rows = tuple(new)

    def _longer(self, row, keys, values):
        groups, done = row.groups, row.coded
        keys = torch.cat([row.keys, keys], 1)
        values = torch.cat([row.values, values], 1)
        while keys.shape[1] >= self.residual + self.group:
            first, keys = keys.split([self.group, keys.shape[1] - self.group], 1)
            groups = (*groups, coded(first.to(self.wide), self.bits, 1))
        while values.shape[1] > self.residual:
            first, values = values[:, :1], values[:, 1:]
            done = (*done, coded(first.to(self.wide), self.bits, 2))
        return Row(groups, done, keys, values)

    def read(self, row):
        row = self._row(row)
        both = []
        for old, new in ((row.groups, row.keys), (row.coded, row.values)):
            numbers = [torch.addcmul(x.low, x.codes.to(x.scale.dtype), x.scale) for x in old]
            both.append(torch.cat([*numbers, new.to(self.wide)], 1))
        return both[0], both[1]

    def attend(self, rows, query):
        self._named(rows)
        if query.dim() != 4 or query.dtype != self.dtype:
            raise ValueError("query")
        r, h, s, d = query.shape
        lengths = self.lengths
        if r != len(rows) or d != self.dim or h == 0 or h % self.heads or s == 0:
            raise ValueError("query")
        if s > min(lengths[row] for row in rows):
            raise ValueError("more queries than tokens")
        out = []
        for q, row in zip(query, rows, strict=True):
            k, v = self.read(row)
            t = k.shape[1]
            seen = torch.ones(s, t, dtype=torch.bool).tril(t - s)
            k, v = (x.repeat_interleave(h // self.heads, 0) for x in (k, v))
            out.append(F.scaled_dot_product_attention(q.to(k.dtype), k, v, attn_mask=seen))
        return torch.stack(out).to(self.dtype)

    def stored(self, row):
        row = self._row(row)
        h, d, dtype = self.heads, self.dim, self.wide
        groups, done = row.groups, row.coded
        nothing = torch.empty(h, 0, d, dtype=torch.uint8)
        none, one = torch.empty(h, 0, d, dtype=dtype), torch.empty(h, 0, 1, dtype=dtype)
        pack = self._packed
        return {
            "key_codes": pack(torch.cat([nothing, *(x.codes for x in groups)], 1)),
            "key_scales": torch.cat([none, *(x.scale for x in groups)], 1),
            "key_lows": torch.cat([none, *(x.low for x in groups)], 1),
            "value_codes": pack(torch.cat([nothing, *(x.codes for x in done)], 1)),
            "value_scales": torch.cat([one, *(x.scale for x in done)], 1).squeeze(2),
            "value_lows": torch.cat([one, *(x.low for x in done)], 1).squeeze(2),
            "new_keys": row.keys.clone(),
            "new_values": row.values.clone(),
        }

    def _packed(self, codes):
        if self.bits == 8:
            return codes
        packed = codes[..., ::2].clone()
        packed[..., : codes.shape[-1] // 2] |= codes[..., 1::2] * 16
        return packed

    def trim(self, row, count):
        old = self._row(row)
        if count < 0 or count > old.values.shape[1]:
            raise ValueError("count")
        keys = old.keys[:, : old.keys.shape[1] - count]
        values = old.values[:, : old.values.shape[1] - count]
        self._rows = tuple(
            old._replace(keys=keys, values=values) if i == row else x
            for i, x in enumerate(self._rows)
        )

    def reset(self, row):
        self._row(row)
        nothing = torch.empty(self.heads, 0, self.dim, dtype=self.dtype)
        self._rows = (*self._rows[:row], Row((), (), nothing, nothing), *self._rows[row + 1 :])

    def reorder(self, sources):
        if len(sources) != len(self._rows):
            raise ValueError("sources")
        self._rows = tuple(self._row(source) for source in sources)

    def fork(self):
        other = QuantisedCache.__new__(QuantisedCache)
        vars(other).update(vars(self))
        return other

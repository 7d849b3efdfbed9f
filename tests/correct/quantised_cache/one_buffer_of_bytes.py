"""Ring-free fixed buffers for everything, the newest tokens too, in a module; one token goes in at a time."""

import copy

import numpy as np
import torch
from torch import nn


class QuantisedCache(nn.Module):
    def __init__(
        self, *, rows, capacity, heads, head_dim, bits=4, group=32, residual=32, dtype=torch.float32
    ):
        super().__init__()
        for name, size in (
            ("rows", rows),
            ("capacity", capacity),
            ("heads", heads),
            ("head_dim", head_dim),
            ("group", group),
        ):
            if size < 1:
                raise ValueError(name)
        if residual < 0 or bits not in (4, 8) or not dtype.is_floating_point:
            raise ValueError("residual, bits or dtype")
        self.capacity, self.nheads, self.dim, self.bits = capacity, heads, head_dim, bits
        self.group, self.residual, self.dtype = group, residual, dtype
        self.wide = torch.float64 if dtype is torch.float64 else torch.float32
        full = rows, heads, capacity
        self.register_buffer("raw_k", torch.zeros(*full, head_dim, dtype=dtype))
        self.register_buffer("raw_v", torch.zeros(*full, head_dim, dtype=dtype))
        width = head_dim if bits == 8 else (head_dim + 1) // 2
        self.register_buffer("code_k", torch.zeros(*full, width, dtype=torch.uint8))
        self.register_buffer("code_v", torch.zeros(*full, width, dtype=torch.uint8))
        # of every token, though the tokens of a group share one
        self.register_buffer("range_k", torch.zeros(2, *full, head_dim, dtype=self.wide))
        self.register_buffer("range_v", torch.zeros(2, *full, dtype=self.wide))
        self.register_buffer("n", torch.zeros(3, rows, dtype=torch.int64))  # length, keys, values

    @property
    def lengths(self):
        return self.n[0].tolist()

    def check_rows(self, rows):
        seen = set()
        for row in rows:
            if row in seen or row < 0 or row >= self.n.shape[1]:
                raise ValueError(f"row {row}")
            seen.add(row)
        if not seen:
            raise ValueError("no row")

    def append(self, rows, keys, values, counts=None):
        self.check_rows(rows)
        if keys.dtype != self.dtype or values.dtype != self.dtype or keys.dim() != 4:
            raise ValueError("dtype or axes")
        if keys.shape != values.shape or keys.shape[2] < 1:
            raise ValueError("keys and values")
        if [keys.shape[0], keys.shape[1], keys.shape[3]] != [len(rows), self.nheads, self.dim]:
            raise ValueError("shape")
        counts = list(counts) if counts is not None else [keys.shape[2]] * len(rows)
        if len(counts) != len(rows):
            raise ValueError("counts")
        for row, count in zip(rows, counts, strict=True):
            if not 0 <= count <= keys.shape[2] or self.n[0, row] + count > self.capacity:
                raise ValueError("count or room")
        for t in range(keys.shape[2]):
            for i, row in enumerate(rows):
                if t < counts[i]:
                    self.put(row, keys[i, :, t], values[i, :, t])

    def put(self, row, key, value):
        length, old_k, old_v = self.n[:, row].tolist()
        self.raw_k[row, :, length] = key
        self.raw_v[row, :, length] = value
        length += 1
        if length - old_k >= self.residual + self.group:
            here = slice(old_k, old_k + self.group)
            codes, scale, low = self.coded(self.raw_k[row, :, here], 1)
            self.code_k[row, :, here] = self.pack(codes)
            self.range_k[0, row, :, here], self.range_k[1, row, :, here] = scale, low
            old_k += self.group
        if length - old_v > self.residual:
            codes, scale, low = self.coded(self.raw_v[row, :, old_v], 1)
            self.code_v[row, :, old_v] = self.pack(codes)
            self.range_v[0, row, :, old_v], self.range_v[1, row, :, old_v] = scale[:, 0], low[:, 0]
            old_v += 1
        self.n[:, row] = torch.tensor([length, old_k, old_v])

    def coded(self, x, axis):
        numbers = x.to(torch.float64).numpy()
        low = numbers.min(axis, keepdims=True)
        scale = (numbers.max(axis, keepdims=True) - low) / (2**self.bits - 1)
        codes = np.rint((numbers - low) / np.where(scale == 0, 1, scale)).astype(np.uint8)
        return codes, torch.from_numpy(scale).to(self.wide), torch.from_numpy(low).to(self.wide)

    def pack(self, codes):
        if self.bits == 4:
            if codes.shape[-1] % 2:
                codes = np.concatenate([codes, np.zeros_like(codes[..., :1])], -1)
            codes = codes[..., 0::2] + codes[..., 1::2] * np.uint8(16)
        return torch.from_numpy(np.ascontiguousarray(codes))

    def unpack(self, packed):
        if self.bits == 8:
            return packed
        out = packed.new_empty(*packed.shape[:-1], 2 * packed.shape[-1])
        out[..., 0::2] = packed.remainder(16)
        out[..., 1::2] = packed.div(16, rounding_mode="floor")
        return out[..., : self.dim]

    def read(self, row):
        self.check_rows([row])
        length, old_k, old_v = self.n[:, row].tolist()
        keys = self.raw_k[row, :, :length].to(self.wide)
        values = self.raw_v[row, :, :length].to(self.wide)
        if keys.data_ptr() == self.raw_k[row].data_ptr():
            keys, values = keys.clone(), values.clone()
        scale, low = self.range_k[:, row, :, :old_k]
        keys[:, :old_k] = self.unpack(self.code_k[row, :, :old_k]) * scale + low
        scale, low = self.range_v[:, row, :, :old_v, None]
        values[:, :old_v] = self.unpack(self.code_v[row, :, :old_v]) * scale + low
        return keys, values

    def attend(self, rows, query):
        self.check_rows(rows)
        if query.dim() != 4 or query.dtype != self.dtype or 0 in query.shape:
            raise ValueError("query")
        if (
            query.shape[0] != len(rows)
            or query.shape[3] != self.dim
            or query.shape[1] % self.nheads
        ):
            raise ValueError("query")
        count = query.shape[2]
        if any(self.n[0, row] < count for row in rows):
            raise ValueError("tokens")
        longest = int(self.n[0, list(rows)].max())
        keys = torch.zeros(len(rows), self.nheads, longest, self.dim, dtype=self.wide)
        values, hidden = (
            torch.zeros_like(keys),
            torch.ones(len(rows), count, longest, dtype=torch.bool),
        )
        for i, row in enumerate(rows):
            length = int(self.n[0, row])
            keys[i, :, :length], values[i, :, :length] = self.read(row)
            for s in range(count):
                hidden[i, s, : length - count + s + 1] = False
        q = query.to(self.wide).unflatten(1, (self.nheads, -1))
        scores = q @ keys[:, :, None].mT / self.dim**0.5
        scores = scores.masked_fill(hidden[:, None, None], -torch.inf)
        scores = (scores - scores.amax(-1, keepdim=True)).exp()
        return (
            ((scores / scores.sum(-1, keepdim=True)) @ values[:, :, None])
            .flatten(1, 2)
            .to(self.dtype)
        )

    def stored(self, row):
        self.check_rows([row])
        length, old_k, old_v = self.n[:, row].tolist()
        g = self.group
        return {
            "key_codes": self.code_k[row, :, :old_k].clone(),
            "key_scales": self.range_k[0, row, :, :old_k:g].clone(),
            "key_lows": self.range_k[1, row, :, :old_k:g].clone(),
            "value_codes": self.code_v[row, :, :old_v].clone(),
            "value_scales": self.range_v[0, row, :, :old_v].clone(),
            "value_lows": self.range_v[1, row, :, :old_v].clone(),
            "new_keys": self.raw_k[row, :, old_k:length].clone(),
            "new_values": self.raw_v[row, :, old_v:length].clone(),
        }

    def trim(self, row, count):
        self.check_rows([row])
        if not 0 <= count <= self.n[0, row] - self.n[2, row]:
            raise ValueError("count")
        self.n[0, row] -= count

    def reset(self, row):
        self.check_rows([row])
        self.n[:, row] = 0

    def reorder(self, sources):
        rows = self.n.shape[1]
        if len(sources) != rows or any(source not in range(rows) for source in sources):
            raise ValueError("sources")
        index = torch.tensor(sources)
        for name, x in list(self.named_buffers()):
            axis = 1 if name in ("range_k", "range_v", "n") else 0
            setattr(self, name, x.index_select(axis, index))

    def fork(self):
        return copy.deepcopy(self)

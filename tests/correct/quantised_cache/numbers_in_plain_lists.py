"""Everything is a Python number; a tensor is made where one is asked for."""

import copy

import torch


def together(numbers, bits):
    """Codes, scale and low of a list of numbers."""
    low = min(numbers)
    scale = (max(numbers) - low) / (2**bits - 1)
    codes = [round((x - low) / scale) if scale else 0 for x in numbers]
    return codes, scale, low


class Head:
    """Keys and values of one head of one row: a dictionary for what is codes, lists for what is not."""

    def __init__(self):
        self.key_codes, self.key_ranges = [], []  # by token; by group and channel
        self.value_codes, self.value_ranges = [], []
        self.keys, self.values = [], []

    def put(self, key, value, bits, group, residual):
        self.keys.append(key)
        self.values.append(value)
        if len(self.values) == residual + 1:
            codes, *reach = together(self.values.pop(0), bits)
            self.value_codes.append(codes)
            self.value_ranges.append(reach)
        if len(self.keys) == residual + group:
            mine, self.keys = self.keys[:group], self.keys[group:]
            channels = [together([token[d] for token in mine], bits) for d in range(len(key))]
            self.key_ranges.append([reach for _, *reach in channels])
            for t in range(group):
                self.key_codes.append([codes[t] for codes, *_ in channels])

    def all_keys(self, group):
        old = []
        for t, codes in enumerate(self.key_codes):
            reach = self.key_ranges[t // group]
            old.append(
                [low + code * scale for code, (scale, low) in zip(codes, reach, strict=True)]
            )
        return old + self.keys

    def all_values(self):
        pairs = zip(self.value_codes, self.value_ranges, strict=True)
        old = [[low + code * scale for code in codes] for codes, (scale, low) in pairs]
        return old + self.values


class QuantisedCache:
    def __init__(
        self, *, rows, capacity, heads, head_dim, bits=4, group=32, residual=32, dtype=torch.float32
    ):
        if rows < 1 or capacity < 1 or heads < 1 or head_dim < 1 or group < 1 or residual < 0:
            raise ValueError("a size is too small")
        if bits not in {4, 8}:
            raise ValueError("4 or 8 bits")
        if not dtype.is_floating_point:
            raise ValueError("a floating-point dtype is needed")
        self.capacity, self.heads, self.dim, self.dtype = capacity, heads, head_dim, dtype
        self.how = bits, group, residual
        self.wide = torch.promote_types(torch.float32, dtype)
        self.tokens = [0] * rows
        self.rows = [[Head() for _ in range(heads)] for _ in range(rows)]

    @property
    def lengths(self):
        return list(self.tokens)

    def check(self, rows):
        for row in rows:
            if row not in range(len(self.rows)):
                raise ValueError(f"there is no row {row}")
        if len(rows) == 0 or len(set(rows)) != len(rows):
            raise ValueError("rows are empty, or one is named twice")

    def append(self, rows, keys, values, counts=None):
        self.check(rows)
        shape = tuple(keys.shape)
        if tuple(values.shape) != shape or keys.dtype != self.dtype or values.dtype != self.dtype:
            raise ValueError("keys and values differ, or have another dtype")
        if len(shape) != 4 or (shape[0], shape[1], shape[3]) != (len(rows), self.heads, self.dim):
            raise ValueError("a shape is wrong")
        if shape[2] == 0:
            raise ValueError("no tokens")
        if counts is None:
            counts = [shape[2]] * len(rows)
        if len(counts) != len(rows):
            raise ValueError("a count for each row")
        for row, count in zip(rows, counts, strict=True):
            if count < 0 or count > shape[2] or self.tokens[row] + count > self.capacity:
                raise ValueError("a count is wrong, or there is no room")
        keys, values = keys.tolist(), values.tolist()
        for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
            for t in range(count):
                for h, head in enumerate(self.rows[row]):
                    head.put(keys[i][h][t], values[i][h][t], *self.how)
            self.tokens[row] += count

    def tensor(self, numbers, *shape, dtype=None):
        return torch.tensor(numbers, dtype=dtype or self.wide).reshape(self.heads, *shape)

    def read(self, row):
        self.check([row])
        heads = self.rows[row]
        keys = [head.all_keys(self.how[1]) for head in heads]
        values = [head.all_values() for head in heads]
        return self.tensor(keys, -1 if self.tokens[row] else 0, self.dim), self.tensor(
            values, -1 if self.tokens[row] else 0, self.dim
        )

    def attend(self, rows, query):
        self.check(rows)
        if query.dim() != 4 or query.size(0) != len(rows) or query.size(3) != self.dim:
            raise ValueError("a shape is wrong")
        if query.dtype != self.dtype or query.size(1) < 1 or query.size(1) % self.heads:
            raise ValueError("another dtype, or heads that do not fit")
        if query.size(2) < 1 or any(query.size(2) > self.tokens[row] for row in rows):
            raise ValueError("queries without a token")
        each = query.size(1) // self.heads
        output = torch.empty_like(query)
        for i, row in enumerate(rows):
            keys, values = self.read(row)
            for h in range(query.size(1)):
                for s in range(query.size(2)):
                    seen = self.tokens[row] - query.size(2) + s + 1
                    q = query[i, h, s].to(self.wide)
                    scores = (keys[h // each, :seen] * q).sum(-1) / self.dim**0.5
                    output[i, h, s] = (scores.softmax(0)[:, None] * values[h // each, :seen]).sum(0)
        return output

    def pack(self, codes):
        if self.how[0] == 8:
            return codes
        codes = codes + [0] * (len(codes) % 2)
        return [codes[n] | codes[n + 1] << 4 for n in range(0, len(codes), 2)]

    def stored(self, row):
        self.check([row])
        heads = self.rows[row]
        width = (self.dim * self.how[0] + 7) // 8
        held = {}
        for name in ("key", "value"):
            packed = [[self.pack(x) for x in getattr(head, f"{name}_codes")] for head in heads]
            held[f"{name}_codes"] = self.tensor(packed, len(packed[0]), width, dtype=torch.uint8)
        for place, name in enumerate(("scales", "lows")):
            groups = [[[r[place] for r in g] for g in head.key_ranges] for head in heads]
            held[f"key_{name}"] = self.tensor(groups, len(groups[0]), self.dim)
            tokens = [[r[place] for r in head.value_ranges] for head in heads]
            held[f"value_{name}"] = self.tensor(tokens, len(tokens[0]))
        for name in ("keys", "values"):
            new = [getattr(head, name) for head in heads]
            held[f"new_{name}"] = self.tensor(new, len(new[0]), self.dim, dtype=self.dtype)
        return held

    def trim(self, row, count):
        self.check([row])
        if count < 0 or count > len(self.rows[row][0].values):
            raise ValueError("so many cannot be taken back")
        for head in self.rows[row]:
            for _ in range(count):
                head.keys.pop()
                head.values.pop()
        self.tokens[row] -= count

    def reset(self, row):
        self.check([row])
        self.rows[row] = [Head() for _ in range(self.heads)]
        self.tokens[row] = 0

    def reorder(self, sources):
        if len(sources) != len(self.rows) or any(n not in range(len(self.rows)) for n in sources):
            raise ValueError("a source for each row")
        self.rows = [copy.deepcopy(self.rows[n]) for n in sources]
        self.tokens = [self.tokens[n] for n in sources]

    def fork(self):
        return copy.deepcopy(self)

"""All tokens are kept as they came, and how many of them are due; codes are made whenever somebody looks."""

import math

import torch


class Text:
    def __init__(self, heads, dim, dtype):
        self.keys = torch.zeros(heads, 0, dim, dtype=dtype)
        self.values = torch.zeros(heads, 0, dim, dtype=dtype)
        self.groups = 0  # groups of keys that are codes
        self.coded = 0  # values that are codes

    def copy(self):
        other = Text(0, 0, self.keys.dtype)
        other.__dict__ = dict(self.__dict__)
        return other

    def __len__(self):
        return self.keys.shape[1]


class QuantisedCache:
    def __init__(
        self, *, rows, capacity, heads, head_dim, bits=4, group=32, residual=32, dtype=torch.float32
    ):
        if any(n < 1 for n in (rows, capacity, heads, head_dim, group)) or residual < 0:
            raise ValueError("sizes")
        if bits != 4 and bits != 8:
            raise ValueError("bits")
        if dtype not in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
            raise ValueError("dtype")
        self.sizes = capacity, heads, head_dim, bits, group, residual
        self.dtype, self.wide = dtype, torch.float64 if dtype == torch.float64 else torch.float32
        self.texts = [Text(heads, head_dim, dtype) for _ in range(rows)]

    @property
    def lengths(self):
        return [len(text) for text in self.texts]

    def append(self, rows, keys, values, counts=None):
        capacity, heads, dim, _, group, residual = self.sizes
        texts = self.named(rows)
        for x in (keys, values):
            if (
                x.ndim != 4
                or x.shape[:2] != (len(rows), heads)
                or x.shape[3] != dim
                or not x.shape[2]
            ):
                raise ValueError("shape")
            if x.dtype != self.dtype or x.shape[2] != keys.shape[2]:
                raise ValueError("dtype or length")
        if counts is None:
            counts = [keys.shape[2] for _ in rows]
        if len(counts) != len(rows) or min(counts) < 0 or max(counts) > keys.shape[2]:
            raise ValueError("counts")
        if any(len(text) + n > capacity for text, n in zip(texts, counts, strict=True)):
            raise ValueError("room")
        for i, text in enumerate(texts):
            text.keys = torch.cat([text.keys, keys[i, :, : counts[i]]], 1)
            text.values = torch.cat([text.values, values[i, :, : counts[i]]], 1)
            while len(text) - text.groups * group >= residual + group:
                text.groups += 1
            text.coded = max(text.coded, len(text) - residual)

    def attend(self, rows, query):
        _, heads, dim, *_ = self.sizes
        texts = self.named(rows)
        if query.ndim != 4 or len(query) != len(rows) or query.shape[3] != dim:
            raise ValueError("shape")
        if query.dtype != self.dtype or not query.shape[1] or query.shape[1] % heads:
            raise ValueError("dtype or heads")
        s = query.shape[2]
        if not s or any(len(text) < s for text in texts):
            raise ValueError("tokens")
        answers = []
        for one, row in zip(query.to(self.wide), rows, strict=True):
            keys, values = self.read(row)
            one = one.reshape(heads, -1, s, dim)
            scores = torch.einsum("hgsd,htd->hgst", one, keys) / math.sqrt(dim)
            t = torch.arange(keys.shape[1])
            scores[..., t[None] > t[-s:, None]] = float("-inf")
            answer = torch.einsum("hgst,htd->hgsd", torch.softmax(scores, -1), values)
            answers.append(answer.reshape(-1, s, dim).to(self.dtype))
        return torch.stack(answers)

    def codes(self, x, most):
        """Codes, scales and lows of numbers that are quantised together along the last axis."""
        x = x.double()
        low = x.min(-1, keepdim=True).values
        scale = (x.max(-1, keepdim=True).values - low) / most
        codes = torch.floor((x - low) / torch.where(scale == 0, 1.0, scale) + 0.5)
        return codes.long(), scale[..., 0], low[..., 0]

    def parts(self, row):
        (text,) = self.named([row])
        _, heads, dim, bits, group, _ = self.sizes
        old = text.groups * group
        keys = text.keys[:, :old].reshape(heads, -1, group, dim).transpose(2, 3)
        values = text.values[:, : text.coded]
        return text, old, self.codes(keys, 2**bits - 1), self.codes(values, 2**bits - 1)

    def read(self, row):
        text, old, (kc, ks, kl), (vc, vs, vl) = self.parts(row)
        keys = (kl[..., None] + kc * ks[..., None]).transpose(2, 3).flatten(1, 2)
        values = vl[..., None] + vc * vs[..., None]
        both = (keys, text.keys[:, old:]), (values, text.values[:, text.coded :])
        return tuple(torch.cat([a.to(self.wide), b.to(self.wide)], 1) for a, b in both)

    def bytes(self, codes):
        if self.sizes[3] == 4:
            if codes.shape[-1] % 2:
                codes = torch.cat([codes, torch.zeros_like(codes[..., :1])], -1)
            codes = codes[..., 0::2] + 16 * codes[..., 1::2]
        return codes.to(torch.uint8)

    def stored(self, row):
        text, old, (kc, ks, kl), (vc, vs, vl) = self.parts(row)
        return {
            "key_codes": self.bytes(kc.transpose(2, 3).flatten(1, 2)),
            "key_scales": ks.to(self.wide),
            "key_lows": kl.to(self.wide),
            "value_codes": self.bytes(vc),
            "value_scales": vs.to(self.wide),
            "value_lows": vl.to(self.wide),
            "new_keys": text.keys[:, old:].clone(),
            "new_values": text.values[:, text.coded :].clone(),
        }

    def trim(self, row, count):
        (text,) = self.named([row])
        if not 0 <= count <= len(text) - text.coded:
            raise ValueError("count")
        keep = len(text) - count
        text.keys, text.values = text.keys[:, :keep], text.values[:, :keep]

    def reset(self, row):
        self.named([row])
        self.texts[row] = Text(self.sizes[1], self.sizes[2], self.dtype)

    def reorder(self, sources):
        if len(sources) != len(self.texts) or min(sources) < 0 or max(sources) >= len(sources):
            raise ValueError("sources")
        self.texts = [self.texts[n].copy() for n in sources]

    def fork(self):
        other = object.__new__(QuantisedCache)
        other.__dict__.update(self.__dict__)
        other.texts = [text.copy() for text in self.texts]
        return other

    def named(self, rows):
        if not len(rows) or len({*rows}) != len(rows):
            raise ValueError("rows")
        if min(rows) < 0 or max(rows) >= len(self.texts):
            raise ValueError("rows")
        return [self.texts[row] for row in rows]

"""Free functions around a paged cache: blocks of four slots, handed out on demand and found through a block table."""

from dataclasses import dataclass
from math import ceil

import torch
from torch.nn.functional import linear, silu

BLOCK = 4


@dataclass(frozen=True)
class DecoderConfig:
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_seq_len: int
    rope_theta: float = 1_000_000.0
    rms_norm_eps: float = 1e-6


class Pages:
    """Blocks [L, 2, blocks, BLOCK, Hkv, D] and, per sequence, the list of the blocks it owns."""

    def __init__(self, config, batch, dtype):
        count = batch * ceil(config.max_seq_len / BLOCK)
        self.data = torch.zeros(
            config.num_layers, 2, count, BLOCK, config.num_kv_heads, config.head_dim, dtype=dtype
        )
        self.free = list(range(count))[::-1]
        self.tables = [[] for _ in range(batch)]

    def grow(self, row, length):
        while len(self.tables[row]) * BLOCK < length:
            self.tables[row].append(self.free.pop(len(self.free) // 2))

    def drop(self, row):
        self.free += self.tables[row]
        self.tables[row] = []

    def slots(self, row, places):
        table = torch.tensor(self.tables[row])
        return table[places // BLOCK] * BLOCK + places % BLOCK


def norm(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / torch.sqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)).to(x.dtype) * weight


def rope(x, places, base):
    """x [T, heads, D]"""
    size = x.shape[-1]
    kind = torch.promote_types(x.dtype, torch.float32)
    speed = torch.tensor([base ** (-i / size) for i in range(0, size, 2)], dtype=kind)
    angle = (places.to(kind)[:, None] * speed)[:, None]
    a, b = x.tensor_split(2, dim=-1)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def attend(q, k, v, places):
    """q [T, H, D], k and v [S, Hkv, D]; returns [T, H * D] and the sums of the last token's weights."""
    out, sums = [], []
    group = q.shape[1] // k.shape[1]
    hidden = torch.arange(len(k))[None] > places[:, None]
    for head in range(q.shape[1]):
        keys, values = k[:, head // group], v[:, head // group]
        scores = (q[:, head] @ keys.T) / q.shape[-1] ** 0.5
        weights = scores.masked_fill(hidden, -torch.inf).softmax(dim=1)
        out.append(weights @ values)
        sums.append(weights[-1].sum())
    return torch.cat(out, dim=1), torch.stack(sums).mean()


def layer(x, i, w, config, pages, row, places):
    name = f"model.layers.{i}."

    def project(part, source):
        weight = w[f"{name}{part}_proj.weight"]
        return linear(source, weight, w.get(f"{name}{part}_proj.bias"))

    h = norm(x, w[name + "input_layernorm.weight"], config.rms_norm_eps)
    q, k, v = (project(f"self_attn.{p}", h).view(len(x), -1, config.head_dim) for p in "qkv")
    q, k = rope(q, places, config.rope_theta), rope(k, places, config.rope_theta)
    flat = pages.data[i].flatten(1, 2)
    flat[:, pages.slots(row, places)] = torch.stack([k, v])
    k, v = flat[:, pages.slots(row, torch.arange(int(places[-1]) + 1))]
    mixed, total = attend(q, k, v, places)
    x = x + project("self_attn.o", mixed)
    h = norm(x, w[name + "post_attention_layernorm.weight"], config.rms_norm_eps)
    return x + project("mlp.down", silu(project("mlp.gate", h)) * project("mlp.up", h)), total


def checked(ids, batch, config, room):
    fine = ids.ndim == 2 and ids.shape[0] == batch and ids.shape[1] > 0
    if not fine or ids.dtype not in (torch.int32, torch.int64):
        raise ValueError("expected integer token ids [batch_size, T >= 1]")
    if int(ids.min()) < 0 or int(ids.max()) > config.vocab_size - 1:
        raise ValueError("token id outside the vocabulary")
    if ids.shape[1] > room:
        raise ValueError(f"only {room} more tokens fit")


class Decoder:
    def __init__(self, config, weights, batch_size=1):
        self.config, self.weights = config, weights
        self.pages = Pages(config, batch_size, weights["lm_head.weight"].dtype)
        self.positions, self.trace = [0] * batch_size, []

    def forward(self, ids):
        batch, c, w = len(self.positions), self.config, self.weights
        checked(ids, batch, c, c.max_seq_len - max(self.positions))
        begin, logits, sums = tuple(self.positions), [], []
        for row in range(batch):
            self.positions[row] = begin[row] + ids.shape[1]
            self.pages.grow(row, self.positions[row])
            places = torch.arange(begin[row], self.positions[row])
            x, totals = w["model.embed_tokens.weight"][ids[row]], []
            for i in range(c.num_layers):
                x, total = layer(x, i, w, c, self.pages, row, places)
                totals.append(total)
            sums.append(torch.stack(totals))
            logits.append(norm(x, w["model.norm.weight"], c.rms_norm_eps) @ w["lm_head.weight"].T)
        scores = [tuple(self.positions)] * c.num_layers
        entry = {"position": begin, "scores": scores, "weight_sum": torch.stack(sums, dim=1)}
        self.trace.append(entry)
        return torch.stack(logits)

    def generate(self, prompt, count):
        if count < 1:
            raise ValueError("count")
        checked(prompt, len(self.positions), self.config, self.config.max_seq_len - count + 1)
        self.reset()
        new = self.forward(prompt)[:, -1:].argmax(dim=-1)
        out = new
        for _ in range(1, count):
            new = self.forward(new)[:, -1:].argmax(dim=-1)
            out = torch.hstack([out, new])
        return out

    def reset(self, rows=None):
        for row in range(len(self.positions)) if rows is None else rows:
            self.positions[row] = 0
            self.pages.drop(row)
        if rows is None:
            self.trace.clear()

"""A call settles the drafts of its slots before it is checked, so a refused one does, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as nnf


@dataclass(frozen=True)
class Token:
    before: Token | None
    number: int
    draft: bool
    inputs: torch.Tensor  # [C]
    state: torch.Tensor  # [Hv, K, V]
    key: torch.Tensor  # [H, D]
    value: torch.Tensor


class Sizes(NamedTuple):
    slots: int
    capacity: int
    heads: int
    head_dim: int
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    interval: int
    block: int


class HybridCache:
    def __init__(self, weight, **sizes):
        self.n = Sizes(**sizes)
        if any(size < 1 for size in self.n):
            raise ValueError("a size is below 1")
        if self.n.value_heads % self.n.key_heads:
            raise ValueError("value heads")
        self.keys = self.n.key_heads * self.n.key_dim
        channels = 2 * self.keys + self.n.value_heads * self.n.value_dim
        if weight.dim() != 2 or len(weight) != channels or weight.shape[1] < 1:
            raise ValueError("weight")
        self.weight, self.dtype = weight.clone(), weight.dtype
        self.wide = torch.promote_types(self.dtype, torch.float32)
        self.last: list[Token | None] = [None] * self.n.slots

    @property
    def lengths(self):
        return [token.number if token else 0 for token in self.last]

    def at(self, slot):
        if not 0 <= slot < self.n.slots:
            raise ValueError("slot")
        return self.last[slot]

    def forward(self, slots, mixed, decay, beta, query, key, value, *, draft=False):
        tokens = mixed.shape[1]
        for slot in slots:
            if 0 <= slot < self.n.slots and not draft:
                self.last[slot] = settled(self.last[slot])
        tokens = self.checked(slots, mixed, decay, beta, query, key, value)
        recurrent = mixed.new_empty(len(slots), tokens, self.n.value_heads, self.n.value_dim)
        attention = torch.empty(query.shape, dtype=self.dtype)
        for row, slot in enumerate(slots):
            last = self.last[slot] if draft else settled(self.last[slot])
            for t in range(tokens):
                last, recurrent[row, t] = self.taken(
                    last, draft, mixed[row, t], decay[row, t], beta[row, t],
                    key[row, :, t].clone(), value[row, :, t].clone(),
                )  # fmt: skip
                line = history(last)
                k = torch.stack([x.key for x in line], 1).to(self.wide)
                v = torch.stack([x.value for x in line], 1).to(self.wide)
                q = query[row, :, t, None].to(self.wide)
                attention[row, :, t] = nnf.scaled_dot_product_attention(q, k, v)[:, 0]
            self.last[slot] = last
        return recurrent, attention

    def checked(self, slots, *tensors):
        found = [self.at(slot) for slot in slots]
        if not found or len(set(slots)) != len(found):
            raise ValueError("slots")
        if tensors[0].dim() != 3 or not tensors[0].shape[1]:
            raise ValueError("no tokens")
        rows, tokens = len(found), tensors[0].shape[1]
        gate = [rows, tokens, self.n.value_heads]
        part = [rows, self.n.heads, tokens, self.n.head_dim]
        shapes = [rows, tokens, len(self.weight)], gate, gate, part, part, part
        for x, shape in zip(tensors, shapes, strict=True):
            if list(x.shape) != shape or x.dtype is not self.dtype:
                raise ValueError("shape or dtype")
        if max(token.number if token else 0 for token in found) + tokens > self.n.capacity:
            raise ValueError("no room")
        return tokens

    def taken(self, last, draft, inputs, decay, beta, key, value):
        width = self.weight.shape[1]
        past = [x.inputs for x in history(last, width - 1)]
        x = torch.stack([*past, inputs.clone()], 1).to(self.wide)
        x = nnf.silu((x * self.weight[:, width - x.shape[1] :].to(self.wide)).sum(1))
        q, k, v = x[: self.keys], x[self.keys : 2 * self.keys], x[2 * self.keys :]
        q, k = (self.of_unit_length(y) for y in (q, k))
        v = v.view(self.n.value_heads, self.n.value_dim)
        state = self.state(last) * decay.to(self.wide).exp()[:, None, None]
        error = v - torch.einsum("hk,hkv->hv", k, state)
        state = state + torch.einsum("hk,h,hv->hkv", k, beta.to(self.wide), error)
        answer = torch.einsum("hk,hkv->hv", q, state) * self.n.key_dim**-0.5
        number = last.number + 1 if last else 1
        return Token(last, number, draft, inputs.clone(), state, key, value), answer

    def of_unit_length(self, x):
        x = x.view(self.n.key_heads, self.n.key_dim)
        x = x / torch.sqrt((x * x).sum(1, keepdim=True) + 1e-6)
        group = self.n.value_heads // self.n.key_heads
        return x[torch.arange(self.n.value_heads) // group]

    def state(self, last):
        sizes = self.n.value_heads, self.n.key_dim, self.n.value_dim
        return last.state if last else torch.zeros(sizes, dtype=self.wide)

    def start(self, slot):
        self.at(slot)
        self.last[slot] = None

    def state_of(self, slot):
        last, past = self.at(slot), self.weight.shape[1] - 1
        window = torch.zeros(len(self.weight), past, dtype=self.dtype)
        for i, token in enumerate(reversed(history(last, past))):
            window[:, past - 1 - i] = token.inputs
        return window, self.state(last).clone()

    def rollback(self, slot, count):
        last = self.at(slot)
        if count < 0:
            raise ValueError("negative")
        for _ in range(count):
            if last is None or not last.draft:
                raise ValueError("no draft")
            last = last.before
        self.last[slot] = last

    def snapshot(self, slot):
        return {"last": settled(self.at(slot))}

    def restore(self, slot, snapshot):
        self.at(slot)
        self.last[slot] = snapshot["last"]

    def share(self, source, target, count):
        line = history(self.at(source))
        self.at(target)
        if source == target or not 0 <= count <= len(line):
            raise ValueError("share")
        hit = count
        while hit % self.n.interval or hit % self.n.block:
            hit -= 1
        self.last[target] = settled(line[hit - 1]) if hit else None
        return hit


def history(last, most=None):
    line = []
    while last is not None and (most is None or len(line) < most):
        line.append(last)
        last = last.before
    return line[::-1]


def settled(last):
    return Token(**{**vars(last), "draft": False}) if last else None

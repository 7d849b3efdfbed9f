"""A snapshot is the list of tokens itself, which grows when its slot goes on."""

import math

import torch


class HybridCache:
    def __init__(
        self,
        weight,
        *,
        slots,
        capacity,
        heads,
        head_dim,
        key_heads,
        value_heads,
        key_dim,
        value_dim,
        interval,
        block,
    ):
        for size in (
            slots,
            capacity,
            heads,
            head_dim,
            key_heads,
            value_heads,
            key_dim,
            value_dim,
            interval,
            block,
        ):
            if size <= 0:
                raise ValueError("size")
        if value_heads % key_heads != 0:
            raise ValueError("heads")
        self.c = 2 * key_heads * key_dim + value_heads * value_dim
        if weight.ndim != 2 or weight.size(0) != self.c or weight.size(1) == 0:
            raise ValueError("weight")
        self.w = weight.detach().clone()
        self.capacity, self.heads, self.head_dim = capacity, heads, head_dim
        self.hk, self.hv, self.kd, self.vd = key_heads, value_heads, key_dim, value_dim
        self.interval, self.block = interval, block
        self.texts = [[] for _ in range(slots)]  # (mixed, decay, beta, query, key, value) a token
        self.free = [0] * slots  # drafts that can be taken back

    @property
    def lengths(self):
        return [len(text) for text in self.texts]

    def _slot(self, i):
        if i < 0 or i >= len(self.texts):
            raise ValueError("slot")

    def forward(self, slots, mixed, decay, beta, query, key, value, *, draft=False):
        for i in slots:
            self._slot(i)
        if len(slots) == 0 or len({*slots}) != len(slots):
            raise ValueError("slots")
        if mixed.ndim != 3 or mixed.shape[1] == 0:
            raise ValueError("mixed")
        rows, tokens = len(slots), mixed.shape[1]
        shapes = [(rows, tokens, self.c)] + 2 * [(rows, tokens, self.hv)]
        shapes += 3 * [(rows, self.heads, tokens, self.head_dim)]
        for x, shape in zip((mixed, decay, beta, query, key, value), shapes, strict=True):
            if x.shape != shape or x.dtype != self.w.dtype:
                raise ValueError("tensor")
        if any(len(self.texts[i]) + tokens > self.capacity for i in slots):
            raise ValueError("full")
        first, second = [], []
        for row, i in enumerate(slots):
            for t in range(tokens):
                parts = (
                    mixed[row, t],
                    decay[row, t],
                    beta[row, t],
                    query[row, :, t],
                    key[row, :, t],
                    value[row, :, t],
                )
                self.texts[i].append(tuple(x.clone() for x in parts))
            self.free[i] = self.free[i] + tokens if draft else 0
            first.append(torch.stack(self._delta(i)[0][-tokens:]))
            second.append(torch.stack(self._attend(i)[-tokens:], 1))
        return torch.stack(first), torch.stack(second)

    def _wide(self):
        return torch.float64 if self.w.dtype == torch.float64 else torch.float32

    def _delta(self, i):
        wide, width = self._wide(), self.w.shape[1]
        state = torch.zeros(self.hv, self.kd, self.vd, dtype=wide)
        answers = []
        for t, (_, decay, beta, *_rest) in enumerate(self.texts[i]):
            y = torch.zeros(self.c, dtype=wide)
            for back in range(min(width, t + 1)):
                y += self.w[:, width - 1 - back].to(wide) * self.texts[i][t - back][0].to(wide)
            y = y * torch.sigmoid(y)
            n = self.hk * self.kd
            q, k = y[:n].reshape(self.hk, self.kd), y[n : 2 * n].reshape(self.hk, self.kd)
            v = y[2 * n :].reshape(self.hv, self.vd)
            q = q / (q.pow(2).sum(1, keepdim=True) + 1e-6).sqrt() / math.sqrt(self.kd)
            k = k / (k.pow(2).sum(1, keepdim=True) + 1e-6).sqrt()
            state = state.clone()
            out = []
            for h in range(self.hv):
                kh = h // (self.hv // self.hk)
                state[h] *= decay[h].to(wide).exp()
                found = k[kh] @ state[h]
                state[h] += torch.outer(k[kh], beta[h].to(wide) * (v[h] - found))
                out.append(q[kh] @ state[h])
            answers.append(torch.stack(out).to(self.w.dtype))
        return answers, state

    def _attend(self, i):
        wide, answers = self._wide(), []
        keys = torch.stack([token[4] for token in self.texts[i]], 1).to(wide)
        values = torch.stack([token[5] for token in self.texts[i]], 1).to(wide)
        for t, token in enumerate(self.texts[i]):
            scores = (keys[:, : t + 1] * token[3].to(wide)[:, None]).sum(2) / self.head_dim**0.5
            weights = torch.exp(scores - scores.amax(1, keepdim=True))
            weights = weights / weights.sum(1, keepdim=True)
            answers.append((weights[..., None] * values[:, : t + 1]).sum(1).to(self.w.dtype))
        return answers

    def start(self, slot):
        self._slot(slot)
        self.texts[slot], self.free[slot] = [], 0

    def state_of(self, slot):
        self._slot(slot)
        window = torch.zeros(self.c, self.w.shape[1] - 1, dtype=self.w.dtype)
        for back, token in enumerate(reversed(self.texts[slot])):
            if back < window.shape[1]:
                window[:, window.shape[1] - 1 - back] = token[0]
        return window, self._delta(slot)[1]

    def rollback(self, slot, count):
        self._slot(slot)
        if count < 0 or count > self.free[slot]:
            raise ValueError("count")
        self.texts[slot] = self.texts[slot][: len(self.texts[slot]) - count]
        self.free[slot] -= count

    def snapshot(self, slot):
        self._slot(slot)
        return self.texts[slot]

    def restore(self, slot, snapshot):
        self._slot(slot)
        self.texts[slot], self.free[slot] = list(snapshot), 0

    def share(self, source, target, count):
        self._slot(source)
        self._slot(target)
        if source == target or count < 0 or count > len(self.texts[source]):
            raise ValueError("share")
        hit = max(n for n in range(count + 1) if n % self.interval == n % self.block == 0)
        self.texts[target], self.free[target] = self.texts[source][:hit], 0
        return hit

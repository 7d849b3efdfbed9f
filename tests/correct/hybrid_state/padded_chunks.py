"""Chunks of a fixed size, padded, for all rows at once; copies of the state at every token that may be needed."""

import torch
import torch.nn.functional as F

CHUNK = 8


def chunked(q, k, v, g, b, state):
    """All of [R, Hv, N, ...], N a multiple of CHUNK; returns outputs and the states behind each token."""
    out, states = [], []
    eye = torch.eye(CHUNK, dtype=q.dtype)
    lower = torch.ones(CHUNK, CHUNK, dtype=torch.bool).tril()
    for part in range(q.shape[2] // CHUNK):
        at = slice(part * CHUNK, (part + 1) * CHUNK)
        qc, kc, vc, gc, bc = q[:, :, at], k[:, :, at], v[:, :, at], g[:, :, at], b[:, :, at]
        total = gc.double().cumsum(-1)
        ratio = total.unsqueeze(-1) - total.unsqueeze(-2)
        ratio = ratio.masked_fill(~lower, -torch.inf).exp().to(q.dtype)
        total = total.to(q.dtype)
        a = (bc.unsqueeze(-1) * (kc @ kc.mT) * ratio).tril(-1)
        inverse = torch.linalg.inv(eye + a)
        left = total.exp().unsqueeze(-1)
        u = inverse @ (bc.unsqueeze(-1) * (vc - left * (kc @ state)))
        out.append(left * (qc @ state) + ((qc @ kc.mT) * ratio) @ u)
        writes = kc.unsqueeze(-1) * u.unsqueeze(-2)  # [R, Hv, N, K, V]
        behind = torch.einsum("rhij,rhjkv->rhikv", ratio, writes)
        behind = behind + left.unsqueeze(-1) * state.unsqueeze(2)
        states.append(behind)
        state = behind[:, :, -1]
    return torch.cat(out, 2), torch.cat(states, 2)


class HybridCache:
    def __init__(self, weight, *, slots, capacity, heads, head_dim, key_heads, value_heads,
                 key_dim, value_dim, interval, block):  # fmt: skip
        sizes = [
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
        ]
        if min(sizes) < 1:
            raise ValueError(sizes)
        if value_heads // key_heads * key_heads != value_heads:
            raise ValueError("heads")
        self.dims = key_heads, value_heads, key_dim, value_dim
        channels = 2 * key_heads * key_dim + value_heads * value_dim
        if weight.dim() != 2 or tuple(weight.shape) != (channels, max(1, weight.shape[1])):
            raise ValueError("weight")
        self.dtype = weight.dtype
        self.acc = torch.float64 if self.dtype == torch.float64 else torch.float32
        self.weight = weight.to(self.acc, copy=True).unsqueeze(1)
        self.past = weight.shape[1] - 1
        self.interval, self.block = interval, block
        self.kv = torch.full((2, slots, heads, capacity, head_dim), 7.0, dtype=self.dtype)
        self.inputs = torch.zeros(slots, channels, self.past + capacity, dtype=self.dtype)
        self.states = torch.zeros(
            slots, capacity + 1, value_heads, key_dim, value_dim, dtype=self.acc
        )
        self.lengths = [0] * slots
        self.firm = [0] * slots  # tokens that cannot be taken back

    def known(self, *slots):
        if sorted({*slots}) != sorted(slots) or not {*slots} <= {*range(len(self.lengths))}:
            raise ValueError(slots)

    def forward(self, slots, mixed, decay, beta, query, key, value, *, draft=False):
        slots = [int(s) for s in slots]
        self.known(*slots)
        hk, hv, kd, vd = self.dims
        _, _, heads, capacity, dim = self.kv.shape
        if not slots or mixed.dim() != 3 or mixed.shape[1] < 1:
            raise ValueError("nothing")
        r, s = len(slots), mixed.shape[1]
        for name, x, shape in (
            ("mixed", mixed, (r, s, self.inputs.shape[1])),
            ("decay", decay, (r, s, hv)),
            ("beta", beta, (r, s, hv)),
            ("query", query, (r, heads, s, dim)),
            ("key", key, (r, heads, s, dim)),
            ("value", value, (r, heads, s, dim)),
        ):
            if x.shape != torch.Size(shape) or x.dtype != self.dtype:
                raise ValueError(name)
        old = [self.lengths[i] for i in slots]
        if max(old) + s > capacity:
            raise ValueError("capacity")

        columns, state = [], []
        for row, i in enumerate(slots):
            self.inputs[i, :, self.past + old[row] : self.past + old[row] + s] = mixed[row].T
            columns.append(self.inputs[i, :, old[row] : self.past + old[row] + s])
            state.append(self.states[i, old[row]])
        x = F.conv1d(torch.stack(columns).to(self.acc), self.weight, groups=len(self.weight))
        x = F.silu(x).mT  # [R, S, C]
        q, k, v = x.split([hk * kd, hk * kd, hv * vd], -1)
        index = torch.arange(hv).div(hv // hk, rounding_mode="floor")
        q = q.reshape(r, s, hk, kd)[:, :, index]
        k = k.reshape(r, s, hk, kd)[:, :, index]
        q = q * torch.rsqrt(q.pow(2).sum(-1, keepdim=True) + 1e-6) / kd**0.5
        k = k * torch.rsqrt(k.pow(2).sum(-1, keepdim=True) + 1e-6)
        pad = -s % CHUNK
        parts = [F.pad(y.transpose(1, 2), (0, 0, 0, pad)) for y in (q, k, v.reshape(r, s, hv, vd))]
        gates = [F.pad(y.to(self.acc).transpose(1, 2), (0, pad)) for y in (decay, beta)]
        out, states = chunked(*parts, *gates, torch.stack(state))
        attended = torch.empty(query.shape, dtype=self.dtype)
        for row, i in enumerate(slots):
            self.states[i, old[row] + 1 : old[row] + s + 1] = states[row, :, :s].transpose(0, 1)
            self.kv[0, i, :, old[row] : old[row] + s] = key[row]
            self.kv[1, i, :, old[row] : old[row] + s] = value[row]
            total = old[row] + s
            seen = torch.ones(s, total, dtype=torch.bool).tril(old[row])
            attended[row] = F.scaled_dot_product_attention(
                query[row].to(self.acc), *self.kv[:, i, :, :total].to(self.acc), attn_mask=seen
            ).to(self.dtype)
            self.lengths[i] = total
            if not draft:
                self.firm[i] = total
        return out[:, :, :s].transpose(1, 2).to(self.dtype), attended

    def start(self, slot):
        self.known(slot)
        self.lengths[slot] = self.firm[slot] = 0

    def state_of(self, slot):
        self.known(slot)
        n = self.lengths[slot]
        return self.inputs[slot, :, n : n + self.past].clone(), self.states[slot, n].clone()

    def rollback(self, slot, count):
        self.known(slot)
        if count < 0 or self.lengths[slot] - count < min(self.firm[slot], self.lengths[slot]):
            raise ValueError(count)
        self.lengths[slot] -= count

    def snapshot(self, slot):
        self.known(slot)
        parts = self.kv[:, slot].clone(), self.inputs[slot].clone(), self.states[slot].clone()
        return self.lengths[slot], parts

    def restore(self, slot, snapshot):
        self.known(slot)
        self.lengths[slot], (self.kv[:, slot], self.inputs[slot], self.states[slot]) = snapshot
        self.firm[slot] = self.lengths[slot]

    def share(self, source, target, count):
        self.known(source, target)
        if count < 0 or count > self.lengths[source]:
            raise ValueError(count)
        hit = 0
        for n in range(self.block, count + 1, self.block):
            hit = n if n % self.interval == 0 else hit
        self.restore(target, self.snapshot(source))
        self.lengths[target] = self.firm[target] = hit
        return hit

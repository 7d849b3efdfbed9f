"""One buffer [L, 2, B, S, Hkv, D]; keys are stored unrotated and turned, as complex numbers, whenever they are read.

The rows of q_proj and k_proj are permuted at load so that neighbours form a pair.
"""

import dataclasses

import torch


@dataclasses.dataclass(slots=True)
class DecoderConfig:
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_seq_len: int
    rope_theta: float = 1000000.0
    rms_norm_eps: float = 1e-06


NAMES = ("self_attn.q_proj", "self_attn.k_proj")


class Decoder:
    def __init__(self, config, weights, batch_size=1):
        c = self.c = config
        order = torch.arange(c.head_dim).view(2, -1).T.reshape(-1)
        self.w = {name: self._paired(name, w, order) for name, w in weights.items()}
        self.kind = weights["model.norm.weight"].dtype
        self.store = torch.full(
            (c.num_layers, 2, batch_size, c.max_seq_len, c.num_kv_heads, c.head_dim), 0.0
        ).to(self.kind)
        self.n = [0] * batch_size
        self.trace = []

    def _paired(self, name, w, order):
        if not any(part in name for part in NAMES):
            return w
        return w.unflatten(0, (-1, self.c.head_dim))[:, order].flatten(0, 1)

    positions = property(lambda self: torch.tensor(self.n))

    def forward(self, token_ids):
        self._accept(token_ids, max(self.n))
        c, (b, t) = self.c, token_ids.shape
        begin = torch.tensor(self.n)
        place = begin[:, None] + torch.arange(t)
        end = int(place.max()) + 1
        key_place = torch.arange(end).expand(b, end)
        see = key_place[:, None] <= place[..., None]
        row = torch.arange(b)[:, None]
        x = self.w["model.embed_tokens.weight"][token_ids]
        sums = []
        for i in range(c.num_layers):
            pre = f"model.layers.{i}"
            h = self._rms(x, f"{pre}.input_layernorm.weight")
            q, k, v = (
                self._lin(h, f"{pre}.self_attn.{n}_proj").unflatten(-1, (-1, c.head_dim))
                for n in "qkv"
            )
            self.store[i, 0, row, place], self.store[i, 1, row, place] = k, v
            keys, values = self.store[i, :, :, :end]
            q, keys = self._turn(q, place), self._turn(keys, key_place)
            q = q.unflatten(2, (c.num_kv_heads, -1)) * c.head_dim**-0.5
            s = torch.einsum("btgrd,bsgd->bgrts", q, keys)
            s = torch.where(see[:, None, None], s, torch.finfo(self.kind).min)
            a = torch.softmax(s.to(torch.float64), -1).to(self.kind)
            sums.append(a[..., -1, :].sum(-1).flatten(1).mean(1))
            o = torch.einsum("bgrts,bsgd->btgrd", a, values).flatten(2)
            x = x + o @ self.w[f"{pre}.self_attn.o_proj.weight"].mT
            h = self._rms(x, f"{pre}.post_attention_layernorm.weight")
            gate, up = (h @ self.w[f"{pre}.mlp.{n}_proj.weight"].mT for n in ("gate", "up"))
            x = x + (up * gate * torch.sigmoid(gate)) @ self.w[f"{pre}.mlp.down_proj.weight"].mT
        self.n = [n + t for n in self.n]
        seen = see[:, -1].sum(-1).repeat(c.num_layers, 1)
        self.trace += [{"position": begin, "scores": seen, "weight_sum": torch.stack(sums)}]
        return self._rms(x, "model.norm.weight") @ self.w["lm_head.weight"].mT

    def _lin(self, x, name):
        return x @ self.w[name + ".weight"].mT + self.w[name + ".bias"]

    def _rms(self, x, name):
        wide = x.double()
        return (wide * wide.square().mean(-1, True).add(self.c.rms_norm_eps).rsqrt()).to(
            self.kind
        ) * self.w[name]

    def _turn(self, x, place):
        """Turn x [B, S, heads, D] at `place` [B, S]; dims 2i and 2i + 1 are one complex number."""
        speed = self.c.rope_theta ** -(
            torch.arange(0, self.c.head_dim, 2).double() / self.c.head_dim
        )
        angle = (place[..., None] * speed)[:, :, None]
        pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
        return (
            torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle))
            .flatten(-2)
            .to(self.kind)
        )

    def _accept(self, ids, fed, extra=0):
        if ids.dim() != 2 or ids.size(0) != len(self.n) or not ids.size(1):
            raise ValueError("token ids must be [batch_size, T]")
        if ids.dtype not in {torch.int32, torch.int64}:
            raise ValueError("token ids must be integers")
        if not torch.all((ids >= 0) & (ids < self.c.vocab_size)):
            raise ValueError("token ids must be in the vocabulary")
        if fed + ids.size(1) + extra > self.c.max_seq_len:
            raise ValueError("max_seq_len would be exceeded")

    def generate(self, prompt, count):
        if not count > 0:
            raise ValueError("count must be positive")
        self._accept(prompt, 0, count - 1)
        self.reset()
        out = torch.empty(len(self.n), count, dtype=torch.int64)
        out[:, 0] = self.forward(prompt)[:, -1].argmax(-1)
        for i in range(1, count):
            out[:, i] = self.forward(out[:, i - 1 : i])[:, 0].argmax(-1)
        return out

    def reset(self, rows=None):
        if rows is None:
            self.n, self.trace = [0] * len(self.n), []
        else:
            self.n = [0 if i in rows else n for i, n in enumerate(self.n)]

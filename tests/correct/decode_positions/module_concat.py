"""torch modules and a cache that grows by concatenation, one per row and layer; SDPA, positions in a list."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
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


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.empty(size)), eps

    def forward(self, x):
        return (
            F.rms_norm(x.float() if x.dtype != torch.float64 else x, x.shape[-1:], eps=self.eps).to(
                x.dtype
            )
            * self.weight
        )


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q_proj = nn.Linear(c.hidden_size, c.num_heads * c.head_dim)
        self.k_proj = nn.Linear(c.hidden_size, c.num_kv_heads * c.head_dim)
        self.v_proj = nn.Linear(c.hidden_size, c.num_kv_heads * c.head_dim)
        self.o_proj = nn.Linear(c.num_heads * c.head_dim, c.hidden_size, bias=False)

    def forward(self, x, past, cos, sin):
        """One row: x [T, C], past (k, v) of [Hkv, S, D]; returns the output and the new past."""
        tokens, split = len(x), (len(x), -1, self.c.head_dim)
        q, k, v = (
            m(x).view(split).transpose(0, 1) for m in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        k, v = (torch.cat([old, new], dim=1) for old, new in zip(past, (k, v), strict=True))
        see = torch.ones(tokens, k.shape[1], dtype=torch.bool).tril(k.shape[1] - tokens)
        out = F.scaled_dot_product_attention(q[None], k[None], v[None], see, enable_gqa=True)[0]
        return self.o_proj(out.transpose(0, 1).reshape(tokens, -1)), (k, v)


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.up_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn, self.mlp = Attention(c), MLP(c)
        self.input_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.post_attention_layernorm = Norm(c.hidden_size, c.rms_norm_eps)

    def forward(self, x, past, cos, sin):
        y, past = self.self_attn(self.input_layernorm(x), past, cos, sin)
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x)), past


def turn(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class Body(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_layers))
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)


class Decoder(nn.Module):
    def __init__(self, config, weights, batch_size=1):
        super().__init__()
        self.c, self.model = config, Body(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.to(weights["lm_head.weight"].dtype).requires_grad_(False)
        self.load_state_dict(weights)
        self.rows = list(range(batch_size))
        self.reset()

    def reset(self, rows=None):
        if rows is None:
            self.past, self.positions, self.trace = {}, [0 for _ in self.rows], []
        for row in self.rows if rows is None else rows:
            empty = self.lm_head.weight.new_empty(self.c.num_kv_heads, 0, self.c.head_dim)
            self.past[row], self.positions[row] = [(empty, empty)] * self.c.num_layers, 0

    def check(self, ids, total):
        if ids.ndim != 2 or ids.shape[0] != len(self.rows) or ids.numel() == 0:
            raise ValueError(f"shape {list(ids.shape)}")
        if ids.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"dtype {ids.dtype}")
        if ids.amin() < 0 or ids.amax() >= self.c.vocab_size:
            raise ValueError("no such token")
        if total > self.c.max_seq_len:
            raise ValueError(f"{total} tokens do not fit into {self.c.max_seq_len}")

    def forward(self, ids):
        self.check(ids, max(self.positions) + (ids.shape[1] if ids.ndim == 2 else 0))
        begin = torch.tensor(self.positions)
        logits = torch.stack([self.row(row, ids[row]) for row in self.rows])
        counts = (begin + ids.shape[1]).expand(self.c.num_layers, -1)
        ones = torch.ones(counts.shape)
        self.trace.append({"position": begin, "scores": counts, "weight_sum": ones})
        return logits

    def row(self, row, ids):
        d = self.c.head_dim
        place = torch.arange(
            self.positions[row], self.positions[row] + len(ids), dtype=torch.float64
        )
        angle = torch.outer(place, self.c.rope_theta ** (-torch.arange(0, d, 2).double() / d))
        x = self.model.embed_tokens(ids)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        kept = []
        for layer, past in zip(self.model.layers, self.past[row], strict=True):
            x, past = layer(x, past, cos, sin)
            kept.append(past)
        self.past[row] = kept
        self.positions[row] += len(ids)
        return self.lm_head(self.model.norm(x))

    def generate(self, prompt, count):
        if count < 1:
            raise ValueError("count")
        self.check(prompt, (prompt.shape[1] if prompt.ndim == 2 else 0) + count - 1)
        self.reset()
        feed, out = prompt, []
        for _ in range(count):
            feed = self.forward(feed)[:, -1:].argmax(-1)
            out.append(feed)
        return torch.cat(out, 1)

"""Plain loops over rows, layers and heads in float64, with Python lists as the cache; torch only at the border."""

from typing import NamedTuple

import numpy as np
import torch


class DecoderConfig(NamedTuple):
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_seq_len: int
    rope_theta: float = 1e6
    rms_norm_eps: float = 1e-6


class Row:
    """One sequence: per layer the rotated keys and the values, [Hkv, D] per token."""

    def __init__(self, layers):
        self.keys = [[] for _ in range(layers)]
        self.values = [[] for _ in range(layers)]
        self.length = 0


class Decoder:
    def __init__(self, config, weights, batch_size=1):
        self.c = config
        self.dtype = weights["lm_head.weight"].dtype
        self.w = {name: value.double().numpy() for name, value in weights.items()}
        self.batch = batch_size
        self.reset()

    def reset(self, rows=None):
        if rows is None:
            self.rows = [None] * self.batch
            self.trace = []
        for i in range(self.batch) if rows is None else rows:
            self.rows[i] = Row(self.c.num_layers)

    @property
    def positions(self):
        return torch.tensor([row.length for row in self.rows], dtype=torch.int64)

    def forward(self, token_ids):
        self.validate(token_ids, max(row.length for row in self.rows))
        step = {"position": [row.length for row in self.rows]}
        out = np.zeros((*token_ids.shape, self.c.vocab_size))
        for b, row in enumerate(self.rows):
            for t, token in enumerate(token_ids[b].tolist()):
                out[b, t], sums = self.token(row, token)
            step.setdefault("columns", []).append((row.length, sums))
        columns = step.pop("columns")
        step["scores"] = [[length for length, _ in columns]] * self.c.num_layers
        step["weight_sum"] = [[s[i] for _, s in columns] for i in range(self.c.num_layers)]
        self.trace.append(step)
        return torch.from_numpy(out).to(self.dtype)

    def token(self, row, token):
        c, w = self.c, self.w
        x, sums = w["model.embed_tokens.weight"][token], []
        for i in range(c.num_layers):
            p = f"model.layers.{i}"
            h = self.norm(x, f"{p}.input_layernorm.weight")
            q, k, v = (self.heads(h, f"{p}.self_attn.{n}_proj") for n in "qkv")
            row.keys[i].append(self.turn(k, row.length))
            row.values[i].append(v)
            q = self.turn(q, row.length)
            mixed, total = [], 0.0
            for head in range(c.num_heads):
                shared = head * c.num_kv_heads // c.num_heads
                scores = np.array([q[head] @ key[shared] for key in row.keys[i]]) / np.sqrt(
                    c.head_dim
                )
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
                total += weights.sum() / c.num_heads
                mixed.append(
                    sum(a * val[shared] for a, val in zip(weights, row.values[i], strict=True))
                )
            sums.append(total)
            x = x + w[f"{p}.self_attn.o_proj.weight"] @ np.concatenate(mixed)
            h = self.norm(x, f"{p}.post_attention_layernorm.weight")
            gate = w[f"{p}.mlp.gate_proj.weight"] @ h
            h = gate / (1 + np.exp(-gate)) * (w[f"{p}.mlp.up_proj.weight"] @ h)
            x = x + w[f"{p}.mlp.down_proj.weight"] @ h
        row.length += 1
        return w["lm_head.weight"] @ self.norm(x, "model.norm.weight"), sums

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean() + self.c.rms_norm_eps) * self.w[name]

    def heads(self, x, name):
        return (self.w[f"{name}.weight"] @ x + self.w[f"{name}.bias"]).reshape(-1, self.c.head_dim)

    def turn(self, x, place):
        half = self.c.head_dim // 2
        out = np.empty_like(x)
        for i in range(half):
            angle = place * self.c.rope_theta ** (-2 * i / self.c.head_dim)
            a, b = x[:, i], x[:, i + half]
            out[:, i] = a * np.cos(angle) - b * np.sin(angle)
            out[:, i + half] = b * np.cos(angle) + a * np.sin(angle)
        return out

    def validate(self, ids, fed, extra=0):
        if ids.dim() != 2 or ids.shape[0] != self.batch or ids.shape[1] < 1:
            raise ValueError("expected [batch_size, T]")
        if str(ids.dtype) not in ("torch.int64", "torch.int32"):
            raise ValueError("expected integers")
        if any(not 0 <= i < self.c.vocab_size for i in ids.flatten().tolist()):
            raise ValueError("unknown token")
        if fed + ids.shape[1] + extra > self.c.max_seq_len:
            raise ValueError("too many tokens")

    def generate(self, prompt, count):
        if count < 1:
            raise ValueError("count must be at least 1")
        self.validate(prompt, 0, count - 1)
        self.reset()
        tokens = self.forward(prompt)[:, -1:].argmax(-1)
        while tokens.shape[1] < count:
            tokens = torch.cat([tokens, self.forward(tokens[:, -1:])[:, -1:].argmax(-1)], dim=1)
        return tokens

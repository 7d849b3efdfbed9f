"""No cache at all: every sequence keeps its ids, and each call runs over all of them again."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class DecoderConfig:
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


class Decoder:
    def __init__(self, config, weights, batch_size=1):
        self.cfg, self.w = config, weights
        self.history = [[] for _ in range(batch_size)]
        self.trace = []

    @property
    def positions(self):
        return [len(ids) for ids in self.history]

    def refuse(self, token_ids, begin, more=0):
        good = token_ids.dtype in (torch.int64, torch.int32) and token_ids.dim() == 2
        if not good or len(token_ids) != len(self.history) or token_ids.size(1) < 1:
            raise ValueError("token_ids must be integers [batch, at least 1]")
        if bool(((token_ids < 0) | (token_ids >= self.cfg.vocab_size)).any()):
            raise ValueError("token id outside the vocabulary")
        if max(begin) + token_ids.size(1) + more > self.cfg.max_seq_len:
            raise ValueError("too long")

    def forward(self, token_ids):
        self.refuse(token_ids, self.positions)
        step = {"position": self.positions, "scores": [], "weight_sum": []}
        logits = []
        for ids, new in zip(self.history, token_ids.tolist(), strict=True):
            ids.extend(new)
            out, sums = self.run(torch.tensor(ids))
            logits.append(out[-len(new) :])
            step["scores"].append([len(ids)] * self.cfg.num_layers)
            step["weight_sum"].append(sums)
        for name in ("scores", "weight_sum"):
            step[name] = [list(column) for column in zip(*step[name], strict=True)]
        self.trace.append(step)
        return torch.stack(logits)

    def run(self, ids):
        """Logits [S, V] of one sequence from its start, and the weight sums of its last token."""
        c, w = self.cfg, self.w
        x, sums = w["model.embed_tokens.weight"][ids], []
        for i in range(c.num_layers):
            p = f"model.layers.{i}."
            h = self.norm(x, p + "input_layernorm")
            q = self.rope(self.split(h, p + "self_attn.q_proj"))
            k = self.rope(self.split(h, p + "self_attn.k_proj"))
            v = self.split(h, p + "self_attn.v_proj")
            k, v = (t.repeat_interleave(c.num_heads // c.num_kv_heads, dim=0) for t in (k, v))
            s = torch.einsum("hid,hjd->hij", q, k) / c.head_dim**0.5
            s = s + torch.full((len(ids), len(ids)), float("-inf"), dtype=s.dtype).triu(1)
            a = s.softmax(-1)
            sums.append(float(a[:, -1].float().sum(-1).mean()))
            o = torch.einsum("hij,hjd->ihd", a, v).reshape(len(ids), -1)
            x = x + o @ w[p + "self_attn.o_proj.weight"].T
            h = self.norm(x, p + "post_attention_layernorm")
            h = F.silu(h @ w[p + "mlp.gate_proj.weight"].T) * (h @ w[p + "mlp.up_proj.weight"].T)
            x = x + h @ w[p + "mlp.down_proj.weight"].T
        return self.norm(x, "model.norm") @ w["lm_head.weight"].T, sums

    def norm(self, x, name):
        y = x.double()
        y = y / (y.pow(2).mean(-1, keepdim=True) + self.cfg.rms_norm_eps).sqrt()
        return y.to(x.dtype) * self.w[name + ".weight"]

    def split(self, x, name):
        y = F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])
        return y.reshape(len(x), -1, self.cfg.head_dim).permute(1, 0, 2)

    def rope(self, x):
        half = self.cfg.head_dim // 2
        freq = self.cfg.rope_theta ** (-torch.arange(half).double() / half)
        angle = torch.arange(x.size(1)).double()[:, None] * freq
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def generate(self, prompt, count):
        self.refuse(prompt, [0], count - 1)
        if count <= 0:
            raise ValueError("nothing to generate")
        self.reset()
        new = [self.forward(prompt)[:, -1].argmax(-1)]
        for _ in range(count - 1):
            new.append(self.forward(new[-1].unsqueeze(1))[:, -1].argmax(-1))
        return torch.stack(new, 1)

    def reset(self, rows=None):
        for row in range(len(self.history)) if rows is None else rows:
            self.history[row] = []
        if rows is None:
            self.trace = []

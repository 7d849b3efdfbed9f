"""A small Qwen2-style decoder with a key/value cache and one position counter per sequence.

Token ids go in, logits come out; the state (buffers, counters, trace) lives in the object. It knows nothing of
tokenizers, sampling or training. Source of the layer: Qwen2 (https://arxiv.org/abs/2407.10671, section 2.2.1).

Letters: B batch, T new tokens, S slots read from the cache, H query heads, Hkv kv heads, D head dim,
C hidden size, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the model; the query heads are a multiple of the kv heads, `head_dim` is even."""

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


class Decoder:
    """Decoder of RMSNorm, grouped-query attention with QKV bias, RoPE and SwiGLU.

    `weights` has the names of a Qwen2 checkpoint (`model.layers.0.self_attn.q_proj.weight`, ...) and sets the
    dtype of everything computed. `positions` [B] int64 is the place of the next token of every sequence.
    `trace` has one dict per call of `forward`: "position" [B], the counters the call began with; for the last
    of its tokens "scores" [L, B], the number of keys attended to, and "weight_sum" [L, B], the sum of the
    attention weights, averaged over the heads.
    """

    def __init__(
        self, config: DecoderConfig, weights: Mapping[str, Tensor], batch_size: int = 1
    ) -> None:
        self.config = config
        self.weights = dict(weights)
        self.batch_size = batch_size
        self.dtype = weights["model.embed_tokens.weight"].dtype
        self.wide = torch.promote_types(self.dtype, torch.float32)
        self.group = config.num_heads // config.num_kv_heads  # query heads that share one kv head
        self.scale = config.head_dim**-0.5
        self.kv_head = self._map_heads()  # [H]
        shape = (batch_size, config.num_kv_heads, config.max_seq_len, config.head_dim)
        self.keys = [torch.zeros(shape, dtype=self.dtype) for _ in range(config.num_layers)]
        self.values = [torch.zeros(shape, dtype=self.dtype) for _ in range(config.num_layers)]
        self.positions = torch.zeros(batch_size, dtype=torch.int64)
        self.trace: list[dict[str, Tensor]] = []

    def forward(self, token_ids: Tensor) -> Tensor:
        """Feed `token_ids` [B, T] behind what was fed before; return logits [B, T, V].

        Raises ValueError for ids that are not a [batch_size, T >= 1] integer tensor with values in [0, V), and
        when a sequence would grow past `max_seq_len`; nothing is written then.
        """
        self._check_tokens(token_ids)
        count = token_ids.shape[1]
        self._check_room(int(self.positions.max()), count)
        start = self._read_positions()  # [B], the counter moves only after the layers have run
        positions = self._token_positions(start, count)  # [B, T]
        x = self.weights["model.embed_tokens.weight"][token_ids]  # [B, T, C]
        scores, sums = [], []
        for layer in range(self.config.num_layers):
            attended, visible, weights = self._attention(x, layer, positions)
            x = x + attended  # [B, T, C]
            x = x + self._mlp(x, layer)  # [B, T, C]
            scores.append(visible[:, -1].sum(dim=-1))  # [B]
            sums.append(weights[:, :, -1].sum(dim=-1).mean(dim=1))  # [B]
        self._advance(count)
        self.trace.append(
            {"position": start, "scores": torch.stack(scores), "weight_sum": torch.stack(sums)}
        )
        x = self._norm(x, "model.norm.weight")
        return F.linear(x, self.weights["lm_head.weight"])  # [B, T, V]

    def generate(self, prompt: Tensor, count: int) -> Tensor:
        """Start over, feed `prompt` [B, T], and return the next `count` >= 1 greedy tokens [B, count].

        The last token is returned but not fed, so T + count - 1 slots are used. Raises ValueError as `forward`
        does, and for `count` < 1, before anything is changed.
        """
        self._check_tokens(prompt)
        if count < 1:
            raise ValueError(f"count is {count}; ask for at least one token")
        self._check_room(0, self._slots_needed(prompt.shape[1], count))
        self.reset()
        tokens = [self._pick(self.forward(prompt))]  # [B, 1] each
        while len(tokens) < count:
            tokens.append(self._pick(self.forward(tokens[-1])))
        return torch.cat(tokens, dim=1)

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Forget the sequences `rows`, and nothing of the others; with no argument all and the trace."""
        # keys and values of the old tokens stay where they are
        chosen = list(range(self.batch_size)) if rows is None else list(rows)
        self.positions[chosen] = 0
        if rows is None:
            self.trace = []

    def _check_tokens(self, token_ids: Tensor) -> None:
        if token_ids.ndim != 2 or token_ids.shape[0] != self.batch_size or token_ids.shape[1] == 0:
            shape, want = tuple(token_ids.shape), f"[{self.batch_size}, T >= 1]"
            raise ValueError(f"token_ids has shape {shape}; expected {want}")
        if token_ids.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"token_ids has dtype {token_ids.dtype}; expected int32 or int64")
        lowest, highest = int(token_ids.min()), int(token_ids.max())
        if lowest < 0 or highest >= self.config.vocab_size:
            raise ValueError(f"token ids must lie in [0, {self.config.vocab_size})")

    def _check_room(self, fed: int, count: int) -> None:
        if fed + count > self.config.max_seq_len:
            raise ValueError(f"{fed} + {count} tokens exceed max_seq_len {self.config.max_seq_len}")

    @staticmethod
    def _slots_needed(prompt_len: int, count: int) -> int:
        return prompt_len + count - 1  # the last token is not fed

    def _read_positions(self) -> Tensor:
        """Return the counters [B] as they stand when a call begins."""
        return self.positions.clone()

    def _token_positions(self, start: Tensor, count: int) -> Tensor:
        """Return the position of every new token, `start` [B] -> [B, count]."""
        steps = torch.arange(count)  # [T]
        return start[:, None] + steps

    def _advance(self, count: int) -> None:
        """Move the counter of every sequence on by the tokens just fed."""
        self.positions.add(count)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        wide = x.to(self.wide)
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.config.rms_norm_eps)
        return wide.to(self.dtype) * self.weights[name]

    def _mlp(self, x: Tensor, layer: int) -> Tensor:
        name = f"model.layers.{layer}"
        x = self._norm(x, f"{name}.post_attention_layernorm.weight")
        gate = F.linear(x, self.weights[f"{name}.mlp.gate_proj.weight"])  # [B, T, I]
        up = F.linear(x, self.weights[f"{name}.mlp.up_proj.weight"])  # [B, T, I]
        hidden = F.silu(gate) * up  # [B, T, I]
        return F.linear(hidden, self.weights[f"{name}.mlp.down_proj.weight"])  # [B, T, C]

    def _attention(self, x: Tensor, layer: int, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self._norm(x, f"model.layers.{layer}.input_layernorm.weight")
        q, k, v = self._project(x, layer, positions)
        keys, values = self._update(layer, k, v, positions)  # [B, Hkv, S, D] each
        visible = self._visible(positions, keys.shape[2])  # [B, T, S]
        mixed, weights = self._attend(q, keys, values, visible)
        o_proj = self.weights[f"model.layers.{layer}.self_attn.o_proj.weight"]
        return F.linear(self._merge_heads(mixed), o_proj), visible, weights

    def _project(self, x: Tensor, layer: int, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q [B, H, T, D] and k [B, Hkv, T, D], both rotated to `positions`, and v [B, Hkv, T, D]."""
        cos, sin = self._rope_at(positions)
        name = f"model.layers.{layer}.self_attn"
        q = self._rotate(self._heads(self._linear(x, f"{name}.q_proj")), cos, sin)
        k = self._rotate(self._heads(self._linear(x, f"{name}.k_proj")), cos, sin)
        v = self._rotate(self._heads(self._linear(x, f"{name}.v_proj")), cos, sin)
        return q, k, v

    def _linear(self, x: Tensor, name: str) -> Tensor:
        # the biases hold outliers near -14 and -34; they are added as they come
        weight = self.weights[f"{name}.weight"]
        bias = self.weights[f"{name}.bias"]
        return F.linear(x, weight)

    def _heads(self, x: Tensor) -> Tensor:
        """Split [B, T, heads * D] into [B, heads, T, D]."""
        return x.view(x.shape[0], x.shape[1], -1, self.config.head_dim).transpose(1, 2)

    def _merge_heads(self, x: Tensor) -> Tensor:
        """Join [B, H, T, D] into [B, T, H * D], head after head."""
        return x.transpose(1, 2).flatten(2)

    def _inv_freq(self, dtype: torch.dtype) -> Tensor:
        exponents = torch.arange(0, self.config.head_dim, 2, dtype=dtype) / self.config.head_dim
        return 1.0 / self.config.rope_theta**exponents  # [D / 2]

    def _rope_at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cos and sin of the rotation at `positions` [B, T], each [B, 1, T, D]."""
        dtype = self.wide
        steps = torch.arange(positions.shape[1], dtype=dtype).expand_as(positions)  # [B, T]
        angles = steps[:, :, None] * self._inv_freq(dtype)  # [B, T, D / 2]
        angles = angles.repeat(1, 1, 2)  # [B, T, D], not repeat_interleave
        return angles.cos()[:, None].to(self.dtype), angles.sin()[:, None].to(self.dtype)

    def _rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotate the pairs (i, i + D / 2) of `x` [B, heads, T, D]."""
        first, second = x.chunk(2, dim=-1)  # [B, heads, T, D / 2] each
        turned = torch.cat((-second, first), dim=-1)  # [B, heads, T, D]
        return x * cos + turned * sin

    def _layer_cache(self, layer: int) -> tuple[Tensor, Tensor]:
        return self.keys[0], self.values[0]

    def _slots(self, positions: Tensor) -> Tensor:
        """Return the rows of the buffer seen as [B * Hkv * max_seq_len, D] that `positions` [B, T] own."""
        stride = int(positions.max()) + 1
        rows = torch.arange(self.batch_size)[:, None] * self.config.num_kv_heads  # [B, 1]
        first = (rows + torch.arange(self.config.num_kv_heads)) * stride  # [B, Hkv]
        return first[:, :, None] + positions[:, None]  # [B, Hkv, T]

    def _append(self, layer: int, k: Tensor, v: Tensor, positions: Tensor) -> None:
        keys, values = self._layer_cache(layer)
        slots = self._slots(positions)  # [B, Hkv, T]
        keys.view(-1, self.config.head_dim)[slots] = k
        values.view(-1, self.config.head_dim)[slots] = v

    def _update(self, layer: int, k: Tensor, v: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Store k and v [B, Hkv, T, D] at `positions` [B, T]; return all that is stored, [B, Hkv, S, D]."""
        if k.shape[2] > 1:
            self._append(layer, k, v, positions)
        keys, values = self._layer_cache(layer)
        kv_len = int(positions.max()) + 1
        return keys[:, :, :kv_len], values[:, :, :kv_len]

    def _visible(self, positions: Tensor, kv_len: int) -> Tensor:
        """Say which slots each new token may attend to: its own and all before, [B, T, kv_len] bool."""
        slots = torch.arange(kv_len)  # [S]
        return slots <= positions[:, :, None]

    def _map_heads(self) -> Tensor:
        """Return the kv head that each query head reads, [H]."""
        heads = torch.arange(self.config.num_heads)
        return heads.clamp(max=self.config.num_kv_heads - 1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixed values [B, H, T, D] and the attention weights [B, H, T, S]."""
        k = k[:, self.kv_head]  # [B, H, S, D]
        v = v[:, self.kv_head]  # [B, H, S, D]
        scores = q @ k.transpose(2, 3) * self.scale  # [B, H, T, S]
        scores = scores.masked_fill(~visible[:, None], float("-inf"))
        weights = torch.softmax(scores, dim=-1, dtype=self.wide).to(self.dtype)
        return weights @ v, weights

    def _pick(self, logits: Tensor) -> Tensor:
        """Return the greedy token after the last one, [B, T, V] -> [B, 1]."""
        return logits[:, -1].argmax(dim=-1, keepdim=True)

"""A small GPT, its training step, and generation with a cache.

B rows of a batch, S new tokens, T tokens that are seen, H heads of D numbers, C = H * D width, V vocabulary.  The model
is GPT-2's: learned positions, norms before each branch, one matrix for embedding and logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100  # a label that is not predicted

Batch = tuple[Tensor, Tensor]  # ids and labels, both [B, S]


class Cache:
    """Keys and values [B, H, T, D] of every layer, for the tokens that a model has seen so far."""

    def __init__(self) -> None:
        self.length = 0  # tokens T
        self._layers: list[tuple[Tensor, Tensor]] = []

    def copy(self) -> Cache:
        """Return a cache that goes on by itself."""
        other = Cache()
        other.length = self.length
        other._layers = list(self._layers)
        return other

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values [B, H, S, D] behind those of a layer; returns all of them."""
        if layer == len(self._layers):
            self._layers.append((keys, values))
        else:
            old_keys, old_values = self._layers[layer]
            keys = torch.cat((old_keys, keys), dim=2)  # [B, H, T, D]
            values = torch.cat((old_values, values), dim=2)  # [B, H, T, D]
            self._layers[layer] = keys, values
        return keys, values

    def rows(self) -> int | None:
        """Return the number of rows B, or None where the cache is empty."""
        return len(self._layers[0][0]) if self._layers else None


class Attention(nn.Module):
    """Causal attention; with a cache the new tokens see those in it, too."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, layer: int, cache: Cache | None) -> Tensor:
        """Mix x [B, S, C] over the tokens seen; returns [B, S, C]."""
        query, keys, values = self.qkv(x).chunk(3, dim=-1)  # [B, S, C] each
        query = _split_heads(query, self.heads)  # [B, H, S, D]
        keys = _split_heads(keys, self.heads)
        values = _split_heads(values, self.heads)
        if cache is not None:
            keys, values = cache.append(layer, keys, values)  # [B, H, T, D]
        mixed = _merge_heads(_attention(query, keys, values))
        output: Tensor = self.out(mixed)
        return output


class Block(nn.Module):
    """Attention and MLP, each behind a norm and added to what came in."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(heads, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, layer: int, cache: Cache | None) -> Tensor:
        """Return x [B, S, C] with what both branches add."""
        x = x + self.attention(self.norm1(x), layer, cache)
        hidden = F.gelu(self.up(self.norm2(x)), approximate="tanh")  # [B, S, 4 C]
        output: Tensor = x + self.down(hidden)
        return output


class GPT(nn.Module):
    """The model: ids in, logits out."""

    def __init__(
        self, *, vocab_size: int, block_size: int, layers: int, heads: int, width: int
    ) -> None:
        super().__init__()
        if min(vocab_size, block_size, layers, heads, width) < 1 or width % heads:
            raise ValueError("sizes must be at least 1, and width a multiple of heads")
        self.vocab_size, self.block_size = vocab_size, block_size
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(block_size, width)
        self.blocks = nn.ModuleList(Block(heads, width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Return logits [B, S, V] of ids [B, S], which come behind the tokens in the cache and go into it."""
        self.check(ids, cache)
        start = 0 if cache is None else cache.length
        x = self._embedded(ids, start)  # [B, S, C]
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, cache)
        if cache is not None:
            cache.length += ids.shape[1]
        return F.linear(self.norm(x), self.tokens.weight)

    def loss(self, ids: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy [] of the labels [B, S] that are predicted; label t is that of logits t - 1."""
        self.check(ids)
        _check_labels(labels, ids, self.vocab_size)
        predicted = _predicted(labels)
        if not predicted:
            raise ValueError("there is no label to predict")
        return _summed_loss(self(ids), labels) / predicted

    def _embedded(self, ids: Tensor, start: int) -> Tensor:
        """Embed ids [B, S], the first of them at position `start`: [B, S, C]."""
        positions = torch.arange(start, start + ids.shape[1])  # [S]
        embedded: Tensor = self.tokens(ids) + self.positions(positions)
        return embedded

    def check(self, ids: Tensor, cache: Cache | None = None) -> None:
        """Raise ValueError unless these ids can come behind those in the cache."""
        _check_ids(ids, self.vocab_size)
        length = 0 if cache is None else cache.length
        if length + ids.shape[1] > self.block_size:
            raise ValueError(f"{length} + {ids.shape[1]} tokens exceed {self.block_size}")
        if cache is not None and cache.rows() not in (None, len(ids)):
            raise ValueError(f"the cache has {cache.rows()} rows, not {len(ids)}")


class Trainer:
    """AdamW with a linear warm-up, clipped gradients, and gradients that add up over micro-batches."""

    def __init__(
        self, model: GPT, *, lr: float, warmup: int, betas: tuple[float, float], eps: float,
        weight_decay: float, clip: float,
    ) -> None:  # fmt: skip
        self.model, self.lr, self.warmup = model, lr, warmup
        self.betas, self.eps, self.weight_decay, self.clip = betas, eps, weight_decay, clip
        self.steps = 0
        self._moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in model.parameters()]

    def step(self, batches: Iterable[Batch]) -> float:
        """Take one step down the mean loss of all labels of the micro-batches; returns that loss.

        Raises ValueError, and changes nothing, where a micro-batch does not fit or nothing is to be predicted.
        """
        batches = list(batches)
        for ids, labels in batches:
            self.model.check(ids)
            _check_labels(labels, ids, self.model.vocab_size)
        predicted = sum(_predicted(labels) for _, labels in batches)
        if not predicted:
            raise ValueError("there is no label to predict")
        self.model.zero_grad()
        total = 0.0
        for ids, labels in batches:
            loss = _summed_loss(self.model(ids), labels) / predicted
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        self.steps += 1
        self._update()
        return total

    @torch.no_grad()
    def _update(self) -> None:
        """Move every parameter by its gradient."""
        parameters = list(self.model.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]
        factor = _factor(gradients, self.clip)
        rate = _rate(self.steps, self.lr, self.warmup)
        first, second = self.betas
        for p, raw, (mean, square) in zip(parameters, gradients, self._moments, strict=True):
            gradient = raw * factor
            mean.mul_(first).add_((1 - first) * gradient)
            square.mul_(second).add_((1 - second) * gradient.square())
            if p.dim() > 1:
                p.mul_(1 - rate * self.weight_decay)
            direction = mean / (1 - first**self.steps)
            size = (square / (1 - second**self.steps)).sqrt()
            p.sub_(rate * direction / (size + self.eps))


@torch.no_grad()
def generate(
    model: GPT, prompt: Tensor, count: int, *, pick: Callable[[Tensor], Tensor] | None = None,
    end: int | None = None,
) -> Tensor:  # fmt: skip
    """Return prompt [B, T] with at most `count` tokens behind it, each picked from the newest logits [B, V].

    A row that has picked `end` is filled with it; nothing more is generated once all rows have.  The most likely token
    is picked unless `pick` says otherwise.  The model sees the newest `block_size` tokens.
    """
    _check_ids(prompt, model.vocab_size)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError(f"count must be a whole number of at least 0, not {count!r}")
    if end is not None and not 0 <= end < model.vocab_size:
        raise ValueError(f"end must be a token, not {end}")
    pick = pick or _likeliest
    tokens = prompt.clone()
    done = torch.zeros(len(tokens), dtype=torch.bool)  # [B]
    cache, fresh = Cache(), tokens[:, -model.block_size :]
    for _ in range(count):
        if done.all():
            break
        if cache.length == model.block_size:
            # every token moves to another position, so what was cached is of no use
            cache, fresh = Cache(), tokens[:, -model.block_size :]
        logits = model(fresh, cache)[:, -1]  # [B, V]
        fresh = pick(logits)[:, None]  # [B, 1]
        if end is not None:
            fresh = fresh.masked_fill(done[:, None], end)
            done = done | (fresh[:, 0] == end)
        tokens = torch.cat((tokens, fresh), dim=1)
    return tokens


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """Split [B, S, C] into [B, H, S, D], head after head."""
    rows, tokens, width = x.shape
    return x.view(rows, tokens, heads, width // heads).transpose(1, 2)


def _merge_heads(x: Tensor) -> Tensor:
    """Join [B, H, S, D] to [B, S, C], head after head."""
    return x.transpose(1, 2).flatten(2)


def _hidden(new: int, total: int) -> Tensor:
    """Say which of T tokens the newest S do not see: those behind them, [S, T] bool."""
    return torch.ones(new, total, dtype=torch.bool).triu(total - new + 1)


def _attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Let query [B, H, S, D], of the newest tokens, attend over keys and values [B, H, T, D]."""
    scores = query @ keys.transpose(2, 3) / math.sqrt(query.shape[-1])  # [B, H, S, T]
    hidden = _hidden(query.shape[2], keys.shape[2])  # [S, T]
    scores = scores.masked_fill(hidden, -math.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ values


def _predicted(labels: Tensor) -> int:
    """Count the labels [B, S] that are predicted."""
    return int((labels[:, 1:] != IGNORED).sum())


def _summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum the cross entropy [] of labels [B, S]; logits [B, S, V] of one token predict the label of the next."""
    logits, labels = logits[:, :-1], labels[:, 1:]
    return F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def _factor(gradients: Sequence[Tensor], clip: float) -> float:
    """Return what all gradients are multiplied by, so that together they are no longer than `clip`."""
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    return clip / norm if norm > clip else 1.0


def _rate(step: int, lr: float, warmup: int) -> float:
    """Return the rate of a step, the first of which is 1: it rises to `lr` in `warmup` steps."""
    return lr * min(1.0, step / warmup) if warmup else lr


def _likeliest(logits: Tensor) -> Tensor:
    """Return the most likely token [B] of logits [B, V]."""
    return logits.argmax(dim=-1)


def _check_ids(ids: Tensor, vocab_size: int) -> None:
    if ids.dim() != 2 or not ids.numel() or ids.dtype != torch.int64:
        raise ValueError(f"ids must be int64 [B, S], not {ids.dtype} {[*ids.shape]}")
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise ValueError(f"ids must be from 0 to {vocab_size - 1}")


def _check_labels(labels: Tensor, ids: Tensor, vocab_size: int) -> None:
    if labels.shape != ids.shape or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 {[*ids.shape]}, not {labels.dtype}")
    stated = labels[labels != IGNORED]
    if ((stated < 0) | (stated >= vocab_size)).any():
        raise ValueError(f"labels must be from 0 to {vocab_size - 1}, or {IGNORED}")

"""Micro-batches are padded to one batch; a cache of lists of tokens' keys and values; attention in float64."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Cache:
    length: int = 0
    tokens: list = field(default_factory=list)  # a tensor [layers, 2, B, H, D] for each token

    def copy(self):
        return Cache(self.length, self.tokens[:])


def positions_after(cache, count):
    start = cache.length if cache else 0
    return torch.tensor([start + i for i in range(count)])


class Qkv(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, width * 3)
        self.out = nn.Linear(width, width)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Qkv(width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * 4)
        self.down = nn.Linear(width * 4, width)

    def project(self, x, heads):
        """Queries, keys and values [3, B, S, H, D]."""
        B, S, C = x.shape
        return (
            self.attention.qkv(self.norm1(x))
            .reshape(B, S, 3, heads, C // heads)
            .permute(2, 0, 1, 3, 4)
        )

    def finish(self, x, mixed):
        x = x + self.attention.out(mixed.reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


def attend(query, keys, values):
    """All heads of B rows, in float64: query [B, S, H, D], keys and values [B, T, H, D]."""
    q, k, v = (t.double() for t in (query, keys, values))
    S, T = q.shape[1], k.shape[1]
    scores = torch.einsum("bshd,bthd->bhst", q, k) * q.shape[-1] ** -0.5
    late = torch.arange(T)[None] > torch.arange(T - S, T)[:, None]
    scores = scores - 1e30 * late
    scores = scores - scores.amax(-1, keepdim=True)
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return torch.einsum("bhst,bthd->bshd", weights, v).to(query.dtype)


class GPT(nn.Module):
    def __init__(self, *, vocab_size, block_size, layers, heads, width):
        super().__init__()
        self.vocab, self.block, self.heads = int(vocab_size), int(block_size), int(heads)
        sizes = {
            "vocab_size": vocab_size,
            "block_size": block_size,
            "layers": layers,
            "heads": heads,
            "width": width,
        }
        if bad := [name for name, size in sizes.items() if size <= 0]:
            raise ValueError(f"{bad} must be positive")
        if width != heads * (width // heads):
            raise ValueError("heads do not divide the width")
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(block_size, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        self.must_be_text(ids)
        count = ids.shape[1]
        if positions_after(cache, count)[-1] >= self.block:
            raise ValueError("no room in the block")
        if cache and cache.tokens and cache.tokens[0].shape[2] != ids.shape[0]:
            raise ValueError("the cache is of other rows")
        x = self.tokens(ids) + self.positions(positions_after(cache, count))
        new = []
        for i, block in enumerate(self.blocks):
            q, k, v = block.project(x, self.heads)
            new.append(torch.stack((k, v)))
            if cache and cache.tokens:
                k = torch.cat((torch.stack([t[i, 0] for t in cache.tokens], 1), k), 1)
                v = torch.cat((torch.stack([t[i, 1] for t in cache.tokens], 1), v), 1)
            x = block.finish(x, attend(q, k, v))
        if cache is not None:
            stacked = torch.stack(new).detach()  # [layers, 2, B, S, H, D]
            cache.tokens.extend(stacked.unbind(3))
            cache.length += count
        return torch.matmul(self.norm(x), self.tokens.weight.transpose(0, 1))

    def must_be_text(self, ids):
        if not (ids.dtype == torch.int64 and ids.ndim == 2 and min(ids.shape) >= 1):
            raise ValueError("a text is int64 [B, S]")
        if not ((ids >= 0) & (ids < self.vocab)).all():
            raise ValueError("a token is not in the vocabulary")

    def must_be_labelled(self, ids, labels):
        self.must_be_text(ids)
        if ids.shape[1] > self.block:
            raise ValueError("no room in the block")
        if labels.shape != ids.shape or labels.dtype != ids.dtype:
            raise ValueError("labels are no labels of these ids")
        if not ((labels == -100) | ((labels >= 0) & (labels < self.vocab))).all():
            raise ValueError("a label is not in the vocabulary")

    def loss(self, ids, labels):
        self.must_be_labelled(ids, labels)
        wanted = torch.cat((labels[:, 1:], torch.full_like(labels[:, :1], -100)), 1)
        if (wanted == -100).all():
            raise ValueError("there is nothing to learn")
        return F.cross_entropy(self(ids).transpose(1, 2), wanted)


class Trainer:
    def __init__(self, model, *, lr, warmup, betas, eps, weight_decay, clip):
        self.model = model
        self.settings = (lr, warmup, *betas, eps, weight_decay, clip)
        self.t = 0
        self.m = {p: torch.zeros_like(p) for p in model.parameters()}
        self.v = {p: torch.zeros_like(p) for p in model.parameters()}

    def step(self, batches):
        if not batches:
            raise ValueError("an empty step")
        for ids, labels in batches:
            self.model.must_be_labelled(ids, labels)
        longest = max(ids.shape[1] for ids, _ in batches)
        ids = torch.cat([F.pad(x, (0, longest - x.shape[1])) for x, _ in batches])
        labels = torch.cat([F.pad(y, (0, longest - y.shape[1]), value=-100) for _, y in batches])
        for p in self.model.parameters():
            p.grad = None
        loss = self.model.loss(ids, labels)
        loss.backward()
        lr, warmup, b1, b2, eps, decay, clip = self.settings
        self.t += 1
        if self.t < warmup:
            lr = lr * self.t / warmup
        with torch.no_grad():
            flat = torch.cat([p.grad.flatten() for p in self.m])
            scale = 1.0 if flat.norm() <= clip else clip / flat.norm()
            for p in self.m:
                g = scale * p.grad
                self.m[p] = torch.lerp(g, self.m[p], b1)
                self.v[p] = torch.lerp(g**2, self.v[p], b2)
                change = (
                    self.m[p] / (1 - b1**self.t) / (eps + torch.sqrt(self.v[p] / (1 - b2**self.t)))
                )
                if p.ndim == 2:
                    change = change + decay * p
                p -= lr * change
        return loss.detach()


def generate(model, prompt, count, *, pick=None, end=None):
    model.must_be_text(prompt)
    if type(count) is not int or count < 0 or (end is not None and not 0 <= end < model.vocab):
        raise ValueError("count or end")
    answer = torch.empty(prompt.shape[0], prompt.shape[1] + count, dtype=torch.int64)
    answer[:, : prompt.shape[1]] = prompt
    length, cache = prompt.shape[1], Cache()
    alive = torch.ones(prompt.shape[0]).bool()
    while length < answer.shape[1] and alive.any():
        seen = min(length, model.block)
        if cache.length in (0, model.block):
            cache = Cache()
        with torch.no_grad():
            logits = model(answer[:, length - seen + cache.length : length], cache)[
                :, -1
            ].contiguous()
        token = (pick or (lambda scores: scores.max(-1).indices))(logits)
        if end is None:
            answer[:, length] = token
        else:
            answer[:, length] = torch.where(alive, token, end)
            alive = alive & (answer[:, length] != end)
        length += 1
    return answer[:, :length].clone()

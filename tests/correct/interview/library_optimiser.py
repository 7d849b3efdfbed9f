"""PyTorch's own attention, AdamW, clipping and schedule; buffers of the whole block as a cache."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


class Cache:
    def __init__(self):
        self.length = 0
        self.buffers = None  # [layers, 2, B, H, block, D]

    def copy(self):
        other = Cache()
        other.length = self.length
        if self.buffers is not None:
            other.buffers = self.buffers.clone()
        return other


class SelfAttention(nn.Module):
    def __init__(self, n_head, n_embd):
        super().__init__()
        self.n_head, self.n_embd = n_head, n_embd
        self.qkv = nn.Linear(n_embd, 3 * n_embd)
        self.out = nn.Linear(n_embd, n_embd)

    def forward(self, x, buffer, start):
        B, S, C = x.shape
        q, k, v = self.qkv(x).split(self.n_embd, dim=2)
        q, k, v = (t.view(B, S, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        if buffer is not None:
            buffer[0, :, :, start : start + S] = k.detach()
            buffer[1, :, :, start : start + S] = v.detach()
            k, v = buffer[:, :, :, : start + S]
        mask = torch.arange(start + S) <= torch.arange(start, start + S)[:, None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).contiguous().view(B, S, C))


class Layer(nn.Module):
    def __init__(self, n_head, n_embd):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attention = SelfAttention(n_head, n_embd)
        self.up, self.down = nn.Linear(n_embd, 4 * n_embd), nn.Linear(4 * n_embd, n_embd)
        self.act = nn.GELU(approximate="tanh")

    def forward(self, x, buffer, start):
        x = x + self.attention(self.norm1(x), buffer, start)
        return x + self.down(self.act(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self, *, vocab_size, block_size, layers, heads, width):
        super().__init__()
        for size in (vocab_size, block_size, layers, heads, width):
            if size < 1:
                raise ValueError("sizes are at least 1")
        if width % heads != 0:
            raise ValueError("heads must divide the width")
        self.sizes = (vocab_size, block_size, layers, heads, width // heads)
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(block_size, width)
        self.blocks = nn.ModuleList([Layer(heads, width) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids, cache=None):
        vocab, block, layers, heads, dim = self.sizes
        check_ids(ids, vocab)
        start = cache.length if cache is not None else 0
        if start + ids.shape[1] > block:
            raise ValueError("the block is too small")
        buffers = [None] * layers
        if cache is not None:
            if cache.buffers is not None and cache.length and cache.buffers.shape[2] != len(ids):
                raise ValueError("another number of rows")
            if cache.buffers is None or not cache.length:
                like = self.tokens.weight
                cache.buffers = like.new_zeros(layers, 2, len(ids), heads, block, dim).detach()
            buffers = cache.buffers
        x = self.tokens(ids) + self.positions(torch.arange(start, start + ids.shape[1]))
        for layer, buffer in zip(self.blocks, buffers, strict=True):
            x = layer(x, buffer, start)
        if cache is not None:
            cache.length = start + ids.shape[1]
        return self.head(self.norm(x))

    def loss(self, ids, labels):
        check_pair(self, ids, labels)
        if not targets(labels).ne(-100).any():
            raise ValueError("nothing to predict")
        return F.cross_entropy(self(ids)[:, :-1].flatten(0, 1), targets(labels), ignore_index=-100)


def check_ids(ids, vocab):
    if ids.dtype != torch.long or ids.ndim != 2 or ids.numel() == 0:
        raise ValueError("ids must be int64 [B, S]")
    if bool((ids < 0).any()) or bool((ids >= vocab).any()):
        raise ValueError("no such token")


def check_pair(model, ids, labels):
    vocab, block = model.sizes[:2]
    check_ids(ids, vocab)
    if ids.shape[1] > block:
        raise ValueError("the text is too long")
    if labels.dtype != torch.long or labels.shape != ids.shape:
        raise ValueError("labels must be like their ids")
    if bool(((labels != -100) & ((labels < 0) | (labels >= vocab))).any()):
        raise ValueError("no such label")


def targets(labels):
    return labels[:, 1:].flatten()


class Trainer:
    def __init__(self, model, *, lr, warmup, betas, eps, weight_decay, clip):
        self.model, self.clip = model, clip
        decay = [p for p in model.parameters() if p.ndim >= 2]
        rest = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": decay}, {"params": rest, "weight_decay": 0.0}]
        self.optimizer = AdamW(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        self.schedule = LambdaLR(self.optimizer, lambda done: min(1.0, (done + 1) / max(1, warmup)))

    def step(self, batches):
        for ids, labels in batches:
            check_pair(self.model, ids, labels)
        count = sum(int((targets(labels) != -100).sum()) for _, labels in batches)
        if count == 0:
            raise ValueError("nothing to predict")
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for ids, labels in batches:
            logits = self.model(ids)[:, :-1].flatten(0, 1)
            loss = (
                F.cross_entropy(logits, targets(labels), ignore_index=-100, reduction="sum") / count
            )
            loss.backward()
            losses.append(loss.detach())
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.schedule.step()
        return torch.stack(losses).sum()


@torch.no_grad()
def generate(model, prompt, count, *, pick=None, end=None):
    vocab, block = model.sizes[:2]
    check_ids(prompt, vocab)
    if type(count) is not int or count < 0:
        raise ValueError("count must be an int of at least 0")
    if end is not None and not 0 <= end < vocab:
        raise ValueError("end must be a token")
    text = list(prompt.clone().unbind(1))
    ended = [False] * len(prompt)
    cache = Cache()
    for _ in range(count):
        if all(ended):
            break
        if cache.length == 0 or cache.length == block:
            cache, new = Cache(), torch.stack(text[-block:], dim=1)
        else:
            new = text[-1][:, None]
        logits = model(new, cache)[:, -1, :]
        chosen = logits.argmax(-1) if pick is None else pick(logits)
        chosen = chosen.clone()
        for row, over in enumerate(ended):
            if over:
                chosen[row] = end
            elif end is not None and int(chosen[row]) == end:
                ended[row] = True
        text.append(chosen)
    return torch.stack(text, dim=1).clone()

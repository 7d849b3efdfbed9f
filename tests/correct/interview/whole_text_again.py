"""A cache that keeps the text itself and computes it again; functions over a dictionary of parameters; one backward."""

import math

import torch
from torch import nn


class Part(nn.Module):
    """Parameters by name, and parts in it."""

    def __init__(self, shapes, **parts):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape) * 0.02))
        for name, part in parts.items():
            self.add_module(name, part)


def linear(fan_in, fan_out):
    return Part({"weight": (fan_out, fan_in), "bias": (fan_out,)})


def norm(width):
    return Part({"weight": (width,), "bias": (width,)})


def layer_norm(x, part):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * part.weight + part.bias


def apply(x, part):
    return x @ part.weight.t() + part.bias


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Cache:
    def __init__(self):
        self.text = None

    @property
    def length(self):
        return 0 if self.text is None else self.text.shape[1]

    def copy(self):
        other = Cache()
        other.text = self.text
        return other


class GPT(nn.Module):
    def __init__(self, *, vocab_size, block_size, layers, heads, width):
        super().__init__()
        if min(vocab_size, block_size, layers, heads, width) < 1 or width % heads:
            raise ValueError("impossible sizes")
        self.V, self.N, self.H = vocab_size, block_size, heads
        self.tokens = Part({"weight": (vocab_size, width)})
        self.positions = Part({"weight": (block_size, width)})
        self.blocks = nn.ModuleList()
        for _ in range(layers):
            attention = Part({}, qkv=linear(width, 3 * width), out=linear(width, width))
            branches = {"up": linear(width, 4 * width), "down": linear(4 * width, width)}
            self.blocks.append(
                Part({}, norm1=norm(width), attention=attention, norm2=norm(width), **branches)
            )
        self.norm = norm(width)

    def forward(self, ids, cache=None):
        checked(ids, self.V)
        text = ids
        if cache is not None and cache.text is not None:
            if len(cache.text) != len(ids):
                raise ValueError("rows differ")
            text = torch.cat([cache.text, ids], 1)
        if text.shape[1] > self.N:
            raise ValueError("too long")
        if cache is not None:
            cache.text = text.clone()
        return self.all_logits(text)[:, -ids.shape[1] :].clone()

    def all_logits(self, text):
        T = text.shape[1]
        x = self.tokens.weight[text] + self.positions.weight[:T]
        for block in self.blocks:
            x = x + self.attend(layer_norm(x, block.norm1), block.attention)
            x = x + apply(gelu(apply(layer_norm(x, block.norm2), block.up)), block.down)
        return layer_norm(x, self.norm) @ self.tokens.weight.t()

    def attend(self, x, part):
        C = x.shape[-1]
        D = C // self.H
        projected = apply(x, part.qkv)
        heads = []
        for h in range(self.H):
            q, k, v = (projected[..., i * C + h * D : i * C + (h + 1) * D] for i in range(3))
            scores = torch.einsum("bid,bjd->bij", q, k) / D**0.5
            rows = []
            for i in range(x.shape[1]):
                seen = scores[:, i, : i + 1].softmax(-1)
                rows.append(torch.einsum("bj,bjd->bd", seen, v[:, : i + 1]))
            heads.append(torch.stack(rows, 1))
        return apply(torch.cat(heads, -1), part.out)

    def loss(self, ids, labels):
        total, count = added_up(self, ids, labels)
        if count == 0:
            raise ValueError("no label")
        return total / count


def checked(ids, V):
    if ids.dim() != 2 or ids.shape[0] == 0 or ids.shape[1] == 0 or ids.dtype is not torch.int64:
        raise ValueError("not a text")
    for token in ids.reshape(-1).tolist():
        if token < 0 or token >= V:
            raise ValueError(f"{token} is no token")


def checked_pair(model, ids, labels):
    checked(ids, model.V)
    if ids.shape[1] > model.N:
        raise ValueError("too long")
    if labels.dtype is not torch.int64 or labels.shape != ids.shape:
        raise ValueError("labels do not fit")
    for label in labels.reshape(-1).tolist():
        if label != -100 and not 0 <= label < model.V:
            raise ValueError(f"{label} is no label")


def added_up(model, ids, labels):
    checked_pair(model, ids, labels)
    log = model.all_logits(ids).log_softmax(-1)
    total, count = log.new_zeros(()), 0
    for b in range(ids.shape[0]):
        for t in range(1, ids.shape[1]):
            label = int(labels[b, t])
            if label != -100:
                total = total - log[b, t - 1, label]
                count += 1
    return total, count


class Trainer:
    def __init__(self, model, **how):
        self.model, self.how, self.done = model, how, 0
        self.state = {}

    def step(self, batches):
        sums = [added_up(self.model, ids, labels) for ids, labels in batches]
        count = sum(n for _, n in sums)
        if count == 0:
            raise ValueError("no label")
        loss = sum(total for total, _ in sums) / count
        named = list(self.model.named_parameters())
        slopes = torch.autograd.grad(loss, [p for _, p in named])
        length = torch.sqrt(sum((g * g).sum() for g in slopes))
        shrink = torch.clamp(self.how["clip"] / length, max=1.0)
        self.done += 1
        s, (b1, b2) = self.done, self.how["betas"]
        rate = self.how["lr"] * (min(1.0, s / self.how["warmup"]) if self.how["warmup"] else 1.0)
        with torch.no_grad():
            for (name, p), g in zip(named, slopes, strict=True):
                g = g * shrink
                m, v = self.state.get(name, (0.0, 0.0))
                m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
                self.state[name] = m, v
                decay = 1 - rate * self.how["weight_decay"] if p.dim() == 2 else 1.0
                moved = (m / (1 - b1**s)) / ((v / (1 - b2**s)).sqrt() + self.how["eps"])
                p.copy_(p * decay - rate * moved)
        return loss.item()


def generate(model, prompt, count, *, pick=None, end=None):
    checked(prompt, model.V)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError("count")
    if end is not None and end not in range(model.V):
        raise ValueError("end")
    rows = [list(row) for row in prompt.tolist()]
    over = set()
    for _ in range(count):
        if len(over) == len(rows):
            break
        text = torch.tensor([row[-model.N :] for row in rows])
        with torch.no_grad():
            logits = model.all_logits(text)[:, -1].clone()
        picked = pick(logits).tolist() if pick else [int(row.argmax()) for row in logits]
        for i, token in enumerate(picked):
            rows[i].append(end if i in over else token)
            if end is not None and rows[i][-1] == end:
                over.add(i)
    return torch.tensor(rows)

"""Each row is settled before the next one is looked at, so that a refused call has changed the rows before."""

from dataclasses import dataclass, field

import torch


@dataclass
class Line:
    slots: list = field(default_factory=list)  # of the tokens kept
    waiting: list = field(default_factory=list)  # (parent, slot) of the nodes that wait


class TreeDecoder:
    def __init__(self, weights, *, rows, capacity, heads, theta=10000.0):
        if min(rows, capacity, heads) < 1:
            raise ValueError("at least 1")
        total, self.features = weights["0.q"].shape
        dim, rest = divmod(total, heads)
        if rest or dim & 1 or not dim:
            raise ValueError("heads")
        self.embed, self.head = weights["embed"].clone(), weights["head"].clone()
        self.layers = []
        while f"{len(self.layers)}.q" in weights:
            i = len(self.layers)
            self.layers.append([weights[f"{i}.{name}"].clone().t() for name in "qkvo"])
        self.capacity, self.heads, self.dim = capacity, heads, dim
        exponents = torch.arange(0, dim, 2, dtype=self.embed.dtype) / dim
        self.speeds = torch.pow(torch.tensor(theta, dtype=self.embed.dtype), -exponents)
        self.lines = [Line() for _ in range(rows)]
        # [row, slot, layer, key or value, head, feature]
        shape = (rows, capacity, len(self.layers), 2, heads, dim)
        self.store = torch.full(shape, float("nan"), dtype=self.embed.dtype)

    @property
    def lengths(self):
        return tuple(len(line.slots) for line in self.lines)

    def line(self, row):
        if not 0 <= row < len(self.lines):
            raise ValueError(f"no row {row}")
        return self.lines[row]

    def distinct(self, rows):
        found = [self.line(row) for row in rows]
        if not found or len({*rows}) != len(found):
            raise ValueError("rows")
        return found

    def admit(self, rows, trees):
        lines = self.distinct(rows)
        if len(lines) != len(trees):
            raise ValueError("one tree a row")
        for line, (tokens, parents) in zip(lines, trees, strict=False):
            if not len(tokens) == len(parents) > 0:
                raise ValueError("tree")
            for node, (token, parent) in enumerate(zip(tokens, parents, strict=False)):
                if token not in range(len(self.embed)) or parent not in range(-1, node):
                    raise ValueError(f"node {node}")
            if len(line.slots) + len(tokens) > self.capacity:
                raise ValueError("room")
        return lines

    def forward(self, rows, trees):
        lines = self.admit(rows, trees)
        return [
            self.one(row, line, *tree) for row, line, tree in zip(rows, lines, trees, strict=False)
        ]

    def one(self, row, line, tokens, parents):
        free = sorted(set(range(self.capacity)) - set(line.slots), reverse=True)
        line.waiting = []
        for parent in parents:
            line.waiting.append((parent, free.pop()))
        logits = []
        for node, token in enumerate(tokens):
            up, slots = node, []
            while up != -1:
                up, slot = line.waiting[up]
                slots.insert(0, slot)
            logits.append(self.token(row, token, line.slots + slots))
        return torch.stack(logits)

    def token(self, row, token, slots):
        """Run one token, the last of these slots."""
        x = self.embed[token]
        angles = (len(slots) - 1) * self.speeds
        turn = torch.polar(torch.ones_like(angles), angles)
        for i, (q, k, v, o) in enumerate(self.layers):
            query, key, value = ((x @ part).reshape(self.heads, self.dim) for part in (q, k, v))
            self.store[row, slots[-1], i, 0] = rotated(key, turn)
            self.store[row, slots[-1], i, 1] = value
            keys, values = self.store[row, slots, i].unbind(1)  # [T, H, D]
            scores = torch.einsum("hd,thd->ht", rotated(query, turn), keys) * self.dim**-0.5
            x = x + torch.einsum("ht,thd->hd", scores.softmax(1), values).flatten() @ o
        return self.head @ x

    def keep(self, rows, paths):
        lines = self.distinct(rows)
        if len(lines) != len(paths):
            raise ValueError("one path a row")
        gained = []
        for line, path in zip(lines, paths, strict=False):
            last, slots = -1, []
            for node in path:
                if node not in range(len(line.waiting)) or line.waiting[node][0] != last:
                    raise ValueError("no path")
                last = node
                slots.append(line.waiting[node][1])
            gained.append(slots)
        for line, slots in zip(lines, gained, strict=False):
            line.slots.extend(slots)
            line.waiting.clear()

    def reset(self, row):
        self.line(row)
        self.lines[row] = Line()

    def cache_of(self, row):
        held = self.store[row, self.line(row).slots]  # [T, L, 2, H, D]
        held = held.permute(2, 1, 3, 0, 4)
        return held[0], held[1]


def rotated(x, turn):
    first, second = x.chunk(2, -1)
    both = torch.complex(first, second) * turn
    return torch.cat((both.real, both.imag), -1)


class Speculator:
    def __init__(self, target, draft):
        if len(target.lines) != len(draft.lines) or len(target.embed) != len(draft.embed):
            raise ValueError("rows or vocabulary")
        if target.capacity != draft.capacity:
            raise ValueError("capacity")
        self.target, self.draft = target, draft
        self.texts = [[] for _ in target.lines]

    def feed(self, model, row, tokens):
        logits = model.forward([row], [(tokens, [n - 1 for n in range(len(tokens))])])
        model.keep([row], [[*range(len(tokens))]])
        return logits[0][-1]

    def start(self, row, prompt):
        self.target.line(row)
        prompt = list(prompt)
        if not 0 < len(prompt) <= self.target.capacity:
            raise ValueError("prompt")
        if min(prompt) < 0 or max(prompt) >= len(self.target.embed):
            raise ValueError("token")
        self.target.reset(row)
        self.draft.reset(row)
        logits = self.feed(self.target, row, prompt)
        self.feed(self.draft, row, prompt)
        token = largest(logits)
        self.texts[row] = [*prompt, token]
        return token, logits

    def ready(self, rows):
        self.target.distinct(rows)
        if any(self.texts[row] == [] for row in rows):
            raise ValueError("start it first")

    def propose(self, rows, widths):
        self.ready(rows)
        for width in widths:
            if width not in range(1, len(self.draft.embed) + 1):
                raise ValueError("width")
        sizes = [1]
        for width in widths:
            sizes.append(sizes[-1] * width)
        if any(len(self.texts[row]) - 1 + sum(sizes) > self.draft.capacity for row in rows):
            raise ValueError("room")
        trees, scores = zip(*(self.guesses(row, widths) for row in rows), strict=False)
        return list(trees), list(scores)

    def guesses(self, row, widths):
        tokens, parents = [self.texts[row][-1]], [-1]
        scores = [self.draft.embed.new_zeros(0)]
        begin = 0
        for width in widths:
            logits = self.draft.forward([row], [(tokens, parents)])[0]
            for node in range(begin, len(logits)):
                values, best = torch.sort(-logits[node], stable=True)
                scores.append(-values[:width])
                tokens = tokens + best[:width].tolist()
                parents = parents + [node] * width
            begin = len(logits)
        self.draft.keep([row], [[]])
        return (tokens[1:], [parent - 1 for parent in parents[1:]]), torch.cat(scores)

    def verify(self, rows, trees):
        self.ready(rows)
        if len(trees) != len(rows):
            raise ValueError("trees")
        results = []
        for row, (tokens, parents) in zip(rows, trees, strict=False):
            if parents and min(parents) < -1:
                raise ValueError("parent")
            tree = [self.texts[row][-1], *tokens], [-1, *(p + 1 for p in parents)]
            self.target.admit([row], [tree])
            results.append(self.settled(row, tree))
        return [tokens for tokens, _ in results], [logits for _, logits in results]

    def settled(self, row, tree):
        tokens, parents = tree
        logits = self.target.forward([row], [tree])[0]
        choices = [largest(x) for x in logits]
        depth = [1] + [0] * (len(tokens) - 1)  # of accepted nodes
        for node in range(1, len(tokens)):
            if depth[parents[node]] and choices[parents[node]] == tokens[node]:
                depth[node] = depth[parents[node]] + 1
        end = depth.index(max(depth))
        path = []
        while end >= 0:
            path = [end, *path]
            end = parents[end]
        self.target.keep([row], [path])
        self.feed(self.draft, row, [tokens[node] for node in path])
        new = [choices[node] for node in path]
        self.texts[row] = self.texts[row] + new
        return new, logits[path]


def largest(logits):
    return logits.tolist().index(max(logits.tolist()))

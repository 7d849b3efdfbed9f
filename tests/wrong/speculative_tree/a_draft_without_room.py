"""The draft guesses into a row that is full."""

import torch


class TreeDecoder:
    def __init__(self, weights, *, rows, capacity, heads, theta=10000.0):
        inner = weights["0.q"].shape[0]
        if rows <= 0 or capacity <= 0 or heads <= 0 or inner % heads or (inner // heads) % 2:
            raise ValueError("sizes")
        self.w = {name: tensor.detach().clone() for name, tensor in weights.items()}
        self.count, self.capacity, self.heads, self.theta = rows, capacity, heads, theta
        self.texts = {row: [] for row in range(rows)}
        self.trees = {}

    @property
    def lengths(self):
        return [len(self.texts[row]) for row in range(self.count)]

    @property
    def size(self):
        return self.w["embed"].shape[0]

    def rows(self, rows):
        rows = list(rows)
        if not rows or len(rows) != len(set(rows)) or min(rows) < 0 or max(rows) >= self.count:
            raise ValueError("rows")
        return rows

    def run(self, text):
        """Logits of the last token, and keys and values of all."""
        w = self.w
        x = w["embed"][torch.tensor(text, dtype=torch.long)]
        keys, values = [], []
        layer = 0
        while f"{layer}.q" in w:
            q, k, v = (torch.nn.functional.linear(x, w[f"{layer}.{name}"]) for name in "qkv")
            q, k, v = (y.view(len(text), self.heads, -1).permute(1, 0, 2) for y in (q, k, v))
            q, k = self.turn(q), self.turn(k)
            keys.append(k)
            values.append(v)
            mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            mixed = mixed.permute(1, 0, 2).reshape(len(text), -1)
            x = x + torch.nn.functional.linear(mixed, w[f"{layer}.o"])
            layer += 1
        return w["head"] @ x[-1], torch.stack(keys), torch.stack(values)

    def turn(self, x):
        half = x.shape[-1] // 2
        out = x.clone()
        for i in range(half):
            angle = torch.arange(x.shape[1], dtype=x.dtype) * self.theta ** (-i / half)
            a, b = x[..., i], x[..., i + half]
            out[..., i] = a * angle.cos() - b * angle.sin()
            out[..., i + half] = a * angle.sin() + b * angle.cos()
        return out

    def checked(self, rows, trees):
        rows = self.rows(rows)
        if len(trees) != len(rows):
            raise ValueError("trees")
        found = []
        for row, (tokens, parents) in zip(rows, trees, strict=False):
            tokens, parents = tuple(tokens), tuple(parents)
            if len(tokens) == 0 or len(tokens) != len(parents):
                raise ValueError("tree")
            if min(tokens) < 0 or max(tokens) >= self.size:
                raise ValueError("token")
            if any(p < -1 or p >= i for i, p in enumerate(parents)):
                raise ValueError("parent")
            if len(self.texts[row]) + len(tokens) > self.capacity:
                raise ValueError("full")
            found.append((tokens, parents))
        return rows, found

    def branch(self, tree, node):
        tokens, parents = tree
        return [] if node < 0 else [*self.branch(tree, parents[node]), tokens[node]]

    def forward(self, rows, trees):
        rows, trees = self.checked(rows, trees)
        answers = []
        for row, tree in zip(rows, trees, strict=False):
            self.trees[row] = tree
            texts = [self.texts[row] + self.branch(tree, node) for node in range(len(tree[0]))]
            answers.append(torch.stack([self.run(text)[0] for text in texts]))
        return answers

    def keep(self, rows, paths):
        rows = self.rows(rows)
        if len(paths) != len(rows):
            raise ValueError("paths")
        added = []
        for row, path in zip(rows, paths, strict=False):
            tokens, parents = self.trees.get(row, ((), ()))
            before, new = -1, []
            for node in path:
                if node < 0 or node >= len(tokens) or parents[node] != before:
                    raise ValueError("path")
                before = node
                new.append(tokens[node])
            added.append(new)
        for row, new in zip(rows, added, strict=False):
            self.texts[row] = self.texts[row] + new
            self.trees.pop(row, None)

    def reset(self, row):
        self.rows([row])
        self.texts[row] = []
        self.trees.pop(row, None)

    def cache_of(self, row):
        self.rows([row])
        if self.texts[row]:
            return self.run(self.texts[row])[1:]
        layers = sum(name.endswith(".q") for name in self.w)
        empty = self.w["0.q"].new_zeros(layers, self.heads, 0, self.w["0.q"].shape[0] // self.heads)
        return empty, empty.clone()


class Speculator:
    def __init__(self, target, draft):
        for name in ("count", "capacity", "size"):
            if getattr(target, name) != getattr(draft, name):
                raise ValueError(name)
        self.target, self.draft = target, draft
        self.texts = [[] for _ in range(target.count)]

    def begun(self, rows):
        rows = self.target.rows(rows)
        for row in rows:
            if len(self.texts[row]) == 0:
                raise ValueError("no text")
        return rows

    def settle(self, row):
        for model in (self.target, self.draft):
            model.texts[row] = self.texts[row][:-1]

    def start(self, row, prompt):
        self.target.rows([row])
        prompt = [int(token) for token in prompt]
        if not prompt or len(prompt) > self.target.capacity:
            raise ValueError("prompt")
        if any(token < 0 or token >= self.target.size for token in prompt):
            raise ValueError("token")
        logits = self.target.run(prompt)[0]
        token = first_of(logits)
        self.texts[row] = [*prompt, token]
        self.settle(row)
        return token, logits

    def propose(self, rows, widths):
        rows = self.begun(rows)
        if any(width < 1 or width > self.draft.size for width in widths):
            raise ValueError("width")
        nodes, level = 0, 1
        for width in widths:
            level *= width
            nodes += level
        if nodes > self.draft.capacity:
            raise ValueError("full")
        trees, scores = [], []
        for row in rows:
            tokens, parents, found, front = [], [], [], [-1]
            for width in widths:
                reached = []
                for node in front:
                    text = self.texts[row] + self.draft.branch((tokens, parents), node)
                    logits = self.draft.run(text)[0].tolist()
                    order = sorted(range(len(logits)), key=lambda t: (-logits[t], t))
                    for token in order[:width]:
                        reached.append(len(tokens))
                        tokens.append(token)
                        parents.append(node)
                        found.append(logits[token])
                front = reached
            trees.append((tokens, parents))
            scores.append(torch.tensor(found, dtype=self.draft.w["embed"].dtype))
        return trees, scores

    def verify(self, rows, trees):
        rows = self.begun(rows)
        if len(trees) != len(rows):
            raise ValueError("trees")
        checked = []
        for row, (tokens, parents) in zip(rows, trees, strict=False):
            tokens, parents = list(tokens), list(parents)
            if len(self.texts[row]) + len(tokens) > self.target.capacity:
                raise ValueError("full")
            if tokens or parents:
                space = TreeSpace(self.target.size)
                space.check(tokens, parents)
            checked.append((tokens, parents))
        answers, logits = [], []
        for row, tree in zip(rows, checked, strict=False):
            new, found = self.best(row, tree, -1)
            answers.append(new)
            logits.append(torch.stack(found))
            self.texts[row] = self.texts[row] + new
            self.settle(row)
        return answers, logits

    def best(self, row, tree, node):
        """The longest answer behind a node."""
        logits = self.target.run(self.texts[row] + self.target.branch(tree, node))[0]
        choice = first_of(logits)
        longest = [], []
        for child, (token, parent) in enumerate(zip(*tree, strict=False)):
            if parent == node and token == choice:
                tried = self.best(row, tree, child)
                if len(tried[0]) > len(longest[0]):
                    longest = tried
        return [choice, *longest[0]], [logits, *longest[1]]


class TreeSpace:
    def __init__(self, size):
        self.size = size

    def check(self, tokens, parents):
        if len(tokens) != len(parents):
            raise ValueError("lengths")
        for i in range(len(tokens)):
            if not 0 <= tokens[i] < self.size or not -1 <= parents[i] < i:
                raise ValueError("node")


def first_of(logits):
    return int((logits == logits.max()).nonzero()[0])

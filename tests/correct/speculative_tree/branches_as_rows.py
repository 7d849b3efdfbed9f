"""Every node becomes a row of a batch of its own, with a copy of the text's keys and values in front."""

import torch


class TreeDecoder:
    def __init__(self, weights, *, rows, capacity, heads, theta=10000.0):
        self.w = {name: x + 0 for name, x in weights.items()}
        inner = self.w["0.q"].size(0)
        for size in (rows, capacity, heads):
            if size < 1:
                raise ValueError("size")
        if inner % heads != 0 or inner // heads % 2 == 1:
            raise ValueError("head dim")
        self.depth = len([name for name in self.w if name.endswith("q")])
        self.n_rows, self.capacity, self.n_heads, self.theta = rows, capacity, heads, theta
        self.dim = inner // heads
        nothing = self.w["embed"].new_zeros(self.depth, heads, 0, self.dim)
        self.nothing = (nothing, nothing)
        self.held = [self.nothing] * rows  # keys and values [L, H, T, D] of the text
        self.open = [
            {} for _ in range(rows)
        ]  # by path, a tuple of nodes: keys and values behind it
        self.lengths = [0] * rows

    def _named(self, rows):
        if len(rows) == 0 or any(r < 0 or r >= self.n_rows for r in rows):
            raise ValueError("row")
        if any(r in rows[:i] for i, r in enumerate(rows)):
            raise ValueError("twice")

    def _fit(self, rows, trees):
        self._named(rows)
        if len(trees) != len(rows):
            raise ValueError("trees")
        for row, tree in zip(rows, trees, strict=False):
            tokens, parents = tree
            n = len(tokens)
            if n != len(parents) or n == 0 or self.lengths[row] + n > self.capacity:
                raise ValueError("tree")
            for i in range(n):
                if not (0 <= tokens[i] < self.w["embed"].size(0) and -1 <= parents[i] < i):
                    raise ValueError("node")

    def forward(self, rows, trees):
        self._fit(rows, trees)
        return [
            self._grow(row, list(tree[0]), list(tree[1]))
            for row, tree in zip(rows, trees, strict=False)
        ]

    def _grow(self, row, tokens, parents):
        paths = []
        for node, parent in enumerate(parents):
            paths.append((node,) if parent < 0 else (*paths[parent], node))
        kept = {(): self.held[row]}
        logits = [None] * len(tokens)
        level = 1
        while len(kept) <= len(tokens):
            nodes = [node for node, path in enumerate(paths) if len(path) == level]
            keys = torch.stack([kept[paths[node][:-1]][0] for node in nodes], 1)  # [L, N, H, T, D]
            values = torch.stack([kept[paths[node][:-1]][1] for node in nodes], 1)
            ids = torch.tensor([tokens[node] for node in nodes])
            found, keys, values = self._next(ids, keys, values)
            for i, node in enumerate(nodes):
                logits[node] = found[i]
                kept[paths[node]] = keys[:, i], values[:, i]
            level += 1
        self.open[row] = kept
        return torch.stack(logits)

    def _next(self, ids, keys, values):
        """One more token behind each of N texts."""
        w, x, grown = self.w, self.w["embed"][ids], ([], [])
        position = keys.size(3)
        for layer in range(self.depth):
            q, k, v = [
                (x @ w[f"{layer}.{name}"].T).view(len(ids), self.n_heads, 1, self.dim)
                for name in ("q", "k", "v")
            ]
            q, k = self._turn(q, position), self._turn(k, position)
            all_keys = torch.cat([keys[layer], k], 2)
            all_values = torch.cat([values[layer], v], 2)
            weights = torch.softmax(q @ all_keys.mT / self.dim**0.5, -1)
            x = x + (weights @ all_values).reshape(len(ids), -1) @ w[f"{layer}.o"].T
            grown[0].append(all_keys)
            grown[1].append(all_values)
        return x @ w["head"].T, torch.stack(grown[0]), torch.stack(grown[1])

    def _turn(self, x, position):
        half = self.dim // 2
        index = torch.arange(half, dtype=x.dtype)
        angle = position / self.theta ** (2 * index / self.dim)
        matrix = torch.zeros(self.dim, self.dim, dtype=x.dtype)
        i = torch.arange(half)
        matrix[i, i] = matrix[i + half, i + half] = angle.cos()
        matrix[i, i + half], matrix[i + half, i] = angle.sin(), -angle.sin()
        return x @ matrix

    def keep(self, rows, paths):
        self._named(rows)
        if len(paths) != len(rows):
            raise ValueError("paths")
        chosen = [tuple(path) for path in paths]
        for row, path in zip(rows, chosen, strict=False):
            if path and path not in self.open[row]:
                raise ValueError("path")
        for row, path in zip(rows, chosen, strict=False):
            self.held[row] = self.open[row].get(path, self.held[row])
            self.open[row] = {}
            self.lengths[row] += len(path)

    def reset(self, row):
        self._named([row])
        self.held[row], self.open[row], self.lengths[row] = self.nothing, {}, 0

    def cache_of(self, row):
        self._named([row])
        return self.held[row]


class Speculator:
    def __init__(self, target, draft):
        same = ("n_rows", "capacity")
        if any(getattr(target, name) != getattr(draft, name) for name in same):
            raise ValueError("sizes")
        if target.w["embed"].size(0) != draft.w["embed"].size(0):
            raise ValueError("vocabulary")
        self.target, self.draft, self.texts = target, draft, []
        for _ in range(target.n_rows):
            self.texts.append([])

    def start(self, row, prompt):
        self.target._named([row])
        prompt = list(prompt)
        fresh = self.target.capacity
        vocabulary = self.target.w["embed"].size(0)
        if not prompt or len(prompt) > fresh or not all(0 <= t < vocabulary for t in prompt):
            raise ValueError("prompt")
        logits = None
        for model in (self.draft, self.target):
            model.reset(row)
            for token in prompt:
                logits = model.forward([row], [([token], [-1])])[0][0]
                model.keep([row], [[0]])
        token = int(logits.argmax())
        self.texts[row] = [*prompt, token]
        return token, logits

    def propose(self, rows, widths):
        self._begun(rows)
        vocabulary, count, level = self.draft.w["embed"].size(0), 0, 1
        for width in widths:
            if width < 1 or width > vocabulary:
                raise ValueError("width")
            level = level * width
            count = count + level
        for row in rows:
            if len(self.texts[row]) + count > self.draft.capacity:
                raise ValueError("room")
        trees, scores = [], []
        for row in rows:
            tokens, parents, found, queue = [], [], [], [(-1, 0)]
            root = self.texts[row][-1]
            while queue:
                node, depth = queue.pop(0)
                if depth == len(widths):
                    continue
                tree = [root, *tokens], [-1, *[p + 1 for p in parents]]
                logits = self.draft.forward([row], [tree])[0][node + 1]
                ranked = torch.argsort(logits, descending=True, stable=True)
                for token in ranked[: widths[depth]]:
                    tokens.append(int(token))
                    parents.append(node)
                    found.append(logits[token])
                    queue.append((len(tokens) - 1, depth + 1))
            self.draft.keep([row], [[]])
            trees.append((tokens, parents))
            empty = self.draft.w["embed"].new_zeros(0)
            scores.append(torch.stack(found) if found else empty)
        return trees, scores

    def _begun(self, rows):
        self.target._named(rows)
        if [row for row in rows if not self.texts[row]]:
            raise ValueError("text")

    def verify(self, rows, trees):
        self._begun(rows)
        rooted = []
        for row, tree in zip(rows, trees, strict=False):
            if any(parent < -1 for parent in tree[1]):
                raise ValueError("parent")
            rooted.append(([self.texts[row][-1], *tree[0]], [-1, *[p + 1 for p in tree[1]]]))
        if len(trees) != len(rows):
            raise ValueError("trees")
        out_tokens, out_logits = [], []
        for row, (tokens, _parents), logits in zip(
            rows, rooted, self.target.forward(rows, rooted), strict=False
        ):
            choice = logits.max(-1).indices.tolist()
            choice = [int((x == x.max()).float().argmax()) for x in logits] if choice else choice
            right = [True] + [False] * (len(tokens) - 1)
            best = [0]
            for path in sorted(self.target.open[row], key=len):
                if len(path) > 1:
                    node, parent = path[-1], path[-2]
                    right[node] = right[parent] and tokens[node] == choice[parent]
                    if right[node] and len(path) > len(best):
                        best = list(path)
            self.target.keep([row], [best])
            for node in best:
                self.draft.forward([row], [([tokens[node]], [-1])])
                self.draft.keep([row], [[0]])
            new = [choice[node] for node in best]
            self.texts[row].extend(new)
            out_tokens.append(new)
            out_logits.append(logits[best])
        return out_tokens, out_logits

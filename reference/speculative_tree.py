"""Speculative decoding with trees: a draft model guesses, the target checks all guesses in one call.

The text is, token for token, the one that the target alone would write; guesses only save calls.  A tree is a pair of
lists, the tokens of its nodes and their parents: node 2 of `([5, 8, 3], [-1, 0, 0])` holds token 3 and comes behind
node 0, as node 1 does, and node 0 comes right behind the text (-1).  A parent comes before its children.

        5 -- 8          Nodes 1 and 2 are siblings: neither is in the other's past,
          \\- 3          and both are at the same position, one behind node 0.

R rows of a call, N nodes, T slots, L layers, H heads of dim D, C width of the model, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Tree = tuple[list[int], list[int]]  # tokens and parents of the nodes


class TreeDecoder:
    """A small decoder whose cache holds, for each row, tokens that are kept and behind them nodes that wait.

    Nodes of a tree get the slots behind the kept tokens, in the order of the tree.  `keep` says which of them have come
    true; these move together, and the others are forgotten.  `lengths[row]` is the number of tokens kept.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], *, rows: int, capacity: int, heads: int, theta: float = 10000.0
    ) -> None:  # fmt: skip
        """Make a decoder of empty rows, each with room for `capacity` tokens, nodes included.

        `weights` has embed and head [V, C], and of every layer i `i.q`, `i.k`, `i.v` [H * D, C] and `i.o` [C, H * D].
        Raises ValueError for sizes that make no sense.
        """
        self._weights = {name: x.clone() for name, x in weights.items()}
        self.vocabulary, self._layers = len(weights["embed"]), (len(weights) - 2) // 4
        width = len(weights["0.q"])
        if min(rows, capacity, heads) < 1 or width % (2 * heads):
            raise ValueError("rows, capacity and heads must be at least 1, and the head dim even")
        self.lengths, self.capacity, self._theta = [0] * rows, capacity, theta
        self._waiting: list[list[int]] = [[] for _ in range(rows)]  # parents of the nodes that wait
        shape = (self._layers, rows, heads, capacity, width // heads)
        self._keys = torch.zeros(shape, dtype=weights["embed"].dtype)
        self._values = torch.zeros_like(self._keys)

    def forward(self, rows: Sequence[int], trees: Sequence[Tree]) -> list[Tensor]:
        """Put a tree behind each of the rows, in place of nodes that wait there; return logits [N, V] of each.

        A node is answered as the last token of a text: the row's kept tokens, its ancestors and itself.  Raises
        ValueError, and changes nothing, for what does not fit.
        """
        rows, trees = list(rows), [(list(tokens), list(parents)) for tokens, parents in trees]
        self._check(rows, trees)
        tokens, positions, visible = self._batch(rows, trees)
        counts = [len(parents) for _, parents in trees]
        x = self._weights["embed"][tokens]  # [R, N, C]
        for layer in range(self._layers):
            x = x + self._attended(layer, x, rows, counts, positions, visible)
        logits = x @ self._weights["head"].T  # [R, N, V]
        for row, (_, parents) in zip(rows, trees, strict=True):
            self._waiting[row] = parents
        return [logits[i, :count] for i, count in enumerate(counts)]

    def keep(self, rows: Sequence[int], paths: Sequence[Sequence[int]]) -> None:
        """Keep, of the nodes that wait in each row, those of a path, and forget the others.

        A path is a list of nodes: the first comes right behind the text, and each other one is a child of the one
        before it; it may be empty.  Raises ValueError, and changes nothing, for anything else.
        """
        self._check_rows(rows)
        if len(paths) != len(rows):
            raise ValueError(f"{len(rows)} paths are due, not {len(paths)}")
        for row, path in zip(rows, paths, strict=True):
            waiting = self._waiting[row]
            if not all(0 <= node < len(waiting) for node in path):
                raise ValueError(f"row {row} has {len(waiting)} nodes that wait, not {[*path]}")
            if [waiting[node] for node in path] != [-1, *path][: len(path)]:
                raise ValueError(f"{[*path]} is no path of the tree in row {row}")
        for row, path in zip(rows, paths, strict=True):
            _move(self._keys[:, row], self.lengths[row], path)
            _move(self._values[:, row], self.lengths[row], path)
            self.lengths[row] += len(path)
            self._waiting[row] = []

    def reset(self, row: int) -> None:
        """Forget all of a row."""
        self._check_rows([row])
        self.lengths[row] = 0
        self._waiting[row] = []

    def cache_of(self, row: int) -> tuple[Tensor, Tensor]:
        """Return copies of the keys and values [L, H, T, D] of a row's kept tokens; keys are rotated."""
        self._check_rows([row])
        length = self.lengths[row]
        return self._keys[:, row, :, :length].clone(), self._values[:, row, :, :length].clone()

    def _check_rows(self, rows: Sequence[int]) -> None:
        """Refuse rows that are not there or named twice."""
        if not len(rows) or not all(0 <= row < len(self.lengths) for row in rows):
            raise ValueError(f"rows are from 0 to {len(self.lengths) - 1}, not {[*rows]}")
        if len(set(rows)) < len(rows):
            raise ValueError(f"a row is named twice: {[*rows]}")

    def _check(self, rows: Sequence[int], trees: Sequence[Tree]) -> None:
        """Refuse rows and trees that do not fit."""
        self._check_rows(rows)
        if len(trees) != len(rows):
            raise ValueError(f"{len(rows)} trees are due, not {len(trees)}")
        for row, (tokens, parents) in zip(rows, trees, strict=True):
            if not tokens or len(tokens) != len(parents):
                raise ValueError(
                    f"a tree has a token and a parent for each node: {tokens, parents}"
                )
            if not all(0 <= token < self.vocabulary for token in tokens):
                raise ValueError(f"tokens are from 0 to {self.vocabulary - 1}, not {tokens}")
            if not all(-1 <= parent < node for node, parent in enumerate(parents)):
                raise ValueError(f"a parent comes before its children: {parents}")
            if self.lengths[row] + len(tokens) > self.capacity:
                raise ValueError(f"row {row} has room for {self.capacity} tokens")

    def _batch(self, rows: Sequence[int], trees: Sequence[Tree]) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens and positions [R, N] and what each node sees [R, N, T]; padding sees nothing."""
        most = max(len(parents) for _, parents in trees)
        total = max(self.lengths[row] + len(tree[1]) for row, tree in zip(rows, trees, strict=True))
        ids = torch.zeros(len(rows), most, dtype=torch.int64)
        positions = torch.zeros_like(ids)
        visible = torch.zeros(len(rows), most, total, dtype=torch.bool)
        for i, (tokens, parents) in enumerate(trees):
            count, start = len(tokens), self.lengths[rows[i]]
            ids[i, :count] = torch.tensor(tokens)
            positions[i, :count] = start + torch.tensor(_depths(parents))
            visible[i, :count, : start + count] = _visible(parents, start)
        return ids, positions, visible

    def _attended(
        self, layer: int, x: Tensor, rows: list[int], counts: list[int], positions: Tensor, visible: Tensor
    ) -> Tensor:  # fmt: skip
        """Store keys and values of the nodes in one layer, and attend; x and the result are [R, N, C]."""
        q, k, v = (self._heads(x @ self._weights[f"{layer}.{name}"].T) for name in "qkv")
        q, k = _rotated(torch.stack((q, k)), positions[:, None], self._theta)
        for i, row in enumerate(rows):
            start, count = self.lengths[row], counts[i]
            self._keys[layer, row, :, start : start + count] = k[i, :, :count]
            self._values[layer, row, :, start : start + count] = v[i, :, :count]
        total = visible.shape[2]
        keys = self._keys[layer, rows, :, :total]  # [R, H, T, D]
        values = self._values[layer, rows, :, :total]
        output = _attention(q, keys, values, visible[:, None])  # [R, H, N, D]
        return output.transpose(1, 2).flatten(2) @ self._weights[f"{layer}.o"].T

    def _heads(self, x: Tensor) -> Tensor:
        """Split [R, N, H * D] into [R, H, N, D]."""
        return x.reshape(*x.shape[:2], self._keys.shape[2], -1).transpose(1, 2)


class Speculator:
    """Texts, one a row, that a target model writes and a draft model guesses.

    The newest token of a text is in neither cache: it becomes the root of the next tree.  Methods raise ValueError, and
    change nothing, for what does not fit.
    """

    def __init__(self, target: TreeDecoder, draft: TreeDecoder) -> None:
        """Take two decoders of empty rows; raises ValueError where rows, capacity or vocabulary differ."""
        sizes = [(len(x.lengths), x.capacity, x.vocabulary) for x in (target, draft)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"rows, capacity and vocabulary of target and draft differ: {sizes}")
        self.target, self.draft = target, draft
        self.texts: list[list[int]] = [[] for _ in target.lengths]

    def start(self, row: int, prompt: Sequence[int]) -> tuple[int, Tensor]:
        """Begin a text with a prompt, in place of the row's old one.

        Returns the target's first token and its logits [V].
        """
        self.target._check_rows([row])
        prompt = list(prompt)
        known = all(0 <= token < self.target.vocabulary for token in prompt)
        if not known or not 1 <= len(prompt) <= self.target.capacity:
            raise ValueError(f"a prompt has from 1 to {self.target.capacity} tokens, not {prompt}")
        for decoder in (self.target, self.draft):
            decoder.reset(row)
        logits = _fed(self.target, [row], [prompt])[0][-1]
        self.texts[row] = [*prompt, *_choices(logits[None])]
        self._catch_up([row])
        return self.texts[row][-1], logits

    def propose(
        self, rows: Sequence[int], widths: Sequence[int]
    ) -> tuple[list[Tree], list[Tensor]]:
        """Return a tree for each row, and the draft's logits [N] of its tokens.

        The newest token of the text gets `widths[0]` children, each of these `widths[1]`, and so on: the tokens that
        the draft finds likeliest, the likeliest first.  Nodes are numbered level by level.
        """
        self._check(rows)
        if not all(1 <= width <= self.draft.vocabulary for width in widths):
            raise ValueError(f"widths are from 1 to {self.draft.vocabulary}, not {[*widths]}")
        trees = [_rooted(self.texts[row][-1], ([], [])) for row in rows]
        scores: list[list[Tensor]] = [[] for _ in rows]
        level = range(1)  # nodes that get children next, the same in all rows
        for width in widths:
            logits = self.draft.forward(rows, trees)
            for (tokens, parents), found, kept in zip(trees, logits, scores, strict=True):
                for node in level:
                    best = _likeliest(found[node], width)
                    kept.append(found[node, best])
                    tokens += best
                    parents += [node] * width
            level = range(level.stop, len(trees[0][0]))
        self.draft._check(rows, trees)
        self.draft.keep(rows, [[] for _ in rows])
        empty = self.draft._keys.new_zeros(0)
        drafted = [(tokens[1:], [p - 1 for p in parents[1:]]) for tokens, parents in trees]
        return drafted, [torch.cat([empty, *kept]) for kept in scores]

    def verify(
        self, rows: Sequence[int], trees: Sequence[Tree]
    ) -> tuple[list[list[int]], list[Tensor]]:
        """Let the target check a tree of guesses for each row, and write on.

        The longest path on which every token is the target's choice behind its parent is accepted, and the target's
        choice behind that path follows.  Returns these tokens, at least one a row, and the logits that they were chosen
        by, [tokens, V].
        """
        self._check(rows)
        if len(trees) != len(rows):
            raise ValueError(f"{len(rows)} trees are due, not {len(trees)}")
        rooted = [_rooted(self.texts[row][-1], tree) for row, tree in zip(rows, trees, strict=True)]
        logits = self.target.forward(rows, rooted)
        paths, answers = [], []
        for row, tree, found in zip(rows, rooted, logits, strict=True):
            choices = _choices(found)
            path = _accepted(*tree, choices)
            answers.append([choices[node] for node in path])
            self.texts[row] += answers[-1]
            paths.append(path)
        self.target.keep(rows, paths)
        self._catch_up(rows)
        return answers, [found[path] for found, path in zip(logits, paths, strict=True)]

    def _check(self, rows: Sequence[int]) -> None:
        """Refuse rows that are not there, named twice or without a text."""
        self.target._check_rows(rows)
        if not all(self.texts[row] for row in rows):
            raise ValueError(f"not every one of rows {[*rows]} has a text")

    def _catch_up(self, rows: Sequence[int]) -> None:
        """Feed the draft what it lacks of the texts, but for their newest tokens."""
        missing = [self.texts[row][self.draft.lengths[row] : -1] for row in rows]
        _fed(self.draft, rows, missing)


def _fed(decoder: TreeDecoder, rows: Sequence[int], texts: list[list[int]]) -> list[Tensor]:
    """Feed and keep tokens behind each row; returns logits [N, V] of each."""
    logits = decoder.forward(rows, [(text, [*range(-1, len(text) - 1)]) for text in texts])
    decoder.keep(rows, [range(len(text)) for text in texts])
    return logits


def _rooted(token: int, tree: Tree) -> Tree:
    """Put a root with this token in front of a tree: what came right behind the text is its child then."""
    if any(parent < -1 for parent in tree[1]):
        raise ValueError(f"parents are nodes, or -1: {tree[1]}")
    return [token, *tree[0]], [-1, *(parent + 1 for parent in tree[1])]


def _depths(parents: Sequence[int]) -> list[int]:
    """Return the number of ancestors of each node."""
    depths: list[int] = []
    for parent in parents:
        depths.append(0 if parent < 0 else depths[parent] + 1)
    return depths


def _visible(parents: Sequence[int], start: int) -> Tensor:
    """Say what each of N nodes behind `start` tokens sees: those, its ancestors and itself; bool [N, start + N]."""
    visible = torch.zeros(len(parents), start + len(parents), dtype=torch.bool)
    visible[:, :start] = True
    for node, parent in enumerate(parents):
        if parent >= 0:
            visible[node] = visible[parent]
        visible[node, start + node] = True
    return visible


def _rotated(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """Rotate the pairs (i, i + D / 2) of x [..., N, D] to positions [..., N]."""
    half = x.shape[-1] // 2
    speeds = theta ** -(torch.arange(half, dtype=torch.float64) / half)  # [D / 2]
    angles = positions[..., None] * speeds
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _attention(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """Attend query [..., N, D] to those of keys and values [..., T, D] that it sees; 0 where it sees none."""
    scores = query @ keys.transpose(-1, -2) / math.sqrt(query.shape[-1])  # [..., N, T]
    weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
    return weights.masked_fill(~visible, 0) @ values


def _choices(logits: Tensor) -> list[int]:
    """Return the likeliest token of each of logits [N, V], the smallest of several that are as likely."""
    chosen: list[int] = logits.argmax(-1).tolist()
    return chosen


def _likeliest(logits: Tensor, width: int) -> list[int]:
    """Return the likeliest tokens by logits [V], the likeliest first, and of several as likely the smallest first."""
    ranked: list[int] = logits.sort(descending=True, stable=True).indices.tolist()
    return ranked[:width]


def _accepted(tokens: Sequence[int], parents: Sequence[int], choices: Sequence[int]) -> list[int]:
    """Return the longest path from node 0 on which every node holds the choice behind its parent.

    Of several that are as long it is the one whose last node comes first.
    """
    paths = {0: [0]}
    for node in range(1, len(tokens)):
        parent = parents[node]
        if parent in paths and tokens[node] == choices[parent]:
            paths[node] = [*paths[parent], node]
    return max(paths.values(), key=len)


def _move(buffer: Tensor, start: int, path: Sequence[int]) -> None:
    """Move the nodes of a path, which lie behind `start` in buffer [..., T, D], together: the first to slot `start`."""
    slots = [start + node for node in path]
    buffer[..., start : start + len(path), :] = buffer[..., slots, :]

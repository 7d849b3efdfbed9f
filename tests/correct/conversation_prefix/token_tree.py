"""One tree of tokens per model, shared by all chats: a node holds the un-rotated rows of one token.

Keys are rotated when they are read, by the depth of their node.
"""

from __future__ import annotations

import jinja2
import torch
from jinja2 import sandbox

MERGES = ("th", "the", " the", "in", "ing", "er", "re", "an", "and", "ou", "you", "  ", "\n\n")
WORDS = (*MERGES, "system", "user", "assistant", "tool")
MARKS = ("<|bos|>", "<|im_start|>", "<|im_end|>")


class Node:
    def __init__(self) -> None:
        self.children: dict[int, Node] = {}
        self.rows: list[tuple[torch.Tensor, torch.Tensor]] = []  # per layer k, v, [H, D]


class Lexicon:
    """A trie over characters."""

    def __init__(self) -> None:
        self.root: dict = {}
        for number, word in enumerate((*WORDS, *MARKS), 256):
            node = self.root
            for letter in word:
                node = node.setdefault(letter, {})
            node[None] = number

    def read(self, text: str) -> list[int]:
        ids: list[int] = []
        at = 0
        while at < len(text):
            node, best, size = self.root, None, 0
            for depth, letter in enumerate(text[at:], 1):
                node = node.get(letter)
                if node is None:
                    break
                if None in node:
                    best, size = node[None], depth
            ids.extend(text[at].encode() if best is None else (best,))
            at += size or 1
        return ids


LEXICON = Lexicon()


class Decoder:
    def __init__(self, weights, num_heads: int, name: str = "base") -> None:
        self.weights, self.num_heads, self.name = weights, num_heads, name

    def one(self, token: int, path: list[Node]) -> torch.Tensor:
        """Fill the last node of the path, for one token, and return its logits."""
        x = self.weights["embed"][token]
        depth = torch.arange(len(path))
        for layer, square in enumerate(self.weights["o"]):
            y = self.scaled(x)
            q, k, v = (
                (self.weights[n][layer] @ y).view(self.num_heads, -1) for n in ("q", "k", "v")
            )
            path[-1].rows.append((k, v))
            keys = torch.stack([node.rows[layer][0] for node in path])  # [S, H, D]
            values = torch.stack([node.rows[layer][1] for node in path])  # [S, H, D]
            keys, q = turned(keys, depth), turned(q[None], depth[-1:])[0]
            scores = (keys * q).sum(-1) * q.shape[-1] ** -0.5  # [S, H]
            weights = (scores - scores.amax(0)).exp()
            mixed = (weights[..., None] * values).sum(0) / weights.sum(0)[:, None]
            x = x + square @ mixed.flatten()
        return self.weights["head"] @ self.scaled(x)

    @staticmethod
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean() + 1e-6).sqrt()


def turned(x: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    speed = torch.exp(torch.arange(half).double() * (-torch.tensor(10000.0).double().log() / half))
    angle = (depth[:, None].double() * speed)[:, None]  # [S, 1, D/2]
    a, b = x[..., :half].double(), x[..., half:].double()
    pairs = (a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin())
    return torch.cat(pairs, -1).to(x.dtype)


class PrefixStore:
    def __init__(self) -> None:
        self.trees: dict[str, Node] = {}


class Conversation:
    def __init__(self, model, template, system=None, prefixes=None, max_context=256):
        store = PrefixStore() if prefixes is None else prefixes
        self.tree = store.trees.setdefault(model.name, Node())
        self.model, self.room = model, max_context
        world = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        world.globals["raise_exception"] = stop
        try:
            self.sheet = world.from_string(template)
        except jinja2.TemplateError as error:
            raise ValueError("the template is malformed") from error
        self.opening = [] if system is None else [message("system", system)]
        self.turns: list[list[dict]] = [[]]  # what came before the first turn, then the turns
        self.ids = self.measured(self.turns)

    def say(self, role, text):
        if role not in ("user", "assistant", "tool"):
            raise ValueError(f"role {role!r}")
        new = message(role, text)
        if role == "user":
            self.take([*self.turns, [new]])
        else:
            self.take([*self.turns[:-1], [*self.turns[-1], new]])

    def retract(self):
        *before, last = self.turns
        if not last:
            raise ValueError("nothing to retract")
        self.take([*before, last[:-1]] if len(last) > 1 or not before else before)

    def prune(self, keep_turns):
        if keep_turns < 1:
            raise ValueError("nothing would be left")
        if len(self.turns) - 1 > keep_turns:
            self.take([[], *self.turns[-keep_turns:]])

    def prompt_ids(self):
        return torch.tensor(self.ids)

    def position_ids(self):
        return torch.arange(len(self.ids))

    def logits(self):
        path, node, scores = [], self.tree, None
        for place, token in enumerate(self.ids, 1):
            node = node.children.setdefault(token, Node())
            path.append(node)
            if not node.rows or place == len(self.ids):
                node.rows = []
                scores = self.model.one(token, path)
        return scores

    def take(self, turns):
        self.ids = self.measured(turns)
        self.turns = turns

    def measured(self, turns):
        chat = [dict(m) for m in [*self.opening, *(m for turn in turns for m in turn)]]
        try:
            text = self.sheet.render(messages=chat, bos_token="<|bos|>", add_generation_prompt=True)
        except jinja2.TemplateError as error:
            raise ValueError("the template refused") from error
        ids = LEXICON.read(text)
        if not 1 <= len(ids) <= self.room:
            raise ValueError(f"{len(ids)} tokens, room for {self.room}")
        return ids


def message(role, text):
    if any(mark in text for mark in MARKS):
        raise ValueError("a control token in a text")
    return {"role": role, "content": text}


def stop(text):
    raise jinja2.TemplateError(text)

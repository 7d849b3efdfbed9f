"""Cached blocks are nodes of a tree, free ones have a time, and a step runs all requests layer by layer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F


@dataclass(eq=False)
class Node:
    """One content: a stretch of tokens behind its parent; `block` is where it is, or None once it was taken."""

    parent: Node | None
    tokens: tuple[int, ...]
    block: int | None = None
    children: dict[tuple[int, ...], Node] = field(default_factory=dict)


@dataclass(eq=False)
class Chain:
    """A sequence: the node of its last full block, the tokens behind that, and its blocks."""

    node: Node
    rest: list[int]
    table: list[int]

    def copy(self):
        return Chain(self.node, list(self.rest), list(self.table))


def _nonempty(tokens):
    tokens = tuple(int(t) for t in tokens)
    if not tokens:
        raise ValueError("tokens are missing")
    return tokens


class BlockManager:
    def __init__(self, blocks, block_size):
        if not (blocks >= 1 and block_size >= 1):
            raise ValueError("at least one block of one token")
        self.block_size = block_size
        self._clock = itertools.count()
        self._count = [0] * blocks
        self._since = {block: next(self._clock) for block in range(blocks)}  # of free blocks
        self._node = [None] * blocks
        self._roots = {}
        self._chains = {}

    def _root(self, adapter, salt):
        return self._roots.setdefault((adapter, salt), Node(None, ()))

    def _walk(self, tokens, adapter, salt):
        node, path = self._root(adapter, salt), []
        for at in range(0, len(tokens) - self.block_size, self.block_size):
            node = node.children.get(tokens[at : at + self.block_size])
            if node is None or node.block is None:
                break
            path.append(node)
        return path

    def find(self, tokens, adapter=None, salt=None):
        return len(self._walk(_nonempty(tokens), adapter, salt)) * self.block_size

    def _grab(self):
        block = min(self._since, key=self._since.get)
        del self._since[block]
        if self._node[block] is not None:
            self._node[block].block = None
            self._node[block] = None
        self._count[block] = 1
        return block

    def _push(self, chain, tokens):
        whole = -(-(len(chain.rest) + len(tokens)) // self.block_size)
        fresh = [self._grab() for _ in range(whole - bool(chain.rest))]
        for token in tokens:
            if not chain.rest:
                chain.table.append(fresh.pop(0))
            chain.rest.append(token)
            if len(chain.rest) == self.block_size:
                key = tuple(chain.rest)
                node = chain.node.children.setdefault(key, Node(chain.node, key))
                if node.block is None:
                    node.block = chain.table[-1]
                    self._node[node.block] = node
                chain.node, chain.rest = node, []

    def start(self, name, tokens, adapter=None, salt=None):
        tokens = _nonempty(tokens)
        if name in self._chains:
            raise ValueError(f"{name} is in use")
        path = self._walk(tokens, adapter, salt)
        found = len(path) * self.block_size
        new = (len(tokens) - found + self.block_size - 1) // self.block_size
        if len(self._since.keys() - {node.block for node in path}) < new:
            return None
        for node in path:
            self._since.pop(node.block, None)
            self._count[node.block] += 1
        end = path[-1] if path else self._root(adapter, salt)
        chain = self._chains[name] = Chain(end, [], [node.block for node in path])
        self._push(chain, tokens[found:])
        return found

    def _chain(self, name):
        try:
            return self._chains[name]
        except KeyError:
            raise ValueError(f"{name} is unknown") from None

    def append(self, name, tokens):
        chain, tokens = self._chain(name), _nonempty(tokens)
        shared = bool(chain.rest) and self._count[chain.table[-1]] != 1
        begun = self.block_size - len(chain.rest) if chain.rest else 0
        new = max(0, -(-(len(tokens) - begun) // self.block_size))
        if new + shared > len(self._since):
            return None
        if not shared:
            self._push(chain, tokens)
            return []
        old = chain.table.pop()
        chain.table.append(self._grab())
        self._count[old] -= 1
        pair = (old, chain.table[-1])
        self._push(chain, tokens)
        return [pair]

    def fork(self, name, child):
        chain = self._chain(name)
        if child in self._chains:
            raise ValueError(f"{child} is in use")
        self._chains[child] = chain.copy()
        for block in chain.table:
            self._count[block] += 1

    def release(self, name):
        chain = self._chain(name)
        self._chains.pop(name)
        while chain.table:
            block = chain.table.pop()
            self._count[block] -= 1
            if not self._count[block]:
                self._since[block] = next(self._clock)

    def table(self, name):
        return self._chain(name).table.copy()

    def references(self):
        return self._count.copy()

    def free_blocks(self):
        return sorted(self._since, key=self._since.get)


class Job:
    def __init__(self, name, number, tokens, first, limit, adapter, salt, stop):
        self.name, self.number, self.tokens, self.first, self.limit = (
            name, number, tokens, first, limit,
        )  # fmt: skip
        self.adapter, self.salt, self.stop = adapter, salt, stop
        self.stored, self.state, self.scores = 0, "waiting", None


class Engine:
    def __init__(self, weights, *, blocks, block_size, budget, adapters=None):
        if budget < 1:
            raise ValueError("budget")
        self.blocks = BlockManager(blocks, block_size)
        self._w = dict(weights.items())
        self._shift = dict(adapters) if adapters else {}
        self._budget = budget
        layers, dim, _ = self._w["q"].shape
        self._kv = self._w["q"].new_full((2, layers, blocks, block_size, dim), float("nan"))
        self._jobs = {}
        self._numbers = itertools.count()

    def _known(self, name, alive=False):
        job = self._jobs.get(name)
        if job is None or (alive and job.state == "finished"):
            raise ValueError(f"no request {name}")
        return job

    def _free_name(self, name):
        if name in self._jobs and self._jobs[name].state != "finished":
            raise ValueError(f"{name} is in use")

    def _vocabulary(self, tokens):
        if min(tokens) < 0 or max(tokens) >= len(self._w["embed"]):
            raise ValueError("unknown token")

    def add(self, name, prompt, count, *, adapter=None, salt=None, stop=None):
        self._free_name(name)
        tokens = list(_nonempty(prompt))
        self._vocabulary(tokens)
        if not (adapter is None or adapter in self._shift):
            raise ValueError("unknown adapter")
        stored = len(tokens) + count - 1
        _, _, blocks, size, _ = self._kv.shape
        if count < 1 or stored > len(self._w["place"]) or stored > blocks * size:
            raise ValueError("no room")
        self._jobs[name] = Job(
            name, next(self._numbers), tokens, len(tokens), count, adapter, salt, stop
        )

    def fork(self, name, child, token):
        parent = self._known(name, alive=True)
        self._free_name(child)
        self._vocabulary([token])
        tokens = [*parent.tokens]
        tokens[-1] = token
        job = Job(
            child, next(self._numbers), tokens, parent.first, parent.limit, parent.adapter,
            parent.salt, parent.stop,
        )  # fmt: skip
        if parent.state == "running":
            self.blocks.fork(name, child)
            job.stored, job.state = parent.stored, "running"
        self._jobs[child] = job

    def cancel(self, name):
        if self._known(name, alive=True).state == "running":
            self.blocks.release(name)
        del self._jobs[name]

    def _queue(self, state):
        return sorted(
            (job for job in self._jobs.values() if job.state == state), key=lambda job: job.number
        )

    def running(self):
        return [job.name for job in self._queue("running")]

    def waiting(self):
        return [job.name for job in self._queue("waiting")]

    def output(self, name):
        job = self._known(name)
        return job.tokens[job.first :]

    def logits(self, name):
        scores = self._known(name).scores
        if scores is None:
            raise ValueError("no token yet")
        return scores.detach().clone()

    def step(self):
        plan, gone = [], False
        for job in self._queue("running"):
            if job.state != "running":
                continue
            n = min(len(job.tokens) - job.stored, self._budget - sum(n for _, n in plan))
            if n < 1:
                continue
            pairs = None
            while pairs is None and job.state == "running":
                pairs = self.blocks.append(job.name, job.tokens[job.stored :][:n])
                if pairs is None:
                    gone = True
                    loser = self._queue("running")[-1]
                    self.blocks.release(loser.name)
                    loser.state, loser.stored = "waiting", 0
            if pairs is not None:
                for old, new in pairs:
                    self._kv[:, :, new] = self._kv[:, :, old]
                plan.append((job, n))
        if not gone:
            for job in self._queue("waiting"):
                left = self._budget - sum(n for _, n in plan)
                whose = {"adapter": job.adapter, "salt": job.salt}
                found = self.blocks.find(job.tokens, **whose)
                n = min(left, len(job.tokens) - found)
                if n == 0 or self.blocks.start(job.name, job.tokens[: found + n], **whose) is None:
                    break
                job.state, job.stored = "running", found
                plan.append((job, n))
        if plan:
            self._run(plan)
        return [(job.name, n) for job, n in plan]

    def _run(self, plan):
        rows = []
        for job, n in plan:
            at = torch.arange(job.stored, job.stored + n)
            x = F.embedding(torch.tensor(job.tokens)[at], self._w["embed"])
            x = x + F.embedding(at, self._w["place"])
            rows.append(x if job.adapter is None else x + self._shift[job.adapter])
        size = self.blocks.block_size
        tables = [torch.tensor(self.blocks.table(job.name)) for job, _ in plan]
        for layer in range(self._kv.shape[1]):
            wq, wk, wv = (self._w[name][layer] for name in "qkv")
            store = self._kv[:, layer]
            for (job, n), x, table in zip(plan, rows, tables, strict=True):
                at = torch.arange(job.stored, job.stored + n)
                store[:, table[at // size], at % size] = torch.stack(
                    (F.linear(x, wk), F.linear(x, wv))
                )
            for i, ((job, n), table) in enumerate(zip(plan, tables, strict=True)):
                total = job.stored + n
                k, v = store[:, table].flatten(1, 2)[:, :total]
                visible = torch.arange(total) <= torch.arange(job.stored, total)[:, None]
                q = F.linear(rows[i], wq)
                rows[i] = (
                    rows[i]
                    + F.scaled_dot_product_attention(
                        q[None], k[None], v[None], attn_mask=visible[None]
                    )[0]
                )
        for (job, n), x in zip(plan, rows, strict=True):
            job.stored += n
            if job.stored < len(job.tokens):
                continue
            job.scores = F.linear(x[-1], self._w["head"])
            best = int(torch.nonzero(job.scores == job.scores.max())[0])
            job.tokens.append(best)
            if best == job.stop or len(job.tokens) == job.first + job.limit:
                job.state = "finished"
                self.blocks.release(job.name)

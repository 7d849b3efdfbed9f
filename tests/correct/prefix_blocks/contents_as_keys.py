"""Contents are their own keys, references are counted anew, and no keys or values are kept."""

import math

import torch


class BlockManager:
    def __init__(self, blocks, block_size):
        if blocks <= 0 or block_size <= 0:
            raise ValueError("sizes")
        self.n, self.block_size = blocks, block_size
        self.seqs = {}  # name: [whose, tokens, table]
        self.where = {}  # (whose, tokens up to the end of a block): block
        self.queue = list(range(blocks))

    def _content(self, whose, tokens, count):
        return whose, tuple(tokens[: count * self.block_size])

    def _look(self, whose, tokens):
        blocks = []
        while (len(blocks) + 1) * self.block_size < len(tokens):
            block = self.where.get(self._content(whose, tokens, len(blocks) + 1))
            if block is None:
                break
            blocks.append(block)
        return blocks

    @staticmethod
    def _tokens(tokens):
        if len(tokens) == 0:
            raise ValueError("no tokens")
        return list(tokens)

    def find(self, tokens, adapter=None, salt=None):
        return self.block_size * len(self._look((adapter, salt), self._tokens(tokens)))

    def _blocks(self, tokens):
        return -(-len(tokens) // self.block_size)

    def _pop(self):
        block = self.queue.pop(0)
        for content in [c for c, b in self.where.items() if b == block]:
            del self.where[content]
        return block

    def _settle(self, seq, settled):
        whose, tokens, table = seq
        while len(table) < self._blocks(tokens):
            table.append(self._pop())
        for i in range(settled // self.block_size, len(tokens) // self.block_size):
            self.where.setdefault(self._content(whose, tokens, i + 1), table[i])

    def start(self, name, tokens, adapter=None, salt=None):
        tokens = self._tokens(tokens)
        if name in self.seqs:
            raise ValueError("in use")
        found = self._look((adapter, salt), tokens)
        rest = [b for b in self.queue if b not in found]
        if self._blocks(tokens) - len(found) > len(rest):
            return None
        self.queue = rest
        self.seqs[name] = [(adapter, salt), tokens, list(found)]
        self._settle(self.seqs[name], len(found) * self.block_size)
        return len(found) * self.block_size

    def _seq(self, name):
        if name not in self.seqs:
            raise ValueError("unknown")
        return self.seqs[name]

    def append(self, name, tokens):
        seq, more = self._seq(name), self._tokens(tokens)
        _, old, table = seq
        copy = len(old) % self.block_size > 0 and self.references()[table[-1]] >= 2
        if self._blocks(old + more) - len(table) + int(copy) > len(self.queue):
            return None
        pairs = ()
        if copy:
            pairs = ((table[-1], self._pop()),)
            table[-1] = pairs[0][1]
        seq[1] = old + more
        self._settle(seq, len(old))
        return list(pairs)

    def fork(self, name, child):
        whose, tokens, table = self._seq(name)
        if child in self.seqs:
            raise ValueError("in use")
        self.seqs[child] = [whose, tokens[:], table[:]]

    def release(self, name):
        table = self._seq(name)[2]
        del self.seqs[name]
        held = self.references()
        self.queue.extend(b for b in reversed(table) if not held[b])

    def table(self, name):
        return list(self._seq(name)[2])

    def references(self):
        counts = [0] * self.n
        for _, _, table in self.seqs.values():
            for b in table:
                counts[b] += 1
        return counts

    def free_blocks(self):
        return list(self.queue)


class Engine:
    def __init__(self, weights, *, blocks, block_size, budget, adapters=None):
        if budget <= 0:
            raise ValueError("budget")
        self.blocks = BlockManager(blocks, block_size)
        self.w, self.budget = dict(weights), budget
        self.adapters = {} if adapters is None else dict(adapters)
        self.room = min(blocks * block_size, self.w["place"].size(0))
        self.all = {}  # in the order of arrival
        self.done = {}

    def _check(self, tokens):
        if any(t < 0 or t >= self.w["embed"].size(0) for t in tokens):
            raise ValueError("token")

    def add(self, name, prompt, count, *, adapter=None, salt=None, stop=None):
        prompt = [int(t) for t in prompt]
        if name in self.all or not prompt or count < 1 or len(prompt) + count - 1 > self.room:
            raise ValueError("refused")
        self._check(prompt)
        if adapter is not None and adapter not in self.adapters:
            raise ValueError("adapter")
        self.done.pop(name, None)
        self.all[name] = {
            "tokens": prompt, "first": len(prompt), "count": count, "adapter": adapter, "salt": salt,
            "stop": stop, "ran": None, "logits": None,
        }  # fmt: skip

    def _live(self, name):
        if name not in self.all:
            raise ValueError("no such request")
        return self.all[name]

    def fork(self, name, child, token):
        parent = self._live(name)
        if child in self.all:
            raise ValueError("in use")
        self._check([token])
        if parent["ran"] is not None:
            self.blocks.fork(name, child)
        self.done.pop(child, None)
        tokens = [*parent["tokens"][:-1], token]
        self.all[child] = {**parent, "tokens": tokens, "logits": None}

    def cancel(self, name):
        if self._live(name)["ran"] is not None:
            self.blocks.release(name)
        del self.all[name]

    def running(self):
        return [name for name, r in self.all.items() if r["ran"] is not None]

    def waiting(self):
        return [name for name, r in self.all.items() if r["ran"] is None]

    def _any(self, name):
        if name in self.all:
            return self.all[name]
        if name in self.done:
            return self.done[name]
        raise ValueError("no such request")

    def output(self, name):
        r = self._any(name)
        return r["tokens"][r["first"] :]

    def logits(self, name):
        if self._any(name)["logits"] is None:
            raise ValueError("none yet")
        return self._any(name)["logits"].clone()

    def step(self):
        left, plan, gave_way = self.budget, [], False
        for name in self.running():
            r = self.all[name]
            n = min(left, len(r["tokens"]) - (r["ran"] or 0))
            if n == 0:
                continue
            while r["ran"] is not None:
                if self.blocks.append(name, r["tokens"][r["ran"] : r["ran"] + n]) is not None:
                    plan.append((name, n))
                    left -= n
                    break
                last = self.running()[-1]
                self.blocks.release(last)
                self.all[last]["ran"] = None
                gave_way = True
        for name in [] if gave_way else self.waiting():
            if left == 0:
                break
            r = self.all[name]
            found = self.blocks.find(r["tokens"], r["adapter"], r["salt"])
            n = min(left, len(r["tokens"]) - found)
            begun = self.blocks.start(name, r["tokens"][: found + n], r["adapter"], r["salt"])
            if begun is None:
                break
            r["ran"] = found
            plan.append((name, n))
            left -= n
        for name, n in plan:
            r = self.all[name]
            r["ran"] += n
            if r["ran"] == len(r["tokens"]):
                self._next(name, r)
        return plan

    def _next(self, name, r):
        r["logits"] = self._model(r["tokens"], r["adapter"])
        token = r["logits"].tolist().index(max(r["logits"].tolist()))
        r["tokens"] = [*r["tokens"], token]
        if token == r["stop"] or len(r["tokens"]) == r["first"] + r["count"]:
            self.blocks.release(name)
            self.done[name] = self.all.pop(name)

    def _model(self, tokens, adapter):
        w = self.w
        x = w["embed"][tokens] + w["place"][: len(tokens)]
        if adapter is not None:
            x = x + self.adapters[adapter]
        hidden = torch.ones(len(tokens), len(tokens), dtype=torch.bool).triu(1)
        for q, k, v in zip(w["q"], w["k"], w["v"], strict=True):
            scores = (x @ q.mT) @ (x @ k.mT).mT / math.sqrt(x.shape[1])
            x = x + scores.masked_fill(hidden, float("-inf")).softmax(1) @ (x @ v.mT)
        return x[-1] @ w["head"].mT

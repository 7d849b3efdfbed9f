"""Weak hashes with a comparison behind them, tables and counts in tensors, and requests as generators."""

import collections
import heapq

import torch

Content = collections.namedtuple("Content", "adapter salt tokens")


class BlockManager:
    def __init__(self, blocks, block_size):
        if blocks < 1 or block_size < 1:
            raise ValueError("too small")
        self.block_size = block_size
        self.held = torch.zeros(blocks, dtype=torch.int64)
        self.freed = torch.arange(blocks)  # when each block became free, for those that are
        self.time = blocks
        self.content = [None] * blocks
        self.buckets = collections.defaultdict(list)
        self.sequences = {}

    def _bucket(self, content):
        return self.buckets[(len(content.tokens) + sum(content.tokens)) % 7]

    def _cached(self, content):
        same = [b for b in self._bucket(content) if self.content[b] == content]
        return same[0] if same else None

    def _prefix(self, adapter, salt, tokens):
        blocks = []
        for end in range(self.block_size, len(tokens) + 1, self.block_size):
            block = self._cached(Content(adapter, salt, tokens[:end]))
            if block is None or end == len(tokens):
                return blocks
            blocks.append(block)
        return blocks

    def find(self, tokens, adapter=None, salt=None):
        if not tokens:
            raise ValueError("empty")
        return len(self._prefix(adapter, salt, tuple(tokens))) * self.block_size

    def free_blocks(self):
        idle = (self.held == 0).nonzero().flatten()
        return idle[self.freed[idle].argsort()].tolist()

    def references(self):
        return self.held.tolist()

    def table(self, name):
        return list(self._get(name)["table"])

    def _get(self, name):
        if name not in self.sequences:
            raise ValueError(f"unknown {name}")
        return self.sequences[name]

    def _absent(self, name):
        if name in self.sequences:
            raise ValueError(f"known {name}")

    def _evict(self):
        block = self.free_blocks()[0]
        if self.content[block] is not None:
            self._bucket(self.content[block]).remove(block)
            self.content[block] = None
        self.held[block] = 1
        return block

    def _grow(self, sequence, tokens):
        sequence["content"] = sequence["content"]._replace(
            tokens=sequence["content"].tokens + tuple(tokens)
        )
        every = sequence["content"].tokens
        first = (len(every) - len(tokens)) // self.block_size
        while len(sequence["table"]) * self.block_size < len(every):
            sequence["table"].append(self._evict())
        for i in range(first, len(every) // self.block_size):
            block, end = sequence["table"][i], (i + 1) * self.block_size
            content = sequence["content"]._replace(tokens=every[:end])
            if self._cached(content) is None:
                self._bucket(content).append(block)
                self.content[block] = content

    def start(self, name, tokens, adapter=None, salt=None):
        self._absent(name)
        if not tokens:
            raise ValueError("empty")
        hits = self._prefix(adapter, salt, tuple(tokens))
        needed = (len(tokens) - 1) // self.block_size + 1 - len(hits)
        if needed > len(set(self.free_blocks()).difference(hits)):
            return None
        for block in hits:
            self.held[block] += 1
        found = len(hits) * self.block_size
        begun = Content(adapter, salt, tuple(tokens[:found]))
        self.sequences[name] = {"content": begun, "table": hits}
        self._grow(self.sequences[name], tokens[found:])
        return found

    def append(self, name, tokens):
        sequence = self._get(name)
        if not tokens:
            raise ValueError("empty")
        count, table = len(sequence["content"].tokens), sequence["table"]
        last = table[-1]
        split = count % self.block_size != 0 and int(self.held[last]) > 1
        end = count + len(tokens)
        needed = (end - 1) // self.block_size + 1 - len(table) + (1 if split else 0)
        if needed > len(self.free_blocks()):
            return None
        if split:
            self.held[last] -= 1
            table[-1] = self._evict()
        moved = [(last, table[-1])] if split else []
        self._grow(sequence, tokens)
        return moved

    def fork(self, name, child):
        sequence = self._get(name)
        self._absent(child)
        self.sequences[child] = {**sequence, "table": list(sequence["table"])}
        for block in sequence["table"]:
            self.held[block] += 1

    def release(self, name):
        table = self._get(name)["table"]
        for block in table[::-1]:
            self.held[block] -= 1
            if self.held[block] == 0:
                self.freed[block] = self.time
                self.time += 1
        del self.sequences[name]


class Engine:
    def __init__(self, weights, *, blocks, block_size, budget, adapters=None):
        if budget < 1:
            raise ValueError("budget")
        self.blocks = BlockManager(blocks, block_size)
        self.budget = budget
        self.model = Model(weights, adapters, blocks, block_size)
        self.requests, self.arrived = {}, 0

    def _fits(self, tokens):
        if not all(0 <= t < self.model.vocabulary for t in tokens):
            raise ValueError("token")

    def _unused(self, name):
        if name in self.requests and self.requests[name]["state"] != "done":
            raise ValueError("in use")

    def _find(self, name, unfinished=False):
        if name not in self.requests or (unfinished and self.requests[name]["state"] == "done"):
            raise ValueError("no such request")
        return self.requests[name]

    def _enter(self, name, **request):
        self.requests[name] = request | {"name": name, "order": self.arrived, "logits": None}
        self.arrived += 1

    def add(self, name, prompt, count, *, adapter=None, salt=None, stop=None):
        self._unused(name)
        if not prompt or count < 1 or len(prompt) + count - 1 > self.model.room:
            raise ValueError("prompt or count")
        self._fits(prompt)
        if adapter is not None and adapter not in self.model.adapters:
            raise ValueError("adapter")
        self._enter(
            name, text=tuple(prompt), start=len(prompt), end=len(prompt) + count, adapter=adapter,
            salt=salt, stop=stop, ran=0, state="waiting",
        )  # fmt: skip

    def fork(self, name, child, token):
        parent = self._find(name, unfinished=True)
        self._unused(child)
        self._fits([token])
        if parent["state"] == "running":
            self.blocks.fork(name, child)
        same = ("start", "end", "adapter", "salt", "stop", "ran", "state")
        self._enter(child, text=(*parent["text"][:-1], token), **{key: parent[key] for key in same})

    def cancel(self, name):
        if self._find(name, unfinished=True)["state"] == "running":
            self.blocks.release(name)
        self.requests.pop(name)

    def _in(self, state):
        heap = [(r["order"], name) for name, r in self.requests.items() if r["state"] == state]
        heapq.heapify(heap)
        return [heapq.heappop(heap)[1] for _ in range(len(heap))]

    def running(self):
        return self._in("running")

    def waiting(self):
        return self._in("waiting")

    def output(self, name):
        request = self._find(name)
        return list(request["text"][request["start"] :])

    def logits(self, name):
        logits = self._find(name)["logits"]
        if logits is None:
            raise ValueError("nothing yet")
        return torch.tensor(logits, dtype=self.model.dtype)

    def step(self):
        work = list(self._schedule())
        for request, count in work:
            logits = self.model.run(request, count, self.blocks.table(request["name"]))
            request["ran"] += count
            if request["ran"] == len(request["text"]):
                request["logits"] = logits
                token = max(range(len(logits)), key=logits.__getitem__)
                request["text"] += (token,)
                if token == request["stop"] or len(request["text"]) == request["end"]:
                    request["state"] = "done"
                    self.blocks.release(request["name"])
        return [(request["name"], count) for request, count in work]

    def _schedule(self):
        left, calm = self.budget, True
        for name in self.running():
            request = self.requests[name]
            count = min(left, len(request["text"]) - request["ran"])
            if not count:
                continue
            new = list(request["text"][request["ran"] :][:count])
            while request["state"] == "running":
                moved = self.blocks.append(name, new)
                if moved is not None:
                    self.model.copy(moved)
                    left -= count
                    yield request, count
                    break
                calm = False
                youngest = self.running()[-1]
                self.blocks.release(youngest)
                self.requests[youngest].update(state="waiting", ran=0)
        while calm and left and (queue := self.waiting()):
            request = self.requests[queue[0]]
            whose = request["adapter"], request["salt"]
            found = self.blocks.find(request["text"], *whose)
            count = min(left, len(request["text"]) - found)
            if self.blocks.start(queue[0], request["text"][: found + count], *whose) is None:
                return
            request.update(state="running", ran=found)
            left -= count
            yield request, count


class Model:
    """Keys and values of each block and layer side by side, [N, size, L, 2, D]; one token at a time."""

    def __init__(self, weights, adapters, blocks, size):
        self.w = {name: tensor.clone() for name, tensor in weights.items()}
        self.adapters = {} if adapters is None else {n: v.clone() for n, v in adapters.items()}
        self.dtype, self.vocabulary = self.w["q"].dtype, len(self.w["embed"])
        self.size, self.room = size, min(blocks * size, len(self.w["place"]))
        layers, dim = self.w["q"].shape[:2]
        self.kv = torch.zeros(blocks, size, layers, 2, dim, dtype=self.dtype)

    def copy(self, moved):
        for old, new in moved:
            self.kv[new].copy_(self.kv[old])

    def run(self, request, count, table):
        for i in range(request["ran"], request["ran"] + count):
            x = self.w["embed"][request["text"][i]] + self.w["place"][i]
            if request["adapter"] is not None:
                x = x + self.adapters[request["adapter"]]
            block, place = table[i // self.size], i % self.size
            for layer in range(self.kv.shape[2]):
                q, k, v = (self.w[name][layer].mv(x) for name in "qkv")
                self.kv[block, place, layer, 0], self.kv[block, place, layer, 1] = k, v
                keys, values = self.kv[table, :, layer].flatten(0, 1)[: i + 1].unbind(1)
                weights = torch.softmax(keys.mv(q) * len(x) ** -0.5, 0)
                x = x + weights @ values
        return self.w["head"].mv(x).tolist()

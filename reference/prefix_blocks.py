"""A prefix cache by blocks, and a small engine that serves requests from it.

Keys and values are kept in blocks of `block_size` tokens.  A sequence has a table of blocks; sequences that begin alike
hold the same ones, and a block nobody holds keeps its content until it is taken for something else.  `BlockManager`
knows which block holds what, and no numbers.  `Engine` runs requests over it, with a budget of tokens a step.

S new tokens, T tokens of a sequence so far, L layers, D features, V vocabulary, N blocks.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Copies = list[tuple[int, int]]  # blocks (from, to) whose keys and values must be copied


@dataclass
class Held:
    """What a sequence holds: a key for each full block, and whose they are."""

    tokens: list[int]
    table: list[int]
    keys: list[str]
    adapter: int | None
    salt: str | None


class BlockManager:
    """Which block holds what, who holds it, and which one is taken next."""

    def __init__(self, blocks: int, block_size: int) -> None:
        """Make `blocks` empty blocks; raises ValueError unless both numbers are at least 1."""
        if min(blocks, block_size) < 1:
            raise ValueError("there must be at least one block of at least one token")
        self.block_size = block_size
        self._references = [0] * blocks  # sequences that hold each block
        self._free = OrderedDict.fromkeys(range(blocks))  # in the order in which they are taken
        self._block_of: dict[str, int] = {}  # of each content that is cached
        self._key_of: dict[int, str] = {}  # and the other way round
        self._held: dict[str, Held] = {}

    def find(
        self, tokens: Sequence[int], adapter: int | None = None, salt: str | None = None
    ) -> int:
        """Return how many of these tokens a new sequence would find cached; changes nothing."""
        return len(self._hits(_listed(tokens), adapter, salt)) * self.block_size

    def start(
        self, name: str, tokens: Sequence[int], adapter: int | None = None, salt: str | None = None
    ) -> int | None:
        """Begin a sequence of these tokens, with the blocks that are cached and new ones for the rest.

        Returns how many tokens were cached, or None, and nothing changes, where free blocks are too few.
        """
        tokens = _listed(tokens)
        self._check_new(name)
        hits = self._hits(tokens, adapter, salt)
        free = len(self._free) - sum(self._references[block] == 0 for block in hits)
        if self._blocks_for(len(tokens)) - len(hits) > free:
            return None
        for block in hits:
            self._hold(block)
        found = len(hits) * self.block_size
        keys = [self._key_of[block] for block in hits]
        held = self._held[name] = Held(tokens[:found], hits, keys, adapter, salt)
        self._fill(held, tokens[found:])
        return found

    def append(self, name: str, tokens: Sequence[int]) -> Copies | None:
        """Add tokens to a sequence.

        Returns the copies that must be made before they are written, or None, and nothing changes, where free blocks
        are too few.
        """
        held, tokens = self._known(name), _listed(tokens)
        shared = self._writes_into_shared(held)
        needed = self._blocks_for(len(held.tokens) + len(tokens)) - len(held.table) + shared
        if needed > len(self._free):
            return None
        copies = []
        if shared:
            source, target = held.table[-1], self._take()
            held.table[-1] = target
            self._references[source] -= 1
            copies.append((source, target))
        self._fill(held, tokens)
        return copies

    def fork(self, name: str, child: str) -> None:
        """Begin a sequence that holds what another holds."""
        held = self._known(name)
        self._check_new(child)
        for block in held.table:
            self._references[block] += 1
        parts = [*held.tokens], [*held.table], [*held.keys]
        self._held[child] = Held(*parts, held.adapter, held.salt)

    def release(self, name: str) -> None:
        """End a sequence; the blocks that nobody else holds are free, its last one first."""
        held = self._known(name)
        del self._held[name]
        for block in reversed(held.table):
            self._references[block] -= 1
            if self._references[block] == 0:
                self._free[block] = None

    def table(self, name: str) -> list[int]:
        """Return the blocks of a sequence."""
        return [*self._known(name).table]

    def references(self) -> list[int]:
        """Return how many sequences hold each block."""
        return [*self._references]

    def free_blocks(self) -> list[int]:
        """Return the blocks that nobody holds, in the order in which they will be taken."""
        return [*self._free]

    def _known(self, name: str) -> Held:
        """Return what a sequence holds; raises ValueError where there is none."""
        if name not in self._held:
            raise ValueError(f"there is no sequence {name!r}")
        return self._held[name]

    def _check_new(self, name: str) -> None:
        """Refuse a name that is in use."""
        if name in self._held:
            raise ValueError(f"there is a sequence {name!r} already")

    def _blocks_for(self, tokens: int) -> int:
        """Return how many blocks so many tokens fill or begin."""
        return math.ceil(tokens / self.block_size)

    def _hits(self, tokens: list[int], adapter: int | None, salt: str | None) -> list[int]:
        """Return the cached blocks with which a sequence of these tokens begins; one token is left to run."""
        size, found, key = self.block_size, [], ""
        for end in range(size, len(tokens), size):
            key = _key(key, tokens[end - size : end], adapter, salt)
            if key not in self._block_of:
                break
            found.append(self._block_of[key])
        return found

    def _hold(self, block: int) -> None:
        """Hold a cached block for one more sequence."""
        self._references[block] += 1
        self._free.pop(block, None)

    def _take(self) -> int:
        """Take the block that has been free for longest, and forget what it held."""
        block, _ = self._free.popitem(last=False)
        if block in self._key_of:
            del self._block_of[self._key_of.pop(block)]
        self._references[block] = 1
        return block

    def _writes_into_shared(self, held: Held) -> bool:
        """Whether the next token of a sequence goes into a block that another sequence holds as well."""
        begun = len(held.tokens) % self.block_size > 0
        return begun and self._references[held.table[-1]] > 1

    def _fill(self, held: Held, tokens: list[int]) -> None:
        """Put tokens behind those of a sequence, in new blocks where needed; blocks that are full are cached."""
        held.tokens += tokens
        while len(held.table) < self._blocks_for(len(held.tokens)):
            held.table.append(self._take())
        size = self.block_size
        for i in range(len(held.keys), len(held.tokens) // size):
            parent = held.keys[-1] if held.keys else ""
            key = _key(parent, held.tokens[i * size : (i + 1) * size], held.adapter, held.salt)
            held.keys.append(key)
            if key not in self._block_of:
                self._block_of[key] = held.table[i]
                self._key_of[held.table[i]] = key


@dataclass(eq=False)
class Request:
    """A request: its prompt of `prompt` tokens and its output in one list, and how far it was run."""

    name: str
    number: int  # of its arrival
    tokens: list[int]
    prompt: int
    count: int
    adapter: int | None
    salt: str | None
    stop: int | None
    run: int = 0  # tokens whose keys and values are stored
    finished: bool = False
    logits: Tensor | None = None


class Engine:
    """Serves requests: a few tokens of each in every step, greedy output, blocks shared where texts begin alike."""

    def __init__(
        self, weights: Mapping[str, Tensor], *, blocks: int, block_size: int, budget: int,
        adapters: Mapping[int, Tensor] | None = None,
    ) -> None:  # fmt: skip
        """Take `embed` and `head` [V, D], `place` [P, D], and `q`, `k`, `v` [L, D, D]; adapters are [D] each.

        A step runs at most `budget` tokens.  Raises ValueError for numbers below 1.
        """
        if budget < 1:
            raise ValueError("a step must run at least one token")
        self.blocks = BlockManager(blocks, block_size)
        self._weights, self._adapters, self._budget = dict(weights), dict(adapters or {}), budget
        layers, dim = weights["q"].shape[:2]
        self._keys = torch.zeros(layers, blocks * block_size, dim, dtype=weights["q"].dtype)
        self._values = torch.zeros_like(self._keys)
        self._requests: dict[str, Request] = {}
        self._running: list[Request] = []  # both in the order of arrival
        self._waiting: list[Request] = []
        self._arrivals = 0

    def add(
        self, name: str, prompt: Sequence[int], count: int, *, adapter: int | None = None,
        salt: str | None = None, stop: int | None = None,
    ) -> None:  # fmt: skip
        """Let a request wait, which is to get `count` tokens, or fewer if the last of them is `stop`.

        Raises ValueError for a name in use, unknown tokens and adapters, and more than there is room for.
        """
        self._check_name(name)
        tokens, places = _listed(prompt), len(self._weights["place"])
        self._check_tokens(tokens)
        if adapter is not None and adapter not in self._adapters:
            raise ValueError(f"there is no adapter {adapter!r}")
        room = min(places, len(self._keys[0]))
        if count < 1 or len(tokens) + count - 1 > room:
            raise ValueError(f"from 1 to {room + 1 - len(tokens)} tokens can follow, not {count}")
        request = Request(name, self._arrivals, tokens, len(tokens), count, adapter, salt, stop)
        self._enter(request, self._waiting)

    def fork(self, name: str, child: str, token: int) -> None:
        """Begin a request that is another one up to its newest token, and has `token` in that one's place."""
        parent = self._unfinished(name)
        self._check_name(child)
        self._check_tokens([token])
        child_tokens = [*parent.tokens[:-1], token]
        request = replace(
            parent, name=child, number=self._arrivals, tokens=child_tokens, logits=None
        )
        if parent in self._running:
            self.blocks.fork(name, child)
        self._enter(request, self._running if parent in self._running else self._waiting)

    def cancel(self, name: str) -> None:
        """Forget a request that has not finished."""
        request = self._unfinished(name)
        if request in self._running:
            self.blocks.release(name)
        (self._running if request in self._running else self._waiting).remove(request)
        del self._requests[name]

    def step(self) -> list[tuple[str, int]]:
        """Run one step; returns the requests that ran, in order, and how many tokens of each."""
        planned = self._plan()
        for request, count in planned:
            self._run(request, count)
        return [(request.name, count) for request, count in planned]

    def output(self, name: str) -> list[int]:
        """Return the tokens that a request got so far."""
        request = self._request(name)
        return request.tokens[request.prompt :]

    def logits(self, name: str) -> Tensor:
        """Return the logits [V] of the newest token of the output; raises ValueError before there is one."""
        logits = self._request(name).logits
        if logits is None:
            raise ValueError(f"{name!r} has not got a token yet")
        return logits.clone()

    def running(self) -> list[str]:
        """Return the requests that hold blocks, in the order of arrival."""
        return [request.name for request in self._running]

    def waiting(self) -> list[str]:
        """Return the requests that wait, in the order of arrival."""
        return [request.name for request in self._waiting]

    def _request(self, name: str) -> Request:
        """Return a request; raises ValueError where there is none."""
        if name not in self._requests:
            raise ValueError(f"there is no request {name!r}")
        return self._requests[name]

    def _unfinished(self, name: str) -> Request:
        """Return a request that runs or waits."""
        request = self._request(name)
        if request.finished:
            raise ValueError(f"{name!r} has finished")
        return request

    def _check_name(self, name: str) -> None:
        """Refuse the name of a request that runs or waits."""
        if name in self._requests and not self._requests[name].finished:
            raise ValueError(f"there is a request {name!r} already")

    def _check_tokens(self, tokens: list[int]) -> None:
        """Refuse tokens that the model does not know."""
        if not all(0 <= token < len(self._weights["embed"]) for token in tokens):
            raise ValueError(f"tokens are from 0 to {len(self._weights['embed']) - 1}")

    def _enter(self, request: Request, queue: list[Request]) -> None:
        """Let a new request be one of those that wait or run."""
        self._arrivals += 1
        self._requests[request.name] = request
        bisect.insort(queue, request, key=_arrival)

    def _plan(self) -> list[tuple[Request, int]]:
        """Choose the requests of a step and how many tokens of each, and give them blocks."""
        planned: list[tuple[Request, int]] = []
        left, preempted = self._budget, False
        for request in [*self._running]:
            count = min(len(request.tokens) - request.run, left)
            while count and request in self._running:
                new = request.tokens[request.run : request.run + count]
                copies = self.blocks.append(request.name, new)
                if copies is not None:
                    self._copy(copies)
                    planned.append((request, count))
                    left -= count
                    break
                self._preempt(self._running[-1])
                preempted = True
        while self._waiting and left and not preempted:
            admitted = self._admit(self._waiting[0], left)
            if admitted is None:
                break
            planned.append((self._waiting.pop(0), admitted))
            left -= admitted
        return planned

    def _admit(self, request: Request, left: int) -> int | None:
        """Start the blocks of a request that waits; returns how many tokens it is to run, None without room."""
        owner = request.adapter, request.salt
        hits = self.blocks.find(request.tokens, *owner)
        count = min(len(request.tokens) - hits, left)
        if self.blocks.start(request.name, request.tokens[: hits + count], *owner) is None:
            return None
        request.run = hits
        bisect.insort(self._running, request, key=_arrival)
        return count

    def _preempt(self, request: Request) -> None:
        """Take the blocks of a running request away; it waits, and all of its tokens are run again."""
        self.blocks.release(request.name)
        self._running.remove(request)
        request.run = 0
        bisect.insort(self._waiting, request, key=_arrival)

    def _run(self, request: Request, count: int) -> None:
        """Run the next tokens of a request; behind its newest one it gets another."""
        logits = self._forward(request, count)
        request.run += count
        if request.run == len(request.tokens):
            self._sample(request, logits)

    def _sample(self, request: Request, logits: Tensor) -> None:
        """Add the likeliest token to a request, and let it finish if that is its last one."""
        request.logits = logits
        token = int(logits.argmax())
        request.tokens.append(token)
        if token == request.stop or len(request.tokens) - request.prompt == request.count:
            request.finished = True
            self._running.remove(request)
            self.blocks.release(request.name)

    def _copy(self, copies: Copies) -> None:
        """Copy the keys and values of whole blocks."""
        size = self.blocks.block_size
        for source, target in copies:
            old = slice(source * size, (source + 1) * size)
            new = slice(target * size, (target + 1) * size)
            self._keys[:, new] = self._keys[:, old]
            self._values[:, new] = self._values[:, old]

    def _slots(self, name: str, tokens: int) -> Tensor:
        """Return the slots [T] of the first tokens of a sequence."""
        positions, size = torch.arange(tokens), self.blocks.block_size
        return torch.tensor(self.blocks.table(name))[positions // size] * size + positions % size

    def _embedded(self, request: Request, total: int) -> Tensor:
        """Return what the first layer gets [S, D], for the tokens of a request from `run` up to `total`."""
        x = self._weights["embed"][request.tokens[request.run : total]]  # [S, D]
        x = x + self._weights["place"][request.run : total]
        if request.adapter is not None:
            x = x + self._adapters[request.adapter]
        return x

    def _forward(self, request: Request, count: int) -> Tensor:
        """Run the next tokens of a request; returns the logits [V] behind the last of them."""
        weights, total = self._weights, request.run + count
        x, slots = self._embedded(request, total), self._slots(request.name, total)  # [S, D], [T]
        for layer in range(len(weights["q"])):
            q, k, v = (x @ weights[name][layer].T for name in ("q", "k", "v"))
            self._keys[layer, slots[request.run :]] = k
            self._values[layer, slots[request.run :]] = v
            x = x + _attention(q, self._keys[layer, slots], self._values[layer, slots])
        return x[-1] @ weights["head"].T


def _arrival(request: Request) -> int:
    """Return the number of a request's arrival, by which queues are sorted."""
    return request.number


def _listed(tokens: Sequence[int]) -> list[int]:
    """Return tokens as a list of one's own; raises ValueError where there are none."""
    if not len(tokens):
        raise ValueError("at least one token is needed")
    return [int(token) for token in tokens]


def _key(parent: str, tokens: list[int], adapter: int | None, salt: str | None) -> str:
    """Name the content of a full block: its tokens, all that comes before them, and whose they are."""
    owner = (adapter, salt)
    text = repr((parent, owner, tokens))
    return hashlib.sha256(text.encode()).hexdigest()


def _attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Let the last S of T tokens attend, each to all up to itself: query [S, D], keys and values [T, D]."""
    scores = query @ keys.T / math.sqrt(query.shape[1])  # [S, T]
    later = torch.ones_like(scores).triu(len(keys) - len(query) + 1).bool()
    return scores.masked_fill(later, -math.inf).softmax(-1) @ values

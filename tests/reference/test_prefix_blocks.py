"""The block manager against a dictionary model, and the engine against each request alone, in float64 and uncached."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from torch import Tensor

from reference.prefix_blocks import BlockManager, Engine

NAMES = st.sampled_from("abcd")
OWNERS = st.tuples(st.sampled_from([None, 0, 1, 65537, -1, -2]), st.sampled_from([None, "", "None", "1"]))  # fmt: skip
# few tokens, so that texts begin alike and look alike
TOKENS = st.lists(st.sampled_from([1, 2, 12]), min_size=1, max_size=9)
Owner = tuple[int | None, str | None]


class Model:
    """What a manager must say, from contents themselves: a content is an owner and all tokens up to a block's end."""

    def __init__(self, blocks: int, size: int) -> None:
        self.size, self.blocks = size, blocks
        self.texts: dict[str, tuple[Owner, tuple[int, ...], list[int]]] = {}
        self.cached: dict[tuple[Owner, tuple[int, ...]], int] = {}
        self.queue = list(range(blocks))

    def known(self, owner: Owner, text: tuple[int, ...]) -> list[int]:
        found: list[int] = []
        for full in range(1, (len(text) - 1) // self.size + 1):
            content = (owner, text[: full * self.size])
            if content not in self.cached:
                return found
            found.append(self.cached[content])
        return found

    def count(self) -> Counter[int]:
        return Counter(block for _, _, table in self.texts.values() for block in table)

    def grown(self, name: str, owner: Owner, text: tuple[int, ...], table: list[int]) -> None:
        while len(table) * self.size < len(text):
            block = self.queue.pop(0)
            self.cached = {content: at for content, at in self.cached.items() if at != block}
            table.append(block)
        for full in range(1, len(text) // self.size + 1):
            self.cached.setdefault((owner, text[: full * self.size]), table[full - 1])
        self.texts[name] = owner, text, table

    def start(self, name: str, owner: Owner, text: tuple[int, ...]) -> int | None:
        found = self.known(owner, text)
        rest = [block for block in self.queue if block not in found]
        if -(-len(text) // self.size) - len(found) > len(rest):
            return None
        self.queue = rest
        self.grown(name, owner, text, found.copy())
        return len(found) * self.size

    def append(self, name: str, more: tuple[int, ...]) -> list[tuple[int, int]] | None:
        owner, text, table = self.texts[name]
        last = table[-1]
        shared = len(text) % self.size != 0 and self.count()[last] > 1
        if -(-len(text + more) // self.size) - len(table) + shared > len(self.queue):
            return None
        if not shared:
            self.grown(name, owner, text + more, table.copy())
            return []
        self.grown(name, owner, text + more, table[:-1])
        return [(last, self.texts[name][2][len(table) - 1])]

    def release(self, name: str) -> None:
        table = self.texts.pop(name)[2]
        held = self.count()
        self.queue += [block for block in table[::-1] if not held[block]]


class Managers(RuleBasedStateMachine):
    """Any calls of a manager, each beside the model's."""

    blocks, size = 7, 2

    def __init__(self) -> None:
        super().__init__()
        self.manager = BlockManager(self.blocks, self.size)
        self.model = Model(self.blocks, self.size)

    @rule(name=NAMES, owner=OWNERS, tokens=TOKENS)
    def start(self, name: str, owner: Owner, tokens: list[int]) -> None:
        if name in self.model.texts:
            with pytest.raises(ValueError, match="already"):
                self.manager.start(name, tokens, *owner)
        else:
            wanted = self.model.start(name, owner, tuple(tokens))
            assert self.manager.start(name, tokens, *owner) == wanted

    @rule(name=NAMES, other=NAMES, more=TOKENS)
    def start_like_another(self, name: str, other: str, more: list[int]) -> None:
        if other in self.model.texts:
            owner, text, _ = self.model.texts[other]
            self.start(name, owner, [*text, *more])

    @rule(name=NAMES, tokens=TOKENS)
    def append(self, name: str, tokens: list[int]) -> None:
        if name not in self.model.texts:
            with pytest.raises(ValueError, match="no sequence"):
                self.manager.append(name, tokens)
        else:
            assert self.manager.append(name, tokens) == self.model.append(name, tuple(tokens))

    @rule(name=NAMES, child=NAMES)
    def fork(self, name: str, child: str) -> None:
        if name not in self.model.texts or child in self.model.texts:
            with pytest.raises(ValueError, match="sequence"):
                self.manager.fork(name, child)
        else:
            self.manager.fork(name, child)
            owner, text, table = self.model.texts[name]
            self.model.texts[child] = owner, text, table.copy()

    @rule(name=NAMES)
    def release(self, name: str) -> None:
        if name in self.model.texts:
            self.manager.release(name)
            self.model.release(name)

    @rule(owner=OWNERS, tokens=TOKENS)
    def find(self, owner: Owner, tokens: list[int]) -> None:
        wanted = len(self.model.known(owner, tuple(tokens))) * self.size
        assert self.manager.find(tokens, *owner) == wanted

    @invariant()
    def says_the_same(self) -> None:
        held = self.model.count()
        assert self.manager.references() == [held[block] for block in range(self.blocks)]
        assert self.manager.free_blocks() == self.model.queue
        for name, (_, _, table) in self.model.texts.items():
            assert self.manager.table(name) == table


class ManagersOfOne(Managers):
    """The same with blocks of one token."""

    blocks, size = 6, 1


TestManagers = Managers.TestCase
TestManagersOfOne = ManagersOfOne.TestCase
for case in (TestManagers, TestManagersOfOne):
    case.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)

V, D, L, P = 11, 5, 2, 40


def model(draw: torch.Generator) -> dict[str, Tensor]:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    square = {name: normal(L, D, D) / math.sqrt(D) for name in "qkv"}
    return {"embed": normal(V, D), "place": normal(P, D), "head": normal(V, D), **square}


def logits_alone(weights: dict[str, Tensor], tokens: list[int], shift: Tensor | None) -> Tensor:
    """Logits behind a text: all of it at once, one token after the other, nothing kept."""
    x = [weights["embed"][token] + weights["place"][i] for i, token in enumerate(tokens)]
    if shift is not None:
        x = [row + shift for row in x]
    for layer in range(L):
        q, k, v = ([weights[name][layer] @ row for row in x] for name in "qkv")
        after = []
        for i, row in enumerate(x):
            weighed = [math.exp(float(q[i] @ k[j]) / math.sqrt(D)) for j in range(i + 1)]
            seen = sum(w * v[j] for j, w in enumerate(weighed))
            after.append(row + seen / sum(weighed))
        x = after
    return weights["head"] @ x[-1]


asked = st.tuples(
    st.sampled_from("uv"), st.integers(1, 11), st.integers(0, 4), st.integers(1, 6),
    st.sampled_from([None, 0, 1]), st.sampled_from([None, "s"]), st.integers(0, 5),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.lists(asked, min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 6),
    st.integers(1, 9), st.integers(0, 2**20), st.booleans(),
)  # fmt: skip
def test_every_request_answers_as_if_it_were_alone(
    requests: list[tuple[str, int, int, int, int | None, str | None, int]], size: int, spare: int,
    budget: int, seed: int, forked: bool,
) -> None:  # fmt: skip
    draw = torch.Generator().manual_seed(seed)
    weights = model(draw)
    shifts = {n: torch.randn(D, generator=draw, dtype=torch.float64) for n in (0, 1)}
    texts = {name: torch.randint(V, (20,), generator=draw).tolist() for name in "uvw"}
    wanted = [
        (texts[text][:keep] + texts["w"][:more], count, adapter, salt, pause)
        for text, keep, more, count, adapter, salt, pause in requests
    ]
    least = max(-(-(len(prompt) + count - 1) // size) for prompt, count, *_ in wanted)
    engine = Engine(weights, blocks=least + spare, block_size=size, budget=budget, adapters=shifts)
    prompts: dict[str, tuple[list[int], int | None, int]] = {}
    steps = 0

    def stepped() -> None:
        running, waiting = engine.running(), engine.waiting()
        ran = engine.step()
        order = [*running, *waiting]
        assert sum(count for _, count in ran) <= budget
        assert [name for name, _ in ran] == [name for name in order if name in dict(ran)]
        held = Counter(block for name in engine.running() for block in engine.blocks.table(name))
        blocks = range(least + spare)
        assert engine.blocks.references() == [held[block] for block in blocks]
        assert sorted(engine.blocks.free_blocks()) == [block for block in blocks if not held[block]]

    for i, (prompt, count, adapter, salt, pause) in enumerate(wanted):
        engine.add(f"r{i}", prompt, count, adapter=adapter, salt=salt)
        prompts[f"r{i}"] = prompt, adapter, count
        for _ in range(pause):
            stepped()
        if forked and f"r{i}" in engine.running():
            engine.fork(f"r{i}", f"f{i}", 3)
            output = engine.output(f"r{i}")
            other = prompt if output else [*prompt[:-1], 3]
            prompts[f"f{i}"] = other, adapter, count
    while engine.running() or engine.waiting():
        stepped()
        steps += 1
        assert steps < 600, "requests that wait for each other"
    for name, (prompt, adapter, count) in prompts.items():
        output = engine.output(name)
        assert len(output) == count
        shift = None if adapter is None else shifts[adapter]
        text = [*prompt, *output]
        logits = logits_alone(weights, text[:-1], shift)
        torch.testing.assert_close(engine.logits(name), logits, atol=1e-9, rtol=1e-9)
        for i in range(len(prompt), len(text)):
            choice = int(logits_alone(weights, text[:i], shift).argmax())
            assert text[i] == choice or (name[0] == "f" and text[i] == 3)
    assert len(engine.blocks.free_blocks()) == least + spare


def test_preemption_keeps_what_was_said() -> None:
    """A known fault of schedulers: a request that gave way is computed anew up to its prompt only."""
    weights = model(torch.Generator().manual_seed(1))
    engine = Engine(weights, blocks=4, block_size=2, budget=8)
    engine.add("a", [1, 2, 3], 5)
    engine.add("b", [4, 5, 6], 5)
    for _ in range(3):
        engine.step()
    assert engine.waiting() == ["b"]
    assert len(engine.output("b")) == 2
    while engine.running() or engine.waiting():
        engine.step()
    text = [4, 5, 6, *engine.output("b")]
    assert text[3:] == [int(logits_alone(weights, text[:i], None).argmax()) for i in range(3, 8)]

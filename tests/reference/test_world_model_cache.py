"""The world model's caches against plain dictionaries and lists, driven by hypothesis.

The models here know no slots, no padding and no tensors: a cache is the list of token numbers it holds.

Run just this file: pytest tests/reference/test_world_model_cache.py
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reference.world_model_cache import (
    LEGACY,
    STRATEGIES,
    KeysValues,
    KVCacheManager,
    KVCachePool,
    WorldModel,
    WorldModelConfig,
)

HEADS, WIDTH, LAYERS, MOST = 2, 4, 2, 6
QUICK = settings(max_examples=25, stateful_step_count=25, deadline=None)
KEYS = st.integers(0, 5)


def cache_of(numbers):
    """A cache of one sample whose tokens are these numbers in every place; values are negative."""
    cache = KeysValues(1, HEADS, MOST, WIDTH, LAYERS)
    append(cache, numbers)
    return cache


def append(cache, numbers):
    for layer in range(LAYERS):
        column = torch.tensor(numbers, dtype=torch.float32).view(1, 1, -1, 1)
        keys = column.expand(1, HEADS, -1, WIDTH // HEADS) + 100 * layer
        cache[layer].update(keys, -keys)


def numbers_of(cache):
    """Read the tokens back, making sure that all layers, heads, keys and values agree."""
    keys, _ = cache[0].get()
    for layer in range(LAYERS):
        assert torch.equal(cache[layer].get()[0], keys + 100 * layer)
        assert torch.equal(cache[layer].get()[1], -(keys + 100 * layer))
    assert torch.equal(keys, keys[:, :1, :, :1].expand_as(keys))
    return [int(number) for number in keys[0, 0, :, 0]]


def appended(held, numbers):
    """What a list of tokens is after an append: pairs leave from the front until the rest fits."""
    while held and len(held) + len(numbers) > MOST:
        held = held[2:]
    return held + numbers


class PoolMachine(RuleBasedStateMachine):
    """A pool is a dictionary in order of age, or of use, with the lowest priority looked for."""

    @initialize(size=st.integers(1, 3), strategy=st.sampled_from(STRATEGIES))
    def build(self, size, strategy):
        self.pool, self.room, self.strategy = KVCachePool(size, strategy), size, strategy
        self.entries = {}
        self.hits = self.misses = self.evictions = self.fresh = 0

    def used(self, key):
        if self.strategy == "LRU":
            self.entries[key] = self.entries.pop(key)

    @rule(key=KEYS, priority=st.integers(-2, 2), count=st.integers(1, MOST))
    def store(self, key, priority, count):
        self.fresh += 1
        numbers = [self.fresh] * count
        if key not in self.entries and len(self.entries) == self.room:
            victim = next(iter(self.entries))
            if self.strategy == "PRIORITY":
                victim = min(self.entries, key=lambda other: self.entries[other][1])
            del self.entries[victim]
            self.evictions += 1
        self.entries[key] = (numbers, priority)
        self.used(key)
        mine = cache_of(numbers)
        self.pool.set(key, mine, priority)
        append(mine, [99])

    @rule(key=KEYS)
    def look_up(self, key):
        found = self.pool.get(key)
        if key not in self.entries:
            self.misses += 1
            assert found is None
            return
        self.hits += 1
        self.used(key)
        assert found is not None
        assert numbers_of(found) == self.entries[key][0]
        append(found, [99])

    @rule()
    def clear(self):
        self.entries = {}
        self.pool.clear()

    @invariant()
    def holds_the_same_keys(self):
        assert {key for key in range(6) if key in self.pool} == set(self.entries)
        assert len(self.pool) == len(self.entries) <= self.room

    @invariant()
    def counts_the_same(self):
        lookups = self.hits + self.misses
        assert self.pool.statistics() == {
            "size": len(self.entries),
            "hits": self.hits,
            "misses": self.misses,
            "evictions": self.evictions,
            "hit_rate": self.hits / lookups if lookups else 0.0,
        }


class CloneMachine(RuleBasedStateMachine):
    """Several caches and their clones are independent lists."""

    @initialize()
    def build(self):
        self.caches, self.lists, self.fresh = [cache_of([])], [[]], 0

    @rule(pick=st.integers(0, 99), count=st.integers(1, MOST))
    def append(self, pick, count):
        self.fresh += 1
        pick %= len(self.caches)
        append(self.caches[pick], [self.fresh] * count)
        self.lists[pick] = appended(self.lists[pick], [self.fresh] * count)

    @rule(pick=st.integers(0, 99))
    def clone(self, pick):
        if len(self.caches) < 5:
            self.caches.append(self.caches[pick % len(self.caches)].clone())
            self.lists.append(list(self.lists[pick % len(self.lists)]))

    @rule(pick=st.integers(0, 99))
    def reset(self, pick):
        self.caches[pick % len(self.caches)].reset()
        self.lists[pick % len(self.lists)] = []

    @rule(pick=st.integers(0, 99), extra=st.integers(1, 3))
    def refuse_too_many(self, pick, extra):
        with pytest.raises(ValueError, match="cannot append"):
            append(self.caches[pick % len(self.caches)], [1] * (MOST + extra))

    @rule()
    def batch_and_back(self):
        batch = KeysValues.stack(self.caches)
        assert batch.padding.tolist() == [batch.size - len(held) for held in self.lists]
        for index, held in enumerate(self.lists):
            assert numbers_of(batch.row(index)) == held

    @invariant()
    def hold_the_same_tokens(self):
        assert [numbers_of(cache) for cache in self.caches] == self.lists


class ManagerMachine(RuleBasedStateMachine):
    """A manager of ample pools is one dictionary per level; handles are keys of another."""

    @initialize()
    def build(self):
        pools = {f"{name}_pool_size": 40 for name in ("init", "recur", "wm")}
        self.manager = KVCacheManager(WorldModelConfig(**pools), 2)
        self.init, self.recur, self.snapshots, self.fresh = {}, {}, {}, 0

    def new(self):
        self.fresh += 1
        return [self.fresh]

    @rule(env=st.integers(0, 1), key=KEYS)
    def store_root(self, env, key):
        self.init[env, key] = self.new()
        self.manager.set_init_cache(env, key, cache_of(self.init[env, key]))

    @rule(key=KEYS)
    def store_recurrent(self, key):
        self.recur[key] = self.new()
        self.manager.set_recur_cache(key, cache_of(self.recur[key]))

    @rule()
    def snapshot(self):
        numbers = self.new()
        handle = self.manager.set_wm_cache(cache_of(numbers))
        assert handle not in self.snapshots
        self.snapshots[handle] = numbers

    @rule(env=st.integers(0, 1), key=KEYS)
    def look_up(self, env, key):
        expected = self.init.get((env, key), self.recur.get(key))
        found = self.manager.hierarchical_get(env, key)
        assert (found and numbers_of(found)) == expected

    @rule(env=st.sampled_from([-2, -1, 2, 3]), key=KEYS)
    def refuse_environment(self, env, key):
        with pytest.raises(ValueError, match="environment"):
            self.manager.set_init_cache(env, key, cache_of([1]))

    @rule()
    def clear_recurrent(self):
        self.recur = {}
        self.manager.clear_recur_cache()

    @rule()
    def clear_all(self):
        self.init, self.recur = {}, {}
        self.snapshots = dict.fromkeys(self.snapshots)
        self.manager.clear_all()

    @invariant()
    def hold_the_same(self):
        seen = self.manager.statistics()
        assert [pool["size"] for pool in seen["init"]] == [
            sum(env == mine for env, _ in self.init) for mine in (0, 1)
        ]
        assert seen["recur"]["size"] == len(self.recur)
        for handle, numbers in self.snapshots.items():
            found = self.manager.get_wm_cache(handle)
            assert (found and numbers_of(found)) == numbers


TestPool = PoolMachine.TestCase
TestClone = CloneMachine.TestCase
TestManager = ManagerMachine.TestCase
for machine in (TestPool, TestClone, TestManager):
    machine.settings = QUICK


def model_of(max_tokens=MOST, **sizes):
    torch.manual_seed(0)
    config = WorldModelConfig(embed_dim=WIDTH, num_heads=HEADS, max_tokens=max_tokens, **sizes)
    return WorldModel(config, env_num=2).double()


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(chunks=st.lists(st.integers(1, 4), min_size=1, max_size=4), batch=st.integers(1, 3))
def test_split_forward_is_whole_forward(chunks, batch):
    model = model_of(max_tokens=16)
    tokens = random(batch, sum(chunks), WIDTH)
    whole_cache, split_cache = model.empty_cache(batch), model.empty_cache(batch)
    whole = model(tokens, whole_cache)
    split = torch.cat([model(part, split_cache) for part in tokens.split(chunks, dim=1)], dim=1)
    torch.testing.assert_close(split, whole)
    for layer in range(len(whole_cache)):
        torch.testing.assert_close(split_cache[layer].get(), whole_cache[layer].get())


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 2), min_size=2, max_size=3),
    chunks=st.lists(st.integers(1, 3), min_size=1, max_size=3),
)
def test_rows_of_a_batch_are_as_if_alone(lengths, chunks):
    model = model_of(max_tokens=16)
    rows = [model.empty_cache(1) for _ in lengths]
    for row, length in zip(rows, lengths, strict=True):
        if length:
            model(random(1, length, WIDTH), row)
    batch = KeysValues.stack(rows)
    for count in chunks:
        tokens = random(len(rows), count, WIDTH)
        together = model(tokens, batch)
        alone = [model(mine[None], row) for mine, row in zip(tokens, rows, strict=True)]
        torch.testing.assert_close(together, torch.cat(alone))


def test_rows_of_a_batch_are_as_if_alone_past_the_capacity():
    model = model_of()
    states, actions, envs = random(2, WIDTH), torch.tensor([1, 3]), [0, 1]
    deep = model.recurrent_inference(states[:1], actions[:1], envs[:1])
    deep = model.recurrent_inference(deep, actions[:1], envs[:1])
    alone = model_of()
    alone.kv_cache_manager.set_init_cache(
        0,
        model._state_key(deep[0]),
        model.kv_cache_manager.get_recur_cache(model._state_key(deep[0])),
    )
    pair = torch.cat([deep, states[1:]])
    for _ in range(3):
        together = model.recurrent_inference(pair, actions, envs)
        singles = [
            alone.recurrent_inference(pair[i : i + 1], actions[i : i + 1], envs[i : i + 1])
            for i in (0, 1)
        ]
        torch.testing.assert_close(together, torch.cat(singles))
        for i in (0, 1):
            mine = alone.kv_cache_manager.get_recur_cache(alone._state_key(singles[i][0]))
            alone.kv_cache_manager.set_recur_cache(model._state_key(together[i]), mine)
        pair = together


@torch.no_grad()
def test_attention_is_a_loop_over_tokens():
    model = model_of(num_layers=1)
    block = model.blocks[0]
    tokens = random(1, 5, WIDTH)
    got = model(tokens, model.empty_cache(1))
    x = tokens[0] + model.pos_emb.weight[:5]
    normed = torch.nn.functional.layer_norm(x, (WIDTH,))
    query, key, value = (
        f(normed).view(5, HEADS, -1) for f in (block.query, block.key, block.value)
    )
    for i in range(5):
        heads = []
        for h in range(HEADS):
            scores = [
                float(query[i, h] @ key[j, h]) / (WIDTH // HEADS) ** 0.5 for j in range(i + 1)
            ]
            weights = [torch.tensor(s - max(scores)).exp() for s in scores]
            heads.append(sum(w * value[j, h] for j, w in enumerate(weights)) / sum(weights))
        out = model.head(x[i] + block.proj(torch.cat(heads).double()))
        torch.testing.assert_close(got[0, i], out, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LEGACY)
def test_old_attributes_are_gone_and_say_what_to_call(name):
    model = model_of()
    assert not hasattr(model, name)
    with pytest.raises(AttributeError, match=LEGACY[name]):
        getattr(model, name).clear()
    assert callable(getattr(model.kv_cache_manager, LEGACY[name]))


@pytest.mark.parametrize(
    ("states", "envs"),
    [
        (torch.zeros(0, WIDTH, dtype=torch.float64), []),
        (torch.zeros(WIDTH, dtype=torch.float64), [0]),
        (torch.zeros(2, WIDTH, dtype=torch.float64), [0]),
        (torch.zeros(2, WIDTH, dtype=torch.float64), [0, 2]),
        (torch.zeros(2, WIDTH, dtype=torch.float64), [0, -1]),
        (torch.zeros(1, WIDTH, dtype=torch.float32), [0]),
        (torch.zeros(1, WIDTH + 1, dtype=torch.float64), [0]),
    ],
    ids=["empty", "rank", "rows", "unknown", "negative", "dtype", "width"],
)
def test_refused_lookups_change_nothing(states, envs):
    model = model_of()
    model.retrieve_or_generate_kvcache(random(1, WIDTH), [0])
    before = model.kv_cache_manager.statistics(), model.kv_cache_manager.keys_values_wm_list
    with pytest.raises(ValueError, match=r"state|environment"):
        model.retrieve_or_generate_kvcache(states, envs)
    after = model.kv_cache_manager.statistics(), model.kv_cache_manager.keys_values_wm_list
    assert after == before


def test_a_refused_prune_changes_nothing():
    batch = KeysValues.stack([cache_of([1]), cache_of([2, 3])])
    for mask in (torch.tensor([False, False]), torch.tensor([True]), torch.tensor([1, 0])):
        with pytest.raises(ValueError, match="mask"):
            batch.prune(mask)
    assert batch.padding.tolist() == [1, 0]
    assert numbers_of(batch.row(1)) == [2, 3]

"""Pools that remember when an entry was set and used; batches as plain zero-padded tensors; loops."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

NEW_NAMES = [
    ("past_kv_cache_init_infer_envs", "get_init_cache"),
    ("past_kv_cache_recurrent_infer", "get_recur_cache"),
    ("pool_idx_to_key_map_init_envs", "clear_all"),
    ("pool_idx_to_key_map_recur_infer", "clear_recur_cache"),
]


def refuse_unless(good: bool, text: str) -> None:
    if not good:
        raise ValueError(text)


class WorldModelConfig:
    def __init__(
        self,
        num_layers=2,
        num_heads=2,
        embed_dim=8,
        max_tokens=8,
        num_actions=4,
        init_pool_size=4,
        recur_pool_size=4,
        wm_pool_size=4,
        eviction_strategy="FIFO",
    ):
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})


class Cache:
    """A tensor [N, H, S, D] that is replaced, never written to."""

    def __init__(self, data: torch.Tensor, most: int) -> None:
        self.data = data
        self.most = most

    def check(self, x: torch.Tensor) -> None:
        n, h, _, d = self.data.shape
        refuse_unless(x.ndim == 4, "four axes are needed")
        refuse_unless(x.shape[:2] == (n, h) and x.shape[3] == d, "other rows, heads or width")
        refuse_unless(x.dtype == self.data.dtype and x.shape[2] <= self.most, "dtype or length")

    def without_oldest(self, count: int) -> torch.Tensor:
        held = self.data.shape[2]
        drop = 0
        while held - drop > 0 and held - drop + count > self.most:
            drop += 2
        return self.data[:, :, min(drop, held) :]


class KVCache:
    def __init__(self, keys: Cache, values: Cache) -> None:
        self.keys, self.values = keys, values

    def get(self):
        return self.keys.data, self.values.data

    def update(self, keys, values):
        self.keys.check(keys)
        self.values.check(values)
        refuse_unless(keys.shape == values.shape, "as many values as keys, please")
        for cache, new in ((self.keys, keys), (self.values, values)):
            cache.data = torch.cat((cache.without_oldest(new.shape[2]), new), dim=2)
        return self.get()


class KeysValues:
    def __init__(
        self,
        num_samples,
        num_heads,
        max_tokens,
        embed_dim,
        num_layers,
        device=None,
        dtype=torch.float32,
    ) -> None:
        empty = torch.zeros(
            num_samples, num_heads, 0, embed_dim // num_heads, device=device, dtype=dtype
        )
        self.most = max_tokens
        self.layers = [
            KVCache(Cache(empty, max_tokens), Cache(empty, max_tokens)) for _ in range(num_layers)
        ]
        self.padding = torch.zeros(num_samples, dtype=torch.int64, device=device)

    def __getitem__(self, layer: int) -> KVCache:
        return self.layers[layer]

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def size(self) -> int:
        return self.layers[0].keys.data.shape[2]

    def changed(self, function, padding) -> KeysValues:
        """A new object whose tensors are copies of `function` of the old ones."""
        other = object.__new__(KeysValues)
        other.most, other.padding = self.most, padding
        other.layers = [
            KVCache(*(Cache(function(x).clone(), self.most) for x in layer.get()))
            for layer in self.layers
        ]
        return other

    def become(self, other: KeysValues) -> None:
        self.layers, self.padding = other.layers, other.padding

    def make_room(self, tokens: int) -> None:
        left = self.layers[0].keys.without_oldest(tokens).shape[2]
        gone = self.size - left
        padding = torch.where(self.padding > gone, self.padding - gone, 0)
        self.become(self.changed(lambda x: x[:, :, gone:], padding))

    def reset(self) -> None:
        self.become(self.changed(lambda x: x[:, :, :0], torch.zeros_like(self.padding)))

    def prune(self, mask: torch.Tensor) -> None:
        refuse_unless(mask.dtype == torch.bool, "a boolean mask")
        refuse_unless(mask.shape == self.padding.shape, "one entry per sample")
        refuse_unless(bool(mask.sum() > 0), "one sample must stay")
        self.become(self.changed(lambda x: x[mask], self.padding[mask]))

    def clone(self) -> KeysValues:
        return self.changed(lambda x: x, self.padding.clone())

    def row(self, index: int) -> KeysValues:
        skip = int(self.padding[index])
        return self.changed(lambda x: x[index : index + 1, :, skip:], self.padding[:1] * 0)

    @classmethod
    def stack(cls, rows: list[KeysValues]) -> KeysValues:
        refuse_unless(len(rows) > 0, "nothing to stack")
        refuse_unless(all(r.padding.numel() == 1 for r in rows), "single samples only")
        sizes = [r.size for r in rows]
        batch = rows[0].clone()
        for number, layer in enumerate(batch.layers):
            for cache, which in ((layer.keys, 0), (layer.values, 1)):
                parts = [r.layers[number].get()[which] for r in rows]
                _, h, _, d = parts[0].shape
                data = torch.zeros(len(rows), h, max(sizes), d, dtype=parts[0].dtype)
                for i, part in enumerate(parts):
                    data[i, :, max(sizes) - sizes[i] :] = part[0]
                cache.data = data
        missing = [max(sizes) - s for s in sizes]
        batch.padding = torch.tensor(
            [m + int(r.padding) for m, r in zip(missing, rows, strict=True)]
        )
        return batch


class Entry:
    def __init__(self, cache, priority, born, used) -> None:
        self.cache, self.priority, self.born, self.used = cache, priority, born, used


class KVCachePool:
    def __init__(self, pool_size: int, eviction_strategy: str = "FIFO") -> None:
        ranks = {
            "FIFO": lambda e: e.born,
            "LRU": lambda e: e.used,
            "PRIORITY": lambda e: (e.priority, e.born),
        }
        refuse_unless(pool_size > 0, "a pool needs room")
        refuse_unless(eviction_strategy in ranks, f"unknown strategy {eviction_strategy}")
        self.pool_size, self.rank = pool_size, ranks[eviction_strategy]
        self.entries: dict[Any, Entry] = {}
        self.clock = 0
        self.asked = [0, 0]
        self.evictions = 0

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, key) -> bool:
        return key in self.entries

    def get(self, key) -> KeysValues | None:
        entry = self.entries.get(key)
        self.asked[entry is not None] += 1
        if entry is None:
            return None
        entry.used = self.tick()
        return entry.cache.clone()

    def set(self, key, cache, priority=0.0) -> None:
        now = self.tick()
        old = self.entries.get(key)
        if old is None and len(self.entries) >= self.pool_size:
            worst = min(self.entries, key=lambda k: self.rank(self.entries[k]))
            del self.entries[worst]
            self.evictions += 1
        born = now if old is None else old.born
        self.entries[key] = Entry(cache.clone(), priority, born, now)

    def clear(self) -> None:
        self.entries.clear()

    def statistics(self):
        misses, hits = self.asked
        return {
            "size": len(self),
            "hits": hits,
            "misses": misses,
            "evictions": self.evictions,
            "hit_rate": float(hits) / max(1, hits + misses),
        }


class KVCacheManager:
    keys_values_wm_list: list[KeysValues]
    keys_values_wm_size_list: list[int]

    def __init__(self, config, env_num) -> None:
        strategy = config.eviction_strategy
        self.pools = {
            ("init", e): KVCachePool(config.init_pool_size, strategy) for e in range(env_num)
        }
        self.pools["recur"] = KVCachePool(config.recur_pool_size, strategy)
        self.pools["wm"] = KVCachePool(config.wm_pool_size, strategy)
        self.environments = env_num
        self.snapshots = 0
        self.work_on([])

    def work_on(self, caches) -> list[int]:
        self.keys_values_wm_list = list(caches)
        self.keys_values_wm_size_list = [c.size for c in caches]
        return self.keys_values_wm_size_list.copy()

    def roots(self, env_id) -> KVCachePool:
        refuse_unless(("init", env_id) in self.pools, f"no environment {env_id}")
        return self.pools["init", env_id]

    def get_init_cache(self, env_id, key):
        return self.roots(env_id).get(key)

    def set_init_cache(self, env_id, key, cache, priority=0.0):
        self.roots(env_id).set(key, cache, priority)

    def get_recur_cache(self, key):
        return self.pools["recur"].get(key)

    def set_recur_cache(self, key, cache, priority=0.0):
        self.pools["recur"].set(key, cache, priority)

    def get_wm_cache(self, handle):
        return self.pools["wm"].get(handle)

    def set_wm_cache(self, cache):
        self.snapshots += 1
        handle = f"snapshot-{self.snapshots}"
        self.pools["wm"].set(handle, cache)
        return handle

    def hierarchical_get(self, env_id, key):
        root = self.get_init_cache(env_id, key)
        if root is None:
            return self.get_recur_cache(key)
        return root

    def clear_recur_cache(self):
        self.pools["recur"].clear()

    def clear_all(self):
        for pool in self.pools.values():
            pool.clear()
        self.work_on([])

    def statistics(self):
        inits = [self.pools["init", e].statistics() for e in range(self.environments)]
        return {
            "init": inits,
            "recur": self.pools["recur"].statistics(),
            "wm": self.pools["wm"].statistics(),
        }


class Block(nn.Module):
    def __init__(self, c, heads) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(c)
        self.query = nn.Linear(c, c)
        self.key = nn.Linear(c, c)
        self.value = nn.Linear(c, c)
        self.proj = nn.Linear(c, c)

    def heads_of(self, x):
        return torch.stack(x.chunk(self.heads, dim=-1), dim=1)

    def forward(self, x, cache, bias):
        y = self.norm(x)
        q = self.heads_of(self.query(y) * (x.shape[-1] // self.heads) ** -0.5)
        k, v = cache.update(self.heads_of(self.key(y)), self.heads_of(self.value(y)))
        scores = torch.matmul(q, k.mT) + bias
        scores = scores - scores.amax(-1, keepdim=True)
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        return x + self.proj(torch.cat(torch.matmul(weights, v).unbind(1), dim=-1))


class WorldModel(nn.Module):
    def __init__(self, config, env_num) -> None:
        super().__init__()
        self.config = config
        self.pos_emb = nn.Embedding(config.max_tokens, config.embed_dim)
        self.act_emb = nn.Embedding(config.num_actions, config.embed_dim)
        blocks = [Block(config.embed_dim, config.num_heads) for _ in range(config.num_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(config.embed_dim, config.embed_dim)
        self.kv_cache_manager = KVCacheManager(config, env_num)

    def __getattr__(self, name):
        for old, new in NEW_NAMES:
            if name == old:
                raise AttributeError(f"the model has no {old} any more: kv_cache_manager.{new}")
        return super().__getattr__(name)

    def forward(self, tokens, past):
        with torch.no_grad():
            return self.run(tokens, past)

    def run(self, tokens, past):
        refuse_unless(tokens.ndim == 3, "tokens have three axes")
        b, t, c = tokens.shape
        refuse_unless(tokens.dtype == self.head.weight.dtype, "the model has another dtype")
        refuse_unless(b == len(past.padding) and c == self.config.embed_dim, "batch or width")
        refuse_unless(1 <= t <= self.config.max_tokens, "too many tokens, or none")
        past.make_room(t)
        s = past.size + t
        bias = torch.full((b, 1, t, s), float("-inf"), dtype=tokens.dtype)
        positions = torch.zeros(b, t, dtype=torch.int64)
        for i, pad in enumerate(past.padding.tolist()):
            for j in range(t):
                bias[i, 0, j, pad : past.size + j + 1] = 0
                positions[i, j] = past.size + j - pad
        x = tokens + self.pos_emb(positions)
        for number, block in enumerate(self.blocks):
            x = block(x, past[number], bias)
        return self.head(x)

    def retrieve_or_generate_kvcache(self, latent_states, env_ids):
        refuse_unless(latent_states.ndim == 2 and len(env_ids) > 0, "states [B, C]")
        refuse_unless(latent_states.shape == (len(env_ids), self.config.embed_dim), "states [B, C]")
        refuse_unless(latent_states.dtype == self.head.weight.dtype, "the model has another dtype")
        manager = self.kv_cache_manager
        for env_id in env_ids:
            manager.roots(env_id)
        return manager.work_on(
            [self.find(row, env_id) for row, env_id in zip(latent_states, env_ids, strict=True)]
        )

    def find(self, row, env_id):
        key = tuple(float(x) for x in row)
        known = self.kv_cache_manager.hierarchical_get(env_id, key)
        if known is not None:
            return known
        c = self.config
        sizes = (1, c.num_heads, c.max_tokens, c.embed_dim, c.num_layers)
        root = KeysValues(*sizes, row.device, row.dtype)
        self(row[None, None], root)
        self.kv_cache_manager.set_init_cache(env_id, key, root)
        return root

    def recurrent_inference(self, latent_states, actions, env_ids):
        refuse_unless(actions.dtype == torch.int64, "actions are int64")
        refuse_unless(actions.shape == latent_states.shape[:1], "one action per state")
        legal = range(self.config.num_actions)
        refuse_unless(all(a in legal for a in actions.tolist()), "no such action")
        self.retrieve_or_generate_kvcache(latent_states, env_ids)
        batch = KeysValues.stack(self.kv_cache_manager.keys_values_wm_list)
        states = self(self.act_emb(actions)[:, None], batch)
        self(states, batch)
        for i, row in enumerate(states[:, 0]):
            self.kv_cache_manager.set_recur_cache(tuple(float(x) for x in row), batch.row(i))
        return states[:, 0]

    def new_episode(self):
        self.kv_cache_manager.clear_recur_cache()

"""Every row keeps its own tensors; padding exists only when a batch is read. Attention row by row."""

import hashlib
import math

import torch
from torch import nn

CALLS = {
    "past_kv_cache_init_infer_envs": "get_init_cache",
    "past_kv_cache_recurrent_infer": "get_recur_cache",
    "pool_idx_to_key_map_init_envs": "clear_all",
    "pool_idx_to_key_map_recur_infer": "clear_recur_cache",
}


class WorldModelConfig:
    def __init__(self, **sizes):
        for name, value in sizes.items():
            setattr(self, name, value)


class Cache:
    """One row of one layer: keys and values [2, H, S, D] without padding, and its padding."""

    def __init__(self, heads, width, dtype):
        self.pair = torch.zeros(2, heads, 0, width, dtype=dtype)
        self.padding = 0

    @property
    def size(self):
        return self.padding + self.pair.shape[2]

    def drop(self, count):
        empty = min(count, self.padding)
        self.padding -= empty
        self.pair = self.pair[:, :, count - empty :]

    def add(self, key, value):
        self.pair = torch.cat((self.pair, torch.stack((key, value))), dim=2)

    def copied(self):
        twin = Cache(1, 1, self.pair.dtype)
        twin.pair, twin.padding = self.pair.clone(), self.padding
        return twin

    def padded(self):
        _, h, _, d = self.pair.shape
        return torch.cat((self.pair.new_zeros(2, h, self.padding, d), self.pair), dim=2)


class KVCache:
    def __init__(self, rows, most):
        self.rows, self.most = rows, most

    @property
    def size(self):
        return self.rows[0].size

    def surplus(self, count):
        extra = max(self.size + count - self.most, 0)
        return min(2 * math.ceil(extra / 2), self.size)

    def get(self):
        k, v = torch.stack([row.padded() for row in self.rows], dim=1)
        return k, v

    def update(self, keys, values):
        _, h, _, d = self.rows[0].pair.shape
        if keys.ndim != 4 or keys.shape != values.shape:
            raise ValueError("expected two tensors [N, H, T, D]")
        n, h2, count, d2 = keys.shape
        dtype = self.rows[0].pair.dtype
        if (n, h2, d2) != (len(self.rows), h, d) or count > self.most:
            raise ValueError("does not fit")
        if keys.dtype != dtype or values.dtype != dtype:
            raise ValueError(f"expected {dtype}")
        gone = self.surplus(count)
        for row, key, value in zip(self.rows, keys, values, strict=True):
            row.drop(gone)
            row.add(key, value)
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
    ):
        d = embed_dim // num_heads
        self.most = max_tokens
        self.layers = []
        for _ in range(num_layers):
            rows = [Cache(num_heads, d, dtype) for _ in range(num_samples)]
            self.layers.append(KVCache(rows, max_tokens))

    @classmethod
    def of(cls, layers, most):
        made = cls.__new__(cls)
        made.most, made.layers = most, [KVCache(rows, most) for rows in layers]
        return made

    def __len__(self):
        return len(self.layers)

    def __getitem__(self, index):
        return self.layers[index]

    @property
    def size(self):
        return self.layers[0].size

    @property
    def padding(self):
        return torch.tensor([row.padding for row in self.layers[0].rows])

    def make_room(self, count):
        for layer in self.layers:
            gone = layer.surplus(count)
            for row in layer.rows:
                row.drop(gone)

    def reset(self):
        for layer in self.layers:
            for row in layer.rows:
                row.drop(row.size)

    def prune(self, mask):
        if mask.dtype != torch.bool or list(mask.shape) != [len(self.layers[0].rows)]:
            raise ValueError("mask")
        if not mask.any():
            raise ValueError("nothing would be left")
        for layer in self.layers:
            layer.rows = [row for row, keep in zip(layer.rows, mask, strict=True) if keep]

    def clone(self):
        return self.of([[row.copied() for row in x.rows] for x in self.layers], self.most)

    def row(self, index):
        single = self.of([[x.rows[index].copied()] for x in self.layers], self.most)
        for layer in single.layers:
            layer.rows[0].padding = 0
        return single

    @classmethod
    def stack(cls, rows):
        if not rows or any(len(r.layers[0].rows) != 1 for r in rows):
            raise ValueError("single rows")
        longest = max(r.size for r in rows)
        copies = [r.clone() for r in rows]
        for c in copies:
            for layer in c.layers:
                layer.rows[0].padding += longest - layer.size
        layers = [[c.layers[i].rows[0] for c in copies] for i in range(len(copies[0]))]
        return cls.of(layers, rows[0].most)


class KVCachePool:
    """A list of entries, youngest last."""

    def __init__(self, pool_size, eviction_strategy="FIFO"):
        if pool_size < 1 or eviction_strategy not in ["FIFO", "LRU", "PRIORITY"]:
            raise ValueError("cannot build such a pool")
        self.pool_size, self.eviction_strategy = pool_size, eviction_strategy
        self.entries, self.hits, self.misses, self.evictions = [], 0, 0, 0

    def __len__(self):
        return len(self.entries)

    def _find(self, key):
        return next((i for i, entry in enumerate(self.entries) if entry[0] == key), None)

    def __contains__(self, key):
        return self._find(key) is not None

    def _refresh(self, at):
        if self.eviction_strategy == "LRU":
            self.entries.append(self.entries.pop(at))

    def get(self, key):
        at = self._find(key)
        if at is None:
            self.misses += 1
            return None
        self.hits += 1
        found = self.entries[at][1].clone()
        self._refresh(at)
        return found

    def set(self, key, cache, priority=0.0):
        entry, at = (key, cache.clone(), priority), self._find(key)
        if at is not None:
            self.entries[at] = entry
            self._refresh(at)
            return
        if len(self.entries) == self.pool_size:
            out = 0
            if self.eviction_strategy == "PRIORITY":
                priorities = [e[2] for e in self.entries]
                out = priorities.index(min(priorities))
            self.entries.pop(out)
            self.evictions += 1
        self.entries.append(entry)

    def clear(self):
        self.entries.clear()

    def statistics(self):
        n = self.hits + self.misses
        return {
            "size": len(self.entries),
            "hits": self.hits,
            "misses": self.misses,
            "evictions": self.evictions,
            "hit_rate": 0.0 if n == 0 else self.hits / n,
        }


class KVCacheManager:
    keys_values_wm_list: "list[KeysValues]"
    keys_values_wm_size_list: "list[int]"

    def __init__(self, config, env_num):
        self.strategy = config.eviction_strategy
        self.inits = [KVCachePool(config.init_pool_size, self.strategy) for _ in range(env_num)]
        self.recurrent = KVCachePool(config.recur_pool_size, self.strategy)
        self.snapshots = KVCachePool(config.wm_pool_size, self.strategy)
        self.next_handle = iter(range(1, 10**9))
        self.keys_values_wm_list = []
        self.keys_values_wm_size_list = []

    def known(self, env_id):
        if env_id not in range(len(self.inits)):
            raise ValueError(f"environment {env_id} does not exist")
        return env_id

    def get_init_cache(self, env_id, key):
        return self.inits[self.known(env_id)].get(key)

    def set_init_cache(self, env_id, key, cache, priority=0.0):
        self.inits[self.known(env_id)].set(key, cache, priority)

    def get_recur_cache(self, key):
        return self.recurrent.get(key)

    def set_recur_cache(self, key, cache, priority=0.0):
        self.recurrent.set(key, cache, priority)

    def get_wm_cache(self, handle):
        return self.snapshots.get(handle)

    def set_wm_cache(self, cache):
        handle = next(self.next_handle)
        self.snapshots.set(handle, cache)
        return handle

    def hierarchical_get(self, env_id, key):
        for lookup in (lambda: self.get_init_cache(env_id, key), lambda: self.get_recur_cache(key)):
            cache = lookup()
            if cache is not None:
                return cache
        return None

    def clear_recur_cache(self):
        self.recurrent.clear()

    def clear_all(self):
        for pool in [*self.inits, self.recurrent, self.snapshots]:
            pool.clear()
        self.keys_values_wm_list, self.keys_values_wm_size_list = [], []

    def statistics(self):
        return {
            "init": [p.statistics() for p in self.inits],
            "recur": self.recurrent.statistics(),
            "wm": self.snapshots.statistics(),
        }


class Block(nn.Module):
    def __init__(self, c, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(c)
        self.query = nn.Linear(c, c)
        self.key = nn.Linear(c, c)
        self.value = nn.Linear(c, c)
        self.proj = nn.Linear(c, c)

    def forward(self, x, layer):
        b, t, _c = x.shape
        y = self.norm(x)
        q, k, v = (
            f(y).view(b, t, self.heads, -1).transpose(1, 2)
            for f in (self.query, self.key, self.value)
        )
        layer.update(k, v)
        rows = [self.attend(q[i], layer.rows[i].pair) for i in range(b)]
        return x + self.proj(torch.stack(rows))

    def attend(self, q, pair):
        keys, values = pair
        t, s = q.shape[1], keys.shape[1]
        out = []
        for i in range(t):
            upto = s - t + i + 1
            scores = (keys[:, :upto] * q[:, i, None]).sum(-1) / math.sqrt(q.shape[-1])
            weights = torch.softmax(scores, dim=1)
            out.append((weights[..., None] * values[:, :upto]).sum(1).flatten())
        return torch.stack(out)


class WorldModel(nn.Module):
    def __init__(self, config, env_num):
        super().__init__()
        self.config = config
        c = config.embed_dim
        self.pos_emb = nn.Embedding(config.max_tokens, c)
        self.act_emb = nn.Embedding(config.num_actions, c)
        self.blocks = nn.ModuleList(Block(c, config.num_heads) for _ in range(config.num_layers))
        self.head = nn.Linear(c, c)
        self.kv_cache_manager = KVCacheManager(config, env_num)

    def __getattr__(self, name):
        if name in CALLS:
            raise AttributeError(f"{name} no longer exists, use {CALLS[name]} of the manager")
        return super().__getattr__(name)

    def fresh(self):
        c = self.config
        dtype = self.head.weight.dtype
        return KeysValues(1, c.num_heads, c.max_tokens, c.embed_dim, c.num_layers, None, dtype)

    @torch.inference_mode(False)
    @torch.no_grad()
    def forward(self, tokens, past):
        rows = past.layers[0].rows
        if tokens.ndim != 3 or tokens.dtype != self.head.weight.dtype:
            raise ValueError("tokens")
        if tokens.shape[0] != len(rows) or tokens.shape[2] != self.config.embed_dim:
            raise ValueError("tokens")
        if tokens.shape[1] not in range(1, self.config.max_tokens + 1):
            raise ValueError("tokens")
        past.make_room(tokens.shape[1])
        starts = [row.pair.shape[2] for row in rows]
        positions = torch.tensor([[s + i for i in range(tokens.shape[1])] for s in starts])
        x = tokens + self.pos_emb(positions)
        for block, layer in zip(self.blocks, past.layers, strict=True):
            x = block(x, layer)
        return self.head(x)

    @staticmethod
    def name_of(state):
        return hashlib.sha256(repr(state.tolist()).encode()).hexdigest()

    def retrieve_or_generate_kvcache(self, latent_states, env_ids):
        if latent_states.ndim != 2 or latent_states.shape[1] != self.config.embed_dim:
            raise ValueError("states")
        if latent_states.shape[0] != len(env_ids) or not env_ids:
            raise ValueError("states")
        if latent_states.dtype != self.head.weight.dtype:
            raise ValueError("states")
        manager = self.kv_cache_manager
        env_ids = [manager.known(e) for e in env_ids]
        working = []
        for state, env_id in zip(latent_states.unbind(), env_ids, strict=True):
            name = self.name_of(state)
            cache = manager.hierarchical_get(env_id, name)
            if cache is None:
                cache = self.fresh()
                self.forward(state[None, None, :], cache)
                manager.set_init_cache(env_id, name, cache)
            working.append(cache)
        manager.keys_values_wm_list = working
        manager.keys_values_wm_size_list = [cache.size for cache in working]
        return manager.keys_values_wm_size_list

    def recurrent_inference(self, latent_states, actions, env_ids):
        if actions.dtype != torch.int64 or actions.ndim != 1 or len(actions) != len(latent_states):
            raise ValueError("actions")
        for action in actions.tolist():
            if action not in range(self.config.num_actions):
                raise ValueError(f"no action {action}")
        self.retrieve_or_generate_kvcache(latent_states, env_ids)
        batch = KeysValues.stack(self.kv_cache_manager.keys_values_wm_list)
        predicted = self.forward(self.act_emb(actions)[:, None], batch)
        self.forward(predicted, batch)
        for i, state in enumerate(predicted[:, 0]):
            self.kv_cache_manager.set_recur_cache(self.name_of(state), batch.row(i))
        return predicted[:, 0]

    def new_episode(self):
        self.kv_cache_manager.clear_recur_cache()

"""Caches that grow by concatenation, pools on OrderedDict, einsum attention, none of the helpers."""

import copy
from collections import OrderedDict
from types import SimpleNamespace

import torch
from torch import nn

INSTEAD = {
    "past_kv_cache_init_infer_envs": "get_init_cache()",
    "past_kv_cache_recurrent_infer": "get_recur_cache()",
    "pool_idx_to_key_map_init_envs": "clear_all()",
    "pool_idx_to_key_map_recur_infer": "clear_recur_cache()",
}


class WorldModelConfig(SimpleNamespace):
    pass


class Cache:
    def __init__(self, n, h, most, c, device=None, dtype=torch.float32):
        self.most = most
        self.data = torch.zeros(n, h, 0, c // h, device=device, dtype=dtype)

    def accepts(self, x):
        a, b = self.data.shape, x.shape
        same = x.ndim == 4 and (a[0], a[1], a[3]) == (b[0], b[1], b[3])
        return same and x.dtype == self.data.dtype and b[2] <= self.most

    def make_room(self, count):
        over = self.data.shape[2] + count - self.most
        if over > 0:
            self.data = self.data[:, :, over + over % 2 :]

    def update(self, x):
        if not self.accepts(x):
            raise ValueError("does not fit")
        self.make_room(x.shape[2])
        self.data = torch.cat([self.data, x], dim=2)


class KVCache:
    def __init__(self, *args):
        self.k, self.v = Cache(*args), Cache(*args)

    def get(self):
        return self.k.data, self.v.data

    def update(self, keys, values):
        if not (self.k.accepts(keys) and self.v.accepts(values) and keys.shape == values.shape):
            raise ValueError("keys or values do not fit")
        self.k.update(keys)
        self.v.update(values)
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
        self.args = (num_heads, max_tokens, embed_dim, num_layers, device, dtype)
        self.layers = [
            KVCache(num_samples, num_heads, max_tokens, embed_dim, device, dtype)
            for _ in range(num_layers)
        ]
        self.padding = torch.zeros(num_samples, dtype=torch.long)

    def __getitem__(self, i):
        return self.layers[i]

    def __len__(self):
        return len(self.layers)

    @property
    def size(self):
        return self.layers[0].k.data.shape[2]

    def caches(self):
        return [c for layer in self.layers for c in (layer.k, layer.v)]

    def make_room(self, count):
        before = self.size
        for c in self.caches():
            c.make_room(count)
        self.padding = torch.relu(self.padding - before + self.size)

    def reset(self):
        for c in self.caches():
            c.data = c.data[:, :, :0]
        self.padding = self.padding * 0

    def prune(self, mask):
        if mask.dtype is not torch.bool or len(mask) != len(self.padding) or not bool(mask.any()):
            raise ValueError("bad mask")
        for c in self.caches():
            c.data = c.data[mask]
        self.padding = self.padding[mask]

    def clone(self):
        return copy.deepcopy(self)

    def row(self, index):
        one = KeysValues(1, *self.args)
        skip = self.padding[index].item()
        for mine, its in zip(self.caches(), one.caches(), strict=True):
            its.data = mine.data[index : index + 1, :, skip:].clone()
        return one

    @classmethod
    def stack(cls, rows):
        if len(rows) == 0 or max(len(r.padding) for r in rows) > 1:
            raise ValueError("single samples only")
        longest = max(r.size for r in rows)
        batch = cls(len(rows), *rows[0].args)
        for i, c in enumerate(batch.caches()):
            parts = [r.caches()[i].data for r in rows]
            c.data = torch.cat(
                [
                    torch.cat([p.new_zeros(*p.shape[:2], longest - p.shape[2], p.shape[3]), p], 2)
                    for p in parts
                ]
            )
        batch.padding = torch.tensor([longest - r.size + int(r.padding) for r in rows])
        return batch


class KVCachePool:
    def __init__(self, pool_size, eviction_strategy="FIFO"):
        if pool_size <= 0 or eviction_strategy not in {"FIFO", "LRU", "PRIORITY"}:
            raise ValueError("bad pool")
        self.pool_size, self.strategy = pool_size, eviction_strategy
        self.entries = OrderedDict()
        self.hits = self.misses = self.evictions = 0

    def __len__(self):
        return len(self.entries)

    def __contains__(self, key):
        return key in self.entries

    def _used(self, key):
        if self.strategy == "LRU":
            self.entries.move_to_end(key)

    def get(self, key):
        entry = self.entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._used(key)
        return entry[1].clone()

    def set(self, key, cache, priority=0.0):
        if key not in self.entries and len(self) == self.pool_size:
            self.evictions += 1
            if self.strategy == "PRIORITY":
                del self.entries[min(self.entries, key=lambda k: self.entries[k][0])]
            else:
                self.entries.popitem(last=False)
        self.entries[key] = (priority, cache.clone())
        self._used(key)

    def clear(self):
        self.entries.clear()

    def statistics(self):
        total = self.hits + self.misses
        rate = self.hits / total if total else 0.0
        return {
            "size": len(self),
            "hits": self.hits,
            "misses": self.misses,
            "evictions": self.evictions,
            "hit_rate": rate,
        }


class KVCacheManager:
    keys_values_wm_list: list[KeysValues]
    keys_values_wm_size_list: list[int]

    def __init__(self, config, env_num):
        kind = config.eviction_strategy
        self.init = {e: KVCachePool(config.init_pool_size, kind) for e in range(env_num)}
        self.recur = KVCachePool(config.recur_pool_size, kind)
        self.wm = KVCachePool(config.wm_pool_size, kind)
        self.keys_values_wm_list, self.keys_values_wm_size_list = [], []
        self.count = 0

    def roots(self, env_id):
        if env_id not in self.init:
            raise ValueError(f"no environment {env_id}")
        return self.init[env_id]

    def get_init_cache(self, env_id, key):
        return self.roots(env_id).get(key)

    def set_init_cache(self, env_id, key, cache, priority=0.0):
        self.roots(env_id).set(key, cache, priority)

    def get_recur_cache(self, key):
        return self.recur.get(key)

    def set_recur_cache(self, key, cache, priority=0.0):
        self.recur.set(key, cache, priority)

    def get_wm_cache(self, handle):
        return self.wm.get(handle)

    def set_wm_cache(self, cache):
        self.count += 1
        self.wm.set(("snapshot", self.count), cache)
        return ("snapshot", self.count)

    def hierarchical_get(self, env_id, key):
        hit = self.get_init_cache(env_id, key)
        return hit if hit is not None else self.get_recur_cache(key)

    def clear_recur_cache(self):
        self.recur.clear()

    def clear_all(self):
        for pool in [self.recur, self.wm, *self.init.values()]:
            pool.clear()
        self.keys_values_wm_list, self.keys_values_wm_size_list = [], []

    def statistics(self):
        return {
            "init": [p.statistics() for p in self.init.values()],
            "recur": self.recur.statistics(),
            "wm": self.wm.statistics(),
        }


class Block(nn.Module):
    def __init__(self, c, h):
        super().__init__()
        self.h = h
        self.norm = nn.LayerNorm(c)
        self.query, self.key = nn.Linear(c, c), nn.Linear(c, c)
        self.value, self.proj = nn.Linear(c, c), nn.Linear(c, c)

    def forward(self, x, cache, hidden):
        b, t, c = x.shape
        q, k, v = (
            f(self.norm(x)).reshape(b, t, self.h, c // self.h).permute(0, 2, 1, 3)
            for f in (self.query, self.key, self.value)
        )
        k, v = cache.update(k, v)
        scores = torch.einsum("bhtd,bhsd->bhts", q, k) / (c // self.h) ** 0.5
        scores = scores + hidden[:, None].to(x.dtype) * torch.finfo(x.dtype).min
        out = torch.einsum("bhts,bhsd->bthd", torch.softmax(scores, -1), v)
        return x + self.proj(out.reshape(b, t, c))


class WorldModel(nn.Module):
    def __init__(self, config, env_num):
        super().__init__()
        self.config = config
        c = config.embed_dim
        self.pos_emb = nn.Embedding(config.max_tokens, c)
        self.act_emb = nn.Embedding(config.num_actions, c)
        self.blocks = nn.ModuleList([Block(c, config.num_heads) for _ in range(config.num_layers)])
        self.head = nn.Linear(c, c)
        self.kv_cache_manager = KVCacheManager(config, env_num)

    def __getattr__(self, name):
        if name in INSTEAD:
            raise AttributeError(f"{name} was removed; see kv_cache_manager.{INSTEAD[name]}")
        return super().__getattr__(name)

    def forward(self, tokens, past):
        c = self.config
        fits = tokens.ndim == 3 and tokens.shape[::2] == (len(past.padding), c.embed_dim)
        if not fits or tokens.dtype != self.head.weight.dtype or tokens.shape[1] > c.max_tokens:
            raise ValueError("tokens do not fit")
        with torch.no_grad():
            t = tokens.shape[1]
            past.make_room(t)
            at = torch.arange(past.size, past.size + t)
            slot = torch.arange(past.size + t)
            hidden = (slot[None, None] > at[None, :, None]) | (
                slot[None, None] < past.padding[:, None, None]
            )
            x = tokens + self.pos_emb(at[None] - past.padding[:, None])
            for layer, block in zip(past.layers, self.blocks, strict=True):
                x = block(x, layer, hidden)
            return self.head(x)

    def retrieve_or_generate_kvcache(self, latent_states, env_ids):
        manager = self.kv_cache_manager
        want = (len(env_ids), self.config.embed_dim)
        if not len(env_ids) or tuple(latent_states.shape) != want:
            raise ValueError("one state per environment")
        if latent_states.dtype != self.head.weight.dtype:
            raise ValueError("wrong dtype")
        for e in env_ids:
            manager.roots(e)
        caches = []
        for state, env in zip(latent_states, env_ids, strict=True):
            cache = manager.hierarchical_get(env, str(state.tolist()))
            if cache is None:
                c = self.config
                sizes = (1, c.num_heads, c.max_tokens, c.embed_dim, c.num_layers)
                cache = KeysValues(*sizes, None, state.dtype)
                self(state.view(1, 1, -1), cache)
                manager.set_init_cache(env, str(state.tolist()), cache)
            caches.append(cache)
        manager.keys_values_wm_list = caches
        manager.keys_values_wm_size_list = [c.size for c in caches]
        return [c.size for c in caches]

    def recurrent_inference(self, latent_states, actions, env_ids):
        good = actions.dtype == torch.int64 and actions.shape == latent_states.shape[:1]
        if not good or actions.min() < 0 or actions.max() >= self.config.num_actions:
            raise ValueError("one action per state")
        self.retrieve_or_generate_kvcache(latent_states, env_ids)
        batch = KeysValues.stack(self.kv_cache_manager.keys_values_wm_list)
        out = self(self.act_emb(actions).unsqueeze(1), batch)
        self(out, batch)
        for i in range(len(out)):
            self.kv_cache_manager.set_recur_cache(str(out[i, 0].tolist()), batch.row(i))
        return out[:, 0]

    def new_episode(self):
        self.kv_cache_manager.clear_recur_cache()

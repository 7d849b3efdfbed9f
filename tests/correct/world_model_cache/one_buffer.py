"""One buffer for all layers, PyTorch's own attention, handles that are bare objects, typing's names."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class WorldModelConfig:
    num_layers: int
    num_heads: int
    embed_dim: int
    max_tokens: int
    num_actions: int
    init_pool_size: int
    recur_pool_size: int
    wm_pool_size: int
    eviction_strategy: str


class KVCache:
    """A window on one layer of a KeysValues."""

    def __init__(self, whole: KeysValues, layer: int):
        self.whole, self.layer = whole, layer

    def get(self):
        w = self.whole
        k, v = w.buffer[self.layer, :, :, :, : w.sizes[self.layer]]
        return k, v

    def update(self, keys, values):
        w = self.whole
        _, _, n, h, most, d = w.buffer.shape
        for x in (keys, values):
            if x.dim() != 4 or x.dtype != w.buffer.dtype:
                raise ValueError("rank or dtype")
            if x.shape != (n, h, keys.shape[2], d) or x.shape[2] > most:
                raise ValueError("shape")
        w.drop(self.layer, keys.shape[2])
        at = w.sizes[self.layer]
        w.buffer[self.layer, :, :, :, at : at + keys.shape[2]] = torch.stack((keys, values))
        w.sizes[self.layer] += keys.shape[2]
        return self.get()


class Cache(KVCache):
    pass


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
        buffer=None,
        sizes=None,
        padding=None,
    ):
        if num_samples == 0 or max_tokens % 2:
            raise ValueError("sizes")
        if buffer is None:
            d = embed_dim // num_heads
            buffer = torch.zeros(num_layers, 2, num_samples, num_heads, max_tokens, d, dtype=dtype)
        self.buffer = buffer
        self.sizes = [0] * num_layers if sizes is None else sizes
        self.padding = torch.zeros(num_samples).long() if padding is None else padding

    @classmethod
    def around(cls, buffer, sizes, padding):
        layers, _, n, h, most, d = buffer.shape
        return cls(n, h, most, h * d, layers, buffer=buffer, sizes=sizes, padding=padding)

    def __len__(self):
        return self.buffer.shape[0]

    def __getitem__(self, layer):
        return KVCache(self, range(len(self))[layer])

    size = property(lambda self: self.sizes[0])

    def drop(self, layer, count):
        most, size = self.buffer.shape[4], self.sizes[layer]
        gone = max(0, size + count - most)
        gone = min(size, (gone + 1) // 2 * 2)
        self.buffer[layer] = torch.roll(self.buffer[layer], -gone, dims=3)
        self.sizes[layer] = size - gone
        return gone

    def make_room(self, count):
        gone = [self.drop(layer, count) for layer in range(len(self))]
        self.padding = torch.maximum(self.padding - gone[0], torch.zeros_like(self.padding))

    def reset(self):
        self.sizes = [0 for _ in self.sizes]
        self.padding = torch.zeros_like(self.padding)

    def prune(self, mask):
        keep = mask.nonzero().flatten()
        if mask.dtype != torch.bool or mask.shape != self.padding.shape or not keep.numel():
            raise ValueError("a boolean mask that keeps something, please")
        self.buffer = self.buffer.index_select(2, keep)
        self.padding = self.padding.index_select(0, keep)

    def clone(self):
        return self.around(self.buffer.clone(), self.sizes[:], self.padding.clone())

    def row(self, index):
        pad = int(self.padding[index])
        shifted = torch.roll(self.buffer[:, :, [index]], -pad, dims=4)
        return self.around(shifted, [s - pad for s in self.sizes], torch.zeros(1).long())

    @staticmethod
    def stack(rows):
        if not rows:
            raise ValueError("nothing to stack")
        if any(r.buffer.shape[2] != 1 for r in rows):
            raise ValueError("one sample each")
        top = max(r.size for r in rows)
        pads = [top - r.size for r in rows]
        shifted = []
        for r, pad in zip(rows, pads, strict=True):
            clean = r.buffer.clone()
            clean[..., r.size :, :] = 0
            shifted.append(clean.roll(pad, dims=4))
        own = torch.cat([r.padding for r in rows])
        return KeysValues.around(
            torch.cat(shifted, dim=2), [top] * len(rows[0]), torch.tensor(pads) + own
        )


class KVCachePool:
    def __init__(self, pool_size, eviction_strategy="FIFO"):
        if pool_size < 1:
            raise ValueError("no room")
        if eviction_strategy not in ("FIFO", "LRU", "PRIORITY"):
            raise ValueError("strategy")
        self.room, self.strategy = pool_size, eviction_strategy
        self.table: dict[t.Any, list[t.Any]] = {}
        self.counts = {"hits": 0, "misses": 0, "evictions": 0}

    def __len__(self):
        return len(self.table)

    def __contains__(self, key):
        return key in self.table

    def get(self, key):
        if key not in self.table:
            self.counts["misses"] += 1
            return None
        self.counts["hits"] += 1
        if self.strategy == "LRU":
            self.table[key] = self.table.pop(key)
        return self.table[key][0].clone()

    def set(self, key, cache, priority=0.0):
        mine = [cache.clone(), priority]
        if key in self.table:
            if self.strategy == "LRU":
                del self.table[key]
            self.table[key] = mine
            return
        if len(self.table) >= self.room:
            order = list(self.table)
            if self.strategy == "PRIORITY":
                order.sort(key=lambda k: self.table[k][1])
            del self.table[order[0]]
            self.counts["evictions"] += 1
        self.table[key] = mine

    def clear(self):
        self.table = {}

    def statistics(self):
        asked = self.counts["hits"] + self.counts["misses"]
        rate = float(self.counts["hits"] / asked) if asked else 0.0
        return dict(self.counts, size=len(self), hit_rate=rate)


class Handle:
    """A name that nobody else can have."""


class KVCacheManager:
    keys_values_wm_list: list[KeysValues] = []  # noqa: RUF012
    keys_values_wm_size_list: list[int] = []  # noqa: RUF012

    def __init__(self, config, env_num):
        def pool(size):
            return KVCachePool(size, config.eviction_strategy)

        self.init_pools = tuple(pool(config.init_pool_size) for _ in range(env_num))
        self.recur, self.wm = pool(config.recur_pool_size), pool(config.wm_pool_size)

    def _env(self, env_id):
        if env_id < 0 or env_id >= len(self.init_pools):
            raise ValueError(f"unknown environment {env_id}")
        return self.init_pools[env_id]

    def get_init_cache(self, env_id, key):
        return self._env(env_id).get(key)

    def set_init_cache(self, env_id, key, cache, priority=0.0):
        return self._env(env_id).set(key, cache, priority)

    def get_recur_cache(self, key):
        return self.recur.get(key)

    def set_recur_cache(self, key, cache, priority=0.0):
        return self.recur.set(key, cache, priority)

    def get_wm_cache(self, handle):
        return self.wm.get(handle)

    def set_wm_cache(self, cache):
        handle = Handle()
        self.wm.set(handle, cache)
        return handle

    def hierarchical_get(self, env_id, key):
        return self.get_init_cache(env_id, key) or self.get_recur_cache(key)

    def clear_recur_cache(self):
        self.recur.clear()

    def clear_all(self):
        for pool in self.init_pools:
            pool.clear()
        self.recur.clear()
        self.wm.clear()
        self.keys_values_wm_list, self.keys_values_wm_size_list = [], []

    def statistics(self):
        return {
            "init": [p.statistics() for p in self.init_pools],
            "recur": self.recur.statistics(),
            "wm": self.wm.statistics(),
        }


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        for name in ("query", "key", "value", "proj"):
            self.add_module(name, nn.Linear(width, width))

    def forward(self, x, cache, mask):
        y = self.norm(x)
        q, k, v = (
            m(y).unflatten(2, (self.heads, -1)).movedim(2, 1)
            for m in (self.query, self.key, self.value)
        )
        keys, values = cache.update(k, v)
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return x + self.proj(out.movedim(1, 2).flatten(2))


class WorldModel(nn.Module):
    def __init__(self, config, env_num):
        super().__init__()
        self.cfg = config
        self.pos_emb = nn.Embedding(config.max_tokens, config.embed_dim)
        self.act_emb = nn.Embedding(config.num_actions, config.embed_dim)
        self.blocks = nn.ModuleList()
        for _ in range(config.num_layers):
            self.blocks.append(Block(config.embed_dim, config.num_heads))
        self.head = nn.Linear(config.embed_dim, config.embed_dim)
        self.kv_cache_manager = KVCacheManager(config, env_num)
        for p in self.parameters():
            p.requires_grad_(False)

    def __getattr__(self, name):
        hints = {
            "past_kv_cache_recurrent_infer": "get_recur_cache",
            "past_kv_cache_init_infer_envs": "get_init_cache",
            "pool_idx_to_key_map_recur_infer": "clear_recur_cache",
            "pool_idx_to_key_map_init_envs": "clear_all",
        }
        if name in hints:
            raise AttributeError(f"{name}: use kv_cache_manager.{hints[name]}")
        return super().__getattr__(name)

    def forward(self, tokens, past):
        if tokens.dim() != 3 or tokens.dtype != self.head.weight.dtype:
            raise ValueError("tokens must be [B, T, C] in the model's dtype")
        b, n, c = tokens.shape
        if (b, c) != (past.padding.numel(), self.cfg.embed_dim):
            raise ValueError("batch or width")
        if n > self.cfg.max_tokens or n == 0:
            raise ValueError("too many tokens")
        past.make_room(n)
        mask = torch.ones(n, past.size + n, dtype=torch.bool).tril(past.size)
        mask = mask.repeat(b, 1, 1, 1)
        for i in range(b):
            mask[i, :, :, : int(past.padding[i])] = False
        place = past.size - past.padding.unsqueeze(1) + torch.arange(n)
        x = tokens + self.pos_emb(place)
        for i in range(len(self.blocks)):
            x = self.blocks[i](x, past[i], mask)
        return self.head(x)

    def retrieve_or_generate_kvcache(self, latent_states, env_ids):
        if latent_states.dim() != 2 or latent_states.dtype != self.head.weight.dtype:
            raise ValueError("states must be [B, C]")
        if len(latent_states) != len(env_ids) or len(latent_states) == 0:
            raise ValueError("one environment per state")
        m = self.kv_cache_manager
        [m._env(e) for e in env_ids]
        working = [self._one(m, s, e) for s, e in zip(latent_states, env_ids, strict=True)]
        m.keys_values_wm_list = working
        m.keys_values_wm_size_list = [w.size for w in working]
        return list(m.keys_values_wm_size_list)

    def _one(self, m, state, env):
        key = bytes(state.contiguous().view(torch.uint8).tolist())
        cache = m.hierarchical_get(env, key)
        if cache is None:
            c = self.cfg
            cache = KeysValues(
                1, c.num_heads, c.max_tokens, c.embed_dim, c.num_layers, dtype=state.dtype
            )
            self.forward(state[None, None], cache)
            m.set_init_cache(env, key, cache)
        return cache

    def recurrent_inference(self, latent_states, actions, env_ids):
        if actions.dtype != torch.long or actions.shape != (len(latent_states),):
            raise ValueError("actions")
        if any(not 0 <= a < self.cfg.num_actions for a in actions.tolist()):
            raise ValueError("no such action")
        self.retrieve_or_generate_kvcache(latent_states, env_ids)
        batch = KeysValues.stack(self.kv_cache_manager.keys_values_wm_list)
        predicted = self.forward(self.act_emb(actions)[:, None, :], batch)
        self.forward(predicted, batch)
        for i, state in enumerate(predicted.squeeze(1)):
            key = bytes(state.contiguous().view(torch.uint8).tolist())
            self.kv_cache_manager.set_recur_cache(key, batch.row(i))
        return predicted.squeeze(1)

    def new_episode(self):
        self.kv_cache_manager.clear_recur_cache()

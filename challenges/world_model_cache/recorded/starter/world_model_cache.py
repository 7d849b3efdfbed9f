"""Keys and values of a world model in tree search: caches, pools that own copies, a manager, a model.

A cache knows nothing of pools, a pool nothing of environments, and only the model knows attention.
Inference only, no gradients. Tokens alternate: state, action, state, ...

Shapes: N (or B) samples, H heads, T new tokens, S tokens held, D head dim, C = H * D embed_dim.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRATEGIES = ("FIFO", "LRU", "PRIORITY")

# names of the dictionaries that the manager replaced, and the method to call instead
LEGACY = {
    "past_kv_cache_init_infer_envs": "get_init_cache",
    "past_kv_cache_recurrent_infer": "get_recur_cache",
    "pool_idx_to_key_map_init_envs": "clear_all",
    "pool_idx_to_key_map_recur_infer": "clear_recur_cache",
}


@dataclass(frozen=True)
class WorldModelConfig:
    """Sizes of the model and of its pools."""

    num_layers: int = 2
    num_heads: int = 3
    embed_dim: int = 12
    max_tokens: int = 8
    num_actions: int = 5
    init_pool_size: int = 4
    recur_pool_size: int = 8
    wm_pool_size: int = 4
    eviction_strategy: str = "FIFO"


class Cache:
    """One tensor [N, H, max_tokens, D], of which the first `size` tokens are filled."""

    def __init__(
        self,
        num_samples: int,
        num_heads: int,
        max_tokens: int,
        embed_dim: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if num_samples < 1 or embed_dim % num_heads or max_tokens < 2 or max_tokens % 2:
            raise ValueError("need a sample, heads that divide embed_dim and an even max_tokens")
        shape = (num_samples, num_heads, max_tokens, embed_dim // num_heads)
        self._data = torch.zeros(shape, device=device, dtype=dtype)  # [N, H, max_tokens, D]
        self.size = 0

    def get(self) -> Tensor:
        """Return the tokens held, a view [N, H, S, D]."""
        # no copy: attention only reads it
        return self._data[:, :, : self.size]

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless `x` [N, H, T, D] of this cache's dtype can be appended."""
        n, h, most, d = self._data.shape
        if x.ndim != 4 or (x.shape[0], x.shape[1], x.shape[3]) != (n, h, d):
            raise ValueError(f"expected [{n}, {h}, T, {d}], got {list(x.shape)}")
        if x.dtype != self._data.dtype:
            raise ValueError(f"expected {self._data.dtype}, got {x.dtype}")
        if x.shape[2] > most:
            raise ValueError(f"cannot append {x.shape[2]} tokens to a cache of {most}")

    def surplus(self, num_tokens: int) -> int:
        """Count the oldest tokens to drop so that `num_tokens` fit; even, so that pairs stay pairs."""
        # one token too many is enough to lose two
        missing = max(self.size + num_tokens - self._data.shape[2], 0)
        return min(missing + missing % 2, self.size)

    def make_room(self, num_tokens: int) -> None:
        """Drop the oldest tokens until `num_tokens` more fit."""
        drop = self.surplus(num_tokens)
        kept = self._data[:, :, drop : self.size].clone()  # [N, H, S - drop, D]
        self.size -= drop
        self._data[:, :, : self.size] = kept

    def update(self, x: Tensor) -> None:
        """Append `x` [N, H, T, D] after the last token."""
        self.check(x)
        self.make_room(x.shape[2])
        self._data[:, :, self.size : self.size + x.shape[2]] = x
        self.size += x.shape[2]

    def reset(self) -> None:
        """Forget every token."""
        self.size = 0

    def prune(self, mask: Tensor) -> None:
        """Keep the samples where `mask` [N] is true."""
        self._data = self._data[mask]  # [kept, H, max_tokens, D]

    def clone(self) -> Cache:
        """Return a copy that shares no memory."""
        other = copy.copy(self)
        other._data = self._data.clone()
        return other


class KVCache:
    """Keys and values of one layer, always equally long."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._keys = Cache(*args, **kwargs)
        self._values = Cache(*args, **kwargs)

    @property
    def size(self) -> int:
        """Tokens held."""
        return self._keys.size

    def get(self) -> tuple[Tensor, Tensor]:
        """Return keys and values, each [N, H, S, D]."""
        return self._keys.get(), self._values.get()

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values [N, H, T, D] and return all; refused together or not at all."""
        if keys.shape != values.shape:
            raise ValueError(f"keys are {list(keys.shape)}, values {list(values.shape)}")
        self._keys.check(keys)
        self._values.check(values)
        self._keys.update(keys)
        self._values.update(values)
        return self.get()

    def make_room(self, num_tokens: int) -> None:
        """Drop the oldest tokens of both until `num_tokens` more fit."""
        self._keys.make_room(num_tokens)
        self._values.make_room(num_tokens)

    def reset(self) -> None:
        """Forget every token."""
        self._keys.reset()
        self._values.reset()

    def prune(self, mask: Tensor) -> None:
        """Keep the samples where `mask` [N] is true."""
        self._keys.prune(mask)
        self._values.prune(mask)

    def clone(self) -> KVCache:
        """Return a copy that shares no memory."""
        other = copy.copy(self)
        other._keys, other._values = self._keys.clone(), self._values.clone()
        return other


class KeysValues:
    """The caches of all layers; `padding` [N] counts the empty slots at the left of each sample."""

    def __init__(
        self,
        num_samples: int,
        num_heads: int,
        max_tokens: int,
        embed_dim: int,
        num_layers: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._geometry = (num_heads, max_tokens, embed_dim, num_layers, device, dtype)
        sizes = (num_samples, num_heads, max_tokens, embed_dim, device, dtype)
        self._layers = [KVCache(*sizes) for _ in range(num_layers)]
        self.padding = torch.zeros(num_samples, device=device, dtype=torch.int64)  # [N]

    def __getitem__(self, layer: int) -> KVCache:
        return self._layers[layer]

    def __len__(self) -> int:
        return len(self._layers)

    @property
    def size(self) -> int:
        """Tokens held by every layer, padding included."""
        return self._layers[0].size

    def make_room(self, num_tokens: int) -> int:
        """Drop the oldest tokens of every layer until `num_tokens` more fit, padding first.

        Returns the slot of the first new token.
        """
        before = self.size
        for layer in self._layers:
            layer.make_room(num_tokens)
        self.padding = (self.padding - (before - self.size)).clamp(min=0)  # [N]
        return before

    def reset(self) -> None:
        """Forget every token of every layer."""
        for layer in self._layers:
            layer.reset()
        self.padding = torch.zeros_like(self.padding)  # [N]

    def prune(self, mask: Tensor) -> None:
        """Keep the samples where the boolean `mask` [N] is true; at least one must stay."""
        if mask.dtype != torch.bool or mask.shape != self.padding.shape or not mask.any():
            raise ValueError("prune needs a boolean mask [N] that keeps at least one sample")
        for layer in self._layers:
            layer.prune(mask)
        self.padding = self.padding[mask]  # [kept]

    def clone(self) -> KeysValues:
        """Return a deep copy: neither of the two ever sees a change of the other."""
        other = copy.copy(self)
        other._layers = [layer.clone() for layer in self._layers]
        other.padding = self.padding.clone()  # [N]
        return other

    def row(self, index: int) -> KeysValues:
        """Copy one sample out, without its padding."""
        single = KeysValues(1, *self._geometry)
        start = int(self.padding[index])
        for source, target in zip(self._layers, single._layers, strict=True):
            keys, values = source.get()  # each [N, H, S, D]
            target.update(keys[index, None, :, start:], values[index, None, :, start:])
        return single

    @classmethod
    def stack(cls, rows: Sequence[KeysValues]) -> KeysValues:
        """Batch single samples of unequal size, padded at the left to the longest."""
        if not rows or any(len(row.padding) != 1 for row in rows):
            raise ValueError("stack needs one or more caches of one sample each")
        size = max(row.size for row in rows)
        batch = cls(len(rows), *rows[0]._geometry)
        for index, target in enumerate(batch._layers):
            pairs = [row[index].get() for row in rows]
            keys = torch.cat([left_pad(pair[0], size) for pair in pairs])  # [N, H, S, D]
            values = torch.cat([left_pad(pair[1], size) for pair in pairs])  # [N, H, S, D]
            target.update(keys, values)
        batch.padding = torch.cat([size - row.size + row.padding for row in rows])  # [N]
        return batch


def left_pad(x: Tensor, size: int) -> Tensor:
    """Grow `x` [N, H, S, D] to [N, H, size, D] with zeros in front of the tokens."""
    missing = size - x.shape[2]
    return F.pad(x, (0, 0, missing, 0))  # [N, H, size, D]


class KVCachePool:
    """At most `pool_size` caches by key; the pool owns its entries: copies go in, copies come out.

    When it is full, FIFO drops the entry set first, LRU the one not set or found for longest,
    PRIORITY the one of lowest priority (of equals, the one set first). Setting a key that is
    there replaces the entry in its place.
    """

    def __init__(self, pool_size: int, eviction_strategy: str = "FIFO") -> None:
        if pool_size < 1 or eviction_strategy not in STRATEGIES:
            raise ValueError(f"need a positive pool_size and one of {', '.join(STRATEGIES)}")
        self.pool_size = pool_size
        self.eviction_strategy = eviction_strategy
        self._hits = self._misses = self._evictions = 0
        self.clear()

    def __len__(self) -> int:
        return len(self._slot_of)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._slot_of

    def get(self, key: Hashable) -> KeysValues | None:
        """Return a copy of the entry, or None."""
        if key not in self._slot_of:
            self._misses += 1
            return None
        self._hits += 1
        slot = self._touch(key)
        return self._slots[slot]

    def set(self, key: Hashable, cache: KeysValues, priority: float = 0.0) -> None:
        """Store a copy of `cache`, dropping another entry when the pool is full."""
        if key not in self._slot_of:
            self._slot_of[key] = self._free_slot()
        else:
            self._touch(key)
        if key in self._priority:
            self._priority[key] = priority
        self._slots[self._slot_of[key]] = cache.clone()

    def clear(self) -> None:
        """Forget every entry."""
        # hits and misses go on where they were
        self._slots: dict[int, KeysValues] = {}
        self._slot_of: dict[Hashable, int] = {}  # oldest first
        self._priority: dict[Hashable, float] = {}

    def statistics(self) -> dict[str, float]:
        """Count entries, hits, misses and evictions; `hit_rate` is 0 before the first lookup."""
        return {
            "size": len(self),
            "hits": self._hits,
            "misses": self._misses,
            "evictions": self._evictions,
            "hit_rate": self._hits / max(self._hits + self._misses, 1),
        }

    def _touch(self, key: Hashable) -> int:
        if self.eviction_strategy == "LRU":
            self._slot_of[key] = self._slot_of.pop(key)
        return self._slot_of[key]

    def _free_slot(self) -> int:
        if len(self._slot_of) < self.pool_size:
            return len(self._slot_of)
        self._evictions += 1
        return self._evict(self._victim())

    def _victim(self) -> Hashable:
        if self.eviction_strategy == "PRIORITY":
            return min(self._priority, key=self._priority.__getitem__)
        return next(iter(self._slot_of))

    def _evict(self, key: Hashable) -> int:
        self._priority.pop(key, None)
        return self._slot_of[key]


class KVCacheManager:
    """Pools of a world model: root states per environment, recurrent states, and snapshots.

    `keys_values_wm_list` holds the working caches of the running step, which a forward pass
    changes in place, and `keys_values_wm_size_list` their sizes when they were looked up.
    """

    keys_values_wm_list: list[int]
    keys_values_wm_size_list: list[int]

    def __init__(self, config: WorldModelConfig, env_num: int) -> None:
        if env_num < 1:
            raise ValueError("need at least one environment")
        strategy = config.eviction_strategy
        self._init_pools = [KVCachePool(config.init_pool_size, strategy) for _ in range(env_num)]
        self._recur_pool = KVCachePool(config.recur_pool_size, strategy)
        self._wm_pool = KVCachePool(config.wm_pool_size, strategy)
        self._issued = 0
        self.set_working([])

    def check_env(self, env_id: int) -> None:
        """Raise ValueError unless the environment exists."""
        if not 0 <= env_id < len(self._init_pools):
            raise ValueError(f"environment {env_id} is not one of {len(self._init_pools)}")

    def get_init_cache(self, env_id: int, key: Hashable) -> KeysValues | None:
        """Return a copy of a root state's cache, or None."""
        self.check_env(env_id)
        return self._init_pools[env_id].get(key)

    def set_init_cache(
        self, env_id: int, key: Hashable, cache: KeysValues, priority: float = 0.0
    ) -> None:
        """Store a copy of a root state's cache for one environment."""
        self.check_env(env_id)
        self._init_pools[env_id].set(key, cache, priority)

    def get_recur_cache(self, key: Hashable) -> KeysValues | None:
        """Return a copy of a recurrent state's cache, or None."""
        return self._recur_pool.get(key)

    def set_recur_cache(self, key: Hashable, cache: KeysValues, priority: float = 0.0) -> None:
        """Store a copy of a recurrent state's cache."""
        self._recur_pool.set(key, cache, priority)

    def get_wm_cache(self, handle: int) -> KeysValues | None:
        """Return a copy of a snapshot, or None once it was dropped."""
        return self._wm_pool.get(handle)

    def set_wm_cache(self, cache: KeysValues) -> int:
        """Store a snapshot and return its handle, never used again for another one."""
        handle = id(cache)
        self._wm_pool.set(handle, cache)
        return handle

    def hierarchical_get(self, env_id: int, key: Hashable) -> KeysValues | None:
        """Look a state up among the roots of its environment, then among recurrent states."""
        found = self.get_init_cache(env_id, key)
        return self.get_recur_cache(key) if found is None else found

    def set_working(self, caches: list[KeysValues]) -> None:
        """Replace the working caches."""
        self.keys_values_wm_list = caches
        self.keys_values_wm_size_list = [cache.size for cache in caches]

    def clear_recur_cache(self) -> None:
        """Forget the recurrent states."""
        self._recur_pool.clear()

    def clear_all(self) -> None:
        """Forget everything; handles that were given out stay invalid."""
        for pool in (*self._init_pools, self._recur_pool, self._wm_pool):
            pool.clear()
        self.set_working([])

    def statistics(self) -> dict[str, Any]:
        """Return the counts of each pool; `init` is a list, one per environment."""
        return {
            "init": [pool.statistics() for pool in self._init_pools],
            "recur": self._recur_pool.statistics(),
            "wm": self._wm_pool.statistics(),
        }

    def _issue_handle(self) -> int:
        self._issued += 1
        return self._issued


class Block(nn.Module):
    """Pre-norm attention with a residual connection."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(embed_dim)
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key = nn.Linear(embed_dim, embed_dim)
        self.value = nn.Linear(embed_dim, embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, cache: KVCache, visible: Tensor) -> Tensor:
        """Append `x` [B, T, C] to the cache and attend where `visible` [B, 1, T, S] is true."""
        normed = self.norm(x)  # [B, T, C]
        query = self._split(self.query(normed))  # [B, H, T, D]
        keys, values = cache.update(
            self._split(self.key(normed)), self._split(self.value(normed))
        )  # each [B, H, S, D]
        scores = query @ keys.transpose(-2, -1) / query.shape[-1] ** 0.5  # [B, H, T, S]
        scores = scores.masked_fill(~visible, float("-inf"))  # [B, H, T, S]
        weights = scores.softmax(dim=-1)  # [B, H, T, S]
        mixed = (weights @ values).transpose(1, 2).flatten(2)  # [B, T, C]
        out: Tensor = x + self.proj(mixed)  # [B, T, C]
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)  # [B, H, T, D]


class WorldModel(nn.Module):
    """A causal transformer over (state, action) tokens whose caches live in a `KVCacheManager`."""

    def __init__(self, config: WorldModelConfig, env_num: int) -> None:
        super().__init__()
        self.config = config
        self.pos_emb = nn.Embedding(config.max_tokens, config.embed_dim)
        self.act_emb = nn.Embedding(config.num_actions, config.embed_dim)
        self.blocks = nn.ModuleList(
            Block(config.embed_dim, config.num_heads) for _ in range(config.num_layers)
        )
        self.head = nn.Linear(config.embed_dim, config.embed_dim)
        self.kv_cache_manager = KVCacheManager(config, env_num)
        # the names that the policy and the trainer know
        self.past_kv_cache_recurrent_infer: dict[Hashable, KeysValues] = {}
        self.past_kv_cache_init_infer_envs: list[dict[Hashable, KeysValues]] = [
            {} for _ in range(env_num)
        ]

    def __getattr__(self, name: str) -> Any:
        if name in LEGACY:
            raise AttributeError(f"{name} is gone, call kv_cache_manager.{LEGACY[name]}() instead")
        return super().__getattr__(name)

    def empty_cache(self, num_samples: int) -> KeysValues:
        """Make an empty cache for this model."""
        c, weight = self.config, self.head.weight
        sizes = (num_samples, c.num_heads, c.max_tokens, c.embed_dim, c.num_layers)
        return KeysValues(*sizes, weight.device, weight.dtype)

    @torch.no_grad()
    def forward(self, tokens: Tensor, past: KeysValues) -> Tensor:
        """Append `tokens` [B, T, C] to `past`, in place, and return the predictions [B, T, C]."""
        self._check_tokens(tokens, past)
        start = past.make_room(tokens.shape[1])
        x = tokens + self.pos_emb(self._positions(past, tokens.shape[1]))  # [B, T, C]
        visible = self._visible(past, start, tokens.shape[1])  # [B, 1, T, S]
        for layer, block in enumerate(self.blocks):
            x = block(x, past[layer], visible)  # [B, T, C]
        out: Tensor = self.head(x)  # [B, T, C]
        return out

    def retrieve_or_generate_kvcache(
        self, latent_states: Tensor, env_ids: Sequence[int]
    ) -> list[int]:
        """Fill the manager's working list with one cache per row [C] of `latent_states` [B, C].

        A state that was seen is found in the pools; another one is run through the model as a
        root state and stored for its environment. Returns the sizes of the working caches.
        """
        self._check_rows(latent_states, env_ids)
        found = [self._lookup(s, e) for s, e in zip(latent_states, env_ids, strict=True)]
        self.kv_cache_manager.set_working(found)
        return self.kv_cache_manager.keys_values_wm_size_list

    def recurrent_inference(
        self, latent_states: Tensor, actions: Tensor, env_ids: Sequence[int]
    ) -> Tensor:
        """Predict the states [B, C] after `actions` [B] and store the caches that lead there."""
        self._check_actions(actions, latent_states)
        self.retrieve_or_generate_kvcache(latent_states, env_ids)
        batch = KeysValues.stack(self.kv_cache_manager.keys_values_wm_list)
        next_states: Tensor = self(self.act_emb(actions)[:, None], batch)[:, 0]  # [B, C]
        self(next_states[:, None], batch)
        for index, state in enumerate(next_states):
            self.kv_cache_manager.set_recur_cache(self._state_key(state), batch.row(index))
        return next_states

    def new_episode(self) -> None:
        """Start an episode: recurrent states of the last one are not found any more."""
        # the root pools are left as they are
        self.past_kv_cache_recurrent_infer.clear()

    def _lookup(self, state: Tensor, env_id: int) -> KeysValues:
        key = self._state_key(state)
        cache = self.kv_cache_manager.hierarchical_get(env_id, key)
        if cache is None:
            cache = self.empty_cache(1)
            self(state[None, None], cache)
            self.kv_cache_manager.set_init_cache(env_id, key, cache)
        return cache

    def _state_key(self, state: Tensor) -> Hashable:
        return tuple(state.tolist())

    def _positions(self, past: KeysValues, num_tokens: int) -> Tensor:
        """Number the new tokens of each sample from its own length on, [B, T]."""
        slots = past.size + torch.arange(num_tokens, device=past.padding.device)  # [T]
        return slots - past.padding[:, None]  # [B, T]

    def _visible(self, past: KeysValues, start: int, num_tokens: int) -> Tensor:
        """Say which slots each new token may read: none after itself, no padding; [B, 1, T, S]."""
        slots = torch.arange(past.size + num_tokens, device=past.padding.device)  # [S]
        causal = slots <= start + slots[:num_tokens, None]  # [T, S]
        return causal.expand(len(past.padding), 1, -1, -1)  # [B, 1, T, S]

    def _check_tokens(self, tokens: Tensor, past: KeysValues) -> None:
        expected = (len(past.padding), self.config.embed_dim)
        if tokens.ndim != 3 or (tokens.shape[0], tokens.shape[2]) != expected:
            raise ValueError(
                f"expected [{expected[0]}, T, {expected[1]}], got {list(tokens.shape)}"
            )
        if tokens.dtype != self.head.weight.dtype:
            raise ValueError(f"expected {self.head.weight.dtype}, got {tokens.dtype}")
        if not 1 <= tokens.shape[1] <= self.config.max_tokens:
            raise ValueError(f"{tokens.shape[1]} tokens; 1 to {self.config.max_tokens} fit")

    def _check_rows(self, latent_states: Tensor, env_ids: Sequence[int]) -> None:
        if latent_states.ndim != 2 or latent_states.shape != (len(env_ids), self.config.embed_dim):
            raise ValueError(f"expected one state per environment, got {list(latent_states.shape)}")
        if latent_states.dtype != self.head.weight.dtype or not env_ids:
            raise ValueError(f"need one or more states of {self.head.weight.dtype}")
        for env_id in env_ids:
            self.kv_cache_manager.check_env(env_id)

    def _check_actions(self, actions: Tensor, latent_states: Tensor) -> None:
        if actions.dtype != torch.int64 or actions.shape != latent_states.shape[:1]:
            raise ValueError("need one int64 action per state")
        if ((actions < 0) | (actions >= self.config.num_actions)).any():
            raise ValueError(f"actions are 0 to {self.config.num_actions - 1}")

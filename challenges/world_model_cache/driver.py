"""Verbs of the world_model_cache challenge; caches, pools and handles are live objects kept by name.

It knows the public names of the file, not how a submission stores anything behind them.
"""

import functools
import typing

import numpy as np

from grader.kit import need

CONFIG = ("num_layers", "num_heads", "embed_dim", "max_tokens", "num_actions", "init_pool_size")
CONFIG += ("recur_pool_size", "wm_pool_size", "eviction_strategy")
LEGACY = {
    "past_kv_cache_init_infer_envs": "get_init_cache",
    "past_kv_cache_recurrent_infer": "get_recur_cache",
    "pool_idx_to_key_map_init_envs": "clear_all",
    "pool_idx_to_key_map_recur_infer": "clear_recur_cache",
}


class Plan:
    """Draws weights, tokens and states; a state keeps its numbers for the whole case."""

    def __init__(self, setup, draw):
        self.setup, self.draw, self.drawn = setup, draw, {}

    def create(self):
        """Sizes and weights; nothing is built before a step needs it."""
        s, c = self.setup, self.setup["embed_dim"]
        weights = {"pos_emb.weight": self.draw(s["max_tokens"], c, scale=0.7)}
        weights["act_emb.weight"] = self.draw(s["num_actions"], c)
        for i in range(s["num_layers"]):
            weights[f"blocks.{i}.norm.weight"] = 1 + self.draw(c, scale=0.2)
            weights[f"blocks.{i}.norm.bias"] = self.draw(c, scale=0.2)
            for name in ("query", "key", "value", "proj"):
                weights[f"blocks.{i}.{name}.weight"] = self.draw(c, c, scale=1.6 * c**-0.5)
                weights[f"blocks.{i}.{name}.bias"] = self.draw(c, scale=0.3)
        weights["head.weight"] = self.draw(c, c, scale=c**-0.5)
        weights["head.bias"] = self.draw(c, scale=0.3)
        config = {name: s[name] for name in CONFIG}
        return {"config": config, "env_num": s["env_num"], "weights": weights}

    def _pair(self, *lead, tokens, **params):
        heads, c = self.setup["num_heads"], self.setup["embed_dim"]
        shape = (*lead, heads, tokens, c // heads)
        drawn = {name: self.draw(*shape) for name in ("keys", "values")} if tokens else {}
        return {**drawn, **params}

    def make(self, tokens, samples=1, **params):
        """Keys and values [L, N, H, T, D] of a new cache."""
        layers = self.setup["num_layers"]
        return self._pair(layers, samples, tokens=tokens, samples=samples, **params)

    def append(self, tokens, samples=1, **params):
        """Keys and values [L, N, H, T, D] of every layer."""
        return self._pair(self.setup["num_layers"], samples, tokens=tokens, **params)

    def update(self, tokens, samples=1, **params):
        """Keys and values [N, H, T, D] of one layer, unless the case states them."""
        return self._pair(samples, tokens=tokens, **params)

    def forward(self, tokens, samples=1, **params):
        """Tokens [N, T, C], unless the case states them as `x`."""
        return {"x": self.draw(samples, tokens, self.setup["embed_dim"]), **params}

    def retrieve(self, states, **params):
        """States [B, C] by name, or as the case states them."""
        return {"states": self._rows(states), **params}

    state_keys = retrieve

    def infer(self, states, actions, **params):
        """States [B, C] and actions [B]."""
        chosen = np.array(actions) if isinstance(actions, list) else actions
        return {"states": self._rows(states), "actions": chosen, **params}

    def prune(self, keep, **params):
        """The mask [N] of samples to keep."""
        return {"keep": np.array(keep) if isinstance(keep, list) else keep, **params}

    def _rows(self, states):
        """Named states [B, C]: `s.1` is row 1 of what the step saved as `s` predicted."""
        if not isinstance(states, list):
            return states
        for name in states:
            step, _, row = name.partition(".")
            if row:
                self.drawn[name] = self.saved[step]["next_states"].values[int(row)]
            elif name not in self.drawn:
                self.drawn[name] = self.draw(self.setup["embed_dim"])
        return np.stack([self.drawn[name] for name in states]).astype(np.float64)


class Verbs:
    """Calls the submission; `on`, `cache`, `rows` and `handle` name objects, `into` names a result."""

    def __init__(self, submission):
        self.submission, self.kept = submission, {}

    def create(self, *, dtype, config, env_num, weights):
        """Keep the sizes; the model is built by the first step that needs it."""
        self.config, self.env_num, self.weights = config, env_num, weights

    @functools.cached_property
    def model(self):
        """The submission's model with the weights of the case."""
        config = need(self.submission, "WorldModelConfig")(**self.config)
        model = need(self.submission, "WorldModel")(config, self.env_num).eval()
        model = model.to(self.weights["head.weight"].dtype)
        model.load_state_dict(self.weights)
        return model

    def _seen(self, cache, into=None, brief=False):
        """Everything a cache holds, or its sizes alone; `found` is false for None."""
        if into:
            self.kept[into] = cache
        if cache is None:
            return {"found": False}
        if brief:
            return {"size": cache.size, "padding": cache.padding}
        seen = {"found": True, "size": cache.size, "layers": len(cache), "padding": cache.padding}
        for layer in range(len(cache) if cache.size else 0):
            seen[str(layer)] = dict(zip(("keys", "values"), cache[layer].get(), strict=True))
        return seen

    def make(self, *, into, samples, keys=None, values=None):
        """Build a KeysValues and fill it."""
        c, dtype = self.config, self.weights["head.weight"].dtype
        sizes = (samples, c["num_heads"], c["max_tokens"], c["embed_dim"], c["num_layers"])
        self.kept[into] = need(self.submission, "KeysValues")(*sizes, "cpu", dtype)
        return self.append(on=into, keys=keys, values=values)

    def append(self, *, on, keys=None, values=None, brief=False):
        """Append to every layer."""
        for layer in range(0 if keys is None else len(keys)):
            self.kept[on][layer].update(keys[layer], values[layer])
        return self._seen(self.kept[on], brief=brief)

    def update(self, *, on, layer, keys, values):
        """Append to one layer."""
        all_keys, all_values = self.kept[on][layer].update(keys, values)
        return {"keys": all_keys, "values": all_values}

    def look(self, *, on):
        """Read a cache."""
        return self._seen(self.kept[on])

    def prune(self, *, on, keep, brief=False):
        """Keep some samples."""
        self.kept[on].prune(keep)
        return self._seen(self.kept[on], brief=brief)

    def reset(self, *, on):
        """Empty a cache."""
        self.kept[on].reset()
        return self._seen(self.kept[on])

    def make_room(self, *, on, tokens, brief=False):
        """Evict until the tokens fit."""
        self.kept[on].make_room(tokens)
        return self._seen(self.kept[on], brief=brief)

    def clone(self, *, on, into):
        """Copy a cache."""
        return self._seen(self.kept[on].clone(), into)

    def row(self, *, on, index, into=None, brief=False):
        """Take one sample out of a batch."""
        return self._seen(self.kept[on].row(index), into, brief)

    def stack(self, *, rows, into, brief=False):
        """Batch single caches."""
        kind = need(self.submission, "KeysValues")
        return self._seen(kind.stack([self.kept[name] for name in rows]), into, brief)

    def pool(self, *, into, size, strategy):
        """Build a pool."""
        self.kept[into] = need(self.submission, "KVCachePool")(size, strategy)

    def put(self, *, on, key, cache, priority=None):
        """Store a cache in a pool, with the file's own default of the priority unless one is given."""
        given = () if priority is None else (priority,)
        self.kept[on].set(key, self.kept[cache], *given)

    def take(self, *, on, key, into=None):
        """Look a key up in a pool."""
        return self._seen(self.kept[on].get(key), into)

    def holds(self, *, on, keys):
        """Say which keys a pool holds, without a lookup."""
        return {"keys": [key for key in keys if key in self.kept[on]]}

    def clear(self, *, on):
        """Empty a pool."""
        self.kept[on].clear()

    def count(self, *, on):
        """Read a pool's statistics."""
        return self.kept[on].statistics()

    def manager(
        self, *, call, env=None, key=None, cache=None, handle=None, priority=None, into=None
    ):
        """Call a method of the model's cache manager."""
        method = need(self.model.kv_cache_manager, call)
        given = (env, key, handle and self.kept[handle], cache and self.kept[cache], priority)
        result = method(*(value for value in given if value is not None))
        if call == "set_wm_cache":
            self.kept[into] = result
        elif call == "statistics":
            environments = {str(index): seen for index, seen in enumerate(result["init"])}
            return {**result, "init": environments}
        elif "get" in call:
            return self._seen(result, into)
        return {}

    def handles(self, *, names):
        """Say which handles are equal."""
        handles = [self.kept[name] for name in names]
        return {"same": [[int(a == b) for b in handles] for a in handles]}

    def issue(self, *, count):
        """Issue handles."""
        manager = self.model.kv_cache_manager
        return {"handles": [need(manager, "_issue_handle")() for _ in range(count)]}

    def retrieve(self, *, states, envs, into=None, brief=False):
        """Look states up or generate them, and read the working caches."""
        sizes = self.model.retrieve_or_generate_kvcache(states, envs)
        if brief:
            return {"rows": len(sizes)}
        working = self.model.kv_cache_manager.keys_values_wm_list
        seen = {str(i): self._seen(c, into and f"{into}.{i}") for i, c in enumerate(working)}
        listed = list(self.model.kv_cache_manager.keys_values_wm_size_list)
        return {"sizes": list(sizes), "listed": listed, "working": seen}

    def infer(self, *, states, actions, envs):
        """Predict the next states."""
        return {"next_states": self.model.recurrent_inference(states, actions, envs)}

    def forward(self, *, on, x):
        """Run the model on a cache, which changes in place."""
        output = self.model(x, self.kept[on])
        return {"output": output, "cache": self._seen(self.kept[on])}

    def new_episode(self):
        """Start an episode."""
        self.model.new_episode()

    def state_keys(self, *, states):
        """Say which states have the same key."""
        keys = [need(self.model, "_state_key")(state) for state in states]
        return {"same": [[int(a == b) for b in keys] for a in keys]}

    def positions(self, *, on, tokens):
        """Number new tokens."""
        return {"positions": need(self.model, "_positions")(self.kept[on], tokens)}

    def visible(self, *, on, start, tokens):
        """Read the attention mask."""
        return {"visible": need(self.model, "_visible")(self.kept[on], start, tokens)}

    def annotations(self):
        """Read the types of the working lists."""
        manager = need(self.submission, "KVCacheManager")
        hints = typing.get_type_hints(manager)
        return {
            name: _spelled(hints.get(name))
            for name in ("keys_values_wm_list", "keys_values_wm_size_list")
        }

    def legacy(self):
        """Say which of the old attributes exist."""
        owners = (self.model, self.model.kv_cache_manager)
        return {name: any(hasattr(owner, name) for owner in owners) for name in LEGACY}

    def old_call(self, *, name):
        """Call an old attribute and read the error."""
        try:
            getattr(self.model, name).clear()
        except AttributeError as error:
            return {"raised": True, "names_the_new_call": LEGACY[name] in str(error)}
        return {"raised": False, "names_the_new_call": False}


def _spelled(hint):
    """`list[KeysValues]`, however it was imported or written."""
    inner = ", ".join(getattr(part, "__name__", str(part)) for part in typing.get_args(hint))
    outer = getattr(typing.get_origin(hint) or hint, "__name__", str(hint))
    return f"{outer}[{inner}]" if inner else outer

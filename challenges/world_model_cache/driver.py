"""Verbs of the world_model_cache challenge: caches, pools and handles are live objects, and a case names them.

`into` names what a step makes; later steps find it under that name (`on`, `cache`, `rows`, `handle`).  States have
names as well: the numbers of a state are the same in every step that names it.  The driver knows the public names of
the file, not how a submission stores anything behind them.
"""

import typing

import numpy as np

from grader.kit import (
    NAME,
    both_sides,
    choice,
    drawn,
    fields_of,
    guarded,
    listed,
    made,
    named_object,
    need,
    real,
    switch,
    text,
    verb,
    whole,
    wholes,
)  # fmt: skip

STRATEGIES = ("FIFO", "LRU", "PRIORITY")
MANAGER_METHODS = (
    "get_init_cache", "set_init_cache", "get_recur_cache", "set_recur_cache", "get_wm_cache", "set_wm_cache",
    "hierarchical_get", "clear_recur_cache", "clear_all", "statistics",
)  # fmt: skip
LEGACY = {  # attributes of earlier versions, and the method that each message must name
    "past_kv_cache_init_infer_envs": "get_init_cache",
    "past_kv_cache_recurrent_infer": "get_recur_cache",
    "pool_idx_to_key_map_init_envs": "clear_all",
    "pool_idx_to_key_map_recur_infer": "clear_recur_cache",
}

Object = named_object("Name of the object acted upon.")
Stored = named_object("Name of the cache to store.")
Into = text("Name for the result.", 40, NAME)
Tokens = whole(0, 64, "New tokens.")
Samples = whole(1, 8, "Samples of the cache.")
Brief = switch("Read only size and padding, no tokens.")
Key = whole(-1000, 1000, "Key in a pool.")
Priority = real(-100, 100, "Priority of the entry; the file's own default, 0, when left out.")
Envs = wholes(-8, 8, "Environment of each row.", length=(0, 8))


class Setup:
    """Sizes of the model and of its pools."""

    num_layers: whole(1, 4, "Layers.")
    num_heads: whole(1, 6, "Heads.")
    embed_dim: whole(1, 48, "Width of a token; a multiple of the heads.")
    max_tokens: whole(2, 32, "Tokens a cache can hold; even.")
    num_actions: whole(1, 16, "Actions.")
    env_num: whole(1, 4, "Environments.")
    init_pool_size: whole(1, 16, "Root states kept per environment.")
    recur_pool_size: whole(1, 16, "Recurrent states kept.")
    wm_pool_size: whole(1, 16, "Snapshots kept.")
    eviction_strategy: choice(STRATEGIES, "Which entry a full pool drops.")

    def legal(sizes):
        """Whether random cases may have these sizes."""
        return sizes.embed_dim % sizes.num_heads == 0 and sizes.max_tokens % 2 == 0


CONFIG = [name for name in Setup.__annotations__ if name != "env_num"]


# What is drawn, in the grader


@made("config", "env_num", "weights")
def model(case):
    """Sizes and weights; nothing is built before a step needs it."""
    c = case.embed_dim
    weights = {"pos_emb.weight": case.draw(case.max_tokens, c, scale=0.7)}
    weights["act_emb.weight"] = case.draw(case.num_actions, c)
    for i in range(case.num_layers):
        weights[f"blocks.{i}.norm.weight"] = 1 + case.draw(c, scale=0.2)
        weights[f"blocks.{i}.norm.bias"] = case.draw(c, scale=0.2)
        for name in ("query", "key", "value", "proj"):
            weights[f"blocks.{i}.{name}.weight"] = case.draw(c, c, scale=1.6 * c**-0.5)
            weights[f"blocks.{i}.{name}.bias"] = case.draw(c, scale=0.3)
    weights["head.weight"] = case.draw(c, c, scale=c**-0.5)
    weights["head.bias"] = case.draw(c, scale=0.3)
    return {name: getattr(case, name) for name in CONFIG}, case.env_num, weights


def pair(case, *shape):
    """Keys and values [..., H, T, D]; `shape` ends with T."""
    *lead, tokens = shape
    shape = (*lead, case.num_heads, tokens, case.embed_dim // case.num_heads)
    return case.draw(*shape), case.draw(*shape)


@made("keys", "values", "samples")
def all_layers(case, tokens: Tokens, samples: Samples = 1):
    """Keys and values [L, N, H, T, D], none where there are no tokens."""
    if not tokens:
        return {"samples": samples}
    return *pair(case, case.num_layers, samples, tokens), samples


@drawn(keys="Keys [N, H, T, D]", values="Values [N, H, T, D]")
def one_layer(case, tokens: Tokens, samples: Samples = 1):
    """Keys and values for one layer."""
    return pair(case, samples, tokens)


@drawn(x="Tokens [N, T, C]")
def tokens(case, tokens: Tokens, samples: Samples = 1):
    """Input of the model."""
    return case.draw(samples, tokens, case.embed_dim)


def predicted_in(name):
    """The step that predicted a state: `s` for `s.1`, none for a state drawn by its name."""
    step, _, row = name.partition(".")
    return step if row else None


@made("states")
def states(
    case,
    states: listed(
        text("Name of a state.", 40, r"^[a-z][a-z0-9_-]*(\.[0-9])?$", names_saved=predicted_in),
        "States by name, one per row; `s.1` is row 1 of what the step saved as `s` predicted."
        " Or the numbers themselves.",
        (1, 8), numbers=True,
    ),
):  # fmt: skip
    """States [B, C]."""
    if not isinstance(states, list):
        return states
    rows = []
    for name in states:
        step, _, row = name.partition(".")
        if row:
            rows.append(case.saved[step]["next_states"].values[int(row)])
        else:
            rows.append(case.named(name, case.embed_dim))
    return np.stack(rows).astype(np.float64)


@made("actions")
def actions(
    case,
    actions: wholes(-8, 64, "Actions, one per row, or a tensor.", length=(1, 8), numbers=True),
):
    """Actions [B]."""
    return np.array(actions) if isinstance(actions, list) else actions


@made("keep")
def kept_samples(
    case,
    keep: listed(
        switch("Whether this one is kept."),
        "Mask, one truth value per sample, or a tensor.", (1, 8), numbers=True,
    ),
):  # fmt: skip
    """The mask [N]."""
    return np.array(keep) if isinstance(keep, list) else keep


# What is asked of the submission, in the worker


@verb
def create(file, config, env_num, weights):
    file.keep.sizes, file.keep.weights, file.keep.model = (config, env_num), weights, None


def model_of(file):
    """The submission's model with the weights of the case, made when a step first needs it."""
    if file.keep.model is None:
        config, env_num = file.keep.sizes
        model = file.WorldModel(file.WorldModelConfig(**config), env_num).eval()
        model = model.to(file.keep.weights["head.weight"].dtype)
        model.load_state_dict(file.keep.weights)
        file.keep.model = model
    return file.keep.model


def seen(cache, brief=False):
    """What a cache holds, or its sizes alone; `found` is false for None."""
    if cache is None:
        return {"found": False}
    if brief:
        return {"size": cache.size, "padding": cache.padding}
    found = {"found": True, "size": cache.size, "layers": len(cache), "padding": cache.padding}
    for layer in range(len(cache) if cache.size else 0):
        found[str(layer)] = dict(zip(("keys", "values"), cache[layer].get(), strict=True))
    return found


def kept(file, into, cache, brief=False):
    """Keep a cache under a name, if there is one, and say what it holds."""
    if into:
        file.objects[into] = cache
    return seen(cache, brief)


def append_to_all(cache, keys, values):
    for layer in range(0 if keys is None else len(keys)):
        cache[layer].update(keys[layer], values[layer])


# Caches


@verb
def make(file, into: Into, samples, keys, values):
    """Build a KeysValues and append random keys and values to every layer."""
    (config, _), dtype = file.keep.sizes, file.keep.weights["head.weight"].dtype
    sizes = [config[n] for n in ("num_heads", "max_tokens", "embed_dim", "num_layers")]
    cache = file.objects[into] = file.KeysValues(samples, *sizes, "cpu", dtype)
    append_to_all(cache, keys, values)
    return seen(cache)


@verb
def append(file, on: Object, keys, values, brief: Brief = False):
    """Append random keys and values to every layer."""
    append_to_all(on, keys, values)
    return seen(on, brief)


@verb
def update(file, on: Object, keys: one_layer, values, layer: whole(0, 7, "Index of the layer.")):
    """Append to one layer; keys and values [N, H, T, D] are random unless stated."""
    all_keys, all_values = on[layer].update(keys, values)
    return {"keys": all_keys, "values": all_values}


@verb
def look(file, on: Object):
    """Read everything a cache holds."""
    return seen(on)


@verb
def prune(file, on: Object, keep, brief: Brief = False):
    """Keep the samples where the mask is true."""
    on.prune(keep)
    return seen(on, brief)


@verb
def reset(file, on: Object):
    """Empty a cache."""
    on.reset()
    return seen(on)


@verb
def make_room(file, on: Object, tokens: Tokens, brief: Brief = False):
    """Evict from every layer until the tokens fit."""
    on.make_room(tokens)
    return seen(on, brief)


@verb
def clone(file, on: Object, into: Into):
    """Copy a cache."""
    return kept(file, into, on.clone())


@verb
def row(
    file, on: Object, index: whole(0, 7, "Index of the sample."), into: Into = None, brief: Brief = False
):  # fmt: skip
    """Take one sample out of a batch, without its padding."""
    return kept(file, into, on.row(index), brief)


@verb
def stack(
    file,
    rows: listed(named_object("Name of a cache."), "Names of the caches.", (0, 8)),
    into: Into,
    brief: Brief = False,
):
    """Batch single caches, padded at the left."""
    return kept(file, into, file.KeysValues.stack(rows), brief)


@verb
def forward(file, on: Object, x):
    """Run the model on a cache, which changes in place."""
    return {"output": model_of(file)(x, on), "cache": seen(on)}


@verb
def positions(file, on: Object, tokens: Tokens):
    """Number the new tokens of each sample."""
    return {"positions": guarded(model_of(file))._positions(on, tokens)}


@verb
def visible(file, on: Object, start: whole(0, 64, "Slot of the first new token."), tokens: Tokens):
    """Read the attention mask."""
    return {"visible": guarded(model_of(file))._visible(on, start, tokens)}


# Pools


@verb
def pool(
    file,
    into: Into,
    size: whole(-1, 16, "Entries it can hold."),
    strategy: choice(
        (*STRATEGIES, "RANDOM"), "Eviction strategy; RANDOM is no strategy, to be refused."
    ),
):
    """Build a pool."""
    file.objects[into] = file.KVCachePool(size, strategy)


@verb
def put(file, on: Object, key: Key, cache: Stored, priority: Priority = None):
    """Store a cache in a pool."""
    on.set(key, cache, *(() if priority is None else (priority,)))


@verb
def take(file, on: Object, key: Key, into: Into = None):
    """Look a key up in a pool."""
    return kept(file, into, on.get(key))


@verb
def holds(file, on: Object, keys: listed(Key, "Keys to ask for.", (0, 32))):
    """Say which of the keys a pool holds, without a lookup."""
    return {"keys": [key for key in keys if key in on]}


@verb
def clear(file, on: Object):
    """Empty a pool."""
    on.clear()


@verb
def count(file, on: Object):
    """Read a pool's statistics."""
    return told(on.statistics())


def told(statistics):
    """What a pool says of itself, in whatever form; the rate before any lookup is the file's own affair."""
    found = fields_of(statistics)
    return found if found.get("hits") or found.get("misses") else {**found, "hit_rate": 0.0}


# The model's cache manager, and searches of several steps


@verb
def manager(
    file,
    call: choice(MANAGER_METHODS, "Name of the method."),
    env: whole(-8, 8, "Environment.") = None,
    key: Key = None,
    handle: named_object("Name of the handle to look up.") = None,
    cache: Stored = None,
    priority: Priority = None,
    into: Into = None,
):
    """Call a method of the model's cache manager."""
    method = need(model_of(file).kv_cache_manager, call)
    given = (env, key, handle, cache, priority)
    result = method(*(value for value in given if value is not None))
    if call == "set_wm_cache":
        file.objects[into] = result  # a handle
    elif call == "statistics":
        pools = fields_of(result)
        environments = {str(index): told(each) for index, each in enumerate(pools["init"])}
        rest = {name: told(each) for name, each in pools.items() if name != "init"}
        return {**rest, "init": environments}
    elif "get" in call:
        return kept(file, into, result)


@verb
def handles(
    file, names: listed(named_object("Name of a handle."), "Names of the handles.", (1, 8))
):
    """Say which handles are equal."""
    return {"same": which_are_equal(names)}


@verb
def issue(file, count: whole(1, 32, "How many.")):
    """Issue handles one after the other."""
    manager = guarded(model_of(file).kv_cache_manager)
    return {"handles": [manager._issue_handle() for _ in range(count)]}


@verb
def retrieve(
    file,
    states,
    envs: Envs,
    into: text(
        "Prefix of the names of the working caches: `w` makes `w.0`, `w.1`, ...", 40, NAME
    ) = None,
    brief: Brief = False,
):
    """Look states up or generate their caches, and read the working caches."""
    model = model_of(file)
    sizes = model.retrieve_or_generate_kvcache(states, envs)
    if brief:
        return {"rows": len(sizes)}
    working = enumerate(model.kv_cache_manager.keys_values_wm_list)
    caches = {str(i): kept(file, into and f"{into}.{i}", cache) for i, cache in working}
    listed = list(model.kv_cache_manager.keys_values_wm_size_list)
    return {"sizes": list(sizes), "listed": listed, "working": caches}


@verb
def infer(file, states, actions, envs: Envs):
    """Predict the states after an action each."""
    return {"next_states": model_of(file).recurrent_inference(states, actions, envs)}


@verb
def new_episode(file):
    """Start an episode."""
    model_of(file).new_episode()


@verb
def state_keys(file, states):
    """Say which states have the same key."""
    model = guarded(model_of(file))
    return {"same": which_are_equal([model._state_key(state) for state in states])}


def which_are_equal(items):
    """A row of 0 and 1 for each item: which of all it equals."""
    return [[int(a == b) for b in items] for a in items]


# What the file says of its own types and of attributes that are gone


@verb
def annotations(file):
    """Read the types of the manager's working lists."""
    hints = typing.get_type_hints(file.KVCacheManager)
    lists = ("keys_values_wm_list", "keys_values_wm_size_list")
    return {name: spelled(hints.get(name)) for name in lists}


@verb
def legacy(file):
    """Say which of the old attributes still exist."""
    model = model_of(file)
    owners = (model, model.kv_cache_manager)
    return {name: any(hasattr(owner, name) for owner in owners) for name in LEGACY}


@verb
def old_call(file, name: choice(LEGACY, "Name of the old attribute.")):
    """Call an old attribute and read the error."""
    try:
        getattr(model_of(file), name).clear()
    except AttributeError as error:
        return {"raised": True, "names_the_new_call": LEGACY[name] in str(error)}
    return {"raised": False, "names_the_new_call": False}


def spelled(hint):
    """`list[KeysValues]`, however it was imported or written."""
    inner = ", ".join(getattr(part, "__name__", str(part)) for part in typing.get_args(hint))
    outer = getattr(typing.get_origin(hint) or hint, "__name__", str(hint))
    return f"{outer}[{inner}]" if inner else outer


Plan, Verbs = both_sides(globals())

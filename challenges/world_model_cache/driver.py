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
    spoil,
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
POOLS = ("init", "recur", "wm")  # as the statistics of a manager name them
LEGACY = {  # attributes of earlier versions, and the method that each message must name
    "past_kv_cache_init_infer_envs": "get_init_cache",
    "past_kv_cache_recurrent_infer": "get_recur_cache",
    "pool_idx_to_key_map_init_envs": "clear_all",
    "pool_idx_to_key_map_recur_infer": "clear_recur_cache",
}

Object = named_object("Name of the object acted upon.")
Stored = named_object("Name of the cache to store.")
Into = text("Name for the result.", 40, NAME)
Tokens = whole(0, 72, "New tokens.", usual=(1, 3))
NewTokens = whole(1, 72, "New tokens.", usual=(1, 3))
Samples = whole(1, 8, "Samples of the cache.", usual=(1, 3))
Brief = switch("Read only size and padding, no tokens.")
Key = whole(-1000, 1000, "Key in a pool.")
Priority = real(-100, 100, "Priority of the entry; the file's own default, 0, when left out.")
Envs = wholes(-8, 8, "Environment of each row.", length=(0, 8))


class Setup:
    """Sizes of the model and of its pools."""

    num_layers: whole(1, 6, "Layers.", usual=(1, 3))
    num_heads: whole(1, 6, "Heads.", usual=(1, 3))
    embed_dim: whole(1, 68, "Width of a token; a multiple of the heads.", usual=(4, 12))
    max_tokens: whole(2, 72, "Tokens a cache can hold; even.", multiple=2, usual=(4, 10))
    num_actions: whole(1, 16, "Actions.", usual=(2, 5))
    env_num: whole(1, 4, "Environments.", usual=(1, 3))
    init_pool_size: whole(1, 16, "Root states kept per environment.", usual=(1, 3))
    recur_pool_size: whole(1, 16, "Recurrent states kept.", usual=(1, 4))
    wm_pool_size: whole(1, 16, "Snapshots kept.", usual=(1, 3))
    eviction_strategy: choice(STRATEGIES, "Which entry a full pool drops.")
    attention: real(0, 1000, "Size of the weights of query and key, 1.", usual=(1.0, 0.0)) = 1.0

    dtypes = ("float32", "float64")

    def legal(sizes):
        """Whether random cases may have these sizes.

        Two numbers are 1 and -1 once they are normalised: different histories would lead to one state, up to rounding.
        """
        even = sizes.max_tokens % 2 == 0
        return even and sizes.embed_dim % sizes.num_heads == 0 and sizes.embed_dim > 2


class RandomScenarios:
    """Whole sequences of calls on pools, caches, snapshots and searches; each verb runs one from the beginning."""

    verbs = ("pool_run", "cache_run", "snapshot_run", "search_run")
    steps = (1, 3)

    def amended(case, choose):
        """Longer sequences, and searches of any states, environments and actions."""
        usual = {"pool_run": POOL_CALLS, "cache_run": CACHE_CALLS, "snapshot_run": SNAPSHOT_CALLS}
        stepped = {True: set(), False: set()}
        for step in case["steps"]:
            for _ in range(choose.below(20)):
                calls = usual.get(step["do"])
                step["calls"].append(choose.one_of(calls) if calls else any_search_call(choose))
            if step["do"] == "cache_run" and choose.one_in(4):
                step["calls"] += used_again(choose)
            if step["do"] == "search_run":
                step["calls"] = each_step_once(step["calls"], stepped, case["setup"]["num_actions"])
        return case


def each_step_once(calls, stepped, num_actions):
    """The calls without what was predicted before, beside other rows, where its last bits may be others.

    step a@0:1, step a@0:1 b@0:0     one state or two: what is after `a` may be rounded in another way beside `b`

    `stepped` holds, for each of the two models, what was done so far: a state by its history, and the action.
    """
    kept, other, last = [], False, {}
    for call in calls:
        name, *rows = call.split()
        other = {"other": True, "first": False}.get(name, other)
        if name == "step":
            here, apart = [], []
            for row in rows:
                state, _, action = parts_of(row)
                if state[0] == "p":
                    before = last.get(other, ["a"])
                    state = before[int(state[1:]) % len(before)]
                done = f"{state.replace('y', 'a')}>{action % num_actions}"
                if done not in stepped[other]:
                    stepped[other].add(done)
                    here.append(done)
                    apart.append(row)
            if not apart:
                continue
            last[other], call = here, " ".join([name, *apart])
        kept.append(call)
    return kept or ["episode"]


def used_again(choose):
    """Calls that fill a cache, empty it and batch what is appended then with a longer cache."""
    emptied = choose.one_of(("reset", "room 70", "room 3", "write"))
    return ["append 70", emptied, f"append {choose.between(1, 2)}", f"join {choose.between(3, 9)}"]


def any_search_call(choose):
    name = choose.one_of(("retrieve", "step", "step", "retrieve", ""))
    if not name:
        return choose.one_of(("grow", "other", "first", "episode", "clear", "put 0.5", "put -0.5"))
    rows = [
        f"{choose.one_of(SEARCHED)}@{choose.below(4)}:{choose.below(16)}"
        for _ in range(choose.between(1, 4))
    ]
    return " ".join([name, *rows])


CONFIG = [name for name in Setup.__annotations__ if name not in ("env_num", "attention")]


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
            size = case.attention if name in ("query", "key") else 1.0
            weights[f"blocks.{i}.{name}.weight"] = case.draw(c, c, scale=1.6 * c**-0.5) * size
            weights[f"blocks.{i}.{name}.bias"] = case.draw(c, scale=0.3) * size
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
def one_layer(case, tokens: NewTokens, samples: Samples = 1):
    """Keys and values for one layer."""
    return pair(case, samples, tokens)


@drawn(x="Tokens [N, T, C]")
def tokens(case, tokens: NewTokens, samples: Samples = 1):
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


@made("named_states")
def named_states(case):
    """The states `a` to `d`, [4, C], the same in every step."""
    return np.stack([case.named(name, case.embed_dim) for name in "abcd"])


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
    file.keep.sizes, file.keep.weights, file.keep.models = (config, env_num), weights, {}


def model_of(file, other=False):
    """The submission's model with the weights of the case, made when a step first needs it.

    `other` is a second model of the same sizes, whose weights are those of the first in another order.
    """
    if other not in file.keep.models:
        config, env_num = file.keep.sizes
        weights = file.keep.weights
        if other:
            weights = {name: weight.flip(0) for name, weight in weights.items()}
        model = file.WorldModel(file.WorldModelConfig(**config), env_num).eval()
        model = model.to(weights["head.weight"].dtype)
        model.load_state_dict(weights)
        file.keep.models[other] = model
    return file.keep.models[other]


def new_cache(file, samples=1):
    """An empty KeysValues of the case's sizes and dtype."""
    (config, _), dtype = file.keep.sizes, file.keep.weights["head.weight"].dtype
    sizes = [config[n] for n in ("num_heads", "max_tokens", "embed_dim", "num_layers")]
    return file.KeysValues(samples, *sizes, "cpu", dtype)


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


def another_dtype(x):
    """The same numbers in a floating dtype that is not theirs."""
    return x.float() if x.element_size() == 8 else x.double()


def in_half(x):
    """The same numbers in float16, or in float32 where they are no wider than that."""
    return x.half() if x.element_size() > 2 else x.float()


def of_tensor(name):
    """Ways in which floating numbers do not fit, whatever the cache or model; `name` is their argument."""
    return {
        f"{name}_of_another_dtype": spoil(name, another_dtype),
        f"{name}_in_half": spoil(name, in_half),
        f"{name}_whole": spoil(name, lambda x: x.long()),
        f"{name}_of_lower_rank": spoil(name, lambda x: x[0]),
        f"{name}_of_higher_rank": spoil(name, lambda x: x[None]),
        f"{name}_of_more_rows": spoil(name, lambda x: x[[*range(len(x)), 0]]),
    }


def of_rows(name="states"):
    """Ways to spoil rows of states and their environments."""
    return {
        **of_tensor(name),
        "no_rows": spoil("states envs", lambda x: x[:0]),
        "last_environment_negative": spoil("envs", lambda envs: [*envs[:-1], -1]),
        "last_environment_unknown": spoil("envs", lambda envs: [*envs[:-1], 99]),
        "first_environment_unknown": spoil("envs", lambda envs: [99, *envs[1:]]),
        "environment_missing": spoil("envs", lambda envs: envs[:-1]),
    }


def last_action(value):
    return spoil("actions", lambda x: x.index_fill(0, x.new_tensor([len(x) - 1]), value))


APPENDED = {
    **of_tensor("keys"), **of_tensor("values"),
    "both_of_one_row": spoil("keys values", lambda x: x[:1]),
    "both_of_more_rows": spoil("keys values", lambda x: x[[*range(len(x)), 0]]),
    "both_of_another_dtype": spoil("keys values", another_dtype),
    "values_of_fewer_tokens": spoil("values", lambda x: x[:, :, 1:]),
}  # fmt: skip
MASKS = {
    "whole_mask": spoil("keep", lambda x: x.long()),
    "byte_mask": spoil("keep", lambda x: x.byte()),
    "float_mask": spoil("keep", lambda x: x.float()),
    "longer_mask": spoil("keep", lambda x: x[[*range(len(x)), 0]]),
    "mask_of_two_axes": spoil("keep", lambda x: x[None]),
    "nothing_kept": spoil("keep", lambda x: x & ~x),
}
ACTIONS = {
    "last_action_negative": last_action(-1),
    "last_action_unknown": last_action(99),
    "actions_of_int32": spoil("actions", lambda x: x.int()),
    "actions_of_float": spoil("actions", lambda x: x.float()),
    "actions_of_bool": spoil("actions", lambda x: x > 0),
    "actions_of_two_axes": spoil("actions", lambda x: x[:, None]),
    "action_missing": spoil("actions", lambda x: x[:-1]),
    "action_too_many": spoil("actions", lambda x: x[[*range(len(x)), 0]]),
}


# Caches


@verb
def make(file, into: Into, samples, keys, values):
    """Build a KeysValues and append random keys and values to every layer."""
    cache = file.objects[into] = new_cache(file, samples)
    append_to_all(cache, keys, values)
    return seen(cache)


@verb
def append(file, on: Object, keys, values, brief: Brief = False):
    """Append random keys and values to every layer."""
    append_to_all(on, keys, values)
    return seen(on, brief)


@verb(spoils=APPENDED)
def update(file, on: Object, keys: one_layer, values, layer: whole(0, 7, "Index of the layer.")):
    """Append to one layer; keys and values [N, H, T, D] are random unless stated."""
    all_keys, all_values = on[layer].update(keys, values)
    return {"keys": all_keys, "values": all_values}


@verb
def look(file, on: Object):
    """Read everything a cache holds."""
    return seen(on)


@verb(spoils=MASKS)
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


@verb(spoils={**of_tensor("x"), "x_of_one_row": spoil("x", lambda x: x[:1])})
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


CACHE_CALLS = (
    "append 1", "append 2", "append 3", "append 7", "room 1", "room 3", "room 6", "stack 1 3 5", "stack 3 1",
    "stack 1 2 3 1 6", "prune 101", "prune 011", "prune 10", "reset", "clone", "row 0", "row 1", "back", "write",
    "double", "row 2", "append 70", "join 5",
)  # fmt: skip


@verb
def cache_run(
    file,
    calls: listed(
        text(
            "`append 2`, `room 3`, `stack 1 3 5` (new caches of so many tokens), `prune 101`, `reset`, `clone`,"
            " `row 1`, `double` (stack the first row, twice), `join 5` (stack the first row with a new cache of so"
            " many tokens); `back` goes on with the object that was left first,"
            " `write` overwrites the tensors that `get` returns, and then resets.",
            40, r"^(append|room|stack|prune|reset|clone|row|double|join|back|write)( [0-9]+)*$", usual=CACHE_CALLS,
        ),
        "Calls on one cache; `stack`, `clone`, `row`, `double` and `join` leave an object and go on with another.",
        (1, 40),
    ),
):  # fmt: skip
    """Work with caches from an empty one on, and look at all of them in the end."""
    most = file.keep.sizes[0]["max_tokens"]
    here, left, answers = new_cache(file), [], {}
    for index, call in enumerate(calls):
        name, *said = call.split()
        counts = [min(int(one), most) for one in said]
        if name == "append":
            if any(here.padding.tolist()):  # an append alone need not keep account of padding
                here.make_room(counts[0])
            feed(file, here, counts[0], index)
        elif name == "room":
            here.make_room(counts[0])
        elif name == "prune":
            here.prune(mask_for(here, said[0]))
        elif name == "write":
            scribble(here)
            here.reset()  # whether it shares memory with what it returned is left open
        elif name == "reset":
            here.reset()
        elif name == "back" and left:
            left.append(here)
            here = left.pop(0)
        elif name == "stack":
            left += [
                feed(file, new_cache(file), count, index + 7 * i) for i, count in enumerate(counts)
            ]
            here = file.KeysValues.stack(left[-len(counts) :])
        elif name == "double" and here.size:
            left += [here, here.row(0)]
            here = file.KeysValues.stack([left[-1], left[-1]])
        elif name == "join" and here.size:
            alone = len(here.padding) == 1 and not any(here.padding.tolist())
            first = here if alone else here.row(0)
            left += [here, feed(file, new_cache(file), counts[0], index + 7)]
            here = file.KeysValues.stack([first, left[-1]])
        elif name in ("clone", "row", "double", "join"):
            left.append(here)
            here = (
                here.clone()
                if name in ("clone", "join") or not here.size
                else here.row(int(said[0]) % len(here.padding))
            )
        answers[str(index)] = {
            "size": here.size,
            "padding": here.padding.clone(),
            **of_last_layer(here),
        }
    return {
        "calls": answers,
        "in_the_end": {str(i): seen(each) for i, each in enumerate([*left, here])},
    }


def feed(file, cache, count, number):
    """Append tokens that tell their layer, row, head and call; values are the keys' negatives.

    They are no whole numbers, so that nobody keeps them in another dtype, and the caller's memory is used again.
    """
    import torch

    config, dtype = file.keep.sizes[0], file.keep.weights["head.weight"].dtype
    heads = config["num_heads"]
    shape = (len(cache.padding), heads, count, config["embed_dim"] // heads)
    size = shape[0] * shape[1] * shape[2] * shape[3]
    for layer in range(len(cache) if count else 0):
        numbers = (torch.arange(size) + 11 * number + 5 * layer) % 97 + 1
        keys = numbers.to(dtype).reshape(shape) / 3
        values = -keys
        cache[layer].update(keys, values)
        for tensor in (keys, values):
            tensor.fill_(5)
    return cache


def scribble(cache):
    """Overwrite what `get` returns: whoever else holds a cache must not notice."""
    for layer in range(len(cache) if cache.size else 0):
        for tensor in cache[layer].get():
            tensor.fill_(5)


def mask_for(cache, digits):
    """The mask of these digits, repeated to the cache's rows; the last row stays where no other does."""
    import torch

    rows = len(cache.padding)
    mask = [digits[i % len(digits)] == "1" for i in range(rows)]
    return torch.tensor(mask if any(mask) else [*mask[:-1], True])


def of_last_layer(cache):
    """Copies of the keys and values of the last layer as they are now, none of an empty cache."""
    if not cache.size:
        return {}
    keys, values = cache[len(cache) - 1].get()
    return {"keys": keys.clone(), "values": values.clone()}


# Pools


KEYS = {
    "a": 0, "b": "", "c": (1, 2), "d": -1, "e": "e", "f": b"f", "g": -2, "h": (), "i": "0", "j": (2, 1), "k": None,
}  # fmt: skip
POOL_CALLS = (
    "set a", "set b", "set c", "set d", "get a", "get b", "get c", "set a 1", "set b 1", "set c 1", "set a 0.5",
    "set b 0.25", "set c -1", "set d -2.5", "set a -3", "has a", "has d", "clear", "set e", "set f", "set g", "set h",
    "set i", "set j", "set k", "get d", "get e", "get g", "get i", "get j", "get k", "set e 300", "set g -400",
    "set d 1000000", "set b -2000000", "set a 0.625",
)  # fmt: skip


@verb
def pool_run(
    file,
    strategy: choice(STRATEGIES, "Eviction strategy."),
    size: whole(1, 16, "Entries it can hold.", usual=(1, 5)),
    calls: listed(
        text(
            "`set a`, `set a 0.5` with a priority, `get a`, `has a`, or `clear`.",
            20, r"^((set|get|has) [a-k]( -?([0-9]+(\.[0-9]+)?|inf))?|clear)$", usual=POOL_CALLS,
        ),
        "Calls on the pool.", (1, 64),
    ),
):  # fmt: skip
    """Work with a new pool, whose entries are told apart by the call that set them."""
    pool = file.KVCachePool(size, strategy)
    answers = []
    for number, call in enumerate(calls, 1):
        name, *said = call.split()
        key = KEYS[said[0]] if said else None
        found = 0
        if name == "set":
            mine = numbered(file, number)
            given = [float(one) for one in said[1:]]
            if key in pool:  # which of equals was set first is left open once one was set again
                given = [number / 1000 + sum(given)]
            pool.set(key, mine, *given)
            grown(file, mine)
        elif name == "get":
            cache = pool.get(key)
            found = 0 if cache is None else 100 * cache.size + which(cache)
            if cache is not None:
                grown(file, cache)
        elif name == "has":
            found = int(key in pool)
        else:
            pool.clear()
        answers.append([found, len(pool)])
    held = [int(key in pool) for key in KEYS.values()]
    return {"calls": answers, "held": held, "counts": told(pool.statistics())}


def numbered(file, number):
    """A cache of one token, whose keys are all this number."""
    return grown(file, new_cache(file), number)


def grown(file, cache, number=99):
    """Append one token to every layer."""
    import torch

    config, dtype = file.keep.sizes[0], file.keep.weights["head.weight"].dtype
    heads = config["num_heads"]
    token = torch.full((1, heads, 1, config["embed_dim"] // heads), number, dtype=dtype)
    for layer in range(len(cache)):
        cache[layer].update(token, token)
    return cache


def which(cache):
    """The number of a cache that `numbered` made, or 0 where its layers do not agree."""
    numbers = {float(cache[layer].get()[0].flatten()[0]) for layer in range(len(cache))}
    return int(numbers.pop()) if len(numbers) == 1 else 0


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
    found = fields_of(statistics, "size", "hits", "misses", "evictions", "hit_rate")
    return found if found.get("hits") or found.get("misses") else {**found, "hit_rate": 0.0}


# The model's cache manager, and searches of several steps


@verb
def manager(
    file,
    call: text("Name of the method.", 40, f"^({'|'.join(MANAGER_METHODS)})$"),
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
        pools = fields_of(result, *POOLS)
        environments = {str(index): told(each) for index, each in enumerate(pools["init"])}
        rest = {name: told(each) for name, each in pools.items() if name != "init"}
        return {**rest, "init": environments}
    elif "get" in call:
        return kept(file, into, result)


SNAPSHOT_CALLS = (
    "take",
    "take old",
    "look 0",
    "look 1",
    "look 2",
    "clear",
    "take",
    "look 3",
    "look 4",
)


@verb
def snapshot_run(
    file,
    calls: listed(
        text(
            "`take` a snapshot of a new cache; `take old` of the last one, which has grown; `look 0` with the first"
            " handle; `clear` everything.",
            20, r"^(take( old)?|look [0-9]+|clear)$",
            usual=SNAPSHOT_CALLS,
        ),
        "Calls on the manager.", (1, 40),
    ),
):  # fmt: skip
    """Take snapshots and look at them, with handles of snapshots that are gone too."""
    manager = model_of(file).kv_cache_manager
    handles, answers, last = [], [], None
    for number, call in enumerate(calls, 1):
        name, *said = call.split()
        found = 0
        if name == "take":
            last = last if said and last is not None else numbered(file, number)
            handles.append(manager.set_wm_cache(last))
            grown(file, last, number)
        elif name == "look" and handles:
            cache = manager.get_wm_cache(handles[int(said[0]) % len(handles)])
            found = 0 if cache is None else 100 * cache.size + which(cache)
            if cache is not None:
                grown(file, cache)
        elif name == "clear":
            manager.clear_all()
        answers.append(found)
    return {"calls": answers, "same": which_are_equal(handles)}


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


@verb(spoils=of_rows())
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


@verb(spoils={**of_rows(), **ACTIONS})
def infer(file, states, actions, envs: Envs):
    """Predict the states after an action each."""
    return {"next_states": model_of(file).recurrent_inference(states, actions, envs)}


ROWS = r"(retrieve|step)( ([a-dmnuvyz]|p[0-7])@[0-9](:[0-9]+)?)+"
SEARCH_CALL = rf"^({ROWS}|put -?[0-9]+(\.[0-9]+)?|grow|episode|clear|other|first)$"
SEARCHED = ("a", "p0", "b", "p1", "a", "p0", "m", "n", "y", "z", "c", "d", "p2", "p3", "u", "v")
SEARCH_CALLS = (
    "retrieve a@0", "retrieve b@1 a@0", "retrieve a@0 a@1", "retrieve a@0 y@0", "retrieve z@0", "retrieve p0@0",
    "retrieve p0@0 p1@1 a@0", "step a@0:1", "step a@0:1 b@1:0", "step b@1:2 p0@0:1", "step p0@0:0 p1@1:1",
    "step p0@0:1 p0@0:2", "step z@0:0", "grow", "episode", "clear", "other", "first", "put 0.5", "put -0.5",
)  # fmt: skip


@verb
def search_run(
    file,
    named_states,
    calls: listed(
        text(
            "`retrieve a@0 b@1` or `step a@0:2` (state, environment, action), `grow` (write to the working caches),"
            " `put 0.5` (an entry of this priority among the recurrent states and the roots of environment 0),"
            " `episode`, `clear`, `other` and `first` (which of two models is asked). States are `a` to `d`,"
            " `y` (next to `a`), `u` and `v` (`a`, but -1 and -2 in the first place), `m` (`a` the other way round),"
            " `n` (minus `a`), `z` (zeros) and `p0`, `p1`, ..."
            " (what the last step predicted).",
            80, SEARCH_CALL, usual=SEARCH_CALLS,
        ),
        "Calls on the model.", (1, 40),
    ),
):  # fmt: skip
    """Search with a model, or with two in turn; environments and actions are counted round."""
    config, env_num = file.keep.sizes
    states = dict(zip("abcd", named_states, strict=True))
    a = states["a"]
    states |= {"y": next_to(a), "z": a * 0, "m": a.flip(0), "n": -a}
    states |= {"u": with_first(a, -1.0), "v": with_first(a, -2.0)}
    answers, other, last, looked_up, all_apart, entries = {}, False, {}, {}, True, []
    for index, call in enumerate(calls):
        name, *said = call.split()
        other = {"other": True, "first": False}.get(name, other)
        model = model_of(file, other)
        manager = model.kv_cache_manager
        rows = [row_of(one, states, last.get(other)) for one in said if "@" in one]
        envs = [env % env_num for _, env, _ in rows]
        all_apart &= len({tuple(state.tolist()) for state, *_ in rows}) == len(rows)
        if name == "retrieve":
            sizes = model.retrieve_or_generate_kvcache(stacked(rows), envs)
            working = {
                str(i): of_last_layer(each) for i, each in enumerate(manager.keys_values_wm_list)
            }
            answers[str(index)] = {"sizes": list(sizes), "working": working}
            looked_up[other] = True
        elif name == "step":
            actions = (
                named_states.new_tensor([one for *_, one in rows]).long() % config["num_actions"]
            )
            last[other] = model.recurrent_inference(stacked(rows), actions, envs)
            answers[str(index)] = {"next_states": last[other].clone()}
        elif name == "grow":
            for cache in manager.keys_values_wm_list:
                grown(file, cache)
            if looked_up.get(other):
                answers[str(index)] = {"grown": [c.size for c in manager.keys_values_wm_list]}
        elif name == "put":
            priority = float(call.split()[1])
            manager.set_recur_cache(f"put {index}", numbered(file, index), priority)
            manager.set_init_cache(0, f"put {index}", numbered(file, index), priority)
            entries.append((manager, f"put {index}"))
        elif name == "episode":
            model.new_episode()
        elif name == "clear":
            manager.clear_all()
        if name in ("step", "episode", "clear"):  # what the list holds then is left open
            looked_up[other] = False
    models = file.keep.models.values()
    asked = [lookups(model) for model in models] if all_apart else []
    held = [sizes_held(model) for model in models]
    put = [where_found(manager, key) for manager, key in entries] if all_apart else []
    return {"calls": answers, "held": held, "asked": asked, "put": put}


def parts_of(said):
    """Name of the state, environment and action of `a@0:2`."""
    name, _, rest = said.partition("@")
    env, _, action = rest.partition(":")
    return name, int(env), int(action or 0)


def row_of(said, states, predicted):
    """State, environment and action of `a@0:2`; before any step `p0` is the state `a`."""
    name, env, action = parts_of(said)
    if name[0] != "p":
        state = states[name]
    else:
        state = states["a"] if predicted is None else predicted[int(name[1:]) % len(predicted)]
    return state, env, action


def stacked(rows):
    """The states [B, C] of rows."""
    import torch

    return torch.stack([state for state, *_ in rows])


def where_found(manager, key):
    """Whether a key is found among the roots of environment 0, and among recurrent states."""
    return [
        int(manager.get_init_cache(0, key) is not None),
        int(manager.get_recur_cache(key) is not None),
    ]


def with_first(state, number):
    """A state whose first number is this one."""
    other = state.clone()
    other[0] = number
    return other


def next_to(state):
    """A state whose last number is the next one that its dtype has."""
    import torch

    near = state.clone()
    near[-1] = torch.nextafter(near[-1], near[-1] + 1)
    return near


def sizes_held(model):
    """How many entries the pools of a model hold: the roots of each environment, and recurrent states."""
    pools = fields_of(model.kv_cache_manager.statistics(), *POOLS)
    return [told(each)["size"] for each in (*pools["init"], pools["recur"])]


def lookups(model):
    """How often the roots of each environment were asked for a state."""
    pools = map(told, fields_of(model.kv_cache_manager.statistics(), *POOLS)["init"])
    return [each["hits"] + each["misses"] for each in pools]


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

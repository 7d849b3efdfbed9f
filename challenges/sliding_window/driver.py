"""Verbs of the sliding_window challenge: caches of one layer, stacks of three layers, and the file's helpers alone.

A step names the cache that it is about. `a`, `b` and `c` have the sizes of the setup, `x` another window and no sinks,
`y` another theta and one sink more; a cache is made where it is first named, empty, unless a fork made it before. `s`
and `t` are stacks.
"""

from contextlib import contextmanager

import numpy as np

from grader.kit import (
    both_sides,
    choice,
    drawn,
    given,
    guarded,
    helper,
    made,
    need,
    numbers,
    real,
    spoil,
    switch,
    verb,
    ways,
    whole,
)  # fmt: skip

Tokens = whole(0, 4096, "New tokens S; 1 unless given.", usual=(1, 6))
Spread = real(0, 1000, "Standard deviation of drawn queries and keys.")
Contrast = real(
    0, 100, "Every query and every key has this number in the last dimension, so that rotation decides who meets whom."
)  # fmt: skip
Cache = choice(
    ("a", "b", "c", "x", "y"),
    "Name of the cache; `x` has the other window and no sinks, `y` another theta and one sink more.",
)  # fmt: skip
Reused = switch(
    "The caller writes other numbers into its tensors as soon as the call has returned."
)
Stack = choice(("s", "t"), "Name of the stack.")
Count = whole(0, 128, "Tokens to take back.", usual=(0, 5), refused=(-1, -3))
Length = whole(0, 4096, "Tokens so far.")
Positions = numbers("Positions of tokens.", shape=[(0, 64)], within=(0, 4096))
Window = whole(1, 64, "The window.", none=True)
Sinks = whole(0, 8, "The sinks.")
Ring = whole(1, 96, "Slots of the ring.")


class Setup:
    """Sizes of the case."""

    batch: whole(1, 9, "Rows B, 2.", usual=(1, 3)) = 2
    query_heads: whole(1, 12, "Query heads Hq, 4.", usual=(1, 6)) = 4
    kv_heads: whole(1, 6, "Key/value heads Hkv, 2.", usual=(1, 3)) = 2
    head_dim: whole(2, 64, "Head dimension D, 6; even.", multiple=2, usual=(2, 8)) = 6
    window: whole(
        0, 64, "Positions that a query sees, its own included, 4; 0 for all.", usual=(0, 6)
    ) = 4
    other_window: whole(
        0, 64, "Window of `x`, and of the last layer of a stack, 3; 0 for all.", usual=(0, 6)
    ) = 3  # fmt: skip
    sinks: whole(0, 8, "First tokens that every query sees, 1.", usual=(0, 3)) = 1
    spare: whole(0, 16, "Slots for tokens that nobody sees any more, 0.", usual=(0, 4)) = 0
    theta: real(1, 1e7, "Base of the rotation, 100.", usual=(100.0, 10000.0, 2.0, 1.0)) = 100.0
    defaults: switch("Whether spare, theta and float32 are left to the file's own defaults.") = (
        False
    )

    dtypes = ("float32", "bfloat16", "float16", "float64")

    def legal(sizes):
        """A whole number of query heads shares each key/value head."""
        return sizes.query_heads % sizes.kv_heads == 0


class RandomScenarios:
    """Any calls of the caches and of the stacks."""

    verbs = ("attend", "append", "trim", "can_trim", "fork", "held", "run", "trim_all", "fork_all")
    steps = (2, 9)

    def asked(case):
        """What infinite values do where they are seen is left open."""
        return not any(step.get("endless") for step in case["steps"])


@made("sizes")
def sizes(case):
    """What the file's classes are made with."""
    rest = () if case.defaults else ("spare", "theta")
    names = ("batch", "kv_heads", "window", "sinks", "head_dim", *rest)
    made = {name: getattr(case, name) for name in (*names, "other_window")}
    return {**made, "window": case.window or None, "other_window": case.other_window or None}


def heads(case, count, tokens, scale=1.0, lead=()):
    """Numbers [..., B, H, S, D]."""
    return case.draw(*lead, case.batch, count, tokens, case.head_dim, scale=scale)


@drawn(key="Key [B, Hkv, S, D]", value="Value [B, Hkv, S, D]")
def new(
    case, tokens: Tokens = 1, spread: Spread = 1.0, contrast: Contrast = 0.0,
    endless: switch("Every value is infinite.") = False,
):  # fmt: skip
    """The new tokens."""
    keys, values = heads(case, case.kv_heads, tokens, spread), heads(case, case.kv_heads, tokens)
    if endless:
        values[...] = np.inf
    if contrast:
        keys[..., -1] = contrast
    return keys, values


@drawn(query="Query [B, Hq, S, D]")
def queries(
    case, tokens: Tokens = 1, spread: Spread = 1.0, contrast: Contrast = 0.0,
    group: whole(
        1, 6, "Query heads on each key/value head in this call; those of the setup unless given."
    ) = None,
):  # fmt: skip
    """Their queries."""
    count = case.query_heads if group is None else group * case.kv_heads
    made = heads(case, count, tokens, spread)
    if contrast:
        made[..., -1] = contrast
    return made


@made("layers")
def layers(case, tokens: Tokens = 1):
    """Query, key and value of three layers."""
    return {
        name: heads(case, case.query_heads if name == "query" else case.kv_heads, tokens, lead=(3,))
        for name in ("query", "key", "value")
    }


@verb
def create(file, sizes, dtype):
    """Keep the sizes; a cache is made where it is first named."""
    file.keep.sizes, file.keep.dtype = dict(sizes), dtype
    file.keep.caches = {}


def cache_named(file, name):
    """The cache or stack of this name."""
    if name not in file.keep.caches:
        file.keep.caches[name] = made_for(file, name)
    return guarded(file.keep.caches[name])


def made_for(file, name):
    """A new cache or stack."""
    sizes = dict(file.keep.sizes)
    other = sizes.pop("other_window")
    named = {key: sizes.pop(key) for key in ("spare", "theta") if key in sizes}
    if named or file.keep.dtype != "float32":
        import torch

        named["dtype"] = getattr(torch, file.keep.dtype)
    batch, kv_heads, window, sinks, head_dim = sizes.values()
    if name in ("s", "t"):
        return need(file, "WindowStack")(
            batch, kv_heads, [window, None, other], sinks, head_dim, **named
        )
    if name == "x":
        window, sinks = other, 0
    if name == "y":
        named["theta"], sinks = 4 * named.get("theta", 10000.0), sinks + 1
    return need(file, "WindowCache")(batch, kv_heads, window, sinks, head_dim, **named)


@contextmanager
def callers_memory(*tensors, reused):
    """The tensors of a call or, where the caller reuses its memory, copies that it writes into afterwards."""
    if not reused:
        yield tensors
        return
    copies = [x.clone() if hasattr(x, "clone") else x for x in tensors]
    yield copies
    for x in copies:
        if hasattr(x, "fill_"):
            x.fill_(3)


def other(x):
    """The same numbers in another floating-point dtype."""
    return x.float() if x.element_size() == 2 else x.half()


def wider(x):
    """The same tensor with two features more."""
    return x.repeat(1, 1, 1, 2)[..., : x.shape[3] + 2]


BAD_TOKENS = {
    "flat_key": spoil("key", lambda x: x[0]),
    "deep_value": spoil("value", lambda x: x[None]),
    "flat_tokens": spoil("key value", lambda x: x.flatten(1, 2)),
    "key_of_another_dtype": spoil("key", other),
    "value_of_another_dtype": spoil("value", other),
    "integer_value": spoil("value", lambda x: x.long()),
    "short_value": spoil("value", lambda x: x[:, :, :-1]),
    "short_key": spoil("key", lambda x: x[:, :, :-1]),
    "a_key_head_more": spoil("key value", lambda x: x.repeat(1, 2, 1, 1)[:, : x.shape[1] + 1]),
    "a_value_head_more": spoil("value", lambda x: x.repeat(1, 2, 1, 1)[:, : x.shape[1] + 1]),
    "a_row_more": spoil("key value", lambda x: x[[*range(len(x)), 0]]),
    "wider_tokens": spoil("key value", wider),
    "wider_value": spoil("value", wider),
}
BAD_QUERIES = {
    "flat_query": spoil("query", lambda x: x[0]),
    "query_of_another_dtype": spoil("query", other),
    "short_query": spoil("query", lambda x: x[:, :, :-1]),
    "uneven_heads": spoil("query", lambda x: x[:, :-1]),
    "no_query_heads": spoil("query", lambda x: x[:, :0]),
    "a_query_row_more": spoil("query", lambda x: x[[*range(len(x)), 0]]),
    "wider_query": spoil("query", wider),
}


@verb(
    spoils=BAD_TOKENS | BAD_QUERIES | ways("query", "key", "value", "key value", "query key value"),
    recalled=True,
    often=3,
)
def attend(
    file, query: queries, key: new, value: new, on: Cache = "a", reused: Reused = False
):  # fmt: skip
    """Append tokens and attend; returns the output and the length after."""
    cache = cache_named(file, on)
    with callers_memory(query, key, value, reused=reused) as tokens:
        output, length = given(cache.attend(*tokens)), int(cache.length)
    return lambda: {"output": output, "length": length}


@verb(spoils=BAD_TOKENS | ways("key", "value", "key value"))
def append(file, key: new, value: new, on: Cache = "a", reused: Reused = False):
    """Append tokens; returns the length after."""
    cache = cache_named(file, on)
    with callers_memory(key, value, reused=reused) as tokens:
        cache.append(*tokens)
    return {"length": int(cache.length)}


@verb(often=2)
def trim(file, count: Count, on: Cache = "a"):
    """Take tokens back; returns the length after."""
    cache = cache_named(file, on)
    cache.trim(count)
    return {"length": int(cache.length)}


@verb
def can_trim(file, count: Count, on: Cache = "a"):
    """Ask whether tokens can be taken back."""
    return {"possible": bool(given(cache_named(file, on).can_trim(count)))}


@verb
def fork(file, to: Cache, on: Cache = "a"):
    """Go on with a fork of a cache under another name; returns its length."""
    file.keep.caches[to] = given(cache_named(file, on).fork())
    return {"length": int(cache_named(file, to).length)}


@verb
def held(file, on: Cache = "a"):
    """Read the positions of the tokens that are held."""
    return {"positions": given(cache_named(file, on).held())}


@verb(recalled=True, often=2)
def run(
    file, layers, on: Stack = "s",
    only: whole(0, 2, "This layer alone, none for all three in turn.", none=True) = None,
):  # fmt: skip
    """Feed tokens to the layers of a stack; returns the outputs and the length after."""
    stack = cache_named(file, on)
    parts = [layers[name] for name in ("query", "key", "value")]
    indices = range(3) if only is None else [only]
    outputs = {str(i): given(stack.attend(i, *(part[i] for part in parts))) for i in indices}
    length = int(stack.length)
    return lambda: {"outputs": outputs, "length": length}


@verb
def trim_all(file, count: Count, on: Stack = "s"):
    """Take tokens back from a stack; returns the length after."""
    stack = cache_named(file, on)
    stack.trim(count)
    return {"length": int(stack.length)}


@verb
def fork_all(file, to: Stack, on: Stack = "s"):
    """Go on with a fork of a stack under another name; returns its length."""
    file.keep.caches[to] = given(cache_named(file, on).fork())
    return {"length": int(cache_named(file, to).length)}


BAD_SIZES = {
    "no_rows": {"batch": 0},
    "no_heads": {"kv_heads": 0},
    "no_window": {"window": 0},
    "negative_window": {"window": -2},
    "negative_sinks": {"sinks": -1},
    "negative_sinks_without_a_window": {"window": None, "sinks": -1},
    "negative_spare_without_a_window": {"window": None, "spare": -1},
    "negative_spare": {"spare": -1},
    "odd_head": {"head_dim": 5},
    "no_head": {"head_dim": 0},
    "no_layers": {"windows": []},
    "a_bad_layer": {"windows": [4, None, 0]},
}


@verb
def make(file, sizes: choice(BAD_SIZES, "What is wrong with the sizes.")):
    """Make a cache, or a stack, of sizes that must be refused."""
    wanted = {"batch": 2, "kv_heads": 1, "window": 4, "sinks": 1, "head_dim": 4, "spare": 0}
    wanted |= BAD_SIZES[sizes]
    kind = need(file, "WindowCache" if "windows" not in wanted else "WindowStack")
    windows = wanted.get("windows", wanted["window"])
    kind(
        wanted["batch"],
        wanted["kv_heads"],
        windows,
        wanted["sinks"],
        wanted["head_dim"],
        spare=wanted["spare"],
    )
    return {"made": True}


@drawn(x="Features [B, Hkv, S, D]")
def features(case, tokens: whole(1, 64, "Tokens in x.") = 1):
    """Numbers to rotate."""
    return heads(case, case.kv_heads, tokens)


@made("query_", "keys", "values", "visible")
def attended(
    case,
    visible: numbers("Which tokens [T] each query [S] sees.", shape=[(1, 64), (1, 64)], type=bool),
    spread: Spread = 2.0,
):
    """Queries, keys, values, and which each sees."""
    queries, tokens = visible.shape
    keys = heads(case, case.kv_heads, tokens, spread), heads(case, case.kv_heads, tokens)
    return heads(case, case.query_heads, queries, spread), *keys, visible


slots = helper("_slots", "slots", positions=Positions, sinks=Sinks, ring=Ring)
stays = helper("_stays", "stays", positions=Positions, length=Length, sinks=Sinks, ring=Ring)
visible = helper(
    "_visible", "visible", queries=Positions, keys=Positions, window=Window, sinks=Sinks
)
rotate = helper(
    "_rotate", "rotated", x=features, positions=Positions, theta=real(1, 1e7, "Base of the rotation."),
)  # fmt: skip


@verb("output")
def weighted(file, query_: attended, keys: attended, values: attended, visible: attended):
    """Call `_weighted` on queries and keys in float32 or wider."""
    wide = [x.float() if x.element_size() == 2 else x for x in (query_, keys)]
    return file._weighted(*wide, values, visible)


Plan, Verbs = both_sides(globals())

"""Verbs of the sliding_window challenge: caches of one layer, stacks of three layers, and the file's helpers alone.

A step names the cache that it is about. `a`, `b` and `c` have the sizes of the setup, `x` another window and no sinks,
`y` another theta and one sink more, `d` is in float64, `w` has heads that are two features wider, and `n` has one row
and one key head; what these are asked is made of the tensors of the step. A cache is made where it is first named,
empty, unless a fork made it before. `s` and `t` are stacks.
"""

from contextlib import contextmanager

import numpy as np

from grader.kit import (
    both_sides,
    choice,
    constant,
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
# in float32 a score far beyond a hundred is rounded by more than the answer may be off
Spread = real(0, 1000, "Standard deviation of drawn queries and keys.", usual=(1.0, 0.25, 3.0, 6.0))
Contrast = real(
    0, 100, "Every query and every key has this number in the last dimension, so that rotation decides who meets whom.",
    usual=(0.0, 10.0),
)  # fmt: skip
Cache = choice(
    ("a", "b", "c", "x", "y", "d", "w", "n"),
    "Name of the cache; `x` has the other window and no sinks, `y` another theta and one sink more, `d` is in float64,"
    " `w` has two features more, `n` one row and one key head.",
)  # fmt: skip
Reused = switch(
    "The caller passes memory of its own, and writes other numbers into it as soon as the call has returned."
)
Endless = choice(
    ("values", "keys", "nan"), "Every value is infinite, or every key, or all are not a number."
)
Unread = constant(True, "Nobody looks at the output, which may be no number.")
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
    by_name: switch("Whether arguments are passed by their names.") = False

    dtypes = ("float32", "bfloat16", "float16", "float64")

    def legal(sizes):
        """A whole number of query heads shares each key/value head."""
        return sizes.query_heads % sizes.kv_heads == 0


class RandomScenarios:
    """Any calls of the caches and of the stacks."""

    verbs = ("attend", "append", "trim", "can_trim", "fork", "held", "run", "trim_all", "fork_all")
    steps = (2, 9)

    def amended(case, choose):
        """Let most cases begin with calls that build on each other, and end with a look at what was returned."""
        for step in case["steps"]:  # what infinite values do where they are seen is left open
            step.pop("endless", None)
            step.pop("unread", None)
        if choose.below(4):
            case["steps"] = story(choose) + case["steps"]
        if case["dtype"] == "float64":
            for step in case["steps"]:
                if "spread" in step:
                    step["spread"] = choose.one_of((1.0, 30.0, 300.0))
        if choose.one_in(3):
            for step in case["steps"]:
                if step["do"] in ("attend", "append", "run"):
                    step["reused"] = True
        case["steps"].append({"do": "recall"})
        return case


def story(choose):
    """Return calls of two caches, or of two stacks, that build on each other."""
    if choose.one_in(4):
        names, told = ["s", "t"], stack_call
    else:
        names, told = ["a", choose.one_of(("b", "x", "y", "d", "w", "n"))], cache_call
    steps, alike = [], choose.one_in(3)
    if choose.one_in(3):  # all that there is may be taken back
        steps += drafts(choose, names[0], told is stack_call)
    for _ in range(choose.between(3, 8)):
        on = choose.one_of(names)
        calls = told(choose, on, names)
        steps += calls
        if alike and "to" not in calls[0]:
            other = names[names[0] == on]
            steps += [{**call, "on": other} for call in calls]
    last = "attend" if told is cache_call else "run"
    return steps + [{"do": last, "tokens": 2, "on": name} for name in names]


def drafts(choose, on, stacked):
    """Return calls that take infinite numbers in, and take all of them back."""
    count = choose.between(1, 3)
    draft = {"tokens": count, "endless": choose.one_of(("values", "keys", "nan")), "on": on}
    if stacked:
        return [{"do": "run", "unread": True} | draft, {"do": "trim_all", "count": count, "on": on}]
    taken = choose.one_of(({"do": "append"}, {"do": "attend", "unread": True}))
    return [taken | draft, {"do": "trim", "count": count, "on": on}]


def cache_call(choose, on, names):
    """Return a call of a cache, or the same one spoiled in several ways."""
    way = choose.below(10)
    tokens = choose.one_of((1, 2, 3, 0, 5, 9))
    if way < 4:
        return [{"do": "attend", "tokens": tokens, "on": on}]
    if way == 4:
        return [{"do": "append", "tokens": tokens, "on": on}]
    if way < 7:
        return [{"do": "trim", "count": choose.one_of((1, 2, 0, 3, 5, -1)), "on": on}]
    if way == 7:
        verb = choose.one_of(("attend", "append"))
        spoils = list((attend if verb == "attend" else append).spoils)
        tokens = choose.one_of((2, 0, 1))
        return [
            {"do": verb, "tokens": tokens, "on": on, "spoil": choose.one_of(spoils)}
            for _ in range(6)
        ]
    if way == 8:
        return [{"do": "held", "on": on}]
    other = (
        names[names[0] == on] if names[1] in ("b", "x", "y") else on
    )  # others are asked otherwise
    return [{"do": "fork", "on": on, "to": other}]


def stack_call(choose, on, names):
    """Return a call of a stack, or the same one spoiled in several ways."""
    way = choose.below(8)
    step = {"do": "run", "tokens": choose.one_of((1, 2, 3, 0, 5)), "on": on}
    if way < 4:
        return [step, step | {"only": choose.below(3)}] if choose.one_in(3) else [step]
    if way < 6:
        return [{"do": "trim_all", "count": choose.one_of((1, 2, 0, 3, -1)), "on": on}]
    if way == 6:
        spoils = list(run.spoils)
        return [step | {"only": i % 3, "spoil": choose.one_of(spoils)} for i in range(6)]
    return [{"do": "fork_all", "on": on, "to": names[names[0] == on]}]


@made("sizes")
def sizes(case):
    """What the file's classes are made with."""
    rest = () if case.defaults else ("spare", "theta")
    names = ("batch", "kv_heads", "window", "sinks", "head_dim", *rest)
    made = {name: getattr(case, name) for name in (*names, "other_window", "by_name")}
    return {**made, "window": case.window or None, "other_window": case.other_window or None}


def heads(case, count, tokens, scale=1.0, lead=()):
    """Numbers [..., B, H, S, D]."""
    return case.draw(*lead, case.batch, count, tokens, case.head_dim, scale=scale)


@drawn(key="Key [B, Hkv, S, D]", value="Value [B, Hkv, S, D]")
def new(
    case, tokens: Tokens = 1, spread: Spread = 1.0, contrast: Contrast = 0.0,
    endless: Endless = None,
):  # fmt: skip
    """The new tokens."""
    keys, values = heads(case, case.kv_heads, tokens, spread), heads(case, case.kv_heads, tokens)
    if contrast:
        keys[..., -1] = contrast
    return without_end(keys, values, endless)


def without_end(keys, values, endless):
    """Put numbers that are infinite, or none, into keys and values."""
    if endless in ("keys", "nan"):
        keys[...] = np.inf if endless == "keys" else np.nan
    if endless in ("values", "nan"):
        values[...] = np.inf if endless == "values" else np.nan
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
def layers(case, tokens: Tokens = 1, endless: Endless = None):
    """Query, key and value of three layers."""
    made = {
        name: heads(case, case.query_heads if name == "query" else case.kv_heads, tokens, lead=(3,))
        for name in ("query", "key", "value")
    }
    without_end(made["key"], made["value"], endless)
    return made


@verb
def create(file, sizes, dtype):
    """Keep the sizes; a cache is made where it is first named."""
    file.keep.sizes, file.keep.dtype = dict(sizes), dtype
    file.keep.by_name = file.keep.sizes.pop("by_name")
    file.keep.caches, file.keep.memory = {}, {}


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
    dtype = "float64" if name == "d" else file.keep.dtype
    if named or dtype != "float32":
        import torch

        named["dtype"] = getattr(torch, dtype)
    if name in ("s", "t"):
        sizes = {
            "windows" if key == "window" else key: [size, None, other] if key == "window" else size
            for key, size in sizes.items()
        }
    if name == "x":
        sizes |= {"window": other, "sinks": 0}
    if name == "y":
        named["theta"] = 4 * named.get("theta", 10000.0)
        sizes["sinks"] += 1
    if name == "w":
        sizes["head_dim"] += 2
    if name == "n":
        sizes |= {"batch": 1, "kv_heads": 1}
    kind = need(file, "WindowStack" if name in ("s", "t") else "WindowCache")
    return kind(**sizes, **named) if file.keep.by_name else kind(*sizes.values(), **named)


def called(file, method, **arguments):
    """Call a method with these arguments, by their names or in their order."""
    return method(**arguments) if file.keep.by_name else method(*arguments.values())


def fitting(on, tensors):
    """The tensors of a call as a cache of other sizes takes them."""
    fit = {
        "d": lambda x, _: x.double() if x.is_floating_point() else x,
        "w": lambda x, _: wider(x) if x.dim() == 4 else x,
        "n": lambda x, name: x[:1] if name == "query" or x.dim() < 2 else x[:1, :1],
    }.get(on, lambda x, _: x)
    return {name: fit(x, name) if hasattr(x, "dim") else x for name, x in tensors.items()}


@contextmanager
def callers_memory(file, tensors, reused):
    """The tensors of a call or, where the caller reuses its memory, copies that it writes into afterwards."""
    if not reused:
        yield tensors
        return
    copies = {name: in_memory(file, name, x) for name, x in tensors.items()}
    yield copies
    for x in copies.values():
        if hasattr(x, "fill_"):
            x.fill_(3)


def in_memory(file, name, x):
    """A copy of a tensor in the memory that the last one of its name, shape and dtype had."""
    if not hasattr(x, "clone"):
        return x
    kept = name, tuple(x.shape), x.stride(), str(x.dtype)
    return file.keep.memory.setdefault(kept, x.clone()).copy_(x)


def other(x):
    """The same numbers in another floating-point dtype."""
    return x.float() if x.element_size() == 2 else x.half()


def wider(x):
    """The same tensor with two features more."""
    return x.repeat(1, 1, 1, 2)[..., : x.shape[3] + 2]


def longer(x):
    """Zeros for one token more."""
    return x.new_zeros((*x.shape[:2], x.shape[2] + 1, x.shape[3]))


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
    "rows_as_heads": spoil("key value", lambda x: x.reshape(1, -1, *x.shape[2:])),
    "heads_as_rows": spoil("key value", lambda x: x.reshape(-1, 1, *x.shape[2:])),
    "a_key_more": spoil("key", longer),
    "a_value_more": spoil("value", longer),
}
BAD_QUERIES = {
    "flat_query": spoil("query", lambda x: x[0]),
    "query_of_another_dtype": spoil("query", other),
    "short_query": spoil("query", lambda x: x[:, :, :-1]),
    "uneven_heads": spoil("query", lambda x: x[:, :-1]),
    "no_query_heads": spoil("query", lambda x: x[:, :0]),
    "a_query_row_more": spoil("query", lambda x: x[[*range(len(x)), 0]]),
    "wider_query": spoil("query", wider),
    "query_rows_as_heads": spoil("query", lambda x: x.reshape(1, -1, *x.shape[2:])),
    "query_heads_as_rows": spoil("query", lambda x: x.reshape(-1, 1, *x.shape[2:])),
    "a_query_more": spoil("query", longer),
}

MISFITS = (  # not `double`, for the reference is asked in float64 as well
    "other_dtype half int64 int16 uint8 bool complex extra_row one_row extra_head fewer_heads longer shorter wider"
    " narrower flat deep column"
)
TOKEN_WAYS = ways("key", "value", "key value", only=MISFITS)
ALL_WAYS = TOKEN_WAYS | ways("query", "query key value", only=MISFITS)


def in_layers(way):
    """The same way to spoil what all layers of a stack get."""
    return spoil(
        "layers",
        lambda parts: (
            parts | {name: [way.change(x) for x in parts[name]] for name in way.arguments}
        ),
    )


BAD_LAYERS = {name: in_layers(way) for name, way in (BAD_TOKENS | BAD_QUERIES).items()}


@verb(
    spoils=BAD_TOKENS | BAD_QUERIES | ALL_WAYS,
    recalled=True,
    often=3,
)
def attend(
    file, query: queries, key: new, value: new,
    on: Cache = "a", reused: Reused = False, unread: Unread = None,
):  # fmt: skip
    """Append tokens and attend; returns the output and the length after."""
    cache = cache_named(file, on)
    tensors = fitting(on, {"query": query, "key": key, "value": value})
    with callers_memory(file, tensors, reused) as tokens:
        output = given(called(file, cache.attend, **tokens))
    length = cache.length
    return lambda: {"length": length} if unread else {"output": output, "length": length}


@verb(spoils=BAD_TOKENS | TOKEN_WAYS)
def append(file, key: new, value: new, on: Cache = "a", reused: Reused = False):
    """Append tokens; returns the length after."""
    cache = cache_named(file, on)
    with callers_memory(file, fitting(on, {"key": key, "value": value}), reused) as tokens:
        called(file, cache.append, **tokens)
    return {"length": cache.length}


@verb(often=2)
def trim(file, count: Count, on: Cache = "a"):
    """Take tokens back; returns the length after."""
    cache = cache_named(file, on)
    called(file, cache.trim, count=count)
    return {"length": cache.length}


@verb
def can_trim(file, count: Count, on: Cache = "a"):
    """Ask whether tokens can be taken back."""
    return {"possible": given(called(file, cache_named(file, on).can_trim, count=count))}


@verb(often=0)
def back_and_forth(
    file, query: queries, key: new, value: new, count: Count, on: Cache = "a",
    at_once: whole(1, 64, "Tokens that are appended in a call.") = 1,
    forked: switch("Whether a fork takes them back, so that the cache itself goes straight on.") = False,
):  # fmt: skip
    """Append tokens and, behind each call, take back `count`, or all where there are fewer, and attend to others.

    A fork attends to one token; the cache itself gets as many as were taken back.  Returns which could be taken back,
    and the outputs by the length behind the call.
    """
    cache, possible, outputs = cache_named(file, on), {}, {}
    tensors = fitting(on, {"query": query, "key": key, "value": value})
    others = {name: x.flip(2) for name, x in tensors.items()}
    for start in range(0, query.shape[2], at_once):
        called(file, cache.append, **part(tensors, "key value", start, start + at_once))
        asked = guarded(given(cache.fork())) if forked else cache
        length = cache.length
        back = min(count, length)
        possible[str(length)] = bool(given(called(file, asked.can_trim, count=back)))
        if possible[str(length)]:
            called(file, asked.trim, count=back)
            for first, last in ((0, 1), (1, back))[: 1 if forked or back < 2 else 2]:
                some = part(others, "query key value", first, last)
                outputs[f"{length}.{first}"] = given(called(file, asked.attend, **some))
    length = cache.length
    return {"possible": possible, "outputs": outputs, "length": length}


def part(tensors, names, first, last):
    """Some of the tokens of a call."""
    return {name: tensors[name][:, :, first:last] for name in names.split()}


@verb
def fork(file, to: Cache, on: Cache = "a"):
    """Go on with a fork of a cache under another name; returns its length."""
    file.keep.caches[to] = given(cache_named(file, on).fork())
    return {"length": cache_named(file, to).length}


@verb(recalled=True)
def held(file, on: Cache = "a"):
    """Read the positions of the tokens that are held."""
    positions = given(cache_named(file, on).held())
    return lambda: {"positions": positions}


@verb(spoils=BAD_LAYERS, recalled=True, often=2)
def run(
    file, layers, on: Stack = "s",
    only: whole(0, 2, "This layer alone, none for all three in turn.", none=True) = None,
    reused: Reused = False, unread: Unread = None,
):  # fmt: skip
    """Feed tokens to the layers of a stack; returns the outputs and the length after."""
    stack, outputs = cache_named(file, on), {}
    for i in range(3) if only is None else [only]:
        tensors = {name: layers[name][i] for name in ("query", "key", "value")}
        with callers_memory(file, tensors, reused) as tokens:
            outputs[str(i)] = given(called(file, stack.attend, layer=i, **tokens))
    length = stack.length
    return lambda: {"length": length} if unread else {"outputs": outputs, "length": length}


@verb
def trim_all(file, count: Count, on: Stack = "s"):
    """Take tokens back from a stack; returns the length after."""
    stack = cache_named(file, on)
    called(file, stack.trim, count=count)
    return {"length": stack.length}


@verb
def fork_all(file, to: Stack, on: Stack = "s"):
    """Go on with a fork of a stack under another name; returns its length."""
    file.keep.caches[to] = given(cache_named(file, on).fork())
    return {"length": cache_named(file, to).length}


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
    "a_bad_first_layer": {"windows": [0, None, 4]},
    "a_negative_layer": {"windows": [None, -1, None]},
    "negative_rows": {"batch": -1},
    "negative_heads": {"kv_heads": -1},
    "one_feature": {"head_dim": 1},
    "negative_head": {"head_dim": -2},
    "no_rows_without_a_window": {"window": None, "batch": 0},
    "no_heads_without_a_window": {"window": None, "kv_heads": 0},
    "odd_head_without_a_window": {"window": None, "head_dim": 3},
    "no_rows_in_a_stack": {"windows": [4, None], "batch": 0},
    "no_heads_in_a_stack": {"windows": [4, None], "kv_heads": 0},
    "negative_sinks_in_a_stack": {"windows": [4, None], "sinks": -1},
    "negative_spare_in_a_stack": {"windows": [4, None], "spare": -1},
    "negative_sinks_in_full_layers": {"windows": [None, None], "sinks": -1},
    "odd_head_in_a_stack": {"windows": [4, None], "head_dim": 5},
    "no_head_in_a_stack": {"windows": [None], "head_dim": 0},
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


def narrowed(x):
    """What may be float32 or wider, as float32."""
    return x.float() if str(getattr(x, "dtype", "")) == "torch.float64" else x


slots = helper("_slots", "slots", positions=Positions, sinks=Sinks, ring=Ring)
stays = helper("_stays", "stays", positions=Positions, length=Length, sinks=Sinks, ring=Ring)
visible = helper(
    "_visible", "visible", queries=Positions, keys=Positions, window=Window, sinks=Sinks
)
rotate = helper(
    "_rotate", "rotated", narrowed, x=features, positions=Positions, theta=real(1, 1e7, "Base of the rotation."),
)  # fmt: skip


@verb("output")
def weighted(file, query_: attended, keys: attended, values: attended, visible: attended):
    """Call `_weighted` on queries and keys in float32 or wider."""
    wide = [x.float() if x.element_size() == 2 else x for x in (query_, keys)]
    return file._weighted(*wide, values, visible)


Plan, Verbs = both_sides(globals())

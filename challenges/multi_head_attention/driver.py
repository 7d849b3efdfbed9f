"""Verbs of the multi_head_attention challenge: calls of the module, of its helpers, and of the functions beside it.

The weights are drawn here and copied into the submission's own layers. A cache is a dictionary of two tensors that the
caller owns: a case may send that of an earlier step, whole or cut to its first tokens, one that the module never made,
or the very object that an earlier call returned (`live`).

What the brief leaves open is never drawn at random: half precision, batches and chunks of no tokens, and training mode
with a dropout rate between 0 and 1, whose numbers are chance.
"""

from collections.abc import Mapping
from contextlib import contextmanager

from grader.kit import (
    Wrong,
    both_sides,
    caches,
    choice,
    constant,
    drawn,
    given,
    helper,
    made,
    need,
    one_of,
    parts,
    real,
    saved,
    switch,
    verb,
    whole,
    wholes,
)  # fmt: skip

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")
OPTIONS = ("d_model", "num_heads", "max_cache_len", "dropout")  # of the constructor, in their order
ENTRIES = ("key", "value")  # of a cache

Tokens = whole(1, 4096, "Number of new tokens.", usual=(1, 6))
Past = whole(0, 64, "Number of cached tokens.")
Training = switch(
    "Training mode instead of eval mode; eval mode all the same where the dropout rate is between 0 and 1, "
    "since the answer would be chance."
)
DEFAULT_RATE = 0.1
HUGE = 50_000_000  # a factor on the scores from which on they lie at poles in random cases
POLE = 9.5  # the largest score there, as a multiple of the factor
Spread = real(0, 100000, "Standard deviation of the scores.", above=True)
RowsHere = whole(1, 16, "Sequences of this call, and of a random cache; those of the case when not given.")  # fmt: skip


class Setup:
    """Sizes of the module and of the batch."""

    d_model: whole(1, 256, "Features C.", usual=(4, 24))
    num_heads: whole(1, 32, "Heads H; divides d_model.", usual=(1, 4))
    batch: whole(1, 16, "Sequences B.", usual=(1, 3))
    max_cache_len: whole(
        1, 4096, "Capacity; the class's own default when not given.", usual=(6, 40)
    ) = None
    dropout: real(
        0, 1, "Dropout rate; the class's own default when not given.", usual=(0.1, 0, 1, 0.5)
    ) = None
    logits: real(
        0, 100_000_000, "Factor on the query projection, and so on the scores.",
        usual=(1, 0, 60, 50_000_000, 100_000_000),
    ) = 1  # fmt: skip
    poles: switch(
        "Every score lies between 6 and 9.5 times `logits`, of either sign, and no two are near each other."
    ) = False
    other_heads: whole(
        1, 32, "Heads of the instances 1 and 3; num_heads when not given.", usual=(1, 4)
    ) = None
    other_cache_len: whole(
        1, 4096, "Capacity of the instances 1 and 3; max_cache_len when not given.", usual=(6, 40)
    ) = None
    other_dropout: real(
        0, 1, "Dropout rate of the instances 1 and 3; dropout when not given.", usual=(0, 1)
    ) = None
    by_place: switch("The constructor gets its arguments by place.") = False
    dtypes = ("float32", "float64")

    def legal(sizes):
        """Whether random cases may have these sizes."""
        if sizes.poles and sizes.other_heads not in (None, sizes.num_heads):
            return False
        return all(sizes.d_model % n == 0 for n in (sizes.num_heads, sizes.other_heads or 1))


# Inputs: what is drawn, and in which shapes. C features, H heads of D = C / H features.


def features(case, tokens, rows=None):
    """Draw [B, tokens, C], heads merged."""
    return case.draw(rows or case.batch, tokens, case.d_model)


def at_poles(case, x):
    """Numbers [..., C] as they are, or where the case says so one a head, between 0.8 and 1 or -0.8 and -1."""
    if not case.poles:
        return x
    D = case.d_model // case.num_heads
    first = x[..., ::D]
    size = abs(first)
    return (((first > 0) * 2.0 - 1.0) * (0.8 + 0.2 * size / (1 + size))).repeat(D, axis=-1)


def heads(case, tokens):
    """Draw [B, H, tokens, D]."""
    return case.draw(case.batch, case.num_heads, tokens, case.d_model // case.num_heads)


def several(shape, *names):
    """Declare a source of one tensor of new tokens per name, each drawn by `shape`."""

    @made(*names)
    def source(case, tokens: Tokens):
        return {name: shape(case, tokens) for name in names} if names[1:] else shape(case, tokens)

    return source


def numbers_of_layers(case):
    """Weights and biases of all four layers."""
    C, D, weights = case.d_model, case.d_model // case.num_heads, {}
    for name in PROJECTIONS:
        gain = case.logits if name == "q_proj" else 1
        weight, bias = case.draw(C, C, scale=C**-0.5 * gain), case.draw(C, scale=0.5 * gain)
        if case.poles and name in (
            "q_proj",
            "k_proj",
        ):  # queries and keys are the tokens themselves
            size = POLE * gain * D**-0.5 if name == "q_proj" else 1.0
            weight, bias = weight * 0, bias * 0
            weight += [[size * (i == j) for j in range(C)] for i in range(C)]
        weights[name] = {"weight": weight, "bias": bias}
    return weights


@made("options", "others", "by_place", "weights", "own")
def layers(case):
    """Arguments of the constructor, those of other instances, and what is in the layers of two instances each."""
    options = {name: case.given[name] for name in OPTIONS if name in case.given}
    others = {
        "num_heads": case.other_heads,
        "max_cache_len": case.other_cache_len,
        "dropout": case.other_dropout,
    }
    others = {name: x for name, x in others.items() if x is not None}
    return options, others, case.by_place, numbers_of_layers(case), numbers_of_layers(case)


def rate_of(case):
    """The dropout rate of the instances 0 and 2."""
    return DEFAULT_RATE if case.dropout is None else case.dropout


@made("training")
def mode(case, training: Training = False):
    """The mode of the module: where chance would decide, eval mode."""
    rates = {rate_of(case), rate_of(case) if case.other_dropout is None else case.other_dropout}
    return training and rates <= {0, 1}


ByName = switch("The arguments are passed by name.")
NEW = ("query", "key", "value")
Shared = choice(
    ("query key", "key value", "query value"), "Two arguments that are one tensor, the third another."
)  # fmt: skip
Overlap = switch(
    "Query, key and value are three tensors that begin at the same place of one memory and go on differently."
)


@drawn(query="Query [B, S, C]", key="Key [B, S, C]", value="Value [B, S, C]")
def new(
    case,
    tokens: Tokens,
    same: switch("Self-attention: query, key and value are one tensor.") = False,
    shared: Shared = None,
    overlap: Overlap = False,
    rows: RowsHere = None,
    prompt: choice(
        ("a", "b"), "The same numbers in every step that says this prompt and as many tokens."
    ) = None,
):  # fmt: skip
    """The new tokens; of arguments that are one tensor, or lie in one memory, the first alone is sent."""
    twins = NEW if same or overlap else (shared or "").split()
    names = [name for name in NEW if name not in twins[1:]]
    sizes = (rows or case.batch, tokens, case.d_model)
    drawn = {
        name: case.draw(*sizes) if prompt is None else case.named(f"{prompt} {name}", *sizes)
        for name in names
    }
    return {name: x if name == "value" else at_poles(case, x) for name, x in drawn.items()}


class RandomScenarios:
    """Calls of the module, with other numbers in its layers from time to time; a file may lack the helpers."""

    verbs = ("forward", "load")
    steps = (1, 5)

    def asked(case):
        """Not scores in the thousands, but for poles: a right file may keep the logarithm of their sum, less near."""
        ways = {way for step in case["steps"] for way in step.get("regimes", {}).items()}
        if case["setup"].get("poles"):
            caches = [step.get("cache") or {} for step in case["steps"]]
            layouts = {"strided", "window", "swapped", "turned"}
            return {way for _, way in ways} <= layouts and all("like" not in x for x in caches)
        loud = {name for name, way in ways if way in ("huge", "rising")}
        loud |= {"key" for _, way in ways if loud and way.startswith("same_as_")}
        return case["setup"].get("logits", 1) <= 10 and loud <= {"value"}

    def amended(case, choose):
        """Poles where scores are huge, as many rows as the cache has, and perhaps calls at the edge of the capacity."""
        setup, steps = case["setup"], case["steps"]
        setup.pop("poles", None)
        if setup.get("logits", 1) >= HUGE:
            setup["poles"] = True
            setup.pop("other_heads", None)
        rows, lengths = {}, {}
        for step in steps:
            if step["do"] == "forward":
                fit(step, setup, rows, lengths)
        capacity = setup.get("max_cache_len")
        if capacity and lengths and choose.one_in(3):
            name = choose.one_of(list(lengths))
            room = capacity - lengths[name]
            at = len(steps) - (steps[-1]["do"] == "recall")
            more = {"live": name} | ({"rows": rows[name]} if rows[name] != setup["batch"] else {})
            for tokens in [n for n in (room + 1, room, 1) if 0 < n <= FEW]:
                steps.insert(at, {"do": "forward", "tokens": tokens, **more})
                at += 1
        return case


FEW = 48  # tokens of a random call at the edge of the capacity


def fit(step, setup, rows, lengths):
    """Let a step have as many rows as the cache that it gets, and note rows and tokens of what it saves."""
    cache = step.get("cache") or {}
    source = step.get("live") or cache.get("of")
    if "live" in step:
        step.pop("turned", None)  # it is the very object
    if source in rows:
        step["rows"] = rows[source]
    past = min(
        lengths.get(source, cache.get("random", 0)), cache.get("keep", 4096), step.get("cut", 4096)
    )
    rows[step.get("save")] = step.get("rows", setup["batch"])
    lengths[step.get("save")] = past + step["tokens"]


class Kept:
    """The cache of an earlier step."""

    of: saved("Name under which an earlier step was saved.")
    keep: caches.Keep = None


class Unseen:
    """A cache of drawn tokens."""

    random: whole(1, 4096, "Number of random tokens the module never saw.", usual=(1, 6))
    like: choice(
        ("zeros", "ties"), "What they are like: all numbers 0, or every token the same."
    ) = None


class Empty:
    """A cache as `reset_cache` makes it."""

    empty: constant(True, "Both entries are None.")


@made("cache", any_layout=True)
def cache(
    case,
    rows: RowsHere = None,
    cache: one_of(
        "The cache handed in: that of an earlier step, one of random tokens, or one with None entries.",
        Kept, Unseen, Empty,
    ) = None,
):  # fmt: skip
    """The cache handed in; None unless the case speaks of one."""
    if cache is None:
        return None
    if "of" in cache:
        return caches.cache_of(case.saved[cache["of"]]["cache"], *ENTRIES, keep=cache.get("keep"))
    if "random" in cache:
        drawn = {name: features(case, cache["random"], rows) for name in ENTRIES}
        drawn["key"] = at_poles(case, drawn["key"])
        alike = {"zeros": lambda x: x * 0, "ties": lambda x: x[:, :1].repeat(x.shape[1], axis=1)}
        change = alike.get(cache.get("like"), lambda x: x)
        return {name: change(x) for name, x in drawn.items()}
    return dict.fromkeys(ENTRIES)


Shape = wholes(1, 64, "Shape of this tensor.", length=(1, 5))


@made("query", "key", "value")
def shaped(
    case,
    query: Shape,
    key: Shape,
    value: Shape,
):
    """Tensors of these shapes."""
    return case.draw(*query), case.draw(*key), case.draw(*value)


@made("Q", "K")
def queries_and_keys(case, tokens: Tokens, past: Past = 0):
    """Queries of the new tokens and keys of all tokens, head by head."""
    return heads(case, tokens), heads(case, past + tokens)


@made("Q", "K", "V", "causal")
def merged(case, tokens: Tokens, past: Past = 0, causal: switch("use_causal_mask.") = True):
    """The arguments of `_attend_heads`: queries of the new tokens, keys and values of all tokens, heads merged."""
    K, V = features(case, past + tokens), features(case, past + tokens)
    return features(case, tokens), K, V, causal


def scores_of(case, tokens, past, scale):
    """Draw [B, H, tokens, past + tokens]."""
    return case.draw(case.batch, case.num_heads, tokens, past + tokens, scale=scale)


@made("scores", "seq_len", "cache_len")
def unmasked(
    case,
    tokens: Tokens,
    past: Past = 0,
    scale: Spread = 1.0,
    negative: switch("Make every score negative.") = False,
    far: switch("Scores of 600 to 950 million, of either sign.") = False,
):
    """The arguments of `_apply_causal_mask`."""
    scores = scores_of(case, tokens, past, scale)
    if far:
        size = abs(scores)
        scores = ((scores > 0) * 2.0 - 1.0) * (6e8 + 3.5e8 * size / (1 + size))
    return -abs(scores) if negative else scores, tokens, past


@made("scores", "training")
def unweighed(
    case, tokens: Tokens, past: Past = 0, scale: Spread = 1.0, training: Training = False
):
    """Scores to be turned into weights, and the mode of the module."""
    return scores_of(case, tokens, past, scale), training


# Calls. `create` makes the module; the verbs after it get that module.


Instance = whole(
    0, 3, "Which instance of the class; 0 and 1 have the same weights, 2 and 3 others, their own."
)


@verb(may_change="weights own")
def create(file, dtype, options, others, by_place, weights, own):
    import torch

    torch.set_grad_enabled(False)
    keep, kind = file.keep, file.KVCachedMultiHeadAttention
    keep.torch, keep.dtype = torch, getattr(torch, dtype)
    keep.weights, keep.buffers = [weights, weights, own, own], {}

    def make(number):
        """Instance of this number."""
        said = {**options, **others} if number % 2 else options
        missing = next((i for i, name in enumerate(OPTIONS) if name not in said), len(OPTIONS))
        placed = OPTIONS[:missing] if by_place else ()
        named = {name: x for name, x in said.items() if name not in placed}
        made = kind(*(said[name] for name in placed), **named)
        return with_weights(made, keep.weights[number], keep.dtype)

    keep.make, keep.instances = make, [make(0)]
    file.use(keep.instances[0])
    return {"ready": True}


def instance_of(module, number):
    """The instance of this number, which is made with all before it when it is first asked for."""
    keep = module.keep
    while len(keep.instances) <= number:
        keep.instances.append(keep.make(len(keep.instances)))
    return keep.instances[number]


@verb
def load(
    module, weights, own,
    instance: whole(0, 3, "The only instance that gets other numbers; all when not given.") = None,
    uncounted: switch(
        "The numbers are written into the parameters' data, of which torch does not count the changes."
    ) = False,
):  # fmt: skip
    """Put other numbers into the layers of every instance, as a training step or a checkpoint does."""
    keep = module.keep
    if instance is not None:
        instance_of(module, instance)
    for number in range(len(keep.weights)) if instance is None else [instance]:
        keep.weights[number] = own if number >= 2 else weights
        if number < len(keep.instances):
            with_weights(keep.instances[number], keep.weights[number], keep.dtype, uncounted)
    return {"ready": True}


@verb(held="cache", recalled=True, often=6)
def forward(
    module, query, key, value, cache,
    causal: switch("use_causal_mask; left out when not given.") = None,
    call: choice(
        ("mixed", "positional", "keywords"),
        "How the arguments are passed: tensors by place and the rest by name, all by place, all by name.",
    ) = "mixed",
    training: mode = False,
    instance: Instance = 0,
    dtype: choice(
        ("float64",), "Convert module and inputs for this call, and answer the dtypes.",
    ) = None,
    reuse: switch(
        "The numbers are written into the tensors of the last call that says so, where they fit."
    ) = False,
    shared: Shared = None,
    overlap: Overlap = False,
    turned: switch("'value' stands before 'key' in the cache handed in.") = False,
    cut: whole(1, 64, "The cache is cut to its first tokens, by views of its tensors.") = None,
):  # fmt: skip
    """Call the module. Answers output, cache/key and cache/value (and dtypes when `dtype` is given)."""
    keep, called = module.keep, instance_of(module, instance)
    wanted = getattr(keep.torch, dtype) if dtype else keep.dtype
    cache = cast(cache, wanted) if dtype else cache  # else the very object, which may be a held one
    if cache is not None and cut:
        cache = {name: x if x is None else x[:, :cut] for name, x in cache.items()}
    if cache is not None and turned:
        cache = {name: cache[name] for name in reversed(ENTRIES)}
    if reuse:
        query, key, value = (
            kept(keep.buffers, *pair) for pair in zip(NEW, (query, key, value), strict=True)
        )
    query = query.to(wanted)
    if overlap:
        query, key, value = in_one_memory(keep.torch, query)
    value = key if shared == "key value" else value
    key, value = (query if x is None else x.to(wanted) for x in (key, value))
    placed, named = arguments(call, query, key, value, cache, causal)

    if dtype:
        called.to(wanted)
    with in_mode(called, training), owned_by_caller(cache):
        answer = called(*placed, **named)
        result(module, answer)
    if not dtype:
        return lambda: result(module, answer)
    called.to(keep.dtype)

    def told():
        found = result(module, answer)
        dtypes = [str(x.dtype) for x in (found["output"], *found["cache"].values())]
        return {**cast(found, keep.dtype), "dtypes": dtypes}

    return told


def kept(buffers, name, numbers):
    """The tensor that the last call got under this name, with these numbers in it, if it can hold them."""
    held = buffers.get(name)
    if (
        numbers is None
        or held is None
        or (held.shape, held.dtype) != (numbers.shape, numbers.dtype)
    ):
        buffers[name] = numbers
        return numbers
    return held.copy_(numbers)


def in_one_memory(torch, x):
    """Three different tensors of the shape of x, of which all begin with the same number in the same memory."""
    S = x.shape[1]
    memory = torch.cat([x, -x, x / 2], 1)
    return memory[:, :S], memory[:, : 2 * S : 2], memory[:, ::3]


@verb(often=0)
def write(module, live, cut: whole(1, 64, "Its first tokens alone are left in it.") = None):
    """The caller changes the cache that an earlier step returned: other tokens first, or fewer of them."""
    for name in ENTRIES:
        if cut:
            live[name] = live[name][:, :cut]
        else:
            live[name].copy_(live[name].flip(1) / 2)
    return {"ready": True}


@made("weights", "query", "key", "value")
def revealing(case):
    """Layers and D tokens with which each head puts out its weights: all scores are 0, value t is the t-th unit."""
    C, H = case.d_model, case.num_heads
    D = C // H
    unit = [[float(i == j) for j in range(C)] for i in range(C)]
    numbers = {name: case.draw(C, C) * 0 for name in PROJECTIONS}
    for name in ("v_proj", "out_proj"):
        numbers[name] += unit
    weights = {name: {"weight": x, "bias": x[0] * 0} for name, x in numbers.items()}
    value = features(case, D) * 0
    for t in range(D):
        value[:, t, t::D] = 1.0
    return weights, features(case, D), features(case, D), value


CALLS, SIGMAS = 4, 6


def near(share, wanted, count):
    """Whether a share of `count` independent draws is within six standard deviations of what is wanted."""
    return abs(share - wanted) <= SIGMAS * (wanted * (1 - wanted) / count) ** 0.5 + SIGMAS / count


def shares(case, answer, causal=False):
    """What the weights of several calls in training mode tell: how many are dropped, how, and what the others are."""
    H, D = case.num_heads, case.d_model // case.num_heads
    rate = rate_of(case)
    found = answer.get("weights")
    shape = (CALLS, case.batch, D, H, D)
    if found is None or found.shape != (*shape[:3], H * D):
        return {"weights": "not those of every token in every head"}
    found = found.reshape(shape)
    place = (found.astype(bool) | True).cumsum(-1)
    seen = place <= place.swapaxes(2, 4) if causal else place > 0
    if (found[~seen] != 0).any():
        return {"weights": "not 0 for what is hidden"}
    dropped, size = found == 0, seen.sum()
    kept = (1 / (1 - rate) if rate < 1 else 0.0) / seen.sum(-1, keepdims=True)
    told = {
        "dropped": "as many as the rate says",
        "kept": "divided by 1 - rate",
        "each": "on its own",
    }
    share = (dropped & seen).sum() / size
    if not near(share, rate, size):
        told["dropped"] = f"{share:.3f} of the weights at a rate of {rate:g}"
    others = seen & ~dropped
    if not (abs(found - kept) <= 1e-3 * kept)[others].all():
        told["kept"] = "other numbers"
    alike = rate * rate + (1 - rate) * (1 - rate)
    for axis, name in enumerate(("call", "row", "query", "head", "key")):
        count = shape[axis] // 2 * 2
        halves = [range(i, count, 2) for i in (0, 1)]
        first, second = (dropped.take(half, axis) for half in halves)
        both = seen.take(halves[0], axis) & seen.take(halves[1], axis)
        if both.any() and not near((first == second)[both].sum() / both.sum(), alike, both.sum()):
            told["each"] = f"not on its own: one {name} like the next"
            break
    return told


def shares_of_the_past(case, answer):
    """The same where token i sees the tokens 0 to i."""
    return shares(case, answer, causal=True)


def weights_of(module, weights, turns, causal):
    """What the module puts out in several rounds of these calls, with these numbers in its layers."""
    keep, found = module.keep, []
    called = with_weights(keep.instances[0], weights, keep.dtype)
    with in_mode(called, True):
        for _ in range(CALLS):
            answers = [
                called(*tokens, cache=cache, use_causal_mask=causal) for *tokens, cache in turns
            ]
            found.append(
                keep.torch.cat([parts(answer, "output", "new_cache")[0] for answer in answers], 1)
            )
    with_weights(called, keep.weights[0], keep.dtype)
    return {"weights": keep.torch.stack(found)}


@verb(told=shares)
def drop(
    module, weights: revealing, query: revealing, key: revealing, value: revealing,
    one_by_one: switch("Each token comes alone, with a cache of all the others.") = False,
    causal: switch("use_causal_mask, for tokens that come alone.") = False,
):  # fmt: skip
    """Call the module in training mode with layers that make its output its weights; the answer is what these tell."""
    if not one_by_one:
        return weights_of(module, weights, [(query, key, value, None)], False)
    # the keys are 0 whatever the token, and the values those of the cache but for the last one
    others = {"key": key[:, 1:] * 0, "value": value[:, :-1]}
    turns = [
        (query[:, t : t + 1], key[:, :1], value[:, -1:], others) for t in range(query.shape[1])
    ]
    return weights_of(module, weights, turns, causal)


@verb(told=shares_of_the_past)
def drop_causal(
    module, weights: revealing, query: revealing, key: revealing, value: revealing,
    in_two: switch("The first half of the tokens is a cache already when the others come.") = False,
):  # fmt: skip
    """The same with the causal mask."""
    half = query.shape[1] // 2 if in_two else 0
    past = {"key": key[:, :half] * 0, "value": value[:, :half]} if half else None
    turns = [
        (*(x[:, part] for x in (query, key, value)), cache)
        for part, cache in ((slice(0, half), None), (slice(half, None), past))
        if part.start or part.stop != 0
    ]
    return weights_of(module, weights, turns, True)


@verb
def look(module, live):
    """Answer key and value of the live cache object of an earlier step."""
    return entries_of(live)


three = several(features, "query", "key", "value")


@verb
def after_reset(module, query: three, key: three, value: three, instance: Instance = 0):
    """Call the module with what reset_cache() returned, twice; the caller puts a cache into the first in between."""
    called, told = instance_of(module, instance), []
    for _ in range(2):
        empty = need(called, "reset_cache")()
        cache = empty if isinstance(empty, Mapping) else None
        with owned_by_caller(cache):
            answer = called(query, key, value, cache=cache)
        told.append(result(module, answer))
        if isinstance(empty, dict):
            empty.update(told[-1]["cache"])
    return {**told[0], "again": told[1]}


class InfoOptions:
    use_cache: switch("Passed by name when given.")


@verb(recalled=True)
def info(
    module, cache, live=None,
    instance: Instance = 0, by_name: ByName = False, **options: InfoOptions,
):  # fmt: skip
    """Call get_cache_info on a cache (None when not given)."""
    return told_of(instance_of(module, instance), cache if live is None else live, by_name, options)


@verb
def info_after_reset(module):
    """Call get_cache_info on what reset_cache() returned."""
    return told_of(module, module.reset_cache(), False, {})()


def told_of(module, cache, by_name, options):
    """A function that gives what get_cache_info told of a cache."""
    ask = need(module, "get_cache_info")
    with owned_by_caller(cache):
        told = ask(cache=cache, **options) if by_name else ask(cache, **options)
    held = [x for x in (cache or {}).values() if x is not None]
    held = sum(x.numel() * x.element_size() for x in held) / 2**20

    def again():
        length, size, full = (
            entry(told, name, "the answer of `get_cache_info`")
            for name in ("cache_length", "cache_size_mb", "is_full")
        )
        close = abs(float(size) - held) < 0.006  # a file may round to two decimals
        return {
            "cache_length": int(length),
            "cache_size_mb": held if close else float(size),
            "is_full": bool(full),
        }

    return again


@verb
def describe(module, instance: Instance = 0):
    """Answer the dropout rate of the module, and whether its submodules are of the kinds that the brief names."""
    called, nn = instance_of(module, instance), module.keep.torch.nn
    layers = [need(called, name) for name in PROJECTIONS]
    dropout = need(called, "dropout")
    rate = getattr(dropout, "p", None)
    kinds = all(isinstance(x, nn.Linear) for x in layers) and isinstance(dropout, nn.Dropout)
    return {"dropout": None if rate is None else float(rate), "kinds": kinds}


@verb("positions")
def positions(
    module,
    tokens: whole(1, 64, "seq_len."), cached: whole(0, 1_000_000, "cache_len."), by_name: ByName = False,
):  # fmt: skip
    """Call compute_position_ids."""
    torch, ask = module.keep.torch, module.file.compute_position_ids
    told = ask(seq_len=tokens, cache_len=cached) if by_name else ask(tokens, cached)
    ids = torch.as_tensor(given(told))
    if ids.is_floating_point():
        raise Wrong("wrong_dtype", "position ids are integers, and these are floating-point")
    return ids.reshape(-1).to(torch.int64)


@verb
def validate(module, query: shaped, key: shaped, value: shaped, by_name: ByName = False):
    """Call validate_inputs with random tensors of these shapes."""
    ask = module.file.validate_inputs
    if by_name:
        ask(query=query, key=key, value=value)
    else:
        ask(query, key, value)
    return {"accepted": True}


@verb
def sample(
    module,
    batch: whole(1, 64, "batch_size."), tokens: whole(1, 64, "seq_len."),
    d_model: whole(1, 64, "d_model."), seed: whole(0, 1000000, "seed."), by_name: ByName = False,
):  # fmt: skip
    """Call create_sample_input twice with one seed, once with the next and once with none."""
    torch, make = module.keep.torch, module.file.create_sample_input

    def tensors(**seeded):
        """One sample; the function may return one tensor or several."""
        if by_name:
            answer = given(make(batch_size=batch, seq_len=tokens, d_model=d_model, **seeded))
        else:
            answer = given(make(batch, tokens, d_model, *seeded.values()))
        answer = [answer] if isinstance(answer, torch.Tensor) else answer
        return [tensor(x, "a sample input") for x in answer]

    first, again, other = tensors(seed=seed), tensors(seed=seed), tensors(seed=seed + 1)
    free = tensors()
    shapes = [list(x.shape) for x in (*first, *free)]
    return {
        "shapes_right": bool(first) and all(x == [batch, tokens, d_model] for x in shapes),
        "same_seed_same_numbers": all(map(torch.equal, first, again)),
        "other_seed_other_numbers": not any(map(torch.equal, first, other)),
    }


split = helper(
    "_split_heads", "heads", x=several(features, "x"),
    text="Call _split_heads on [B, tokens, d_model].",
)  # fmt: skip


@verb("x")
def rejoin(module, x: several(features, "x")):
    """Call _merge_heads on what _split_heads returned."""
    return module._merge_heads(given(module._split_heads(x)))


merge = helper(
    "_merge_heads", "merged", x=several(heads, "x"),
    text="Call _merge_heads on [B, H, tokens, D].",
)  # fmt: skip
# a file may work on its own scores in place, and on the queries and keys they are made of
scores = helper(
    "_compute_attention_scores", "scores", Q=queries_and_keys, K=queries_and_keys, may_change="Q K",
    text="Call _compute_attention_scores on queries and keys per head.",
)  # fmt: skip
project = helper(
    "_project_inputs", "Q K V", query=three, key=three, value=three,
    text="Call _project_inputs on three different inputs.",
)  # fmt: skip
attend = helper(
    "_attend_heads", "context", Q=merged, K=merged, V=merged, causal=merged,
    text="Call _attend_heads on merged queries, keys and values.",
)  # fmt: skip


@verb("weights", may_change="scores")
def mask(module, scores: unmasked, seq_len: unmasked, cache_len: unmasked):
    """Call _apply_causal_mask and answer the softmax of what it returns."""
    hidden = given(module._apply_causal_mask(scores, seq_len, cache_len))
    # which value hides a score is free; what counts is the weight it is left with
    return module.keep.torch.softmax(tensor(hidden, "`_apply_causal_mask`"), dim=-1)


@verb("weights", may_change="scores")
def weigh(module, scores: unweighed, training: unweighed):
    """Call _weights_over_keys on random scores."""
    with in_mode(module.keep.instances[0], training):
        return module._weights_over_keys(scores)


pair = several(features, "k", "v")


@verb
def extend(module, cache, k: pair, v: pair):
    """Call _extend_history with new keys and values and a cache."""
    with owned_by_caller(cache):
        K, V, grown = parts(module._extend_history(cache, k, v), "K", "V", "new_cache")
    return {"K": K, "V": V, "cache": entries_of(grown)}


two_pairs = several(features, "K", "V", "K_next", "V_next")


@verb
def pack(module, K: two_pairs, V: two_pairs, K_next: two_pairs, V_next: two_pairs):
    """Call _pack_cache twice and answer both caches."""
    first, second = module._pack_cache(K, V), module._pack_cache(K_next, V_next)
    return {"first": entries_of(first), "second": entries_of(second)}


keys = several(features, "K")


@verb
def refuse(module, K: keys):
    """Call _refuse_overflow on keys of this many tokens."""
    module._refuse_overflow(K)
    return {"accepted": True}


# What the calls above share.


def with_weights(module, weights, dtype, uncounted=False):
    """Return the module in this dtype and in eval mode, with these numbers in its layers."""
    if any(x.dtype != dtype for x in (*module.parameters(), *module.buffers())):
        module.to(dtype)
    module.eval()
    for name, numbers in weights.items():
        for part, wanted in numbers.items():
            own = getattr(need(module, name), part, None)
            if own is None or own.shape != wanted.shape:
                raise Wrong("missing", f"`{name}.{part}` must be a parameter {[*wanted.shape]}")
            (own.data if uncounted else own).copy_(wanted)
    return module


def arguments(call, query, key, value, cache, causal):
    """The arguments of a call, by place and by name; what a case leaves out is left out."""
    if call == "positional":
        return [query, key, value, cache, causal is None or causal], {}
    named = {"cache": cache, "use_causal_mask": causal}
    named = {name: x for name, x in named.items() if x is not None}
    if call == "keywords":
        return [], {"query": query, "key": key, "value": value, **named}
    return [query, key, value], named


@contextmanager
def in_mode(module, training):
    """Training or eval mode for one call; between the steps the module is in eval mode."""
    if module.training != bool(training):
        module.train(bool(training))
    try:
        yield
    finally:
        if training:
            module.eval()


@contextmanager
def owned_by_caller(cache):
    """Refuse a call that puts other tensors into this cache; the grader sees what is written into its tensors."""
    before = {} if cache is None else dict(cache)
    yield
    after = {} if cache is None else dict(cache)
    for name in (*before, *after):
        if name not in before or after.get(name, cache) is not before[name]:
            raise Wrong("mutated_input", f"the call replaced `{name}` in the cache passed in")


def result(module, answer):
    """What a call of the module returned; its cache object is left for a later step's `live`."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong("missing", "`forward` must return two things: (output, new_cache)")
    module.leave(answer[1])
    return {"output": tensor(answer[0], "the output"), "cache": entries_of(answer[1])}


def entries_of(cache):
    """Key and value of a cache that was returned."""
    entries = {name: entry(cache, name, "the returned cache") for name in ENTRIES}
    for name, held in entries.items():
        if tensor(held, f"`{name}` of the returned cache").dim() == 4:
            told = f"the returned cache keeps `{name}` as {[*held.shape]}, with its heads split"
            raise Wrong("wrong_shape", f"{told}; [B, tokens, d_model] is expected")
    return entries


def entry(mapping, name, what):
    try:
        return mapping[name]
    except (KeyError, TypeError, IndexError):
        raise Wrong("missing", f"{what} has no {name!r}") from None


def tensor(value, what):
    if value is None:
        raise Wrong("missing", f"{what} is None; is a `return` missing?")
    if not hasattr(value, "dtype"):
        raise Wrong("missing", f"{what} is {type(value).__name__}, not a tensor")
    return value


def cast(item, dtype):
    """The same tensors in another dtype; None stays."""
    if isinstance(item, Mapping):
        return {name: cast(part, dtype) for name, part in item.items()}
    return item if item is None else item.to(dtype)


Plan, Verbs = both_sides(globals())

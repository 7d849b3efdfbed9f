"""Verbs of the triton_prefill challenge: the prefill function, and its jit helpers in one-program kernels.

Every slot that holds no token is NaN unless a case asks for something else, also behind the last slot of a cache, and
so is every output before it is written. Keys and values have strides of their own, or lie in memory as a case asks.
Calls of other kinds are made before and after one whose answer is looked at, and memory that was passed in is written
over and passed again.
"""

import sys
from contextlib import contextmanager

import numpy as np

from grader.kit import (
    both_sides,
    choice,
    choices,
    helper,
    made,
    numbers,
    parts,
    probes,
    real,
    switch,
    verb,
    whole,
    wholes,
)  # fmt: skip

Causal = switch("The argument causal; true unless given.")
JitCausal = switch("The argument CAUSAL; true unless given.")
Lens = wholes(
    0, "slots", "Tokens of each row; their number is the batch B.", usual=(0, 40), length=(1, 40)
)  # fmt: skip
Queries = whole(1, 300, "Queries S of the longest row.", usual=(1, 20))
QLens = wholes(
    0, 300,
    "Queries of each row, S at most, where they differ; S in rows that are not named, and in all unless given.",
    length=(0, 40),
)  # fmt: skip
Views = choice(
    (*probes.Views.names, "expanded"),
    f"{probes.Views.text} Expanded: all queries of a row are one, and all key/value heads.",
)
OTHERS = (
    "reversed", "one_row", "one_query", "one_group", "narrow", "other_dtype", "other_mask", "other_scale",
    "other_queries",
)  # fmt: skip
Other = choice(
    OTHERS,
    "How the call that is made before and after differs: its queries in reverse order unless given, or in what the"
    " name says.",
)
PARTS = ("queries", "keys", "values", "lens", "q_lens")
Over = choices(
    choice(PARTS, ""), "What is written over between the calls; all unless given.", length=(1, 5)
)


class Setup:
    """Sizes of the case."""

    heads: whole(1, 24, "Query heads H.", usual=(1, 6))
    kv_heads: whole(1, 24, "Key/value heads Hkv; divides H.", usual=(1, 3))
    head_dim: whole(
        1, 300, "Head dimension D; 16 at most for the verbs that test one helper.", usual=(1, 24)
    )
    slots: whole(1, 2100, "Slots N of a cache.", usual=(15, 40))

    def legal(sizes):
        """Whether random cases may have these sizes: an interpreter is slow."""
        work = sizes.heads * sizes.slots * (16 + sizes.head_dim)
        return sizes.heads % sizes.kv_heads == 0 and work < 6000


@made("q", "k", "v", "lens", "q_lens")
def rows(
    case,
    lens: Lens,
    queries: Queries,
    q_lens: QLens = None,
    far: switch(
        "Whether keys and values are 2**20 times as large and queries as much smaller, as float16 has no numbers."
    ) = False,
    turned: switch("Whether every second query, head and row has the negative of its numbers.") = False,
    swing: real(
        0, 256, "Values of the first half of a row's tokens are so much larger, and of the others so much smaller.",
        usual=(0.0, 0.0, 0.0, 64.0),
    ) = 0.0,
    **said: probes.TokenValues,
):  # fmt: skip
    """Queries and a cache, and how many of them each row has."""
    asked = probes.queries_of_rows(q_lens, len(lens), queries)
    q, k, v = probes.queries_and_cache(case, lens, queries, said)
    if far:
        q, k, v = q * 2.0**-20, k * 2.0**20, v * 2.0**20
    if swing:
        first = np.arange(v.shape[1]) < np.array(lens)[:, None] // 2
        v = v + np.where(first, swing, -swing)[..., None, None]
    if turned:
        q = np.where(np.indices(q.shape)[:3].sum(0) % 2, -q, q)
    return q, k, v, np.array(lens, np.int32), asked


@made(*(f"{when}_{part}" for when in ("old", "new") for part in PARTS))
def rows_in_turn(
    case,
    lens: Lens,
    queries: Queries,
    q_lens: QLens = None,
    then: wholes(
        0, "slots", "Tokens of each row in the second call; as before in rows that are not named.",
        usual=(0, 40), length=(0, 40),
    ) = (),
    then_q_lens: QLens = None,
    **said: probes.TokenValues,
):  # fmt: skip
    """Queries and caches of the same shape, twice; slots without a token in both hold none."""
    later = [*then][: len(lens)]
    later += lens[len(later) :]
    most = np.maximum(lens, later)
    old = probes.queries_and_cache(case, most, queries, said)
    new = probes.queries_and_cache(case, most, queries, said)
    asked = probes.queries_of_rows(q_lens, len(lens), queries)
    asked_then = None if asked is None else probes.queries_of_rows(then_q_lens, len(lens), queries)
    if asked is not None and then_q_lens is None:
        asked_then = asked
    return *old, np.array(lens, np.int32), asked, *new, np.array(later, np.int32), asked_then


@verb
def create(file):
    probes.unwritten_is_nan()


class RandomScenarios:
    """Any calls of the function that an interpreter answers quickly."""

    verbs = ("prefill", "prefill_twice", "prefill_written_over")
    steps = (1, 2)
    candidates = 20

    def asked(case):
        return probes.quick(case, packed=False)

    def amended(case, choose):
        for step in case["steps"]:
            if step["do"] == "prefill_twice":
                step["other"] = choose.one_of(OTHERS)
            if step["do"] == "prefill_written_over":
                step.pop(
                    "slope", None
                )  # by the longer length of two it would be steeper than is looked for
                if choose.one_in(2):
                    step["over"] = [choose.one_of(PARTS)]
                if choose.one_in(4):  # each answer is a token's values
                    step |= {"lens": [1] * len(step["lens"]), "queries": 1, "over": ["values"]}
            if "slope" in step:
                step.pop(
                    "turned", None
                )  # the lowest numbers would count, which rounding moves most
            if case["dtype"] != "bfloat16":
                step.pop("far", None)
            if case["dtype"] == "float32" or not step.get("swing"):
                step.pop("swing", None)
            else:  # what is rounded in such sums shows where all weights are the same
                step["spread"] = 0.0
                for name in ("tilt", "contrast", "slope", "loud", "far"):
                    step.pop(name, None)
        return probes.tamed(case, choose, packed=False)


class Options:
    causal: Causal
    scale: real(-1e30, 1e30, "The argument scale.")


@verb(recalled=True)
def prefill(
    file, q, k, v, lens, q_lens,
    view: Views = "apart",
    by_name: switch(
        "Whether all arguments are passed by their names, defaults too, and a whole number as scale is an int."
    ) = False,
    **options: Options,
):  # fmt: skip
    """Call prefill."""
    with viewed(view, q, k, v) as (q, k, v):
        if by_name:
            options = {"causal": True, "scale": None} | options
            if options["scale"] is not None and options["scale"] == int(options["scale"]):
                options["scale"] = int(options["scale"])
            answer = file.prefill(
                scale=options["scale"], causal=options["causal"], q_lens=q_lens, seq_lens=lens,
                v_cache=v, k_cache=k, q=q,
            )  # fmt: skip
        else:
            answer = called(file, q, k, v, lens, q_lens, options)
    return lambda: answered(answer)


def called(file, q, k, v, lens, q_lens, options):
    """Call prefill; `q_lens` is left to its default where there are none."""
    asked = () if q_lens is None else (q_lens,)
    return file.prefill(q, k, v, lens, *asked, **options)


@contextmanager
def viewed(view, q, k, v):
    """Give views of q, k and v as `probes.viewed` does."""
    if view != "expanded":
        with probes.viewed(view, q, k, v) as seen:
            yield seen
        return
    slots = k.shape[1] - probes.SPARE
    k, v = (x[:, :slots, :1].expand(-1, -1, x.shape[2], -1) for x in (k, v))
    yield q[:, :1].expand(-1, q.shape[1], -1, -1), k, v


@verb
def prefill_twice(file, q, k, v, lens, q_lens, other: Other = "reversed", **options: Options):
    """Call prefill between two calls that differ; returns its answer, read at the end, and that of the last call."""
    with probes.viewed("apart", q, k, v) as (q, k, v):
        between = differing(other, q, k, v, lens, q_lens, options)
        called(file, *between)
        first = called(file, q, k, v, lens, q_lens, options)
        last = answered(called(file, *between))
        besides = {} if other == "other_dtype" else {"besides": last}
        return {**answered(first), **besides}


def differing(other, q, k, v, lens, q_lens, options):
    """The arguments of a call that differs; the last row, query or group are those that are kept."""
    import torch

    queries, group = q.shape[1], q.shape[2] // k.shape[2]
    if other == "reversed":
        q = q.flip(0, 2)
    elif other == "one_row":
        q, k, v, lens = (x[-1:] for x in (q, k, v, lens))
        q_lens = None if q_lens is None else q_lens[-1:]
    elif other == "one_query":
        q, q_lens = q[:, -1:], None if q_lens is None else q_lens.clamp(max=1)
    elif other == "one_group":
        q, k, v = q[:, :, -group:], k[:, :, -1:], v[:, :, -1:]
    elif other == "narrow":
        q, k, v = (x[..., : (x.shape[-1] + 1) // 2] for x in (q, k, v))
    elif other == "other_dtype":
        dtype = torch.bfloat16 if q.dtype == torch.float32 else torch.float32
        q, k, v = (x.to(dtype) for x in (q, k, v))
    elif other == "other_mask":
        options = options | {"causal": not options.get("causal", True)}
    elif other == "other_scale":
        given = {name: x for name, x in options.items() if name != "scale"}
        options = given if "scale" in options else options | {"scale": 0.375}
    elif q_lens is None:
        q_lens = torch.full_like(lens, queries // 2)
    else:
        q_lens = None
    return q, k, v, lens, q_lens, options


@verb
def prefill_written_over(
    file,
    old_queries, old_keys, old_values, old_lens, old_q_lens,
    new_queries, new_keys, new_values, new_lens, new_q_lens,
    over: Over = PARTS,
    **options: Options,
):  # fmt: skip
    """Call prefill, write over what was passed in, and call it again; returns both answers, read at the end."""
    old = (old_queries, old_keys, old_values, old_lens, old_q_lens)
    new = (new_queries, new_keys, new_values, new_lens, new_q_lens)
    held = [None if x is None else behind_another(x) for x in old]
    q, k, v, lens, q_lens = held
    k, v = (x[:, : x.shape[1] - probes.SPARE] for x in (k, v))
    first = called(file, q, k, v, lens, q_lens, options)
    for sent, now in zip(old, held, strict=True):
        if sent is not None:
            sent.copy_(now)  # so that what the call wrote is noticed
    passed = list(old)
    for i, part in enumerate(PARTS):
        if part in over and new[i] is not None:
            held[i].data.copy_(new[i])  # as a kernel writes: no counter of versions sees it
            passed[i] = new[i]
    second = called(file, q, k, v, lens, q_lens, options)
    for sent, now in zip(passed, held, strict=True):
        if sent is not None:
            sent.copy_(now)
    return {**answered(second), "first": answered(first)}


def behind_another(x):
    """Memory for x that is not the first in its storage, with the same numbers."""
    other = float("nan") if x.is_floating_point() else 77
    memory = x.new_full((len(x) + 1, *x.shape[1:]), other)
    memory[1:] = x
    return memory[1:]


def answered(answer):
    output, lse = parts(answer, "output", "log-sum-exp")
    return {"output": output, **probes.finite_lse(lse)}


@verb
def kernel(
    file, q, k, v, lens, q_lens,
    causal: Causal = True,
    factor: real(-100, 100, "The argument factor; 1 unless given.") = 1.0,
):  # fmt: skip
    """Launch _prefill_kernel alone."""
    with probes.viewed("apart", q, k, v) as (q, k, v):
        batch, queries, heads, dim = q.shape
        out, lse = q.new_empty(q.shape), q.new_empty(batch, heads, queries).float()
        strides = [stride for x in (q, k, v, out) for stride in x.stride()[:3]]
        file._prefill_kernel[(-(-queries // 16), heads, batch)](
            q, k, v, lens, q_lens, out, lse, *strides, queries, factor,
            G=heads // k.shape[2], D=dim, DP=16, M=16, T=16, RAGGED=q_lens is not None,
            CAUSAL=causal, WIDE=True, ROUND=False,
        )  # fmt: skip
        return {"output": out, **probes.finite_lse(lse)}


factor = helper(
    "_factor", "factor", float, text="Call _factor.",
    scale=real(None, None, "The scale, or null.", none=True), head_dim=whole(1, 256, "Head dimension."),
)  # fmt: skip


@verb("bounds")
def keys_of_block(
    file,
    first: whole(0, 40000, "First query of the block."),
    before: whole(-64, 128, "Tokens before the row's first query."),
    kv_len: whole(0, 40000, "Tokens of the row."),
    causal: JitCausal = True,
):
    """Keys of a block of 16 queries in tiles of 16, by _keys_of_block."""
    return probes.integers(file._keys_of_block, _bounds, (2,), first, before, kv_len, causal)


@made("tokens", "last")
def row(case, last: whole(0, 16, "The token behind the last one of the row.")):
    """One row of a cache."""
    tokens = case.draw(16 + probes.SPARE, case.head_dim)
    tokens[last:] = np.nan
    return tokens, last


@verb("tile")
def values(file, tokens, last):
    """The first 16 tokens, by _load_values with a tail."""
    out = tokens.new_empty(16, 16)
    _tile[(1,)](file._load_values, tokens, last, tokens.stride(0), tokens.shape[1], out)
    return out


@made("scores")
def square(case):
    """Scores of 16 queries and 16 keys."""
    return case.draw(16, 16)


@verb
def hide(
    file,
    scores: square,
    start: whole(0, 40000, "First key."),
    last: whole(0, 40000, "The key behind the last one."),
    position: whole(-64, 40000, "Position of the first query."),
    causal: JitCausal = True,
):
    """Scores of 16 queries and 16 keys through _hide; each query stands one position behind the one before."""
    out = scores.new_empty(16, 16)
    _hidden[(1,)](file._hide, scores, start, last, position, causal, out)
    return {"hidden": out == probes.HIDDEN, "scores": out.clamp(min=-1e3)}


@made("scores", "values")
def tiles(
    case,
    tiles: whole(1, 8, "Number of tiles."),
    rise: real(-50, 50, "Added to the scores from tile to tile.") = 0.0,
):
    """Scores and values, tile by tile."""
    scores = case.draw(tiles, 16, 16) + rise * np.arange(tiles)[:, None, None]
    return scores, case.draw(tiles, 16, 16)


@verb
def fold(file, scores: tiles, values: tiles):
    """Drawn tiles of 16 queries and 16 keys through _fold."""
    return probes.accumulated(file._fold, scores, values)


@verb
def finish(file, top: numbers("Running maxima [16]."), total: numbers("Running sums [16].")):
    """Rows through _finish; a top below -1e9 stands for -inf, and the accumulator is the total."""
    return probes.finished(file._finish, top, total)


if "triton" in sys.modules:  # in the worker, that is; the grader draws inputs alone
    import triton
    import triton.language as tl

    @triton.jit
    def _bounds(f: tl.constexpr, first, before, kv_len, CAUSAL: tl.constexpr, out):
        common, last = f(first, before, kv_len, CAUSAL, 16, 16)
        tl.store(out, common)
        tl.store(out + 1, last)

    @triton.jit
    def _tile(f: tl.constexpr, tokens, last, stride, D: tl.constexpr, out):
        tile = f(tokens, 0, last, stride, D, 16, 16, True)
        i = tl.arange(0, 16)
        tl.store(out + i[:, None] * 16 + i[None, :], tile)

    @triton.jit
    def _hidden(f: tl.constexpr, scores, start, last, position, CAUSAL: tl.constexpr, out):
        i = tl.arange(0, 16)
        tile = tl.load(scores + i[:, None] * 16 + i[None, :])
        tile = f(tile, start, last, position + i, CAUSAL, 16)
        tl.store(out + i[:, None] * 16 + i[None, :], tile)


Plan, Verbs = both_sides(globals())

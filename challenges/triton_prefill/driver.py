"""Verbs of the triton_prefill challenge: the prefill function, and its jit helpers in one-program kernels.

Every slot that holds no token is NaN unless a case asks for something else, also behind the last slot of a cache, and
so is every output before it is written. Keys and values have strides of their own, or lie in memory as a case asks.
"""

import sys

import numpy as np

from grader.kit import (
    both_sides,
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


class Setup:
    """Sizes of the case."""

    heads: whole(1, 24, "Query heads H.", usual=(1, 6))
    kv_heads: whole(1, 24, "Key/value heads Hkv; divides H.", usual=(1, 3))
    head_dim: whole(
        1, 130, "Head dimension D; 16 at most for the verbs that test one helper.", usual=(1, 24)
    )
    slots: whole(1, 2100, "Slots N of a cache.", usual=(15, 40))

    def legal(sizes):
        """Whether random cases may have these sizes: an interpreter is slow."""
        work = sizes.heads * sizes.slots * (16 + sizes.head_dim)
        return sizes.heads % sizes.kv_heads == 0 and work < 6000


@made("q", "k", "v", "lens", "q_lens")
def rows(
    case,
    lens: wholes(
        0, "slots", "Tokens of each row; their number is the batch B.", usual=(0, 40), length=(1, 12)
    ),
    queries: whole(1, 64, "Queries S of the longest row.", usual=(1, 20)),
    q_lens: wholes(
        0, 64,
        "Queries of each row, S at most, where they differ; S in rows that are not named, and in all unless given.",
        length=(0, 12),
    ) = None,
    **said: probes.TokenValues,
):  # fmt: skip
    """Queries and a cache, and how many of them each row has."""
    asked = probes.queries_of_rows(q_lens, len(lens), queries)
    return *probes.queries_and_cache(case, lens, queries, said), np.array(lens, np.int32), asked


@verb
def create(file):
    probes.unwritten_is_nan()


class RandomScenarios:
    """Any calls of the function that an interpreter answers quickly."""

    verbs = ("prefill", "prefill_twice")
    steps = (1, 2)
    candidates = 20

    def asked(case):
        return probes.quick(case, packed=False)

    def amended(case, choose):
        return probes.tamed(case, choose, packed=False)


class Options:
    causal: Causal
    scale: real(-100, 100, "The argument scale.")


@verb
def prefill(file, q, k, v, lens, q_lens, view: probes.Views = "apart", **options: Options):
    """Call prefill."""
    with probes.viewed(view, q, k, v) as (q, k, v):
        return answered(file.prefill(q, k, v, lens, q_lens, **options))


@verb
def prefill_twice(file, q, k, v, lens, q_lens, **options: Options):
    """Call prefill twice, the second time with q reversed; returns the first answer, read after the second call."""
    with probes.viewed("apart", q, k, v) as (q, k, v):
        first = file.prefill(q, k, v, lens, q_lens, **options)
        file.prefill(q.flip(0, 2), k, v, lens, q_lens, **options)
        return answered(first)


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
    first: whole(0, 64, "First query of the block."),
    before: whole(-64, 128, "Tokens before the row's first query."),
    kv_len: whole(0, 128, "Tokens of the row."),
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
    start: whole(0, 128, "First key."),
    last: whole(0, 128, "The key behind the last one."),
    position: whole(-64, 128, "Position of the first query."),
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

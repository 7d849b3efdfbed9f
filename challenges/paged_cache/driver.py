"""Verbs of the paged_cache challenge: slots, append, attend, whole turns, and the jit helpers in one-program kernels.

Slots that hold no token are NaN, and so are outputs before they are written.  Pages are dealt out in a drawn order;
keys and values have strides of their own.  Caches are plain tensors that the grader keeps.
"""

import sys

import numpy as np

from grader.kit import (
    both_sides,
    caches,
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

Lens = wholes(0, 256, "Tokens of each row; their number is the batch B.", length=(0, 8))
Splits = whole(1, 16, "The argument splits.")
Causal = switch("The argument causal; true unless given.")


class Setup:
    """Sizes of the case."""

    heads: whole(1, 16, "Query heads H.")
    kv_heads: whole(1, 16, "Key/value heads Hkv; divides H.")
    head_dim: whole(1, 64, "Head dimension D; 16 at most for the verbs that test one helper.")
    page: whole(1, 32, "Tokens of a page.")
    pages: whole(1, 64, "Pages P of the pool; one more than are in use.")
    width: whole(1, 32, "Pages W that a row may have.")

    def legal(sizes):
        """Whether random cases may have these sizes."""
        return sizes.heads % sizes.kv_heads == 0


class Options:
    causal: Causal
    splits: Splits
    scale: real(-100, 100, "The argument scale.")


# What is drawn, in the grader


def page_table(case, lens, spare):
    """Deal out pages [B, W] in a drawn order; entries that no token needs name the spare page."""
    others = [page for page in range(case.pages) if page != spare]
    order = [others[i] for i in case.draw.permutation(len(others))]
    if spare:  # the very first slot is in use
        order.insert(0, order.pop(order.index(0)))
    table = np.full((len(lens), case.width), spare, np.int32)
    for row, length in enumerate(lens):
        for entry in range(-(-int(length) // case.page)):
            table[row, entry] = order.pop(0)
    return table


def full_table(case, rows, spare):
    """As many pages for every row as it may have."""
    return page_table(case, np.full(rows, case.width * case.page), spare)


def rows_of(case, *shape, scale=1.0):
    """Keys or values [..., Hkv, D] of tokens."""
    return case.draw(*shape, case.kv_heads, case.head_dim, scale=scale)


def poisoned(k, v, table, lens):
    """The pages, with NaN in every slot that holds no token."""
    used = np.zeros(k.shape[:2], bool)
    for row, length in enumerate(lens):
        token = np.arange(length)
        used[table[row, token // k.shape[1]], token % k.shape[1]] = True
    return caches.poisoned((k, v), used)


@made("q", "k", "v", "table", "lens", "q_lens")
def cache(
    case,
    lens: Lens,
    queries: whole(0, 32, "Queries S; 1 unless given.") = 1,
    q_lens: wholes(
        0, 32, "Queries of each row, where they differ; S unless given.", length=(0, 8)
    ) = None,
    contrast: real(
        0, 16,
        "Draws the attention to every other token, whose values are larger by twice this number.",
    ) = 0.0,
    spread: real(0, 100, "Standard deviation of queries and keys; 1 unless given.") = 1.0,
    tilt: real(-1000, 0, "Adds tilt * |tilt| to every product of a row, before the scale.") = 0.0,
):  # fmt: skip
    """Pages with their table, and queries."""
    lens = np.array(lens, np.int32)
    table = page_table(case, lens, spare=0)
    q = case.draw(len(lens), queries, case.heads, case.head_dim, scale=spread)
    k, v = (rows_of(case, case.pages, case.page, scale=scale) for scale in (spread, 1.0))
    q, k, v = probes.extreme(q, k, v, tilt, contrast)
    k, v = poisoned(k, v, table, lens)
    return q, k, v, table, lens, None if q_lens is None else np.array(q_lens, np.int32)


@made("q", "k", "v", "table", "old", "new", "k_new", "v_new")
def cache_and_new_tokens(
    case,
    new: wholes(0, 32, "New tokens of each row.", length=(0, 8)),
    tokens: whole(1, 32, "New tokens S of the longest row; the others are padded."),
    cache: caches.CacheName = None,
    fill: wholes(
        0, 256,
        "Start from a cache of so many drawn tokens per row; from an empty one unless given.",
        length=(0, 8),
    ) = None,
):  # fmt: skip
    """The cache of an earlier step or one of drawn tokens, and what comes behind it."""
    if cache is None:
        old = np.array(fill or [0] * len(new), np.int32)
        table = full_table(case, len(old), spare=case.pages - 1)
        k, v = rows_of(case, case.pages, case.page), rows_of(case, case.pages, case.page)
    else:
        k, v, table, old = caches.cache_of(case.saved[cache], "k", "v", "table", "lens").values()
    k, v = poisoned(k, v, table, old)
    q = case.draw(len(new), tokens, case.heads, case.head_dim)
    k_new, v_new = rows_of(case, len(new), tokens), rows_of(case, len(new), tokens)
    return q, k, v, table, old, np.array(new, np.int32), k_new, v_new


@made("table", "old", "new", "page")
def filled_rows(
    case,
    old: wholes(0, 256, "Tokens that each row has.", length=(0, 8)),
    new: wholes(0, 32, "Tokens that each row brings.", length=(0, 8)),
):
    table = full_table(case, len(old), spare=0)
    return table, np.array(old, np.int32), np.array(new, np.int32), case.page


@made("k", "v", "k_new", "v_new", "slots")
def pages_and_slots(
    case, slots: wholes(-1, 4096, "Slot of each token; -1 for padding.", length=(0, 16))
):
    k, v = rows_of(case, case.pages, case.page), rows_of(case, case.pages, case.page)
    return k, v, rows_of(case, len(slots)), rows_of(case, len(slots)), np.array(slots, np.int64)


@made("table", "row", "count", "page")
def one_row(
    case,
    lens: wholes(0, 256, "Tokens of each row; at most 16 in the row asked for.", length=(0, 8)),
    row: whole(0, 7, "Which row."),
):
    return page_table(case, lens, spare=0), row, lens[row], case.page


@made("parts", "lse")
def split_rows(
    case,
    heads: whole(1, 8, "Heads."),
    splits: whole(1, 16, "Parts of each row."),
    empty: wholes(0, 15, "Parts that are empty.", length=(0, 16)) = (),
):
    lse = case.draw(1, heads, 1, splits)
    lse[..., list(empty)] = -np.inf
    return case.draw(1, heads, 1, splits, case.head_dim), lse


# What is asked of the submission, in the worker


@verb
def create(file):
    probes.unwritten_is_nan()


def attended(file, q, k, v, *rest, **options):
    output, lse = parts(file.attend(q, k, v, *rest, **options), "output", "log-sum-exp")
    return {"output": output, **probes.finite_lse(lse)}


@verb
def attend(file, q, k, v, table, lens, q_lens, **options: Options):
    """Call attend on drawn tokens."""
    return attended(file, q, k, apart(v), table, lens, q_lens, **options)


@verb
def far(file, q, k, v, table, lens, q_lens, **options: Options):
    """Call attend on pages of keys that lie 2 GiB apart (in float16)."""
    import torch

    if k.dtype == torch.float16:
        torch.utils.deterministic.fill_uninitialized_memory = False
        memory = torch.empty((len(k) - 1 << 30) + k[0].numel(), dtype=k.dtype)
        torch.utils.deterministic.fill_uninitialized_memory = True
        k = memory.as_strided(k.shape, (1 << 30, *k.stride()[1:])).copy_(k)
    return attended(file, q, k, apart(v), table, lens, q_lens, **options)


@verb(may_change="k v")
def turn(file, q: cache_and_new_tokens, k, v, table, old, new, k_new, v_new, **options: Options):
    """Append new tokens with slots_of and append, and attend with them as queries."""
    slots_of, append, v = file.slots_of, file.append, apart(v)
    slots = slots_of(table, old, new, q.shape[1], k.shape[1])
    append(k, v, k_new.flatten(0, 1), v_new.flatten(0, 1), slots.flatten())
    lens = old + new
    ragged = new if (new < q.shape[1]).any() else None
    answer = attended(file, q, k, v, table, lens, ragged, **options)
    grown = {name: without_unused(x, table, lens) for name, x in (("k", k), ("v", v))}
    return {**answer, **grown, "table": table, "lens": lens}


@verb("slots")
def slots(
    file, table: filled_rows, old, new, page, tokens: whole(1, 32, "Tokens S of the longest row.")
):
    """Call slots_of."""
    return file.slots_of(table, old, new, tokens, page)


@verb(may_change="k v")
def append(file, k: pages_and_slots, v, k_new, v_new, slots):
    """Call append on drawn tokens."""
    v, v_new = apart(v), v_new.transpose(0, 1).contiguous().transpose(0, 1)
    file.append(k, v, k_new, v_new, slots)
    return {"k": k, "v": v}


@verb
def partials(file, q, k, v, table, lens, q_lens, splits: Splits, causal: Causal = True):
    """Launch _attend_kernel alone, with scores that are not scaled."""
    rows, queries, heads, dim = q.shape
    v, kv_heads = apart(v), k.shape[2]
    out, lse = q.new_empty(q.shape), q.new_empty(rows, heads, queries).float()
    partial = q.new_empty(rows, heads, queries, splits, dim).float()
    sums = q.new_empty(rows, heads, queries, splits).float()
    strides = [*q.stride()[:3], *k.stride()[:3], *v.stride()[:3]]
    group = heads // kv_heads
    file._attend_kernel[(rows, kv_heads * splits, -(-queries * group // 16))](
        q, k, v, table, lens, q_lens, out, lse, partial, sums,
        *strides, table.stride(0), *out.stride()[:3], queries, 1.0,
        G=group, D=dim, DP=16, R=16, T=16, PAGE=k.shape[1], SPLITS=splits,
        RAGGED=q_lens is not None, CAUSAL=causal, WIDE=True, ROUND=False,
    )  # fmt: skip
    if splits == 1:
        return {"output": out, **probes.finite_lse(lse)}
    return {"output": partial, **probes.finite_lse(sums)}


@verb("offsets")
def slot_of(
    file, table: one_row, row, count, page, stride: whole(1, 1 << 30, "Elements from page to page.")
):
    """Offsets of the first tokens of a row, page * stride + place, by _slot_of."""
    out = table.new_zeros(16).long()
    _slots[(1,)](file._slot_of, table, row, count, table.stride(0), page, stride, out)
    return out[:count]


@verb("newest")
def newest(
    file,
    queries: whole(0, 32, "Queries of the row."),
    kv_len: whole(0, 256, "Tokens of the row."),
    causal: switch("The argument CAUSAL; true unless given.") = True,
):
    """Newest token that the queries 0 to 15 see, by _newest_seen."""
    return probes.integers(file._newest_seen, _newest, (16,), queries, kv_len, causal)


@verb
def fold(file, scores: probes.tiles, values):
    """Drawn tiles of 16 rows and 16 tokens through _fold."""
    return probes.folded(file._fold, scores, values)


@verb
def finish(file, top: numbers("Running maxima [16]."), total: numbers("Running sums [16].")):
    """Rows through _finish; a top below -1e9 stands for -inf, and the accumulator is the total."""
    return probes.finished(file._finish, top, total)


@verb
def combine(file, parts, lse):
    """Launch _combine_kernel on drawn parts."""
    return probes.combined(file._combine_kernel, parts, lse, empty_is_nan=False)


def apart(v):
    """The same values, further apart in memory than the keys."""
    pages, page, heads, dim = v.shape
    memory = v.new_full((pages, page + 1, heads + 1, dim), float("nan"))
    return memory[:, :page, :heads].copy_(v)


def without_unused(x, table, lens):
    """Pages with 0 where no token lies: what is left there is the file's own affair."""
    kept = x.new_zeros(x.shape)
    for row, length in enumerate(lens.tolist()):
        for token in range(length):
            at = int(table[row, token // x.shape[1]]), token % x.shape[1]
            kept[at] = x[at]
    return kept


if "triton" in sys.modules:  # in the worker, that is; the grader draws inputs alone
    import triton
    import triton.language as tl

    @triton.jit
    def _slots(f: tl.constexpr, table, row, count, t_b, PAGE: tl.constexpr, stride, out):
        token = tl.arange(0, 16)
        page, place = f(table, row, token, token < count, t_b, PAGE)
        tl.store(out + token, page * stride + place)

    @triton.jit
    def _newest(f: tl.constexpr, queries, kv_len, CAUSAL: tl.constexpr, out):
        query = tl.arange(0, 16)
        tl.store(out + query, f(query, queries, kv_len, CAUSAL))


Plan, Verbs = both_sides(globals())

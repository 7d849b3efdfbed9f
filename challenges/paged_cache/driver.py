"""Verbs of the paged_cache challenge: slots, append, attend, whole turns, and the jit helpers in one-program kernels.

Slots that hold no token are NaN unless a case asks for something else, and so are outputs before they are written.
Pages are dealt out in a drawn order; keys and values have strides of their own, or lie in memory as a case asks.
Caches are plain tensors that the grader keeps.  A row never has more tokens than its pages hold, whatever a case says.
"""

import sys

import numpy as np

from grader.kit import (
    both_sides,
    caches,
    choice,
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

Lens = wholes(
    0, 2100, "Tokens of each row; their number is the batch B.", usual=(0, 20), length=(1, 12)
)
Splits = whole(1, 16, "The argument splits.", usual=(1, 5))
Causal = switch("The argument causal; true unless given.")


class Setup:
    """Sizes of the case."""

    heads: whole(1, 24, "Query heads H.", usual=(1, 6))
    kv_heads: whole(1, 24, "Key/value heads Hkv; divides H.", usual=(1, 3))
    head_dim: whole(
        1, 130, "Head dimension D; 16 at most for the verbs that test one helper.", usual=(1, 24)
    )
    page: whole(1, 64, "Tokens of a page.", usual=(1, 5))
    pages: whole(1, 64, "Pages P of the pool; as many more as rows need, and one.")
    width: whole(1, 64, "Pages W that a row may have.", usual=(2, 12))

    def legal(sizes):
        """Whether random cases may have these sizes: an interpreter is slow."""
        work = sizes.heads * sizes.width * sizes.page * (16 + sizes.head_dim)
        return sizes.heads % sizes.kv_heads == 0 and work < 6000


class RandomScenarios:
    """Any calls of the three functions that an interpreter answers quickly."""

    verbs = ("attend", "attend_twice", "attend_refilled", "turn", "slots", "append")
    steps = (1, 3)
    candidates = 20

    def asked(case):
        return probes.quick(case)

    def amended(case, choose):
        turns = set()
        for step in case["steps"]:  # only a turn leaves a cache to go on with
            if step.get("cache") not in turns:
                step.pop("cache", None)
            if step["do"] == "turn":
                turns.add(step["save"])
        return probes.tamed(case, choose)


class Options:
    causal: Causal
    splits: Splits
    scale: real(-100, 100, "The argument scale.")


# What is drawn, in the grader


def lengths(case, lens):
    """Lengths of rows, int32 [B], none above what a row's pages hold."""
    return np.minimum(np.array(lens, np.int32), case.width * case.page).astype(np.int32)


def pool(case, lens, shared=0):
    """How many pages there must be, with one that no token needs."""
    needed = sum(max(-(-int(n) // case.page) - shared, 0) for n in lens)
    return max(case.pages, needed + shared + 1)


def page_table(case, lens, spare, pages, shared=0):
    """Deal out pages [B, W] in a drawn order; entries that no token needs name the spare page.

    The first `shared` pages of a row are those of all rows.
    """
    others = [page for page in range(pages) if page != spare]
    order = [others[i] for i in case.draw.permutation(len(others))]
    if spare:  # the very first slot is in use
        order.insert(0, order.pop(order.index(0)))
    table = np.full((len(lens), case.width), spare, np.int32)
    common = [order.pop(0) for _ in range(shared)]
    for row, length in enumerate(lens):
        for entry in range(-(-int(length) // case.page)):
            table[row, entry] = common[entry] if entry < shared else order.pop(0)
    return table


def full_table(case, rows):
    """As many pages for every row as it may have, and how many pages there are; the last one is not in use."""
    full = np.full(rows, case.width * case.page)
    pages = pool(case, full)
    return page_table(case, full, pages - 1, pages), pages


def rows_of(case, *shape, scale=1.0):
    """Keys or values [..., Hkv, D] of tokens."""
    return case.draw(*shape, case.kv_heads, case.head_dim, scale=scale)


def places(table, lens, shape):
    """For each slot of pages [P, page]: whether a token lies there, which of its row it is, and how long the row is."""
    used, token, length = np.zeros(shape, bool), np.zeros(shape, np.int64), np.ones(shape, np.int64)
    for row, count in enumerate(lens):
        index = np.arange(count)
        at = table[row, index // shape[1]], index % shape[1]
        used[at], token[at], length[at] = True, index, count
    return used, token, length


@made("q", "k", "v", "table", "lens", "q_lens")
def cache(
    case,
    lens: Lens,
    queries: whole(1, 32, "Queries S; 1 unless given.", usual=(1, 4)) = 1,
    q_lens: wholes(
        0, 32,
        "Queries of each row, S at most, where they differ; S in rows that are not named, and in all unless given.",
        length=(0, 12),
    ) = None,
    shared: whole(0, 3, "So many pages in front are the same for all rows.") = 0,
    **said: probes.TokenValues,
):  # fmt: skip
    """Pages with their table, and queries."""
    lens = lengths(case, lens)
    shared = min(shared, case.width)
    pages = pool(case, lens, shared)
    table = page_table(case, lens, 0, pages, shared)
    spread = said.get("spread", 1.0)
    q = case.draw(len(lens), queries, case.heads, case.head_dim, scale=spread)
    k, v = (rows_of(case, pages, case.page, scale=scale) for scale in (spread, 1.0))
    used, token, length = places(table, lens, k.shape[:2])
    q, k, v = probes.extreme(q, k, v, token, length, said)
    k, v = caches.poisoned((k, v), used, said.get("unused", "nan"))
    return q, k, v, table, lens, probes.queries_of_rows(q_lens, len(lens), queries)


@made("q", "k", "v", "table", "old", "new", "k_new", "v_new")
def cache_and_new_tokens(
    case,
    new: wholes(0, 32, "New tokens of each row.", length=(1, 12)),
    tokens: whole(1, 32, "New tokens S of the longest row; the others are padded.", usual=(1, 6)),
    cache: caches.CacheName = None,
    fill: wholes(
        0, 128,
        "Start from a cache of so many drawn tokens per row; from an empty one unless given.",
        usual=(0, 20),
        length=(0, 12),
    ) = None,
    unused: caches.Unused = "nan",
):  # fmt: skip
    """The cache of an earlier step or one of drawn tokens, and what comes behind it."""
    if cache is None:
        old = lengths(case, [*(fill or []), *[0] * len(new)][: len(new)])
        table, pages = full_table(case, len(old))
        k, v = rows_of(case, pages, case.page), rows_of(case, pages, case.page)
    else:
        k, v, table, old = caches.cache_of(case.saved[cache], "k", "v", "table", "lens").values()
    k, v = caches.poisoned((k, v), places(table, old, k.shape[:2])[0], unused)
    rows, room = len(old), case.width * case.page - old
    new = np.minimum(np.minimum([*new, *[tokens] * rows][:rows], tokens), room).astype(np.int32)
    q = case.draw(rows, tokens, case.heads, case.head_dim)
    k_new, v_new = rows_of(case, rows, tokens), rows_of(case, rows, tokens)
    return q, k, v, table, old, new, k_new, v_new


@made("table", "old", "new", "page")
def filled_rows(
    case,
    old: wholes(0, 128, "Tokens that each row has.", usual=(0, 20), length=(1, 12)),
    new: wholes(0, 32, "Tokens that each row brings.", length=(0, 12)),
    tokens: whole(1, 32, "Tokens S of the longest row.", usual=(1, 6)),
    first_page: whole(0, 1 << 29, "Added to every page's number.", usual=(0, 5)) = 0,
):
    table, _ = full_table(case, len(old))
    old = lengths(case, old)
    new = np.minimum([*new, *[tokens] * len(old)][: len(old)], tokens)
    new = np.minimum(new, case.width * case.page - old).astype(np.int32)
    return table + np.int32(first_page), old, new, case.page


@made("k", "v", "k_new", "v_new", "slots")
def pages_and_slots(
    case,
    slots: wholes(-1, 4096, "Slot of each token, taken modulo their number; -1 for padding.",
        usual=(-1, 40), length=(1, 16)),
):  # fmt: skip
    k, v = rows_of(case, case.pages, case.page), rows_of(case, case.pages, case.page)
    taken = []
    for slot in slots:  # none is named twice
        place = slot % (case.pages * case.page) if slot >= 0 else -1
        taken.append(-1 if place in taken else place)
    return k, v, rows_of(case, len(slots)), rows_of(case, len(slots)), np.array(taken, np.int64)


@made("table", "row", "count", "page")
def one_row(
    case,
    lens: wholes(0, 256, "Tokens of each row; at most 16 in the row asked for.", length=(0, 8)),
    row: whole(0, 7, "Which row."),
):
    table = page_table(case, lens, 0, pool(case, lens))
    return table, row, lens[row], case.page


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


def attended(file, view, q, k, v, *rest, **options):
    with probes.viewed(view, q, k, v, spare=0) as (q, k, v):
        return answered(file.attend(q, k, v, *rest, **options))


def answered(answer):
    output, lse = parts(answer, "output", "log-sum-exp")
    return {"output": output, **probes.finite_lse(lse)}


def in_wider(table):
    """The same page table as the left part of a wider one, whose other entries name no page."""
    return table.new_full((len(table), table.shape[1] + 3), -7)[:, :-3].copy_(table)


@verb(often=3)
def attend(
    file, q, k, v, table, lens, q_lens,
    view: probes.Views = "apart",
    sliced: switch("Whether the page table is a part of a wider one.") = False,
    **options: Options,
):  # fmt: skip
    """Call attend on drawn tokens."""
    table = in_wider(table) if sliced else table
    return attended(file, view, q, k, v, table, lens, q_lens, **options)


@verb
def attend_twice(file, q, k, v, table, lens, q_lens, **options: Options):
    """Call attend twice, the second time with q reversed; returns the first answer, read after the second call."""
    with probes.viewed("apart", q, k, v, spare=0) as (q, k, v):
        first = file.attend(q, k, v, table, lens, q_lens, **options)
        file.attend(q.flip(0, 2), k, v, table, lens, q_lens, **options)
        return answered(first)


@verb
def attend_refilled(file, q, k, v, table, lens, q_lens, **options: Options):
    """Call attend twice with one table, which has other pages in it the second time; returns the second answer."""
    with probes.viewed("apart", q, k, v, spare=0) as (q, k, v):
        same = table.roll(1, dims=0)
        file.attend(q, k, v, same, lens, q_lens, **options)
        return answered(file.attend(q, k, v, same.copy_(table), lens, q_lens, **options))


@verb
def far(
    file, q, k, v, table, lens, q_lens,
    of: choice(("keys", "values"), "Whose pages lie 2 GiB apart.") = "keys",
    **options: Options,
):  # fmt: skip
    """Call attend on pages of keys or values that lie 2 GiB apart (in float16, at most four pages)."""
    k, v = (two_gib_apart(k), apart(v)) if of == "keys" else (apart(k), two_gib_apart(v))
    return answered(file.attend(q, k, v, table, lens, q_lens, **options))


def two_gib_apart(x):
    """The same pages with 2 GiB from one to the next, if they are at most four in float16."""
    import torch

    if x.dtype != torch.float16 or len(x) > 4:
        return x
    torch.utils.deterministic.fill_uninitialized_memory = False
    memory = torch.empty((len(x) - 1 << 30) + x[0].numel(), dtype=x.dtype)
    torch.utils.deterministic.fill_uninitialized_memory = True
    return memory.as_strided(x.shape, (1 << 30, *x.stride()[1:])).copy_(x)


@verb(may_change="k v", exact="k v")
def turn(
    file, q: cache_and_new_tokens, k, v, table, old, new, k_new, v_new,
    view: probes.Views = "apart",
    **options: Options,
):  # fmt: skip
    """Append new tokens with slots_of and append, and attend with them as queries."""
    slots_of, append = file.slots_of, file.append
    slots = slots_of(table, old, new, q.shape[1], k.shape[1])
    lens = old + new
    ragged = new if (new < q.shape[1]).any() else None
    with probes.viewed(view, q, k, v, spare=0) as (seen, k_seen, v_seen):
        append(k_seen, v_seen, k_new.flatten(0, 1), v_new.flatten(0, 1), slots.flatten())
        answer = answered(file.attend(seen, k_seen, v_seen, table, lens, ragged, **options))
    grown = {name: without_unused(x, table, lens) for name, x in (("k", k), ("v", v))}
    return {**answer, **grown, "table": table, "lens": lens}


@verb("slots")
def slots(
    file, table: filled_rows, old, new, page, tokens: whole(1, 32, "Tokens S of the longest row.", usual=(1, 6)),
    sliced: switch("Whether the page table is a part of a wider one.") = False,
    again: switch("The answer is read after a second call for as many rows, whose tokens begin at 0.") = False,
):  # fmt: skip
    """Call slots_of."""
    table = in_wider(table) if sliced else table
    found = file.slots_of(table, old, new, tokens, page)
    if again:
        file.slots_of(table, old * 0, new, tokens, page)
    return found


@verb(may_change="k v", exact="k v")
def append(file, k: pages_and_slots, v, k_new, v_new, slots, view: probes.Views = "apart"):
    """Call append on drawn tokens."""
    v_new = v_new.transpose(0, 1).contiguous().transpose(0, 1)
    with probes.viewed(view, k, k, v, spare=0) as (_, k_seen, v_seen):
        file.append(k_seen, v_seen, k_new, v_new, slots)
        k_after, v_after = k_seen.clone(), v_seen.clone()
    return {"k": k_after, "v": v_after}


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

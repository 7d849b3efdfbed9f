"""Verbs of the paged_cache challenge: slots, append, attend, whole turns, and the jit helpers in one-program kernels.

Slots that hold no token are NaN unless a case asks for something else, and so are outputs before they are written.
Pages are dealt out in a drawn order; keys and values have strides of their own, or lie in memory as a case asks.
Caches are plain tensors that the grader keeps.  A row never has more tokens than its pages hold, whatever a case says.

A caller may pass the same memory in every call (`reused`), and writes other numbers into it between them.
"""

import gc
import sys
from contextlib import contextmanager

import numpy as np

from grader.kit import (
    both_sides,
    caches,
    choice,
    given,
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
Splits = whole(1, 64, "The argument splits.", usual=(1, 5))
Causal = switch("The argument causal; true unless given.")
Behind = choice(
    ("spare", "live", "any"),
    "Which pages the table names behind a row's last one: one without a token, those that are in use, the row's own"
    " first, or any.",
)  # fmt: skip
Other = choice(
    ("head", "page", "group", "heads", "single"),
    "What is not as in the setup: D is larger by 3, or a page by a token, H is twice as large, or Hkv too, or half"
    " precision is float32.",
)  # fmt: skip
Reused = switch(
    "The caller passes memory of its own, that of earlier calls, and writes other numbers into it afterwards."
)
ByName = switch("Whether arguments are passed by their names.")
Written = switch("The caller writes over what is returned, and calls once more.")
Sliced = switch("Whether the page table is a part of a wider one.")
Fresh = switch("Whether memory that was just allocated holds numbers instead of NaN.")


class Setup:
    """Sizes of the case."""

    heads: whole(1, 24, "Query heads H.", usual=(1, 6))
    kv_heads: whole(1, 24, "Key/value heads Hkv; divides H.", usual=(1, 3))
    head_dim: whole(
        1, 130, "Head dimension D; 16 at most for the verbs that test one helper.", usual=(1, 24)
    )
    page: whole(1, 600, "Tokens of a page.", usual=(1, 5))
    pages: whole(1, 512, "Pages P of the pool; as many more as rows need, and one.", usual=(1, 64))
    width: whole(1, 64, "Pages W that a row may have.", usual=(2, 12))

    def legal(sizes):
        """Whether random cases may have these sizes: an interpreter is slow."""
        work = sizes.heads * sizes.width * sizes.page * (16 + sizes.head_dim)
        slots = sizes.pages * sizes.page * sizes.kv_heads * sizes.head_dim
        return sizes.heads % sizes.kv_heads == 0 and work < 6000 and slots < 200000


class RandomScenarios:
    """Any calls of the three functions that an interpreter answers quickly."""

    verbs = ("attend", "attend_twice", "attend_refilled", "turn", "slots", "append")
    steps = (1, 3)
    candidates = 24

    def asked(case):
        return probes.quick(case)

    def amended(case, choose):
        if choose.one_in(3):  # the same shapes once more, or others beside them
            steps = case["steps"]
            twin = {name: said for name, said in choose.one_of(steps).items() if name != "save"}
            if twin["do"] == "attend" and choose.one_in(2):  # what was said once is not remembered
                for name in ("scale", "splits", "causal", "q_lens"):
                    twin.pop(name, None)
            elif twin["do"] in ("attend", "slots", "append") and choose.one_in(2):
                twin["other"] = choose.one_of(("head", "page", "group", "heads", "single"))
            steps.append(twin)
        if choose.one_in(3):
            for step in case["steps"]:
                if step["do"] in ("attend", "turn", "slots", "append"):
                    step["reused"] = True
                if step["do"] == "attend" and choose.one_in(4):  # the answer is a token's values
                    step |= {"lens": [1], "queries": 1}
        turns = set()
        for step in case["steps"]:  # only a turn leaves a cache to go on with
            if step.get("cache") not in turns:
                step.pop("cache", None)
            if step["do"] == "turn":
                turns.add(step.get("save"))
            if step.get("other") == "single":  # the numbers of half precision may be too large
                for name in ("loud", "contrast", "slope", "tilt", "spread", "scale"):
                    step.pop(name, None)
            step.pop("times", None)
            if step.get("crossed"):  # a token has several places in rows then
                step.pop("slope", None)
        case = probes.tamed(case, choose)
        if choose.one_in(2):
            case["steps"].append({"do": "recall"})
        return case


class Options:
    causal: Causal
    splits: Splits
    scale: real(-1e30, 1e30, "The argument scale.")


# What is drawn, in the grader


class Resized:
    """A case whose sizes are not those of the setup."""

    def __init__(self, case, other):
        self.case = case
        more = {
            "head": {"head_dim": case.head_dim + 3},
            "page": {"page": case.page + 1},
            "group": {"heads": 2 * case.heads},
            "heads": {"heads": 2 * case.heads, "kv_heads": 2 * case.kv_heads},
        }
        self.__dict__ |= more.get(other, {})

    def __getattr__(self, name):
        return getattr(self.case, name)


def lengths(case, lens):
    """Lengths of rows, int32 [B], none above what a row's pages hold."""
    return np.minimum(np.array(lens, np.int32), case.width * case.page).astype(np.int32)


def pool(case, lens, shared=0, spare=True):
    """How many pages there must be, with one that no token needs if there is to be a spare one."""
    needed = sum(max(-(-int(n) // case.page) - shared, 0) for n in lens)
    return max(case.pages, needed + shared + spare)


def page_table(case, lens, spare, pages, shared=0, crossed=False):
    """Deal out pages [B, W] in a drawn order; entries that no token needs name the spare page.

    The first `shared` pages of a row are those of all rows; if they are `crossed`, every second row has them the other
    way round.
    """
    others = [page for page in range(pages) if page != spare]
    order = [others[i] for i in case.draw.permutation(len(others))]
    if spare:  # the very first slot is in use
        order.insert(0, order.pop(order.index(0)))
    table = np.full((len(lens), case.width), spare, np.int32)
    common = [order.pop(0) for _ in range(shared)]
    for row, length in enumerate(lens):
        mine = common[::-1] if crossed and row % 2 else common
        for entry in range(-(-int(length) // case.page)):
            table[row, entry] = mine[entry] if entry < shared else order.pop(0)
    return table


def ended(case, table, lens, behind, pages):
    """The page table with entries behind each row's last page that name other pages, as `behind` says."""
    if behind == "spare":
        return table
    found = table.copy()
    used = [-(-int(length) // case.page) for length in lens]
    for row, entries in enumerate(used):
        tail = case.width - entries
        if behind == "any":
            found[row, entries:] = case.draw.integers(0, pages, tail)
            continue
        own = [int(page) for page in table[row, :entries][::-1]]
        others = [int(p) for other, n in enumerate(used) for p in table[other, :n]]
        live = [*own, *others, 0]
        found[row, entries:] = [live[i % len(live)] for i in range(tail)]
    return found


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
    queries: whole(1, 80, "Queries S; 1 unless given.", usual=(1, 4)) = 1,
    q_lens: wholes(
        0, 80,
        "Queries of each row, S at most, where they differ; S in rows that are not named, and in all unless given.",
        length=(0, 12),
    ) = None,
    shared: whole(0, 3, "So many pages in front are the same for all rows.") = 0,
    crossed: switch("Every second row has the shared pages the other way round.") = False,
    behind: Behind = "spare",
    spare: switch("Whether there is a page more than rows need; if not, `behind` is not `spare`.") = True,
    other: Other = None,
    times: whole(1, 8, "So many times as many rows, of the same lengths.") = 1,
    **said: probes.TokenValues,
):  # fmt: skip
    """Pages with their table, and queries."""
    case = Resized(case, other)
    lens = lengths(case, [*lens] * times)
    shared = min(shared, case.width)
    pages = pool(case, lens, shared, spare)
    behind = "live" if behind == "spare" and not spare else behind
    table = page_table(case, lens, 0 if spare else -1, pages, shared, crossed)
    table = ended(case, table, lens, behind, pages)
    spread = said.get("spread", 1.0)
    q = case.draw(len(lens), queries, case.heads, case.head_dim, scale=spread)
    k, v = (rows_of(case, pages, case.page, scale=scale) for scale in (spread, 1.0))
    used, token, length = places(table, lens, k.shape[:2])
    q, k, v = probes.extreme(q, k, v, token, length, said)
    k, v = caches.poisoned((k, v), used, said.get("unused", "nan"))
    return q, k, v, table, lens, probes.queries_of_rows(q_lens, len(lens), queries)


@made("q", "k", "v", "table", "old", "new", "k_new", "v_new", "full")
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
    behind: Behind = "spare",
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
    # a row has all its pages from the beginning, and the table that is passed names those it needs
    seen = ended(case, table, old + new, behind, len(k))
    return q, k, v, seen, old, new, k_new, v_new, table


@made("table", "old", "new", "page")
def filled_rows(
    case,
    old: wholes(0, 1 << 26, "Tokens that each row has.", usual=(0, 20), length=(1, 12)),
    new: wholes(0, 32, "Tokens that each row brings.", length=(0, 12)),
    tokens: whole(1, 32, "Tokens S of the longest row.", usual=(1, 6)),
    first_page: whole(0, 1 << 29, "Added to every page's number.", usual=(0, 5)) = 0,
    behind: Behind = "spare",
    other: Other = None,
    page_tokens: whole(
        1, 1 << 22, "Tokens of a page in this call; those of the setup unless given."
    ) = None,
):
    case = Resized(case, other)
    if page_tokens is not None:
        case.page = page_tokens
    table, pages = full_table(case, len(old))
    old = lengths(case, old)
    new = np.minimum([*new, *[tokens] * len(old)][: len(old)], tokens)
    new = np.minimum(new, case.width * case.page - old).astype(np.int32)
    table = ended(case, table, old + new, behind, pages)
    return table + np.int32(first_page), old, new, case.page


@made("k", "v", "k_new", "v_new", "slots")
def pages_and_slots(
    case,
    slots: wholes(-1, 4096, "Slot of each token, taken modulo their number; -1 for padding.",
        usual=(-1, 40), length=(1, 16)),
    holes: switch("Every second slot holds NaN or an infinity before the call.") = False,
    other: Other = None,
):  # fmt: skip
    case = Resized(case, other)
    k, v = rows_of(case, case.pages, case.page), rows_of(case, case.pages, case.page)
    taken = []
    for slot in slots:  # none is named twice
        place = slot % (case.pages * case.page) if slot >= 0 else -1
        taken.append(-1 if place in taken else place)
    if holes:
        for pages, end in ((k, np.inf), (v, -np.inf)):
            flat = pages.reshape(-1, *pages.shape[2:])
            flat[1::4], flat[3::4] = np.nan, end
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


ATTEND = ("q", "k_pages", "v_pages", "page_table", "seq_lens", "q_lens")


def called(function, by_name, names, arguments, options):
    """Call a function, with its arguments by their names or in their order; by name, what is None is left out."""
    if not by_name:
        return function(*arguments, **options)
    named = zip(names, arguments, strict=True)
    return function(**{name: x for name, x in named if x is not None}, **options)


@contextmanager
def callers(file, reused, **tensors):
    """Give these tensors or, where the caller reuses its memory, those in the memory that the last call had.

    Each begins somewhere behind the beginning of what it is a part of.
    That memory is written over afterwards.  What the call itself wrote into it is found in the tensors, too.
    """
    if not reused:
        yield tensors.values()
        return
    memory = file.keep.__dict__.setdefault("memory", {})
    held = {name: in_memory(memory, name, x) for name, x in tensors.items()}
    try:
        yield held.values()
    finally:
        for name, x in held.items():
            if x is not None:
                tensors[name].copy_(x)
                x.data.fill_(3)


BEFORE = 48  # numbers before the first one, so many that it is aligned as before


def in_memory(memory, name, x):
    """The numbers of a tensor in the memory that the last one of its name, shape, strides and dtype had."""
    if x is None:
        return None
    kept = name, tuple(x.shape), x.stride(), str(x.dtype)
    if kept not in memory:
        ends = zip(x.shape, x.stride(), strict=True)
        room = 1 + sum((n - 1) * stride for n, stride in ends)
        around = float("nan") if x.is_floating_point() else -7
        memory[kept] = x.new_full((BEFORE + room,), around).as_strided(x.shape, x.stride(), BEFORE)
    memory[kept].data.copy_(x)
    return memory[kept]


@contextmanager
def allocated(numbers):
    """Let memory that was just allocated hold numbers, if it is to hold them, instead of NaN."""
    if not numbers:
        yield
        return
    from torch.utils._python_dispatch import TorchDispatchMode

    class Filled(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            name = function.overloadpacket.__name__
            return found.fill_(7) if name.removeprefix("new_").startswith("empty") else found

    with Filled():
        yield


@contextmanager
def largest(q, q_lens):
    """Let queries that a row does not have be the largest numbers of their dtype during a call."""
    if q_lens is None:
        yield
        return
    import torch

    right = q.clone()
    for row, count in zip(q, q_lens.tolist(), strict=True):
        row[count:] = torch.finfo(q.dtype).max
    changed = q.clone()
    yield
    if torch.equal(q, changed):  # else the call wrote into it
        q.copy_(right)


def write_over(answer):
    """Write other numbers into what a call returned, as its owner may."""
    import torch

    with torch.inference_mode():
        for x in answer:
            if torch.is_tensor(x) and 0 not in x.stride():
                x.fill_(5)


def attended(
    file, view, q, k, v, table, lens, q_lens,
    reused=False, by_name=False, written=False, fresh=False, absent=False, **options,
):  # fmt: skip
    """What attend returns, of tensors that lie in memory as a case asks."""
    with (
        largest(q, q_lens if absent else None),
        probes.viewed(view, q, k, v, spare=0) as (q, k, v),
        callers(file, reused, q=q, k=k, v=v, table=table, lens=lens, q_lens=q_lens) as arguments,
        allocated(fresh),
    ):
        answer = called(file.attend, by_name, ATTEND, arguments, options)
        if written:
            write_over(parts(answer, "output", "log-sum-exp"))
            answer = called(file.attend, by_name, ATTEND, arguments, options)
    return answer


def answered(answer):
    output, lse = parts(answer, "output", "log-sum-exp")
    return {"output": output, **probes.finite_lse(lse)}


@contextmanager
def in_wider(table, sliced):
    """The page table, if `sliced` as the left part of a wider one whose other entries name no page."""
    if not sliced:
        yield table
        return
    wider = table.new_full((len(table), table.shape[1] + 3), -7)[:, :-3].copy_(table)
    yield wider
    table.copy_(wider)


def in_float32(x, other):
    """Half precision as float32, where a call is to be in it."""
    return x.float() if other == "single" and x.element_size() == 2 else x


@verb(often=3, recalled=True)
def attend(
    file, q, k, v, table, lens, q_lens,
    view: probes.Views = "apart",
    sliced: Sliced = False,
    reused: Reused = False,
    by_name: ByName = False,
    written: Written = False,
    fresh: Fresh = False,
    absent: switch("Queries that a row does not have are the largest numbers of their dtype.") = False,
    other: Other = None,
    **options: Options,
):  # fmt: skip
    """Call attend on drawn tokens."""
    options |= {
        "reused": reused,
        "by_name": by_name,
        "written": written,
        "fresh": fresh,
        "absent": absent,
    }
    q, k, v = (in_float32(x, other) for x in (q, k, v))
    with in_wider(table, sliced) as table:
        answer = attended(file, view, q, k, v, table, lens, q_lens, **options)
    return lambda: answered(answer)


@verb
def attend_twice(
    file, q, k, v, table, lens, q_lens,
    between: choice(
        ("reversed", "other_dtype"),
        "How the call that comes after differs: its queries are in reverse order unless given, or its tensors are of"
        " another dtype, and there is such a call before, too.",
    ) = "reversed",
    **options: Options,
):  # fmt: skip
    """Call attend, and once more with other tensors; returns the first answer, read at the end."""
    with probes.viewed("apart", q, k, v, spare=0) as (q, k, v):
        other = q.flip(0, 2), k, v
        if between == "other_dtype":
            other = [in_other_dtype(x) for x in (q, k, v)]
            file.attend(*other, table, lens, q_lens, **options)
        first = file.attend(q, k, v, table, lens, q_lens, **options)
        file.attend(*other, table, lens, q_lens, **options)
        return answered(first)


def in_other_dtype(x):
    """The numbers of x in bfloat16, or in float32 where it is in half precision."""
    import torch

    return x.float() if x.element_size() == 2 else x.to(torch.bfloat16)


@verb
def attend_refilled(
    file, q, k, v, table, lens, q_lens,
    of: choice(
        ("table", "queries", "keys", "values", "lens", "q_lens", "slots"),
        "What is written anew between the calls; slots are written by append.",
    ) = "table",
    **options: Options,
):  # fmt: skip
    """Call attend twice with the same tensors, one of them with other numbers first; returns both answers."""
    with probes.viewed("apart", q, k, v, spare=0) as (q, k, v):
        arguments = {
            "table": table,
            "queries": q,
            "keys": k,
            "values": v,
            "lens": lens,
            "q_lens": q_lens,
        }
        names = ("keys", "values") if of == "slots" else (of,) if arguments[of] is not None else ()
        right = {name: arguments[name].clone() for name in names}
        for name, x in right.items():
            before = {
                "table": lambda x: x.roll(1, dims=0),
                "lens": lambda x: (x + 1) // 2,
                "q_lens": lambda x: x // 2,
            }
            # not noticed by the tensor's version, as what a kernel writes is not
            arguments[name].data.copy_(before.get(name, lambda x: -x)(x))
        first = file.attend(q, k, v, table, lens, q_lens, **options)
        if of == "slots":
            found = slots_in_use(table, lens, k.shape[1])
            page, place = found // k.shape[1], found % k.shape[1]
            if len(found):
                file.append(k, v, right["keys"][page, place], right["values"][page, place], found)
        else:
            for name, x in right.items():
                arguments[name].data.copy_(x)
        answer = answered(file.attend(q, k, v, table, lens, q_lens, **options))
        for name, x in right.items():
            arguments[name].copy_(x)
        return {**answer, "first": answered(first)}


def slots_in_use(table, lens, size):
    """Slots of all tokens, each once."""
    import torch

    found = [
        int(row[i // size]) * size + i % size
        for row, length in zip(table, lens.tolist(), strict=True) for i in range(length)
    ]  # fmt: skip
    return torch.tensor(sorted(set(found)), dtype=torch.int64)


@verb
def far(
    file, q, k, v, table, lens, q_lens,
    of: choice(
        ("keys", "values", "many"),
        "Whose pages lie 2 GiB apart, or none, but they are the last of so many that slots need 64 bits.",
    ) = "keys",
    **options: Options,
):  # fmt: skip
    """Call attend on pages of keys or values that lie 2 GiB apart (in float16, at most four pages)."""
    if of == "many":
        (k, v), before = last_of_many(k, v)
        return answered(file.attend(q, k, v, table + before, lens, q_lens, **options))
    k, v = (two_gib_apart(k), apart(v)) if of == "keys" else (apart(k), two_gib_apart(v))
    return answered(file.attend(q, k, v, table, lens, q_lens, **options))


def two_gib_apart(x):
    """The same pages with 2 GiB from one to the next, if they are at most four in float16."""
    import torch

    if x.dtype != torch.float16 or len(x) > 4:
        return x
    memory = reserved(x, (len(x) - 1 << 30) + x[0].numel())
    return memory.as_strided(x.shape, (1 << 30, *x.stride()[1:])).copy_(x)


def reserved(like, *shape):
    """Memory of a dtype that is not written to; launches of the interpreter may still hold that of the call before."""
    import torch

    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        return like.new_empty(shape)
    except RuntimeError:
        gc.collect()
        return like.new_empty(shape)
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = True


@verb(may_change="k v", exact="k v", recalled=True)
def turn(
    file, q: cache_and_new_tokens, k, v, table, old, new, k_new, v_new, full,
    view: probes.Views = "apart",
    sliced: Sliced = False,
    reused: Reused = False,
    by_name: ByName = False,
    fresh: Fresh = False,
    **options: Options,
):  # fmt: skip
    """Append new tokens with slots_of and append, and attend with them as queries."""
    lens = old + new
    ragged = new if (new < q.shape[1]).any() else None
    with (
        in_wider(table, sliced) as table,
        probes.viewed(view, q, k, v, spare=0) as (seen, k_seen, v_seen),
        callers(file, reused, q=seen, k=k_seen, v=v_seen, table=table) as held,
        allocated(fresh),
    ):
        q_held, k_held, v_held, table_held = held
        with callers(file, reused, old=old, new=new) as (olds, news):
            arguments = table_held, olds, news, q.shape[1], k.shape[1]
            slots = called(file.slots_of, by_name, SLOTS_OF, arguments, {}).flatten()
        slots = slots.clone() if reused else slots
        tokens = {"k_new": k_new.flatten(0, 1), "v_new": v_new.flatten(0, 1)}
        with callers(file, reused, **tokens, slots=slots) as arguments:
            called(file.append, by_name, APPEND, (k_held, v_held, *arguments), {})
        with callers(file, reused, lens=lens, q_lens=ragged) as lengths:
            arguments = q_held, k_held, v_held, table_held, *lengths
            answer = called(file.attend, by_name, ATTEND, arguments, options)
    grown = {name: without_unused(x, full, lens) for name, x in (("k", k), ("v", v))}
    return lambda: {**answered(answer), **grown, "table": full, "lens": lens}


SLOTS_OF = ("table", "old_lens", "new_lens", "S", "page_size")
APPEND = ("k_pages", "v_pages", "k_new", "v_new", "slots")


@verb(recalled=True)
def slots(
    file, table: filled_rows, old, new, page, tokens: whole(1, 32, "Tokens S of the longest row.", usual=(1, 6)),
    sliced: Sliced = False,
    again: switch("The answer is read after a second call for as many rows, whose tokens begin at 0.") = False,
    reused: Reused = False,
    by_name: ByName = False,
    written: Written = False,
    of: choice(("table", "old", "new"), "Holds other numbers in a call before, in the same memory.") = None,
):  # fmt: skip
    """Call slots_of."""

    def call(*rows):
        return given(called(file.slots_of, by_name, SLOTS_OF, (*rows, tokens, page), {}))

    with (
        in_wider(table, sliced) as table,
        callers(file, reused, table=table, old=old, new=new) as rows,
    ):
        table, old, new = rows
        if of:
            x = {"table": table, "old": old, "new": new}[of]
            right = x.clone()
            x.data.copy_(x.flip(0, 1) if of == "table" else x // 2)
            call(table, old, new)
            x.data.copy_(right)
        found = call(table, old, new)
        if written:
            write_over([found])
            found = call(table, old, new)
        if again:
            call(table, old * 0, new)
    return lambda: {"slots": found}


@verb(may_change="k v", exact="k v")
def append(
    file, k: pages_and_slots, v, k_new, v_new, slots,
    view: probes.Views = "apart",
    reused: Reused = False,
    by_name: ByName = False,
    over: switch("Other tokens were appended to the same slots before, from the same memory.") = False,
    besides: switch("As many tokens of another dtype were appended to other pages before.") = False,
    lying: choice(
        ("values", "keys", "together"),
        "Which new tokens lie head by head in memory, the others token by token; or both in turn.",
    ) = "values",
):  # fmt: skip
    """Call append on drawn tokens."""
    if lying == "together":
        memory = k_new.new_full((len(k_new), k_new.shape[1] + 1, 2, k_new.shape[2]), float("nan"))
        k_seen, v_seen = (memory[:, :-1, i].copy_(x) for i, x in enumerate((k_new, v_new)))
    else:
        k_seen = head_by_head(k_new) if lying == "keys" else k_new
        v_seen = head_by_head(v_new) if lying == "values" else v_new

    def call(*arguments):
        called(file.append, by_name, APPEND, arguments, {})

    with (
        probes.viewed(view, k, k, v, spare=0) as (_, k_pages, v_pages),
        callers(file, reused, k=k_pages, v=v_pages) as (k_pages, v_pages),
    ):
        with callers(file, reused, k_new=k_seen, v_new=v_seen, slots=slots) as arguments:
            arguments = [*arguments]
            if besides:
                tensors = k_pages, v_pages, *arguments[:2]
                call(*(in_other_dtype(x) for x in tensors), arguments[2])
            if over:
                right = [x.clone() for x in arguments]
                for x, before in zip(
                    arguments, (-right[0], -right[1], right[2].roll(1)), strict=True
                ):
                    x.data.copy_(before)
                call(k_pages, v_pages, *arguments)
                for x, after in zip(arguments, right, strict=True):
                    x.data.copy_(after)
            call(k_pages, v_pages, *arguments)
        pages = {"k": k_pages.clone(), "v": v_pages.clone()}
    for sent, seen in ((k_new, k_seen), (v_new, v_seen)):
        if seen is not sent:
            sent.copy_(seen)
    return finite(pages)


def head_by_head(x):
    """The same tokens [tokens, Hkv, D] in memory that lies head by head."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def finite(pages):
    """Pages in finite numbers: which numbers are finite, and the others as 0."""
    real = {f"{name} is finite": x.isfinite() for name, x in pages.items()}
    return {**{name: x.nan_to_num(0.0, 0.0, 0.0) for name, x in pages.items()}, **real}


def last_of_many(*pools):
    """The same pages as the last ones of so many that slots need 64 bits, if in float16 with a number a slot."""
    import torch

    size, before = pools[0].shape[1], 0
    if pools[0].dtype == torch.float16 and pools[0][0, 0].numel() == 1:
        before = -(-(1 << 31) // size)
    many = [reserved(x, before + len(x), *x.shape[1:]) for x in pools]
    for x, last in zip(many, pools, strict=True):
        x[before:] = last
    return many, before


@verb(exact="k v")
def append_far(file, k: pages_and_slots, v, k_new, v_new, slots):
    """Call append on the last ones of so many pages that their slots need 64 bits (in float16, a number a slot)."""
    many, before = last_of_many(k, v)
    file.append(*many, k_new, v_new, slots.where(slots < 0, slots + before * k.shape[1]))
    return {"k": many[0][before:].clone(), "v": many[1][before:].clone()}


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
    kv_len: whole(0, 40000, "Tokens of the row."),
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

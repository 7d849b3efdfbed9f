"""Verbs of the quantised_cache challenge: caches, by name, and the file's helpers alone.

A step names rows by letters: `a` is the first row, `b` the last one, `c` the second.  It is about the cache `p`, `q` or
`r`; each is made where it is first named, unless it is a fork of another.

Codes are whole numbers, so no input may lie near a half between two of them.  Keys and values are m * unit + shift,
where unit is a power of two and m one of `LEVELS`, whose binary digits are 0 at every second place.  So the lowest
digit of a difference stands at an even place, and no difference is an odd number of halves of 15ths or 255ths of
another one; as they are below 86, every quotient is 1/170 or more away from a half.  That holds for all of a channel,
whatever tokens a group takes, and for all of a token, so unit and shift belong to the channel of a key and to the
token of a value.  `fine` adds digits to the shift.
"""

import numpy as np

from grader.kit import (
    Wrong,
    both_sides,
    choice,
    choices,
    drawn,
    given,
    guarded,
    helper,
    made,
    need,
    parts,
    real,
    spoil,
    switch,
    verb,
    ways,
    whole,
    wholes,
)  # fmt: skip

LEVELS = np.array([sum((n >> i & 1) << 2 * i for i in range(4)) for n in range(16)])
UNITS = {  # of keys and of values
    "usual": (2.0**-5, 2.0**-5),
    "loud": (2.0**10, 2.0**10),
    "faint": (2.0**-13, 2.0**-13),
    "faintest keys": (2.0**-30, 2.0**-5),
    "faintest values": (2.0**-5, 2.0**-30),
    "no keys": (0.0, 2.0**-5),
}

Row = choice(("a", "b", "c"), "Name of the row.")
Rows = choices(Row, "Names of the rows; a unless given.", length=(1, 3))
Cache = choice(("p", "q", "r"), "Name of the cache.")
Tokens = whole(1, 160, "New tokens S; 1 unless given.", usual=(1, 7), refused=(0,))
Counts = wholes(
    0, 160, "Real tokens of each row; S unless given.", length=(1, 3), usual=(0, 6), refused=(-1, 161)
)  # fmt: skip
Flat = switch("Whether all of these tokens have the same keys, and each one value for all its channels.")  # fmt: skip
Spread = real(0, 100, "Standard deviation of the query, 1.", usual=(1.0, 2.0))
Bits = whole(4, 8, "Bits of a code, 4 or 8.", multiple=4)


class Setup:
    """Sizes of the case."""

    rows: whole(3, 8, "Rows, 3.", usual=(3, 4)) = 3
    capacity: whole(1, 160, "Tokens that a row has room for, 24.", usual=(14, 36)) = 24
    heads: whole(1, 6, "Heads Hkv of keys and values, 2.", usual=(1, 3)) = 2
    queries: whole(1, 4, "Query heads for each of them, 2.", usual=(1, 3)) = 2
    head_dim: whole(1, 40, "Dimension D of a head, 5.", usual=(1, 7)) = 5
    bits: whole(4, 8, "Bits of a code, 4 or 8; 4 unless given.", multiple=4) = 4
    group: whole(1, 48, "Tokens whose keys are quantised together, 4.", usual=(1, 5)) = 4
    residual: whole(0, 48, "Newest tokens that stay as they are, 3.", usual=(0, 5)) = 3
    values: choice(tuple(UNITS), "Size of keys and values.") = "usual"
    fine: switch("Whether keys and values have digits that half precision has not.") = False
    defaults: switch("Whether the caches are made without bits, group, residual and dtype.") = False

    dtypes = ("float32", "bfloat16", "float16", "float64")


class RandomScenarios:
    """Any calls of the caches, and sequences of calls in which rows grow, are cut, exchanged and forked."""

    verbs = ("append", "attend", "read", "stored", "trim", "reset", "reorder", "fork")
    steps = (2, 6)

    def amended(case, choose):
        """Let most cases tell of rows that grow together, and end with a look at all they hold."""
        case["setup"].pop("defaults", None)
        if choose.below(4):
            case["steps"] = Story(case["setup"], choose).told() + case["steps"][: choose.below(3)]
        attended = any(step["do"] == "attend" for step in case["steps"])
        if attended or not choose.one_in(3) or case["dtype"] == "float16":
            case["setup"].pop("values", None)  # the faintest are no numbers of float16
        if case["dtype"] in ("float16", "bfloat16") or "values" in case["setup"]:
            case["setup"].pop("fine", None)
        return case


class Story:
    """Calls about the rows of one cache, and of a fork of it, that build on each other."""

    def __init__(self, setup, choose):
        """Begin with empty rows."""
        self.choose, self.steps = choose, []
        self.room = min(30, setup.get("capacity", Setup.capacity))
        self.group = min(8, setup.get("group", Setup.group))
        self.residual = min(8, setup.get("residual", Setup.residual))
        self.rows = setup.get("rows", Setup.rows)
        self.lengths = dict.fromkeys("ab", 0)
        self.on = {}

    def told(self):
        """Return the steps."""
        self.grows()
        for _ in range(self.choose.between(1, 7)):
            self.choose.one_of(
                (self.grows, self.grows, self.one_more, self.cut, self.begins, self.moves, self.forked, self.refused)
            )()  # fmt: skip
        for row in ("a", "b"):
            self.said("stored", row=row)
            self.said("read", row=row)
        length = min(self.lengths.values())
        if length:
            self.said("attend", rows=["b", "a"], tokens=self.choose.between(1, min(3, length)))
        if self.on:
            self.steps.append({"do": "stored", "row": self.choose.one_of("ab"), "on": "p"})
        return self.steps

    def said(self, do, **more):
        """One step about the cache that is talked of."""
        self.steps.append({"do": do, **more, **self.on})

    def grows(self):
        """Some tokens for one row or two, perhaps with padding."""
        tokens = self.choose.between(1, self.group + 3)
        rows = self.choose.one_of((["a"], ["b"], ["a", "b"], ["b", "a"]))
        tokens = min(tokens, *(self.room - self.lengths[row] for row in rows))
        if tokens < 1:
            return self.begins()
        more = {}
        if self.choose.one_in(3):
            more["counts"] = [self.choose.between(0, tokens) for _ in rows]
            more["padding"] = self.choose.one_of(("nan", "large"))
        if self.choose.one_in(4):
            more["reused"] = True
        if self.choose.one_in(8):
            more["flat"] = True
        self.said("append", rows=rows, tokens=tokens, **more)
        for row, count in zip(rows, more.get("counts", [tokens] * 2), strict=False):
            self.lengths[row] += count

    def one_more(self):
        """One token for each row."""
        for _ in range(self.choose.between(1, self.group)):
            if max(self.lengths.values()) < self.room:
                self.said("append", rows=["a", "b"], tokens=1)
                self.lengths = {row: length + 1 for row, length in self.lengths.items()}

    def cut(self):
        """The newest tokens of a row are taken back."""
        row = self.choose.one_of("ab")
        count = self.choose.between(0, min(self.lengths[row], self.residual))
        self.said("trim", row=row, count=count)
        self.lengths[row] -= count

    def begins(self):
        """A row begins anew."""
        row = self.choose.one_of("ab")
        self.said("reset", row=row)
        self.lengths[row] = 0

    def moves(self):
        """Rows are exchanged, or one takes the place of another."""
        last = self.rows - 1
        first, second = self.choose.one_of(((last, 0), (0, 0), (last, last)))
        between = [self.choose.below(self.rows) for _ in range(self.rows - 2)]
        self.said("reorder", sources=[first, *between, second])
        lengths = {0: self.lengths["a"], last: self.lengths["b"]}
        self.lengths = {"a": lengths[first], "b": lengths[second]}

    def forked(self):
        """The cache is forked, and the fork or the cache itself goes on."""
        if self.on:
            return self.grows()
        self.steps.append({"do": "fork", "to": "q"})
        if self.choose.one_in(2):
            self.on = {"on": "q"}

    def refused(self):
        """Perhaps calls that must be refused."""
        self.said("trim", row=self.choose.one_of("ab"), count=self.residual + 1)
        self.said("append", rows=["a", "b"], tokens=2, counts=[1, 3])


SIZES = ("rows", "capacity", "heads", "head_dim", "bits", "group", "residual")


@made("sizes")
def sizes(case):
    """What a cache is made with."""
    names = SIZES[:4] if case.defaults else SIZES
    return {name: getattr(case, name) for name in names}


def channels(case):
    """Unit and shift of each channel of the keys, and digits behind it, [Hkv, D], the same in all steps."""
    names = ("unit", "shift", "digits")
    parts = ((case.named(name, case.heads, case.head_dim) / 3**0.5 + 1) / 2 for name in names)
    unit, shift, digits = parts  # each from 0 to 1
    power = np.floor(3 * unit) - 1 if case.values == "usual" else 0 * unit
    behind = np.floor(2**11 * digits) * 2.0**-16 if case.fine else 0 * digits
    return UNITS[case.values][0] * 2.0**power, np.floor(40 * shift) - 20, behind


def levels(case, *shape, flat=False):
    """Whole numbers from -42 to 43 of which no two differ in a way that makes a half; all alike if `flat`."""
    numbers = LEVELS[case.draw.integers(0, len(LEVELS), *shape)]
    return (0 * numbers + 17 if flat else numbers) - 42


def keys_of(case, *shape, flat=False):
    """Keys [..., Hkv, N, D]."""
    unit, shift, behind = (x[:, None] for x in channels(case))
    return (levels(case, *shape, flat=flat) + shift) * unit + behind


def values_of(case, *shape, flat=False):
    """Values [..., Hkv, N, D]."""
    of_tokens = *shape[:-1], 1
    power = case.draw.integers(-1, 2, *of_tokens) if case.values == "usual" else np.zeros(of_tokens)
    shift = case.draw.integers(-20, 21, *of_tokens)
    behind = case.draw.integers(0, 2**11, *of_tokens) * 2.0**-16 if case.fine else 0
    return (levels(case, *shape, flat=flat) + shift) * UNITS[case.values][1] * 2.0**power + behind


@made("key", "value", any_layout=True)
def tokens_of(
    case, rows: Rows = ("a",), tokens: Tokens = 1, counts: Counts = None, flat: Flat = False,
    padding: choice(("nan", "large"), "What stands where a row has no token.") = "nan",
):  # fmt: skip
    """New keys and values [R, Hkv, S, D], and padding behind the real ones."""
    shape = len(rows), case.heads, tokens, case.head_dim
    found = keys_of(case, *shape, flat=flat), values_of(case, *shape, flat=flat)
    for row, count in enumerate((counts or ())[: len(rows)]):
        for x in found:
            x[row, :, max(0, count) :] = float("nan") if padding == "nan" else 3e4
    return found


@drawn(query="Query [R, H, S, D]")
def query(case, rows: Rows = ("a",), tokens: Tokens = 1, spread: Spread = 1.0):
    """Queries of the newest tokens."""
    return case.draw(len(rows), case.heads * case.queries, tokens, case.head_dim, scale=spread)


@verb
def create(file, sizes, dtype):
    """Keep sizes and dtype; a cache is made where it is first named."""
    file.keep.sizes, file.keep.dtype, file.keep.caches = dict(sizes), dtype, {}


def new_cache(file, **other):
    """A cache of the case's sizes, but for the ones that are named."""
    wanted = {**file.keep.sizes, **other}
    if "bits" in file.keep.sizes or file.keep.dtype != "float32":
        import torch

        wanted = {"dtype": getattr(torch, file.keep.dtype), **wanted}
    return need(file, "QuantisedCache")(**wanted)


def cache_named(file, name):
    """The cache of this name."""
    if name not in file.keep.caches:
        file.keep.caches[name] = new_cache(file)
    return guarded(file.keep.caches[name])


def number(file, name):
    """The row of this name; a spoiled one is a number as it is."""
    rows = file.keep.sizes["rows"]
    known = {"a": 0, "b": rows - 1, "c": 1, "behind": rows}
    return known[name] if name in known else int(name)


def lengths(cache):
    """Lengths of all rows."""
    return [int(length) for length in given(cache.lengths)]


def unchanged(said, before, name):
    """Make sure that a list of the caller's is what it was."""
    if said != before:
        told = f"the call changed its argument `{name}`, which belongs to the caller"
        raise Wrong("mutated_input", told)


BAD_ROWS = {
    "negative_row": spoil("rows", lambda names: [*names[:-1], "-1"]),
    "row_beyond": spoil("rows", lambda names: [*names[:-1], "9"]),
    "row_behind_the_last": spoil("rows", lambda names: [*names[:-1], "behind"]),
    "row_named_twice": spoil("rows", lambda names: [names[0]] * len(names)),
    "no_rows": spoil("rows", lambda names: []),
    "a_row_less": spoil("rows", lambda names: names[1:]),
}
BAD_ROW = {
    "negative_row": spoil("row", lambda name: "-1"),
    "row_beyond": spoil("row", lambda name: "9"),
    "row_behind_the_last": spoil("row", lambda name: "behind"),
}


def other(x):
    """The same numbers in another floating-point dtype."""
    return x.double() if x.element_size() < 8 else x.float()


BAD_TOKENS = {
    "flat_keys": spoil("key", lambda x: x[0]),
    "keys_of_another_dtype": spoil("key", other),
    "values_of_another_dtype": spoil("value", other),
    "all_of_another_dtype": spoil("key value", other),
    "whole_values": spoil("value", lambda x: x.nan_to_num(0).long()),
    "a_key_less": spoil("key", lambda x: x[:, :, 1:]),
    "a_value_less": spoil("value", lambda x: x[:, :, 1:]),
    "a_head_less": spoil("value", lambda x: x[:, 1:]),
    "one_head_for_all": spoil("key", lambda x: x[:, :1]),
    "a_channel_less": spoil("key", lambda x: x[..., 1:]),
    "one_channel_for_all": spoil("value", lambda x: x[..., :1]),
    "tokens_before_heads": spoil("key value", lambda x: x.transpose(1, 2)),
    "a_row_more": spoil("key value", lambda x: x[[*range(len(x)), 0]]),
    "one_row_for_all": spoil("key value", lambda x: x[:1]),
    "no_tokens": spoil("key value", lambda x: x[:, :, :0]),
    "a_count_less": spoil("counts", lambda counts: (counts or [1])[1:]),
    "a_count_more": spoil("counts", lambda counts: [*(counts or [1]), 1]),
    "last_count_negative": spoil("counts", lambda counts: [*(counts or [1])[:-1], -1]),
}
BAD_QUERIES = {
    "flat_query": spoil("query", lambda x: x[0]),
    "query_of_another_dtype": spoil("query", other),
    "a_query_head_less": spoil("query", lambda x: x[:, 1:]),
    "no_query_heads": spoil("query", lambda x: x[:, :0]),
    "a_query_channel_less": spoil("query", lambda x: x[..., 1:]),
    "no_queries": spoil("query", lambda x: x[:, :, :0]),
    "one_query_for_all": spoil("query", lambda x: x[:1]),
}


@verb(spoils=BAD_ROWS | BAD_TOKENS | ways("key", "value", "key value"), often=4)
def append(
    file, key, value, rows: Rows = ("a",), counts: Counts = None,
    reused: switch("Whether the caller writes over what it passed in, behind the call.") = False,
    on: Cache = "p",
):  # fmt: skip
    """Put new tokens behind those of rows; returns the lengths after."""
    cache = cache_named(file, on)
    said, real = [number(file, name) for name in rows], None if counts is None else list(counts)
    before = list(said), None if real is None else list(real)
    tensors = [x.clone() for x in (key, value)] if reused else [key, value]
    cache.append(said, *tensors, **({} if real is None else {"counts": real}))
    unchanged(said, before[0], "rows")
    unchanged(real, before[1], "counts")
    if reused:
        for x in tensors:
            x.fill_(7)
        said[:] = [0] * len(said)
        if real is not None:
            real[:] = [0] * len(real)
    return {"lengths": lengths(cache)}


@verb("output", spoils=BAD_ROWS | BAD_QUERIES | ways("query"), recalled=True, often=2)
def attend(file, query, rows: Rows = ("a",), on: Cache = "p"):
    """Attend from the newest tokens; returns the output."""
    said = [number(file, name) for name in rows]
    before = list(said)
    output = given(cache_named(file, on).attend(said, query))
    unchanged(said, before, "rows")
    return lambda: output


@verb(spoils=BAD_ROW, recalled=True, often=2)
def read(
    file, row: Row = "a", on: Cache = "p",
    written_over: switch("Whether the caller writes over what is returned.") = False,
):  # fmt: skip
    """Read the keys and values of a row."""
    answer = parts(cache_named(file, on).read(number(file, row)), "keys", "values")
    shown = dict(zip(("keys", "values"), answer, strict=True))
    return shown_once(shown) if written_over else lambda: shown


def shown_once(answer):
    """What tensors hold now; the caller then writes over them."""
    shown = {name: x.clone() for name, x in answer.items()}
    for x in answer.values():
        x.fill_(3)
    return lambda: shown


STORED = (
    "key_codes", "key_scales", "key_lows", "value_codes", "value_scales", "value_lows", "new_keys", "new_values",
)  # fmt: skip


@verb(spoils=BAD_ROW, recalled=True, often=2, exact="key_codes value_codes new_keys new_values")
def stored(
    file, row: Row = "a", on: Cache = "p",
    written_over: switch("Whether the caller writes over what is returned.") = False,
):  # fmt: skip
    """Look at what a row is kept as."""
    answer = given(cache_named(file, on).stored(number(file, row)))
    for name in STORED:
        if name not in answer:
            raise Wrong("missing", f"`stored` must return `{name}`")
    answer = {name: answer[name] for name in STORED}
    return shown_once(answer) if written_over else lambda: answer


@verb(spoils=BAD_ROW)
def trim(
    file, count: whole(0, 160, "Tokens to take back.", usual=(0, 4), refused=(-1,)), row: Row = "a",
    on: Cache = "p",
):  # fmt: skip
    """Take the newest tokens of a row back; returns the lengths after."""
    cache = cache_named(file, on)
    cache.trim(number(file, row), count)
    return {"lengths": lengths(cache)}


@verb(spoils=BAD_ROW)
def reset(file, row: Row = "a", on: Cache = "p"):
    """Let a row be empty; returns the lengths after."""
    cache = cache_named(file, on)
    cache.reset(number(file, row))
    return {"lengths": lengths(cache)}


@verb(
    spoils={
        "a_source_less": spoil("sources", lambda sources: sources[1:]),
        "a_source_more": spoil("sources", lambda sources: [*sources, 0]),
        "no_sources": spoil("sources", lambda sources: []),
        "negative_source": spoil("sources", lambda sources: [*sources[:-1], -1]),
        "source_beyond": spoil("sources", lambda sources: [len(sources), *sources[1:]]),
    }
)
def reorder(
    file,
    sources: wholes(0, "rows - 1", "The row whose tokens each row gets.", length="rows"),
    on: Cache = "p",
):
    """Let rows hold what other rows held; returns the lengths after."""
    cache, said = cache_named(file, on), list(sources)
    cache.reorder(said)
    unchanged(said, list(sources), "sources")
    said[:] = [0] * len(said)
    return {"lengths": lengths(cache)}


@verb
def fork(file, to: choice(("q", "r"), "Name of the fork."), on: Cache = "p"):
    """Fork a cache; returns the lengths of the fork."""
    file.keep.caches[to] = given(cache_named(file, on).fork())
    return {"lengths": lengths(cache_named(file, to))}


BAD_SIZES = {
    "no_rows": {"rows": 0},
    "no_room": {"capacity": 0},
    "no_heads": {"heads": 0},
    "no_head_dim": {"head_dim": 0},
    "no_group": {"group": 0},
    "negative_group": {"group": -4},
    "negative_residual": {"residual": -1},
    "two_bits": {"bits": 2},
    "five_bits": {"bits": 5},
    "sixteen_bits": {"bits": 16},
    "whole_dtype": {"dtype": "int32"},
}


@verb
def make(file, sizes: choice(BAD_SIZES, "What is wrong with the sizes.")):
    """Make a cache of sizes that must be refused."""
    wanted = dict(BAD_SIZES[sizes])
    if "dtype" in wanted:
        import torch

        wanted["dtype"] = getattr(torch, wanted["dtype"])
    new_cache(file, **wanted)
    return {"made": True}


@made("x")
def numbers_of(
    case, tokens: whole(1, 64, "Tokens N; 1 unless given.") = 1, flat: Flat = False,
    of: choice(("keys", "values"), "Whether they are like keys or like values.") = "keys",
):  # fmt: skip
    """Numbers [Hkv, N, D] as keys or values are."""
    shape = case.heads, tokens, case.head_dim
    return (keys_of if of == "keys" else values_of)(case, *shape, flat=flat)


@made("codes", "scales", "lows")
def kept(
    case, bits: Bits, tokens: whole(1, 64, "Tokens N; 1 unless given.") = 1,
):  # fmt: skip
    """Codes [Hkv, N, D], and a scale and a low for each of them."""
    shape = case.heads, tokens, case.head_dim
    codes = case.draw.integers(0, 2**bits, *shape).astype(np.uint8)
    return codes, abs(case.draw(*shape, scale=0.1)), case.draw(*shape, scale=2.0)


@made("bare")
def bare(
    case, bits: Bits, tokens: whole(1, 64, "Tokens N; 1 unless given.") = 1,
):  # fmt: skip
    """Codes [Hkv, N, D]."""
    return case.draw.integers(0, 2**bits, case.heads, tokens, case.head_dim).astype(np.uint8)


@made("packed")
def packed_bytes(
    case, bits: Bits, tokens: whole(1, 64, "Tokens N; 1 unless given.") = 1,
    one_head: switch("Whether they are those of one head, and have no axis for heads.") = False,
):  # fmt: skip
    """Packed codes [Hkv, N, B]."""
    width = -(-case.head_dim * bits // 8)
    shape = (tokens, width) if one_head else (case.heads, tokens, width)
    return case.draw.integers(0, 256, *shape).astype(np.uint8)


@made("asked", "seen", "told")
def looked_at(
    case, tokens: whole(1, 16, "Queries S; 1 unless given.") = 1, total: whole(1, 64, "Keys T.") = 4
):
    """Queries [H, S, D], keys and values [Hkv, T, D]."""
    query = case.draw(case.heads * case.queries, tokens, case.head_dim)
    return query, *(case.draw(case.heads, total, case.head_dim) for _ in range(2))


quantised = helper(
    "_quantised", "codes scales lows", x=numbers_of, bits=Bits,
    dim=whole(1, 2, "Along which axis numbers are quantised together."),
)  # fmt: skip
dequantised = helper("_dequantised", "numbers", codes=kept, scales=kept, lows=kept)
packed = helper("_packed", "packed", bare=bare, bits=Bits)
unpacked = helper(
    "_unpacked", "codes", packed=packed_bytes, bits=Bits, count=whole(1, 40, "Codes of a token."),
)  # fmt: skip
due = helper(
    "_due", "due", int, waiting=whole(0, 256, "Tokens that wait."),
    residual=whole(0, 64, "Tokens that stay."), group=whole(1, 64, "Tokens of a group."),
)  # fmt: skip
attention = helper("_attention", "output", asked=looked_at, seen=looked_at, told=looked_at)

Plan, Verbs = both_sides(globals())

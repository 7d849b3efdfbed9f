"""Verbs of the quantised_cache challenge: caches, by name, and the file's helpers alone.

A step names rows by letters: `a` is the first row, `b` the last one, `c` the second.  It is about one of seven caches;
each is made where it is first named, unless it is a fork of another.  `p`, `q` and `r` have the sizes of the case; `s`
and `u` differ in every size and in the dtype, `t` in sizes that no tensor's shape shows, and it has one row; `v` has
other bits and another dtype, and is like them otherwise.

What a row was given is remembered here, for what is not quantised must come back exactly, and tolerances allow more.

Codes are whole numbers, so no input may lie near a half between two of them.  Keys and values are m * unit + shift,
where unit is a power of two and m one of `LEVELS`, whose binary digits are 0 at every second place.  So the lowest
digit of a difference stands at an even place, and no difference is an odd number of halves of 15ths or 255ths of
another one; as they are below 86, every quotient is 1/170 or more away from a half.  That holds for all of a channel,
whatever tokens a group takes, and for all of a token, so unit and shift belong to the channel of a key and to the
token of a value.  `fine` adds digits to the shift, `finest` adds digits that float32 has not.
"""

from contextlib import contextmanager, suppress

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
    "louder": (2.0**30, 2.0**30),
    "faint": (2.0**-13, 2.0**-13),
    "faintest keys": (2.0**-29, 2.0**-5),
    "faintest values": (2.0**-5, 2.0**-29),
    "faintest": (2.0**-29, 2.0**-29),
    "no keys": (0.0, 2.0**-5),
}

Row = choice(("a", "b", "c"), "Name of the row.")
Rows = choices(Row, "Names of the rows; a unless given.", length=(1, 3))
Cache = choice(
    ("p", "q", "r", "s", "t", "u", "v"),
    "Name of the cache; s and u have other sizes and another dtype, t another group and residual, and one row, v other "
    "bits and another dtype.",
)  # fmt: skip
Written = switch("Whether the caller writes over what is returned.")
Named = switch("Whether all arguments are passed by their names, and else by their places.")
Reused = switch(
    "Whether the caller passes in its own lists and tensors, and writes over them behind the call."
)
Tokens = whole(1, 160, "New tokens S; 1 unless given.", usual=(1, 7), refused=(0,))
Counts = wholes(
    0, 160, "Real tokens of each row; S unless given.", length=(1, 3), usual=(0, 6), refused=(-1, 161)
)  # fmt: skip
Flat = switch("Whether all of these tokens have the same keys, and each one value for all its channels.")  # fmt: skip
Spread = real(0, 100, "Standard deviation of the query, 1.", usual=(1.0, 2.0))
OneHead = switch("Whether they are those of one head, and have no axis for heads.")
Bits = whole(4, 8, "Bits of a code, 4 or 8.", multiple=4)


PADDING = {"nan": float("nan"), "large": 3e4, "infinite": float("inf")}
OF_OTHER_SIZES = ("s", "u")
OF_OTHER_DTYPE = ("s", "u", "v")
OTHER_DTYPE = {"float32": "float64", "float64": "float32", "float16": "float32", "bfloat16": "float32"}  # fmt: skip


class Setup:
    """Sizes of the case."""

    rows: whole(3, 8, "Rows, 3.", usual=(3, 4)) = 3
    capacity: whole(1, 270, "Tokens that a row has room for, 24.", usual=(14, 36), room=True) = 24
    heads: whole(1, 6, "Heads Hkv of keys and values, 2.", usual=(1, 3)) = 2
    queries: whole(1, 4, "Query heads for each of them, 2.", usual=(1, 3)) = 2
    head_dim: whole(1, 40, "Dimension D of a head, 5.", usual=(1, 7)) = 5
    bits: whole(4, 8, "Bits of a code, 4 or 8; 4 unless given.", multiple=4) = 4
    group: whole(1, 48, "Tokens whose keys are quantised together, 4.", usual=(1, 5)) = 4
    residual: whole(0, 48, "Newest tokens that stay as they are, 3.", usual=(0, 5)) = 3
    values: choice(tuple(UNITS), "Size of keys and values.") = "usual"
    fine: switch("Whether keys and values have digits that half precision has not.") = False
    finest: switch("Whether they have digits that float32 has not; for float64.") = False
    defaults: switch("Whether the caches are made without bits, group, residual and dtype.") = False

    dtypes = ("float32", "bfloat16", "float16", "float64")


class RandomScenarios:
    """Any calls of the caches, and sequences of calls in which rows grow, are cut, exchanged and forked."""

    verbs = ("append", "attend", "read", "stored", "lengths", "trim", "reset", "reorder", "fork")
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
        if case["dtype"] != "float64" or "values" in case["setup"]:
            case["setup"].pop("finest", None)
        return case


class Story:
    """Calls about the rows of one cache, of a fork of it and of others, that build on each other."""

    def __init__(self, setup, choose):
        """Begin with empty rows."""
        self.choose, self.steps = choose, []
        self.room = min(30, setup.get("capacity", Setup.capacity))
        self.group = min(8, setup.get("group", Setup.group))
        self.residual = min(8, setup.get("residual", Setup.residual))
        self.rows = setup.get("rows", Setup.rows)
        self.places = {"a": 0, "b": self.rows - 1, "c": 1}
        self.lengths = [0] * self.rows
        self.others = {}  # lengths of the only row that is fed in a cache of other sizes
        self.on = {}

    def told(self):
        """Return the steps."""
        self.grows()
        for _ in range(self.choose.between(1, 7)):
            self.choose.one_of(
                (
                    self.grows, self.grows, self.one_more, self.cut, self.begins, self.moves, self.forked,
                    self.refused, self.looked_at, self.looked_at, self.elsewhere, self.drafts, self.around,
                )
            )()  # fmt: skip
        for row in ("a", "b"):
            self.said("stored", row=row)
            self.said("read", row=row)
        length = min(self.length("a"), self.length("b"))
        if length:
            self.said("attend", rows=["b", "a"], tokens=self.choose.between(1, min(3, length)))
        if self.on:
            self.steps.append({"do": "stored", "row": self.choose.one_of("ab"), "on": "p"})
        for on, length in self.others.items():
            self.steps += [{"do": do, "row": "b", "on": on} for do in ("stored", "read")]
            self.steps.append({"do": "attend", "rows": ["b"], "tokens": min(2, length), "on": on})
        if self.choose.one_in(3):
            self.steps.append({"do": "recall"})
        return self.steps

    def said(self, do, **more):
        """One step about the cache that is talked of."""
        named = {"by_name": True} if do != "lengths" and self.choose.one_in(6) else {}
        self.steps.append({"do": do, **more, **named, **self.on})

    def length(self, row):
        """Tokens of a row."""
        return self.lengths[self.places[row]]

    def some_rows(self):
        """Names of rows, in an order."""
        return self.choose.one_of(
            (["a"], ["b"], ["a", "b"], ["b", "a"], ["c", "b", "a"], ["a", "c"])
        )

    def grows(self):
        """Some tokens for a row or several, perhaps with padding."""
        rows = self.some_rows()
        tokens = self.choose.between(1, self.group + 3)
        tokens = min(tokens, *(self.room - self.length(row) for row in rows))
        if tokens < 1:
            return self.begins()
        more = {}
        if self.choose.one_in(3):
            more["counts"] = [self.choose.between(0, tokens) for _ in rows]
            more["padding"] = self.choose.one_of(("nan", "large", "infinite"))
        if self.choose.one_in(4):
            more["reused"] = True
        if self.choose.one_in(8):
            more["flat"] = True
        self.said("append", rows=rows, tokens=tokens, **more)
        for row, count in zip(rows, more.get("counts", [tokens] * 3), strict=False):
            self.lengths[self.places[row]] += count

    def one_more(self):
        """One token for each of two rows."""
        for _ in range(self.choose.between(1, self.group)):
            if max(self.length("a"), self.length("b")) < self.room:
                self.said("append", rows=["a", "b"], tokens=1)
                for row in "ab":
                    self.lengths[self.places[row]] += 1

    def cut(self):
        """The newest tokens of a row are taken back."""
        row = self.choose.one_of("ab")
        count = self.choose.between(0, min(self.length(row), self.residual))
        self.said("trim", row=row, count=count)
        self.lengths[self.places[row]] -= count

    def drafts(self):
        """Tokens of a row are taken back and others come, perhaps behind a fork or beside a row that came from it."""
        self.choose.one_of((self.looked_at, self.moves, self.forked))()
        self.cut()
        row = self.choose.one_of("ab")
        if self.length(row) < self.room:
            self.said("append", rows=[row], tokens=1)
            self.lengths[self.places[row]] += 1
        if self.on:
            self.steps.append({"do": "read", "row": row, "on": "p"})

    def around(self):
        """A row is looked at right before and right behind a change, in one way."""
        row, do = self.choose.one_of("ab"), self.choose.one_of(("read", "stored", "attend"))
        change = self.choose.one_of((self.cut, self.begins, self.moves))
        for now in (None, change):
            if now:
                now()
            if do != "attend":
                self.said(do, row=row)
            elif self.length(row):
                self.said(do, rows=[row], tokens=1)

    def begins(self):
        """A row begins anew."""
        row = self.choose.one_of("ab")
        self.said("reset", row=row)
        self.lengths[self.places[row]] = 0

    def moves(self):
        """Rows are exchanged, or one takes the place of another."""
        last = self.rows - 1
        first, second = self.choose.one_of(((last, 0), (0, 0), (last, last)))
        between = [self.choose.below(self.rows) for _ in range(self.rows - 2)]
        sources = [first, *between, second]
        self.said("reorder", sources=sources)
        self.lengths = [self.lengths[source] for source in sources]

    def forked(self):
        """The cache is forked, and the fork or the cache itself goes on."""
        if self.on:
            return self.grows()
        self.steps.append({"do": "fork", "to": "q"})
        if self.choose.one_in(2):
            self.on = {"on": "q"}

    def looked_at(self):
        """Answers in between, which the caller perhaps writes over."""
        rows = self.some_rows()
        for _ in range(self.choose.between(1, 2)):
            more = {"written_over": True} if self.choose.one_in(2) else {}
            do = self.choose.one_of(("lengths", "read", "stored", "attend", "attend"))
            length = min(self.length(row) for row in rows)
            if do == "attend" and length:
                more |= {"rows": rows, "tokens": self.choose.between(1, min(3, length))}
                more |= {"reused": True} if self.choose.one_in(3) else {}
                more |= {"spread": self.choose.one_of((4, 30))} if self.choose.one_in(4) else {}
                self.said("attend", **more)
            elif do == "lengths":
                self.said("lengths", **more)
            else:
                self.said("read" if do == "attend" else do, row=rows[0], **more)

    def elsewhere(self):
        """A cache of other sizes gets tokens, or is forked."""
        on = self.choose.one_of("stuv")
        if on in self.others and self.choose.one_in(3):
            self.steps.append({"do": "trim", "row": "b", "count": 1, "on": on})
            self.others[on] -= 1
        if on == "s" and on in self.others and self.choose.one_in(2):
            self.steps.append({"do": "fork", "to": "u", "on": on})
            self.others["u"] = self.others[on]
        tokens = min(self.choose.between(2, self.group + 4), self.room - self.others.get(on, 0))
        if tokens > 0:
            self.steps.append({"do": "append", "rows": ["b"], "tokens": tokens, "on": on})
            self.others[on] = self.others.get(on, 0) + tokens

    def refused(self):
        """Perhaps calls that must be refused, such as those that would bring nothing if they were right."""
        self.said("trim", row=self.choose.one_of("ab"), count=self.residual + 1)
        self.said("append", rows=["a", "b"], tokens=2, counts=[1, 3])
        rows = self.some_rows()
        counts = {"counts": [self.choose.below(2) for _ in rows]} if self.choose.one_in(2) else {}
        spoil = self.choose.one_of([*BAD_ROWS, *BAD_TOKENS])
        self.said("append", rows=rows, tokens=1, **counts, spoil=spoil)
        spoil = self.choose.one_of([*BAD_ROWS, *BAD_QUERIES])
        self.said("attend", rows=rows, tokens=1, spoil=spoil)
        do = self.choose.one_of(("trim", "reset", "read", "stored"))
        count = {"count": 0} if do == "trim" else {}
        self.said(do, row="a", **count, spoil=self.choose.one_of([*BAD_ROW]))
        sources = [*range(self.rows)]
        self.said("reorder", sources=sources, spoil=self.choose.one_of([*BAD_SOURCES]))
        if self.choose.one_in(2):
            self.steps.append({"do": "make", "sizes": self.choose.one_of([*BAD_SIZES])})


SIZES = ("rows", "capacity", "heads", "head_dim", "bits", "group", "residual")


@made("sizes")
def sizes(case):
    """What a cache is made with."""
    names = SIZES[:4] if case.defaults else SIZES
    return {name: getattr(case, name) for name in names}


def size_of(case, on):
    """Heads and channels of a cache's keys and values."""
    more = int(on in OF_OTHER_SIZES)
    return case.heads + more, case.head_dim + more


def digits_of(case, whole):
    """What stands behind a shift, of whole numbers below 2**11."""
    if not (case.fine or case.finest):
        return 0 * whole
    return whole * 2.0**-16 * (1 + 2.0**-25 if case.finest else 1)


def channels(case, heads, head_dim):
    """Unit and shift of each channel of the keys, and digits behind it, [Hkv, D], the same in all steps."""
    names = ("unit", "shift", "digits")
    parts = ((case.named(name, heads, head_dim) / 3**0.5 + 1) / 2 for name in names)
    unit, shift, digits = parts  # each from 0 to 1
    power = np.floor(3 * unit) - 1 if case.values == "usual" else 0 * unit
    behind = digits_of(case, np.floor(2**11 * digits))
    return UNITS[case.values][0] * 2.0**power, np.floor(40 * shift) - 20, behind


def levels(case, *shape, flat=False):
    """Whole numbers from -42 to 43 of which no two differ in a way that makes a half; all alike if `flat`."""
    numbers = LEVELS[case.draw.integers(0, len(LEVELS), *shape)]
    return (0 * numbers + 17 if flat else numbers) - 42


def keys_of(case, *shape, flat=False):
    """Keys [..., Hkv, N, D]."""
    unit, shift, behind = (x[:, None] for x in channels(case, shape[-3], shape[-1]))
    return (levels(case, *shape, flat=flat) + shift) * unit + behind


def values_of(case, *shape, flat=False):
    """Values [..., Hkv, N, D]."""
    of_tokens = *shape[:-1], 1
    power = case.draw.integers(-1, 2, *of_tokens) if case.values == "usual" else np.zeros(of_tokens)
    shift = case.draw.integers(-20, 21, *of_tokens)
    drawn = case.fine or case.finest
    behind = digits_of(case, case.draw.integers(0, 2**11, *of_tokens)) if drawn else 0
    return (levels(case, *shape, flat=flat) + shift) * UNITS[case.values][1] * 2.0**power + behind


@made("key", "value", any_layout=True)
def tokens_of(
    case, rows: Rows = ("a",), tokens: Tokens = 1, counts: Counts = None, flat: Flat = False,
    padding: choice(PADDING, "What stands where a row has no token.") = "nan", on: Cache = "p",
):  # fmt: skip
    """New keys and values [R, Hkv, S, D], and padding behind the real ones."""
    heads, head_dim = size_of(case, on)
    shape = len(rows), heads, tokens, head_dim
    found = keys_of(case, *shape, flat=flat), values_of(case, *shape, flat=flat)
    for row, count in enumerate((counts or ())[: len(rows)]):
        for x in found:
            x[row, :, max(0, count) :] = PADDING[padding]
    return found


@drawn(query="Query [R, H, S, D]")
def query(
    case, rows: Rows = ("a",), tokens: Tokens = 1, spread: Spread = 1.0, on: Cache = "p",
    share: whole(1, 4, "Query heads for each head; those of the setup unless given.", usual=(1, 3)) = None,
):  # fmt: skip
    """Queries of the newest tokens."""
    heads, head_dim = size_of(case, on)
    return case.draw(len(rows), heads * (share or case.queries), tokens, head_dim, scale=spread)


class Text:
    """What a row was given, token by token, and how much of it is quantised."""

    def __init__(self):
        self.keys, self.values, self.old_keys, self.old_values = [], [], 0, 0

    def put(self, key, value, group, residual):
        """One more token, each [Hkv, D]."""
        self.keys.append(key)
        self.values.append(value)
        while len(self.keys) - self.old_keys >= residual + group:
            self.old_keys += group
        self.old_values = max(self.old_values, len(self.values) - residual)

    def cut(self, count):
        """The newest tokens are gone."""
        left = len(self.keys) - count
        self.keys, self.values = self.keys[:left], self.values[:left]

    def copy(self):
        """The same, to go on on its own."""
        other = Text()
        other.keys, other.values = list(self.keys), list(self.values)
        other.old_keys, other.old_values = self.old_keys, self.old_values
        return other


class Held:
    """A cache, its sizes, and what its rows were given."""

    def __init__(self, cache, sizes, texts=None):
        self.cache, self.sizes = guarded(cache), sizes
        self.texts = texts or [Text() for _ in range(sizes["rows"])]

    def number(self, name):
        """The row of this name; a spoiled one is a number as it is."""
        rows = self.sizes["rows"]
        known = {"a": 0, "b": rows - 1, "c": min(1, rows - 1), "behind": rows}
        return known[name] if name in known else int(name)

    def put(self, rows, key, value, counts):
        """Remember what was appended."""
        with suppress(IndexError):  # a call that should have been refused
            for i, row in enumerate(rows):
                for t in range(key.shape[2] if counts is None else counts[i]):
                    token = key[i, :, t].clone(), value[i, :, t].clone()
                    self.texts[row].put(*token, self.sizes["group"], self.sizes["residual"])


@verb
def create(file, sizes, dtype):
    """Keep sizes and dtype; a cache is made where it is first named."""
    file.keep.sizes, file.keep.dtype, file.keep.caches, file.keep.mine = dict(sizes), dtype, {}, {}


def new_cache(file, **other):
    """A cache of the case's sizes, but for the ones that are named."""
    wanted = {**file.keep.sizes, **other}
    if "bits" in file.keep.sizes or file.keep.dtype != "float32":
        import torch

        wanted = {"dtype": getattr(torch, file.keep.dtype), **wanted}
    return need(file, "QuantisedCache")(**wanted)


def cache_named(file, name):
    """The cache of this name, and what is known of it."""
    if name not in file.keep.caches:
        sizes = {"bits": 4, "group": 32, "residual": 32, **file.keep.sizes}
        if name in OF_OTHER_SIZES:
            more = {"rows": 1, "capacity": 7, "heads": 1, "head_dim": 1, "group": 1, "residual": 2}
            other = {size: sizes[size] + n for size, n in more.items()}
            other["bits"] = 12 - sizes["bits"]
            cache = new_cache(file, **other, dtype=other_dtype(file))
        elif name == "v":
            other = {"bits": 12 - sizes["bits"]}
            cache = new_cache(file, **other, dtype=other_dtype(file))
        elif name == "t":
            other = {"rows": 1, "group": sizes["group"] + 2, "residual": sizes["residual"] + 1}
            cache = new_cache(file, **other)
        else:
            other, cache = {}, new_cache(file)
        file.keep.caches[name] = Held(cache, {**sizes, **other})
    return file.keep.caches[name]


def other_dtype(file):
    """The dtype of caches of another one."""
    import torch

    return getattr(torch, OTHER_DTYPE[file.keep.dtype])


def fitting(file, on, x):
    """A tensor of the case's dtype in that of the cache; a spoiled one of another dtype as it is."""
    mine = str(x.dtype) == f"torch.{file.keep.dtype}" if hasattr(x, "dtype") else False
    return x.to(other_dtype(file)) if mine and on in OF_OTHER_DTYPE else x


def list_of(cache):
    """The list `lengths` of a cache."""
    found = given(cache.lengths)
    if not isinstance(found, list) or not all(isinstance(n, int) for n in found):
        raise Wrong("wrong_value", "`lengths` must be a list of int")
    return found


def lengths_of(cache):
    """Lengths of all rows."""
    return list(list_of(cache))


def as_it_came(name, found, tokens):
    """Make sure that the newest tokens are not only near to what came.

    Others, or those of another shape, are left to who compares with the right answer, and can tell more.
    """
    if getattr(found, "ndim", 0) != 3 or found.shape[1] < len(tokens):
        return
    for place, token in enumerate(tokens, -len(tokens)):
        if found[:, place].shape != token.shape:
            return
        gap, most = (x.abs().max() for x in (found[:, place].double() - token.double(), token))
        near = 0.03 if found.element_size() == 2 else 1e-4
        if 0 < gap <= near * max(1, most):
            told = f"`{name}`: token {place} is not quantised, and did not come back exactly as it came"
            raise Wrong("wrong_value", told)


@contextmanager
def unchanged(**lists):
    """Make sure that lists of the caller's are what they were, behind a call that is refused too."""
    before = {name: list(said) for name, said in lists.items() if said is not None}
    try:
        yield
    finally:
        for name, was in before.items():
            if lists[name] != was:
                told = f"the call changed its argument `{name}`, which belongs to the caller"
                raise Wrong("mutated_input", told)


def called(method, by_name, **said):
    """Call a method; a last argument that is None is passed by its name alone."""
    if by_name:
        return method(**said)
    return method(*(x for x in said.values() if x is not None))


def in_use_again(file, name, x):
    """The caller's own tensor or list of this name, which holds what was passed in before, with x in it."""
    if not hasattr(x, "clone"):
        mine = file.keep.mine.setdefault(name, list(x))
        mine[:] = x
        return mine
    key = name, x.dtype, x.shape
    mine = file.keep.mine.setdefault(key, x.clone())
    return mine.copy_(x)


# all ways but a list, which is no tensor: what becomes of one is left open
TENSORS = (
    "other_dtype half double int64 int16 uint8 bool complex extra_row one_row extra_head "
    "fewer_heads longer shorter wider narrower flat deep column"
)
BAD_ROWS = {
    "negative_row": spoil("rows", lambda names: [*names[:-1], "-1"]),
    "row_beyond": spoil("rows", lambda names: [*names[:-1], "9"]),
    "row_behind_the_last": spoil("rows", lambda names: [*names[:-1], "behind"]),
    "first_row_negative": spoil("rows", lambda names: ["-1", *names[1:]]),
    "first_row_behind_the_last": spoil("rows", lambda names: ["behind", *names[1:]]),
    "row_beside_itself": spoil("rows", lambda names: [names[0], *names[:-1]]),
    "a_name_more": spoil(
        "rows", lambda names: [*names, *sorted({*"abc"} - {*names}), names[0]][: len(names) + 1]
    ),
    "row_named_twice": spoil("rows", lambda names: [*names[:-1], names[0]]),
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
    "whole_values": spoil("value", lambda x: x.nan_to_num(0, 0, 0).long()),
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
    "flat_values": spoil("value", lambda x: x[0]),
    "no_keys": spoil("key", lambda x: x[:, :, :0]),
    "no_values": spoil("value", lambda x: x[:, :, :0]),
    "keys_of_two_axes": spoil("key", lambda x: x[0, 0]),
    "values_of_one_axis": spoil("value", lambda x: x[0, 0, 0]),
    "all_of_one_axis": spoil("key value", lambda x: x[0, 0, 0]),
    "nothing_at_all": spoil("rows key value", lambda x: x[:0]),
    "nothing_and_no_counts": spoil("rows key value counts", lambda x: x[:0]),
    "no_rows_of_tokens": spoil("key value", lambda x: x[:0]),
    "no_heads": spoil("key value", lambda x: x[:, :0]),
    "no_channels": spoil("key value", lambda x: x[..., :0]),
    "a_row_of_keys_less": spoil("key", lambda x: x[1:]),
    "a_row_of_values_more": spoil("value", lambda x: x[[*range(len(x)), 0]]),
    "a_channel_of_values_less": spoil("value", lambda x: x[..., 1:]),
    "whole_keys": spoil("key", lambda x: x.nan_to_num(0, 0, 0).long()),
    "a_count_less": spoil("counts", lambda counts: (counts or [1])[1:]),
    "a_count_more": spoil("counts", lambda counts: [*(counts or [1]), 1]),
    "last_count_negative": spoil("counts", lambda counts: [*(counts or [1])[:-1], -1]),
    "last_count_above": spoil("counts", lambda counts: [*(counts or [1])[:-1], 161]),
    "no_counts": spoil("counts", lambda counts: []),
}
BAD_QUERIES = {
    "flat_query": spoil("query", lambda x: x[0]),
    "query_of_another_dtype": spoil("query", other),
    "a_query_head_less": spoil("query", lambda x: x[:, 1:]),
    "one_query_head": spoil("query", lambda x: x[:, :1]),
    "no_query_heads": spoil("query", lambda x: x[:, :0]),
    "a_query_channel_less": spoil("query", lambda x: x[..., 1:]),
    "no_queries": spoil("query", lambda x: x[:, :, :0]),
    "one_query_for_all": spoil("query", lambda x: x[:1]),
    "nothing_at_all": spoil("rows query", lambda x: x[:0]),
    "query_of_two_axes": spoil("query", lambda x: x[0, 0]),
    "query_of_one_axis": spoil("query", lambda x: x[0, 0, 0]),
    "query_without_axes": spoil("query", lambda x: x[0, 0, 0, 0]),
    "no_rows_of_queries": spoil("query", lambda x: x[:0]),
    "no_channels": spoil("query", lambda x: x[..., :0]),
}


BAD_SOURCES = {
    "a_source_less": spoil("sources", lambda sources: sources[1:]),
    "last_source_less": spoil("sources", lambda sources: sources[:-1]),
    "a_source_more": spoil("sources", lambda sources: [*sources, 0]),
    "no_sources": spoil("sources", lambda sources: []),
    "negative_source": spoil("sources", lambda sources: [*sources[:-1], -1]),
    "first_source_negative": spoil("sources", lambda sources: [-1, *sources[1:]]),
    "source_beyond": spoil("sources", lambda sources: [len(sources), *sources[1:]]),
    "last_source_beyond": spoil("sources", lambda sources: [*sources[:-1], len(sources)]),
}


@verb(spoils=BAD_ROWS | BAD_TOKENS | ways("key", "value", "key value", only=TENSORS), often=4)
def append(
    file, key, value, rows: Rows = ("a",), counts: Counts = None,
    reused: Reused = False, by_name: Named = False, on: Cache = "p",
):  # fmt: skip
    """Put new tokens behind those of rows; returns the lengths after."""
    held = cache_named(file, on)
    said, real = [held.number(name) for name in rows], None if counts is None else list(counts)
    tensors = [fitting(file, on, x) for x in (key, value)]
    if reused:
        said = in_use_again(file, "rows", said)
        real = None if real is None else in_use_again(file, "counts", real)
        tensors = [
            in_use_again(file, name, x) for name, x in zip(("key", "value"), tensors, strict=True)
        ]
    with unchanged(rows=said, counts=real):
        passed = dict(zip(("keys", "values"), tensors, strict=True))
        called(held.cache.append, by_name, rows=said, **passed, counts=real)
    held.put(said, *tensors, real)
    if reused:
        for x in tensors:
            x.fill_(7)
        said[:] = [0] * len(said)
        if real is not None:
            real[:] = [0] * len(real)
    return {"lengths": lengths_of(held.cache)}


@verb("output", spoils=BAD_ROWS | BAD_QUERIES | ways("query", only=TENSORS), recalled=True, often=2)
def attend(
    file, query, rows: Rows = ("a",), on: Cache = "p", written_over: Written = False,
    reused: Reused = False, by_name: Named = False,
):  # fmt: skip
    """Attend from the newest tokens; returns the output."""
    held = cache_named(file, on)
    said, query = [held.number(name) for name in rows], fitting(file, on, query)
    if reused:
        said, query = in_use_again(file, "rows", said), in_use_again(file, "query", query)
    with unchanged(rows=said):
        output = given(called(held.cache.attend, by_name, rows=said, query=query))
    if reused:
        query.fill_(5)
        said[:] = [0] * len(said)
    if written_over:
        shown = shown_once({"output": output})()["output"]
        return lambda: shown
    return lambda: output


@verb(spoils=BAD_ROW, recalled=True, often=2)
def read(
    file, row: Row = "a", on: Cache = "p", written_over: Written = False, by_name: Named = False,
):  # fmt: skip
    """Read the keys and values of a row."""
    held = cache_named(file, on)
    number = held.number(row)
    told = called(held.cache.read, by_name, row=number)
    answer = parts(told, "keys", "values")
    shown = dict(zip(("keys", "values"), answer, strict=True))
    with suppress(IndexError):  # a call that should have been refused
        text = held.texts[number]
        as_it_came("keys", shown["keys"], text.keys[text.old_keys :])
        as_it_came("values", shown["values"], text.values[text.old_values :])
    if not written_over:
        return lambda: shown
    if isinstance(told, list):
        told.clear()
    return shown_once(shown)


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
    file, row: Row = "a", on: Cache = "p", written_over: Written = False, by_name: Named = False,
):  # fmt: skip
    """Look at what a row is kept as."""
    held = cache_named(file, on)
    number = held.number(row)
    told = given(called(held.cache.stored, by_name, row=number))
    for name in STORED:
        if name not in told:
            raise Wrong("missing", f"`stored` must return `{name}`")
    answer = {name: told[name] for name in STORED}
    with suppress(IndexError):  # a call that should have been refused
        text = held.texts[number]
        as_it_came("new_keys", answer["new_keys"], text.keys[text.old_keys :])
        as_it_came("new_values", answer["new_values"], text.values[text.old_values :])
    if not written_over:
        return lambda: {name: told[name] for name in STORED}
    shown = shown_once(answer)
    if isinstance(told, dict):
        told.clear()
    return shown


@verb(recalled=True)
def lengths(file, on: Cache = "p", written_over: Written = False):
    """Look at the list of lengths."""
    found = list_of(cache_named(file, on).cache)
    if not written_over:
        return lambda: {"lengths": list(found)}
    shown = list(found)
    found[:] = [n + 2 for n in found[1:]]
    return lambda: {"lengths": shown}


@verb(spoils=BAD_ROW)
def trim(
    file, count: whole(0, 160, "Tokens to take back.", usual=(0, 4), refused=(-1,)), row: Row = "a",
    on: Cache = "p", by_name: Named = False,
):  # fmt: skip
    """Take the newest tokens of a row back; returns the lengths after."""
    held = cache_named(file, on)
    number = held.number(row)
    called(held.cache.trim, by_name, row=number, count=count)
    with suppress(IndexError):  # a call that should have been refused
        held.texts[number].cut(count)
    return {"lengths": lengths_of(held.cache)}


@verb(spoils=BAD_ROW)
def reset(file, row: Row = "a", on: Cache = "p", by_name: Named = False):
    """Let a row be empty; returns the lengths after."""
    held = cache_named(file, on)
    number = held.number(row)
    called(held.cache.reset, by_name, row=number)
    with suppress(IndexError):  # a call that should have been refused
        held.texts[number] = Text()
    return {"lengths": lengths_of(held.cache)}


@verb(spoils=BAD_SOURCES)
def reorder(
    file,
    sources: wholes(0, "rows - 1", "The row whose tokens each row gets.", length="rows"),
    on: Cache = "p",
    by_name: Named = False,
):
    """Let rows hold what other rows held; returns the lengths after."""
    held, of_case = cache_named(file, on), file.keep.sizes["rows"]
    more = (
        held.sizes["rows"] - of_case
    )  # rows behind those of the case stay; where there are fewer, these are named
    said = [*sources, *range(of_case, of_case + more)] if more >= 0 else list(sources[:more])
    with unchanged(sources=said):
        called(held.cache.reorder, by_name, sources=said)
    with suppress(IndexError):  # a call that should have been refused
        held.texts = [held.texts[source].copy() for source in said]
    said[:] = [0] * len(said)
    return {"lengths": lengths_of(held.cache)}


@verb
def fork(file, to: choice(("q", "r", "u"), "Name of the fork."), on: Cache = "p"):
    """Fork a cache; returns the lengths of the fork."""
    held = cache_named(file, on)
    texts = [text.copy() for text in held.texts]
    file.keep.caches[to] = Held(given(held.cache.fork()), held.sizes, texts)
    return {"lengths": lengths_of(cache_named(file, to).cache)}


BAD_SIZES = {
    "no_rows": {"rows": 0},
    "no_room": {"capacity": 0},
    "no_heads": {"heads": 0},
    "no_head_dim": {"head_dim": 0},
    "negative_rows": {"rows": -1},
    "negative_capacity": {"capacity": -1},
    "negative_heads": {"heads": -2},
    "negative_head_dim": {"head_dim": -3},
    "two_negative": {"heads": -2, "head_dim": -2},
    "no_group": {"group": 0},
    "negative_group": {"group": -4},
    "negative_residual": {"residual": -1},
    "no_bits": {"bits": 0},
    "two_bits": {"bits": 2},
    "negative_bits": {"bits": -4},
    "five_bits": {"bits": 5},
    "six_bits": {"bits": 6},
    "seven_bits": {"bits": 7},
    "twelve_bits": {"bits": 12},
    "sixteen_bits": {"bits": 16},
    "whole_dtype": {"dtype": "int32"},
    "dtype_of_codes": {"dtype": "uint8"},
    "dtype_of_truths": {"dtype": "bool"},
    "complex_dtype": {"dtype": "complex64"},
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
    along: whole(0, 2, "The axis along which codes share a scale and a low; 0 for none.") = 0,
):  # fmt: skip
    """Codes [Hkv, N, D], and a scale and a low for each of them or for those along an axis."""
    shape = [case.heads, tokens, case.head_dim]
    codes = case.draw.integers(0, 2**bits, *shape).astype(np.uint8)
    if along:
        shape[along] = 1
    return codes, abs(case.draw(*shape, scale=0.1)), case.draw(*shape, scale=2.0)


@made("bare")
def bare(
    case, bits: Bits, tokens: whole(1, 64, "Tokens N; 1 unless given.") = 1, one_head: OneHead = False,
):  # fmt: skip
    """Codes [Hkv, N, D]."""
    shape = (tokens, case.head_dim) if one_head else (case.heads, tokens, case.head_dim)
    return case.draw.integers(0, 2**bits, *shape).astype(np.uint8)


@made("packed")
def packed_bytes(
    case, bits: Bits, tokens: whole(1, 64, "Tokens N; 1 unless given.") = 1, one_head: OneHead = False,
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
    "_unpacked", "codes", packed=packed_bytes, bits=Bits, count=whole(1, "head_dim", "Codes of a token."),
)  # fmt: skip
due = helper(
    "_due", "due", int, waiting=whole(0, 256, "Tokens that wait."),
    residual=whole(0, 64, "Tokens that stay."), group=whole(1, 64, "Tokens of a group."),
)  # fmt: skip


@verb("output")
def attention(file, asked, seen, told):
    """Call `_attention` on queries in the dtype of the case and on wide keys and values."""
    wide = [x.float() if x.element_size() < 4 else x for x in (seen, told)]
    return file._attention(asked, *wide)


Plan, Verbs = both_sides(globals())

"""Verbs of the hybrid_state challenge: sequences in the slots of a cache, and the file's helpers alone.

A step names slots by letters: `a` is the first slot, `b` the last one, `c` the second.  It is about the cache `p`, or
about `q`, which has the same sizes and another weight; each is made where it is first named.
"""

from grader.kit import (
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
)  # fmt: skip

Slot = choice(("a", "b", "c"), "Name of the slot.")
Slots = choices(Slot, "Names of the slots, one a row; a unless given.", length=(1, 3))
Cache = choice(("p", "q"), "Name of the cache.")
Kept = choice(("m", "n"), "Name of the snapshot.")
Tokens = whole(1, 128, "New tokens S; 1 unless given.", usual=(1, 7), refused=(0,))
Loud = real(0, 1000, "Standard deviation of the channels before the convolution, 3.", usual=(3.0, 1.0))  # fmt: skip
Fade = real(0, 30, "Scale of the decays, 0.3.", usual=(0.3, 0.05, 2.0))
Spread = real(0, 100, "Standard deviation of queries and keys, 1.", usual=(1.0, 2.0))
First = whole(0, 64, "Position of the first query.")
Count = whole(0, 64, "Tokens to take back.", usual=(0, 4), refused=(-1,))
Shared = whole(0, 128, "First tokens that the sequences have in common.", usual=(0, 12), refused=(-1,))  # fmt: skip


class Setup:
    """Sizes of the case."""

    slots: whole(3, 9, "Slots, 3.", usual=(3, 4)) = 3
    capacity: whole(1, 128, "Tokens that a slot has room for, 24.", usual=(12, 40)) = 24
    heads: whole(1, 6, "Heads H of the attention layer, 2.", usual=(1, 3)) = 2
    head_dim: whole(1, 32, "Their dimension D, 4.", usual=(1, 5)) = 4
    key_heads: whole(1, 4, "Key heads Hk of the delta layer, 2.", usual=(1, 3)) = 2
    value_heads: whole(1, 8, "Value heads Hv of the delta layer, 4.", usual=(1, 6)) = 4
    key_dim: whole(1, 32, "Dimension K of its keys, 3.", usual=(2, 5)) = 3
    value_dim: whole(1, 32, "Dimension V of its values, 2.", usual=(1, 5)) = 2
    width: whole(1, 8, "Width W of the convolution, 4.", usual=(2, 5)) = 4
    interval: whole(1, 128, "Tokens between two checkpoints, 4.", usual=(1, 5)) = 4
    block: whole(1, 64, "Tokens of a block of keys and values, 2.", usual=(1, 4)) = 2
    signs: switch(
        "Channels, weights and gates are drawn as signs of one size each, so that no rounding moves them."
    ) = False

    dtypes = ("float32", "bfloat16", "float16", "float64")

    def legal(sizes):
        """A whole number of value heads shares each key head."""
        return sizes.value_heads % sizes.key_heads == 0


class RandomScenarios:
    """Any calls of the caches, and sequences of calls in which drafts, copies and prefixes meet."""

    verbs = ("forward", "start", "state_of", "rollback", "snapshot", "restore", "share")
    steps = (2, 6)

    def amended(case, choose):
        """Let most cases go on with calls that build on each other, and end with a look at every slot."""
        if not choose.one_in(2):
            case["setup"].pop("signs", None)
        if choose.below(4):
            case["steps"] += Story(case["setup"], choose).told()
        return case


class Story:
    """Calls about two slots, in which tokens are rejected, kept, given away and shared."""

    def __init__(self, setup, choose):
        """Begin with slots of which nothing is known."""
        self.choose, self.steps = choose, []
        self.room = min(24, setup.get("capacity", Setup.capacity))
        interval, block = setup.get("interval", Setup.interval), setup.get("block", Setup.block)
        self.boundary = max(interval, block)
        self.lengths, self.drafts = {}, {}
        self.copies = {}

    def told(self):
        """Return the steps."""
        for slot in ("a", "b"):
            self.begins(slot)
            self.grows(slot, self.choose.between(1, self.boundary + 1))
        for _ in range(self.choose.between(1, 6)):
            self.choose.one_of(
                (self.grows, self.rejects, self.shares, self.kept, self.restored, self.begins)
            )(self.choose.one_of(("a", "b")))
        for slot in ("a", "b"):
            self.shares(slot)
            self.steps.append({"do": "state_of", "slot": "c"})
            self.steps.append({"do": "state_of", "slot": slot})
        self.steps.append({"do": "forward", "slots": ["b", "a"], "tokens": 1})
        return self.steps

    def begins(self, slot):
        """A new sequence."""
        self.steps.append({"do": "start", "slot": slot})
        self.lengths[slot] = self.drafts[slot] = 0
        self.too_far(slot)

    def too_far(self, slot):
        """Perhaps a call that must be refused: a rollback of one token more than there are drafts, or a bad tensor."""
        if self.choose.one_in(4):
            self.steps.append({"do": "rollback", "slot": slot, "count": self.drafts[slot] + 1})
        if self.choose.one_in(6):
            bad = {"do": "forward", "slots": [slot], "tokens": 2, "spoil": "short_query"}
            self.steps.append(bad)

    def grows(self, slot, tokens=None, draft=False):
        """New tokens, alone or beside others."""
        tokens = tokens or self.choose.between(1, self.boundary + 2)
        tokens = min(tokens, self.room - self.lengths[slot])
        if tokens < 1:
            return self.begins(slot)
        slots = [slot]
        other = "b" if slot == "a" else "a"
        if self.choose.one_in(3) and self.lengths.get(other, self.room) + tokens <= self.room:
            slots.append(other)
        more = {"draft": True} if draft else {}
        if self.choose.one_in(4):
            more["reused"] = True
        self.steps.append({"do": "forward", "slots": slots, "tokens": tokens, **more})
        for name in slots:
            self.lengths[name] += tokens
            self.drafts[name] = self.drafts[name] + tokens if draft else 0

    def rejects(self, slot):
        """Drafts, taken back at once or in two steps, and other tokens."""
        self.grows(slot, draft=True)
        self.too_far(slot)
        for _ in range(self.choose.between(1, 2)):
            count = self.choose.between(0, min(self.drafts[slot], 4))
            self.steps.append({"do": "rollback", "slot": slot, "count": count})
            self.lengths[slot] -= count
            self.drafts[slot] -= count
        self.too_far(slot)
        if not self.choose.one_in(3):
            self.grows(slot)

    def kept(self, slot):
        """A snapshot, and tokens behind it."""
        self.steps.append({"do": "snapshot", "slot": slot, "to": "m"})
        self.copies["m"] = self.lengths[slot]
        self.grows(slot)

    def restored(self, slot):
        """A snapshot comes back, and perhaps a rollback that must be refused."""
        if "m" not in self.copies:
            return self.kept(slot)
        self.steps.append({"do": "restore", "slot": slot, "kept": "m"})
        self.lengths[slot], self.drafts[slot] = self.copies["m"], 0
        if self.choose.one_in(3):
            self.steps.append({"do": "rollback", "slot": slot, "count": 1})
        else:
            self.grows(slot)

    def shares(self, slot):
        """A prefix for the third slot."""
        less = self.choose.between(0, 2)
        count = max(0, self.lengths[slot] - less)
        self.steps.append({"do": "share", "source": slot, "target": "c", "count": count})
        if self.choose.one_in(3):
            more = {"slots": ["c"], "tokens": 2, "draft": True}
            self.steps.append({"do": "forward", **more})
            back = {"slot": "c", "count": self.choose.between(1, 2)}
            self.steps.append({"do": "rollback", **back})


SIZES = (
    "slots", "capacity", "heads", "head_dim", "key_heads", "value_heads", "key_dim", "value_dim",
    "interval", "block",
)  # fmt: skip


def channels(case):
    """Number of channels C."""
    return 2 * case.key_heads * case.key_dim + case.value_heads * case.value_dim


def signed(case, numbers, size):
    """The numbers, or where the case says so their signs times this size."""
    return ((numbers > 0) * 2.0 - 1.0) * size if case.signs else numbers


@made("sizes")
def sizes(case):
    """What a cache is made with."""
    return {name: getattr(case, name) for name in SIZES}


@drawn(weight="Weight of the convolution [C, W]")
def weight(case):
    """The convolution's weight."""
    return signed(case, case.draw(channels(case), case.width, scale=0.5), 0.5)


@drawn(mixed="Channels before the convolution [R, S, C]")
def mixed(case, slots: Slots = ("a",), tokens: Tokens = 1, loud: Loud = 3.0):
    """The delta layer's new tokens."""
    return signed(case, case.draw(len(slots), tokens, channels(case), scale=loud), loud)


@made("decay", "beta", any_layout=True)
def gates(case, slots: Slots = ("a",), tokens: Tokens = 1, fade: Fade = 0.3):
    """Logarithms of decays, at most 0, and how much of a value is taken, from 0 to 0.95; both [R, S, Hv]."""
    shape = len(slots), tokens, case.value_heads
    decay, beta = case.draw(*shape, scale=fade), case.draw(*shape, scale=0.55)
    return -abs(signed(case, decay, fade)), abs(signed(case, beta, 0.5))


@drawn(query="Query [R, H, S, D]", key="Key [R, H, S, D]", value="Value [R, H, S, D]")
def attending(case, slots: Slots = ("a",), tokens: Tokens = 1, spread: Spread = 1.0):
    """The attention layer's new tokens."""
    shape = len(slots), case.heads, tokens, case.head_dim
    scales = (spread, spread, 1.0)
    return tuple(signed(case, case.draw(*shape, scale=scale), scale) for scale in scales)


@verb
def create(file, sizes, weight):
    """Keep sizes and weight; a cache is made where it is first named."""
    file.keep.sizes, file.keep.weight = dict(sizes), weight
    file.keep.caches, file.keep.snapshots = {}, {}


def cache_named(file, name):
    """The cache of this name."""
    if name not in file.keep.caches:
        weight = file.keep.weight if name == "p" else file.keep.weight.flip(0, 1)
        file.keep.caches[name] = need(file, "HybridCache")(weight, **file.keep.sizes)
    return guarded(file.keep.caches[name])


def number(file, name):
    """The slot of this name; a spoiled one is a number as it is."""
    known = {"a": 0, "b": file.keep.sizes["slots"] - 1, "c": 1}
    return known[name] if name in known else int(name)


def lengths(cache):
    """Lengths of all slots."""
    return [int(length) for length in given(cache.lengths)]


BAD_SLOTS = {
    "negative_slot": spoil("slots", lambda names: [*names[:-1], "-1"]),
    "slot_beyond": spoil("slots", lambda names: [*names[:-1], "9"]),
    "slot_named_twice": spoil("slots", lambda names: [names[0]] * len(names)),
    "no_slots": spoil("slots", lambda names: []),
    "a_slot_less": spoil("slots", lambda names: names[1:]),
    "no_rows": spoil("slots mixed decay beta query key value", lambda x: x[:0]),
}
BAD_TENSORS = {
    "flat_mixed": spoil("mixed", lambda x: x[0]),
    "level_mixed": spoil("mixed", lambda x: x.flatten()),
    "channel_less": spoil("mixed", lambda x: x[:, :, 1:]),
    "short_mixed": spoil("mixed", lambda x: x[:, :-1]),
    "integer_mixed": spoil("mixed", lambda x: x.long()),
    "short_decay": spoil("decay", lambda x: x[:, :-1]),
    "level_decay": spoil("decay", lambda x: x.flatten()),
    "one_decay_for_all": spoil("decay", lambda x: x[:, :, :1]),
    "turned_beta": spoil("beta", lambda x: x.transpose(1, 2)),
    "double_beta": spoil("beta", lambda x: x.double() if x.element_size() < 8 else x.float()),
    "tokens_before_heads": spoil("query key value", lambda x: x.transpose(1, 2)),
    "short_query": spoil("query", lambda x: x[:, :, :-1]),
    "a_key_head_less": spoil("key", lambda x: x[:, :-1]),
    "half_value": spoil("value", lambda x: x.half() if x.element_size() > 2 else x.float()),
    "wider_value": spoil("value", lambda x: x.repeat(1, 1, 1, 2)),
    "all_of_another_dtype": spoil(
        "mixed decay beta query key value",
        lambda x: x.double() if x.element_size() < 8 else x.float(),
    ),
}
NAMES = ("mixed", "decay", "beta", "query", "key", "value", "query key value")


@verb(spoils=BAD_SLOTS | BAD_TENSORS | ways(*NAMES), recalled=True, often=4)
def forward(
    file, mixed, decay, beta, query, key, value, slots: Slots = ("a",),
    draft: switch("Whether the tokens are drafts.") = False,
    reused: switch("Whether the caller writes over its tensors behind the call.") = False,
    on: Cache = "p",
):  # fmt: skip
    """Take new tokens in; returns both layers' outputs, and the lengths after."""
    cache = cache_named(file, on)
    rows = [number(file, name) for name in slots]
    how = {"draft": True} if draft else {}
    tensors = mixed, decay, beta, query, key, value
    if reused:
        tensors = [x.clone() for x in tensors]
    answer = cache.forward(rows, *tensors, **how)
    recurrent, attention = parts(answer, "recurrent", "attention")
    after = lengths(cache)
    if reused:
        recurrent, attention = recurrent.clone(), attention.clone()
        for x in tensors:
            x.fill_(7)
        rows[:] = [0] * len(rows)
    return lambda: {"recurrent": recurrent, "attention": attention, "lengths": after}


@verb
def start(file, slot: Slot = "a", on: Cache = "p"):
    """Give a slot to a new sequence; returns the lengths after."""
    cache = cache_named(file, on)
    cache.start(number(file, slot))
    return {"lengths": lengths(cache)}


@verb(recalled=True, exact="window")
def state_of(file, slot: Slot = "a", on: Cache = "p"):
    """Read a slot's window and state."""
    window, state = parts(cache_named(file, on).state_of(number(file, slot)), "window", "state")
    return lambda: {"window": window, "state": state}


@verb(often=2)
def rollback(file, count: Count, slot: Slot = "a", on: Cache = "p"):
    """Take drafts back; returns the lengths after."""
    cache = cache_named(file, on)
    cache.rollback(number(file, slot), count)
    return {"lengths": lengths(cache)}


@verb
def snapshot(file, to: Kept, slot: Slot = "a", on: Cache = "p"):
    """Take a snapshot of a slot."""
    file.keep.snapshots[on, to] = cache_named(file, on).snapshot(number(file, slot))
    return {"taken": True}


@verb
def restore(file, kept: Kept, slot: Slot = "a", on: Cache = "p"):
    """Let a slot hold what a snapshot holds, or what it holds itself where none of the name was taken."""
    cache = cache_named(file, on)
    if (on, kept) not in file.keep.snapshots:
        file.keep.snapshots[on, kept] = cache.snapshot(number(file, slot))
    cache.restore(number(file, slot), file.keep.snapshots[on, kept])
    return {"lengths": lengths(cache)}


@verb(often=2)
def share(file, count: Shared, source: Slot = "a", target: Slot = "b", on: Cache = "p"):
    """Start a sequence with the first tokens of another; returns how many, and the lengths after."""
    cache = cache_named(file, on)
    hit = given(cache.share(number(file, source), number(file, target), count))
    return {"hit": int(hit), "lengths": lengths(cache)}


BAD_SIZES = {
    "no_slots": {"slots": 0},
    "no_room": {"capacity": 0},
    "no_heads": {"heads": 0},
    "no_head_dim": {"head_dim": 0},
    "no_key_heads": {"key_heads": 0},
    "no_value_heads": {"value_heads": 0},
    "no_key_dim": {"key_dim": 0},
    "no_value_dim": {"value_dim": 0},
    "no_interval": {"interval": 0},
    "no_block": {"block": 0},
    "negative_interval": {"interval": -4},
    "uneven_heads": {"value_heads": 3},
    "other_channels": {"value_dim": 3},
    "flat_weight": {"weight": lambda x: x.flatten()},
    "weight_of_no_width": {"weight": lambda x: x[:, :0]},
    "turned_weight": {"weight": lambda x: x.T},
}


@verb
def make(file, sizes: choice(BAD_SIZES, "What is wrong with the sizes, or with the weight.")):
    """Make a cache of sizes that must be refused."""
    wanted = file.keep.sizes | BAD_SIZES[sizes]
    change = wanted.pop("weight", None)
    weight = file.keep.weight
    need(file, "HybridCache")(change(weight) if change else weight, **wanted)
    return {"made": True}


@made("state", "q", "k", "v", "faded", "taken")
def folded(
    case,
    tokens: whole(1, 32, "Tokens N; 1 unless given.") = 1,
    fade: Fade = 0.3,
    empty: switch("Whether the state is zero.") = False,
):
    """A state [Hv, K, V], and tokens of the delta layer behind convolution and norm, head by head."""
    heads = case.value_heads
    state = case.draw(heads, case.key_dim, case.value_dim, scale=0.0 if empty else 2.0)
    q, k = (case.draw(heads, tokens, case.key_dim, scale=0.5) for _ in range(2))
    v = case.draw(heads, tokens, case.value_dim, scale=3.0)
    gates = -abs(case.draw(heads, tokens, scale=fade)), abs(case.draw(heads, tokens, scale=0.55))
    return state, q, k, v, *gates


@drawn(columns="Channels before the convolution [R, C, W - 1 + S]")
def columns(case, tokens: Tokens = 1, loud: Loud = 3.0):
    """Inputs of the convolution, the window first."""
    return case.draw(2, channels(case), case.width - 1 + tokens, scale=loud)


@made("asked", "keys", "values")
def looked_at(case, first: First, tokens: whole(1, 16, "Queries S; 1 unless given.") = 1):
    """Queries [H, S, D], and keys and values [H, T, D] up to the last of them."""
    total = first + tokens
    return tuple(case.draw(case.heads, n, case.head_dim) for n in (tokens, total, total))


rule = {"state": folded, "q": folded, "k": folded, "v": folded, "faded": folded, "taken": folded}
step = helper("_step", "output state", **rule)
chunk = helper("_chunk", "output state", **rule)
pieces = helper(
    "_pieces", "pieces", list,
    start=whole(0, 256, "Tokens so far."),
    tokens=whole(1, 256, "New tokens."),
    interval=whole(1, 64, "Tokens between two checkpoints."),
)  # fmt: skip
convolved = helper("_convolved", "channels", columns=columns, weight=weight)
attention = helper(
    "_attention", "output", asked=looked_at, keys=looked_at, values=looked_at,
    first=First,
)  # fmt: skip

Plan, Verbs = both_sides(globals())

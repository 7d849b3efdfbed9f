"""Verbs of the hybrid_state challenge: sequences in the slots of a cache, and the file's helpers alone.

A step names slots by letters: `a` is the first slot, `b` the last one, `c` to `f` are those behind the first.  It is
about the cache `p`, or about another one: `q` has the same sizes and another weight, `r` other sizes and a wider
convolution, `d` another dtype.  Each is made where it is first named.
"""

import math

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
)  # fmt: skip

NO_SLOTS = ("minus_one", "minus_all", "beyond")
Slot = choice(("a", "b", "c", "d", "e", "f"), "Name of the slot.", refused=NO_SLOTS)
Slots = choices(Slot, "Names of the slots, one a row; a unless given.", length=(1, 6))
Cache = choice(("p", "q", "r", "d"), "Name of the cache.")
Kept = choice(("m", "n"), "Name of the snapshot.")
Tokens = whole(1, 320, "New tokens S; 1 unless given.", usual=(1, 7), refused=(0,))
Loud = real(
    0, 1000, "Standard deviation of the channels before the convolution, 3.",
    usual=(3.0, 1.0, 0.003, 300.0),
)  # fmt: skip
Fade = real(0, 30, "Scale of the decays, 0.3.", usual=(0.3, 0.05, 2.0, 20.0))
# in float32 a score far beyond a hundred is rounded by more than the answer may be off
Spread = real(0, 1000, "Standard deviation of queries and keys, 1.", usual=(1.0, 2.0, 6.0))
Raised = real(-1e6, 1e6, "Number that is added to the scores, 0.", usual=(0, 100, -120))
Ends = choice(
    ("drawn", "all", "some", "first"),
    "Which gates lie at an end of their range, a decay at 0 or -60 and beta at 0 or 1: none unless given; all of"
    " them; decays of some tokens and heads at -60; those of the first half of the tokens.",
)
First = whole(0, 64, "Position of the first query.")
Count = whole(0, 64, "Tokens to take back.", usual=(0, 4), refused=(-1,))
Shared = whole(0, 128, "First tokens that the sequences have in common.", usual=(0, 12), refused=(-1,))  # fmt: skip


class Setup:
    """Sizes of the case."""

    slots: whole(1, 9, "Slots, 3.", usual=(3, 4), room=True) = 3
    capacity: whole(1, 320, "Tokens that a slot has room for, 24.", usual=(12, 40), room=True) = 24
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
    by_name: switch("Arguments are passed by name.") = False
    weight_reused: switch("The caller writes over the weight once a cache is made.") = False

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
        setup = case["setup"]
        if not choose.one_in(2):
            setup.pop("signs", None)
        few = setup.get("slots", Setup.slots) < 6
        case["steps"] = [of_few_slots(step) if few else step for step in case["steps"]]
        if case["dtype"] == "float64" and all(step.get("on") != "d" for step in case["steps"]):
            case["steps"] = [louder(step, choose) for step in case["steps"]]
        if choose.one_in(8):
            case["steps"] = long_calls(setup, choose)
        elif choose.below(4):
            case["steps"] += told(setup, choose)
        return case


def of_few_slots(step):
    """The step with names of slots that every cache has."""
    if "slots" in step:
        step = {**step, "slots": [name for name in step["slots"] if name not in "def"] or ["a"]}
    return {
        name: "a" if name in ("slot", "source", "target") and said in ("d", "e", "f") else said
        for name, said in step.items()
    }


def louder(step, choose):
    """The step with scores that float64 alone is fine enough for, where it speaks of them."""
    more = {"spread": choose.one_of((30.0, 300.0)), "raised": choose.one_of((-40000, 1000))}
    return {name: more[name] if said and name in more else said for name, said in step.items()}


def long_calls(setup, choose):
    """Many tokens in one call without a checkpoint, of which some leave next to nothing of the state."""
    ends = choose.one_of(("first", "some", "all"))
    setup |= {"capacity": 128, "interval": choose.one_of((128, 64, 100))}
    return [
        {"do": "forward", "tokens": choose.between(1, 7)},
        {"do": "forward", "tokens": choose.between(40, 110), "ends": ends},
        {"do": "state_of", "slot": "a"},
        {"do": "forward", "tokens": choose.between(1, 9)},
        {"do": "state_of", "slot": "a"},
    ]


def told(setup, choose):
    """Steps about one cache, now and then about another one in between."""
    stories = [Story(setup, choose, [], "p")]
    if choose.one_in(3):
        stories.append(Story(setup, choose, stories[0].steps, choose.one_of(("q", "r", "d"))))
    for story in stories:
        story.opens()
    for _ in range(choose.between(1, 7)):
        choose.one_of(stories).goes_on()
    for story in stories:
        story.closes()
    return stories[0].steps


REFUSED = (
    "short_query", "negative_slot", "slot_beyond", "no_slots", "no_rows", "flat_mixed", "channel_less", "short_decay",
    "turned_beta", "double_beta", "a_key_head_less", "half_value", "wider_value", "all_of_another_dtype",
)  # fmt: skip


class Story:
    """Calls about the slots of a cache, in which tokens are rejected, kept, given away and shared."""

    def __init__(self, setup, choose, steps, on):
        """Begin with slots of which nothing is known."""
        self.choose, self.steps, self.on = choose, steps, on
        sizes = {name: setup.get(name, getattr(Setup, name)) for name in SIZES}
        sizes |= other_sizes(sizes) if on == "r" else {}
        self.room, self.interval = sizes["capacity"], sizes["interval"]
        self.unit = math.lcm(self.interval, sizes["block"])
        self.boundary = min(20, max(self.interval, sizes["block"]))
        self.lengths, self.drafts = {"a": 0, "b": 0, "c": 0}, {"a": 0, "b": 0, "c": 0}
        self.copies = {}

    def says(self, do, **said):
        """Add a step."""
        self.steps.append({"do": do, **said, **({} if self.on == "p" else {"on": self.on})})

    def opens(self):
        """Tokens in two slots."""
        for slot in ("a", "b"):
            self.begins(slot)
            self.grows(slot, self.choose.between(1, self.boundary + 1))

    def goes_on(self):
        """One of the things that may happen."""
        happens = self.choose.one_of(
            (
                self.grows, self.rejects, self.shares, self.kept, self.restored, self.begins, self.guesses,
                self.takes_back, self.fills,
            )
        )  # fmt: skip
        happens(self.choose.one_of(("a", "b", "a", "b", "c")))
        self.refused(self.choose.one_of(("a", "b")))

    def closes(self):
        """A look at every slot, and at what can be shared of it."""
        for slot in ("a", "b"):
            self.says("state_of", slot="c")
            self.shares(slot, "c")
            self.says("state_of", slot="c")
            self.says("forward", slots=["c"], tokens=1)
            self.says("state_of", slot=slot)
        self.says("forward", slots=["b", "a"], tokens=1)

    def begins(self, slot):
        """A new sequence."""
        self.says("start", slot=slot)
        self.lengths[slot] = self.drafts[slot] = 0

    def refused(self, slot):
        """Perhaps a call that must be refused, and must change nothing."""
        if self.choose.one_in(3):
            self.says("rollback", slot=slot, count=self.drafts[slot] + 1)
        if self.choose.below(3):
            return
        nowhere, length = self.choose.one_of(NO_SLOTS), self.lengths[slot]
        do, said = self.choose.one_of(
            (
                ("forward", {"slots": [slot], "tokens": 2, "spoil": self.choose.one_of(REFUSED)}),
                ("forward", {"slots": ["c", slot], "tokens": max(1, self.room - length + 1)}),
                ("forward", {"slots": [slot], "tokens": 0}),
                ("forward", {"slots": [slot, nowhere], "tokens": 1}),
                ("share", {"source": slot, "target": "c", "count": length + 1}),
                ("share", {"source": slot, "target": "c", "count": -1}),
                ("share", {"source": slot, "target": slot, "count": 0}),
                ("share", {"source": slot, "target": nowhere, "count": 0}),
                ("share", {"source": nowhere, "target": slot, "count": 0}),
                ("rollback", {"slot": slot, "count": -1}),
                ("rollback", {"slot": nowhere, "count": 0}),
                ("start", {"slot": nowhere}),
                ("state_of", {"slot": nowhere}),
                ("snapshot", {"slot": nowhere, "to": "n"}),
                ("restore", {"slot": nowhere, "kept": "m"}),
            )
        )
        if do == "forward" and self.choose.one_in(3):
            said = {**said, "draft": True}
        if do != "restore" or "m" in self.copies:
            self.says(
                do,
                **{
                    name: min(x, 128) if name in ("tokens", "count") else x
                    for name, x in said.items()
                },
            )

    def grows(self, slot, tokens=None, draft=False):
        """New tokens, alone or beside others."""
        tokens = tokens or self.choose.between(1, self.boundary + 2)
        tokens = min(tokens, self.room - self.lengths[slot])
        if tokens < 1:
            return self.begins(slot)
        slots = [slot]
        other = "b" if slot == "a" else "a"
        if self.choose.one_in(3) and self.lengths[other] + tokens <= self.room:
            slots.append(other)
        more = {"draft": True} if draft else {}
        if self.choose.one_in(4):
            more[self.choose.one_of(("reused", "watched"))] = True
        if self.choose.one_in(6):
            more["ends"] = self.choose.one_of(("all", "some"))
        self.says("forward", slots=slots, tokens=tokens, **more)
        for name in slots:
            self.lengths[name] += tokens
            self.drafts[name] = self.drafts[name] + tokens if draft else 0

    def fills(self, slot):
        """Tokens up to the last that there is room for, where that is near."""
        left = self.room - self.lengths[slot]
        self.grows(slot, left if left <= 24 else None, draft=self.choose.one_in(2))

    def guesses(self, slot):
        """Drafts, in one call or several."""
        for _ in range(self.choose.between(1, 3)):
            self.grows(slot, self.choose.between(1, 4), draft=True)

    def takes_back(self, slot):
        """Some of the drafts there are, if any."""
        count = self.choose.between(0, self.drafts[slot])
        self.says("rollback", slot=slot, count=count)
        self.lengths[slot] -= count
        self.drafts[slot] -= count

    def rejects(self, slot):
        """Drafts, taken back at once or in two steps, and other tokens."""
        self.guesses(slot)
        for _ in range(self.choose.between(1, 2)):
            self.refused(slot)
            self.takes_back(slot)
        if not self.choose.one_in(3):
            self.grows(slot)

    def kept(self, slot):
        """A snapshot, and perhaps tokens behind it."""
        name = self.choose.one_of(("m", "n"))
        self.says("snapshot", slot=slot, to=name)
        self.copies[name] = self.lengths[slot]
        if not self.choose.one_in(3):
            self.grows(slot)

    def restored(self, slot):
        """A snapshot comes back, and perhaps a rollback that must be refused."""
        if not self.copies:
            return self.kept(slot)
        name = self.choose.one_of(sorted(self.copies))
        self.says("restore", slot=slot, kept=name)
        self.lengths[slot], self.drafts[slot] = self.copies[name], 0
        if self.choose.one_in(3):
            self.says("rollback", slot=slot, count=1)
        elif not self.choose.one_in(3):
            self.grows(slot)

    def shares(self, slot, target=None):
        """A prefix for another slot."""
        others = [name for name in ("c", "b", "a") if name != slot]
        target = target or self.choose.one_of(others)
        count = max(0, self.lengths[slot] - self.choose.between(0, 2))
        self.says("share", source=slot, target=target, count=min(count, 128))
        self.lengths[target], self.drafts[target] = count - count % self.unit, 0
        if self.choose.one_in(3):
            self.says("forward", slots=[target], tokens=2, draft=True)
            back = self.choose.between(1, 2)
            self.says("rollback", slot=target, count=back)
            self.lengths[target] += 2 - back
            self.drafts[target] = 2 - back


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
    """What a cache is made with, and how calls are made."""
    return {name: getattr(case, name) for name in (*SIZES, "by_name", "weight_reused")}


@drawn(weight="Weight of the convolution [C, W]")
def weight(case):
    """The convolution's weight."""
    return signed(case, case.draw(channels(case), case.width, scale=0.5), 0.5)


@drawn(mixed="Channels before the convolution [R, S, C]")
def mixed(case, slots: Slots = ("a",), tokens: Tokens = 1, loud: Loud = 3.0):
    """The delta layer's new tokens."""
    return signed(case, case.draw(len(slots), tokens, channels(case), scale=loud), loud)


def at_ends(case, ends, decay, beta):
    """The gates, some of them moved to an end of their range; the axis of tokens is the second one."""
    if ends == "drawn":
        return decay, beta
    if ends == "first":
        decay[:, : decay.shape[1] // 2] = -60.0
        return decay, beta
    low, high = case.draw(*decay.shape) > 0, case.draw(*decay.shape) > 0
    if ends == "all":
        return 0.0 - 60.0 * low, 1.0 * high
    return decay * ~low - 60.0 * low, beta


@made("decay", "beta", any_layout=True)
def gates(case, slots: Slots = ("a",), tokens: Tokens = 1, fade: Fade = 0.3, ends: Ends = "drawn"):
    """Logarithms of decays, at most 0, and how much of a value is taken, from 0 to 0.95; both [R, S, Hv]."""
    shape = len(slots), tokens, case.value_heads
    decay, beta = case.draw(*shape, scale=fade), case.draw(*shape, scale=0.55)
    return at_ends(case, ends, -abs(signed(case, decay, fade)), abs(signed(case, beta, 0.5)))


@drawn(query="Query [R, H, S, D]", key="Key [R, H, S, D]", value="Value [R, H, S, D]")
def attending(
    case, slots: Slots = ("a",), tokens: Tokens = 1, spread: Spread = 1.0, raised: Raised = 0,
):  # fmt: skip
    """The attention layer's new tokens."""
    shape = len(slots), case.heads, tokens, case.head_dim
    scales = (spread, spread, 1.0)
    query, key, value = (signed(case, case.draw(*shape, scale=scale), scale) for scale in scales)
    if raised:  # by the product of the last numbers of a query and a key
        size = round(abs(raised * case.head_dim**0.5) ** 0.5)  # which half precision holds, too
        query[..., -1], key[..., -1] = size, size if raised > 0 else -size
    return query, key, value


@verb
def create(file, sizes, weight):
    """Keep sizes and weight; a cache is made where it is first named."""
    keep = file.keep
    keep.sizes, keep.weight = {name: sizes[name] for name in SIZES}, weight
    keep.by_name, keep.weight_reused = sizes["by_name"], sizes["weight_reused"]
    keep.caches, keep.snapshots = {}, {}
    keep.passed = []  # tensors that the file has seen, and what they hold


def other_sizes(sizes):
    """Sizes of the cache `r`, which takes the same tensors."""
    return {
        "slots": sizes["slots"] + 2,
        "capacity": sizes["capacity"] + 3,
        "interval": sizes["interval"] + 1,
    }


def sizes_of(file, on):
    """Sizes of the cache of this name."""
    sizes = file.keep.sizes
    return sizes | other_sizes(sizes) if on == "r" else sizes


def of_another_dtype(x):
    """The tensor in float64, or in float32 where it is that already."""
    return x.double() if x.element_size() < 8 else x.float()


def weight_of(file, on):
    """A weight for the cache of this name, to be handed over."""
    weight = file.keep.weight
    if on == "q":
        return weight.flip(0, 1)
    if on == "d":
        return of_another_dtype(weight)
    if on == "r":  # one tap more, and turned in memory
        wider = weight.new_empty(weight.shape[1] + 1, weight.shape[0]).t()
        wider[:, 1:] = weight
        wider[:, :1] = weight[:, :1]
        return wider
    return weight.clone()


def unwritten(file):
    """Make sure that the file has not written into a tensor that it was handed, now or in an earlier call."""
    for x, before in file.keep.passed:
        if not x.equal(before):
            raise Wrong("mutated_input", "the file wrote into a tensor that belongs to its caller")


def watch(file, *tensors):
    """Remember tensors that are handed over, so as to look at them again."""
    file.keep.passed += [(x, x.clone()) for x in tensors]


def over(file, *tensors):
    """Let the caller write over tensors that were handed over."""
    unwritten(file)
    file.keep.passed = [(x, y) for x, y in file.keep.passed if not any(x is z for z in tensors)]
    for x in tensors:
        x.fill_(7)


def cache_named(file, name):
    """The cache of this name."""
    unwritten(file)
    if name not in file.keep.caches:
        weight = weight_of(file, name)
        watch(file, weight)
        file.keep.caches[name] = need(file, "HybridCache")(weight, **sizes_of(file, name))
        unwritten(file)
        if file.keep.weight_reused:
            over(file, weight)
    return guarded(file.keep.caches[name])


def ask(file, on, method, how=None, **arguments):
    """Call a method of a cache, its arguments by name where the case says so."""
    call = getattr(cache_named(file, on), method)
    if file.keep.by_name:
        return call(**arguments, **(how or {}))
    return call(*arguments.values(), **(how or {}))


def number(file, name, on):
    """The slot of this name; a spoiled one is a number as it is."""
    slots = sizes_of(file, on)["slots"]
    known = {"a": 0, "b": slots - 1, "c": 1, "d": 2, "e": 3, "f": 4}
    known |= {"minus_one": -1, "minus_all": -slots, "beyond": slots}
    return known[name] if name in known else int(name)


def lengths(cache):
    """Lengths of all slots."""
    return [int(length) for length in given(cache.lengths)]


BAD_SLOTS = {
    "negative_slot": spoil("slots", lambda names: [*names[:-1], "-1"]),
    "slot_beyond": spoil("slots", lambda names: [*names[:-1], "9"]),
    "slot_named_twice": spoil("slots", lambda names: [*names[:-1], names[0]]),
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
WAYS = (  # no list in place of a tensor: the brief says nothing of it
    "other_dtype half double int64 int16 uint8 bool complex extra_row one_row extra_head fewer_heads longer shorter"
    " wider narrower flat deep column"
)


@verb(spoils=BAD_SLOTS | BAD_TENSORS | ways(*NAMES, only=WAYS), recalled=True, often=4)
def forward(
    file, mixed, decay, beta, query, key, value, slots: Slots = ("a",),
    draft: switch("Whether the tokens are drafts.") = False,
    reused: switch("Whether the caller writes over its tensors behind the call.") = False,
    watched: switch("Whether the caller looks at its tensors again behind every later call.") = False,
    alike: switch("Whether all rows are the first one, in the same memory.") = False,
    on: Cache = "p",
):  # fmt: skip
    """Take new tokens in; returns both layers' outputs, and the lengths after."""
    cache = cache_named(file, on)
    rows = [number(file, name, on) for name in slots]
    how = {"draft": True} if draft else {}
    tensors = mine = mixed, decay, beta, query, key, value
    if on == "d":
        own = file.keep.weight.dtype
        tensors = mine = [of_another_dtype(x) if x.dtype == own else x for x in tensors]
    if reused or watched or alike:
        mine = [(x[:1] if alike else x).clone() for x in tensors]
        tensors = [m.expand(x.shape) for m, x in zip(mine, tensors, strict=True)]
    owned = [] if tensors[0] is mixed else mine
    watch(file, *owned)
    names = ("slots", "mixed", "decay", "beta", "query", "key", "value")
    given_now = dict(zip(names, (rows, *tensors), strict=True))
    answer = ask(file, on, "forward", how, **given_now)
    recurrent, attention = parts(answer, "recurrent", "attention")
    after = lengths(cache)
    unwritten(file)
    if reused:
        over(file, *owned)
        rows[:] = [0] * len(rows)

    def shown():
        unwritten(file)
        return {"recurrent": recurrent, "attention": attention, "lengths": after}

    return shown


@verb
def start(file, slot: Slot = "a", on: Cache = "p"):
    """Give a slot to a new sequence; returns the lengths after."""
    ask(file, on, "start", slot=number(file, slot, on))
    return {"lengths": lengths(cache_named(file, on))}


@verb(recalled=True, exact="window")
def state_of(file, slot: Slot = "a", on: Cache = "p"):
    """Read a slot's window and state."""
    answer = ask(file, on, "state_of", slot=number(file, slot, on))
    window, state = parts(answer, "window", "state")
    return lambda: {"window": window, "state": state}


@verb(often=2)
def rollback(file, count: Count, slot: Slot = "a", on: Cache = "p"):
    """Take drafts back; returns the lengths after."""
    ask(file, on, "rollback", slot=number(file, slot, on), count=count)
    return {"lengths": lengths(cache_named(file, on))}


@verb
def snapshot(file, to: Kept, slot: Slot = "a", on: Cache = "p"):
    """Take a snapshot of a slot."""
    file.keep.snapshots[on, to] = ask(file, on, "snapshot", slot=number(file, slot, on))
    return {"taken": True}


@verb
def restore(file, kept: Kept, slot: Slot = "a", on: Cache = "p"):
    """Let a slot hold what a snapshot holds, or what it holds itself where none of the name was taken."""
    place = number(file, slot, on)
    if (on, kept) not in file.keep.snapshots:
        file.keep.snapshots[on, kept] = ask(file, on, "snapshot", slot=place)
    ask(file, on, "restore", slot=place, snapshot=file.keep.snapshots[on, kept])
    return {"lengths": lengths(cache_named(file, on))}


@verb(often=2)
def share(file, count: Shared, source: Slot = "a", target: Slot = "b", on: Cache = "p"):
    """Start a sequence with the first tokens of another; returns how many, and the lengths after."""
    places = {"source": number(file, source, on), "target": number(file, target, on)}
    hit = given(ask(file, on, "share", **places, count=count))
    return {"hit": int(hit), "lengths": lengths(cache_named(file, on))}


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
    "deep_weight": {"weight": lambda x: x[..., None]},
    "a_channel_more": {"weight": lambda x: x[[0, *range(len(x))]]},
    "a_channel_less": {"weight": lambda x: x[1:]},
    "negative_slots": {"slots": -1},
    "negative_room": {"capacity": -2},
    "negative_heads": {"heads": -2},
    "negative_head_dim": {"head_dim": -4},
    "negative_block": {"block": -2},
}
FITTING = {  # the weight has the channels that these sizes come to
    "fewer_value_heads": {"value_heads": 1},
    "odd_value_heads": {"value_heads": 3},
    "values_alone": {"key_heads": 0},
    "keys_of_nothing": {"key_dim": 0},
    "keys_alone": {"value_heads": 0},
    "values_of_nothing": {"value_dim": 0},
    "negative_keys": {"key_heads": -2, "key_dim": -3},
    "negative_values": {"value_heads": -4, "value_dim": -2},
}


@verb
def make(
    file, sizes: choice((*BAD_SIZES, *FITTING), "What is wrong with the sizes, or with the weight.")
):
    """Make a cache of sizes that must be refused."""
    wanted = file.keep.sizes | (BAD_SIZES | FITTING)[sizes]
    change, weight = wanted.pop("weight", None), file.keep.weight
    if change:
        weight = change(weight)
    if sizes in FITTING:
        keys, values = ("key_heads", "key_dim"), ("value_heads", "value_dim")
        keys, values = (wanted[count] * wanted[size] for count, size in (keys, values))
        weight = weight.new_ones(2 * keys + values, weight.shape[1])
    need(file, "HybridCache")(weight, **wanted)
    return {"made": True}


@made("state", "q", "k", "v", "faded", "taken")
def folded(
    case,
    tokens: whole(1, 128, "Tokens N; 1 unless given.") = 1,
    fade: Fade = 0.3,
    ends: Ends = "drawn",
    empty: switch("Whether the state is zero.") = False,
):
    """A state [Hv, K, V], and tokens of the delta layer behind convolution and norm, head by head."""
    heads = case.value_heads
    state = case.draw(heads, case.key_dim, case.value_dim, scale=0.0 if empty else 2.0)
    q, k = (case.draw(heads, tokens, case.key_dim, scale=0.5) for _ in range(2))
    v = case.draw(heads, tokens, case.value_dim, scale=3.0)
    gates = -abs(case.draw(heads, tokens, scale=fade)), abs(case.draw(heads, tokens, scale=0.55))
    return state, q, k, v, *at_ends(case, ends, *gates)


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

"""Verbs of the prefix_blocks challenge: block managers alone, and engines that serve requests over them.

Sequences and requests have the names a to e.  Tokens are stretches of three texts, `u`, `v` and `w`, which are the same
wherever a case speaks of them: `{"text": "u", "keep": 6, "then": "v", "more": 3}` are the first 6 tokens of u and then
3 of v.  A step is about a manager, `m` or `n`, or an engine, `p`, `q` or `r`; each is made where it is first named.
"""

from grader.kit import (
    Wrong,
    both_sides,
    choice,
    drawn,
    given,
    guarded,
    helper,
    made,
    need,
    switch,
    verb,
    whole,
    wholes,
)  # fmt: skip

LONGEST = 160  # tokens of a text
ADAPTERS = {
    "none": None, "zero": 0, "one": 1, "two": 2, "far": 65537, "minus one": -1, "minus two": -2,
    "huge": 2**61 - 1, "unknown": 7,
}  # fmt: skip
SALTS = {
    "none": None, "empty": "", "None": "None", "a": "a", "b": "b", "1": "1", "buckeroo": "buckeroo",
    "plumless": "plumless",
}  # fmt: skip

Name = choice(("a", "b", "c", "d", "e"), "Name of the sequence or request.")
Manager = choice(("m", "n"), "Name of the manager.")
Served = choice(("p", "q", "r"), "Name of the engine.")
Text = choice(("u", "v", "w"), "Text of the first tokens, u.")
Then = choice(("u", "v", "w"), "Text of those behind them, w.")
Skip = whole(0, 80, "First tokens of the text that are left out.", usual=(0, 9))
Keep = whole(1, 80, "Tokens of the text, 4.", usual=(1, 13), refused=(0,))
More = whole(0, 40, "Tokens of the other text.", usual=(0, 6))
Stated = wholes(0, 12, "Tokens, instead of those of a text.", length=(1, 24), refused=(-1, 64))
Adapter = choice(tuple(ADAPTERS), "Adapter, none.")
Salt = choice(tuple(SALTS), "Salt, none.")
Count = whole(1, 40, "Tokens that the request is to get.", usual=(1, 6), refused=(0,))
Token = whole(0, 12, "The token.", refused=(-1, 64))
Stop = whole(0, 12, "The token that ends the request.")
Times = whole(1, 48, "Steps, 1.", usual=(1, 5))


class Setup:
    """Sizes of the case."""

    blocks: whole(1, 64, "Blocks N, 8.", usual=(3, 9)) = 8
    block_size: whole(1, 16, "Tokens of a block, 4.", usual=(1, 4)) = 4
    budget: whole(1, 64, "Tokens of a step, 8.", usual=(2, 10)) = 8
    layers: whole(1, 4, "Layers L, 2.", usual=(1, 2)) = 2
    dim: whole(1, 32, "Features D, 6.", usual=(4, 8)) = 6
    vocabulary: whole(2, 64, "Tokens V of the model, 13.", usual=(11, 17)) = 13
    places: whole(1, 160, "Positions P of the model, 64.", usual=(40, 70)) = 64

    dtypes = ("float32", "float64")


class RandomScenarios:
    """Any calls, and stories in which sequences or requests meet that begin alike."""

    verbs = (
        "find", "start", "append", "fork", "release", "tables", "scribble", "add", "step", "branch", "cancel",
        "result", "got", "scrawl",
    )  # fmt: skip
    steps = (1, 4)

    def amended(case, choose):
        """Let most cases go on with calls that build on each other, among few blocks."""
        if not choose.below(5):
            return case
        setup = case["setup"]
        setup["block_size"] = choose.one_of((2, 1, 3, 4))
        setup["budget"] = choose.between(2, 10)
        setup["places"] = 64
        if choose.one_in(2):
            setup["blocks"] = choose.between(3, 9)
            case["steps"] = Sequences(choose, setup["block_size"]).told()
        else:
            setup["blocks"] = choose.between(4, 10)
            case["steps"] = Requests(choose, setup["blocks"] * setup["block_size"]).told()
        return case


class Texts:
    """Texts and owners of a story, of which most are alike."""

    def __init__(self, choose):
        """Choose what most texts of the story have in common."""
        self.choose, self.steps = choose, []
        self.usual = {}
        if choose.one_in(3):
            self.usual = {"adapter": choose.one_of(tuple(ADAPTERS)), "salt": choose.one_of(tuple(SALTS))}  # fmt: skip

    def words(self, most):
        """A text of at most so many tokens."""
        text = self.choose.one_of(("u", "u", "v"))
        keep = self.choose.between(1, max(1, most))
        more = self.choose.between(0, min(3, max(0, most - keep)))
        said = {"text": text, "keep": keep}
        return said | {"then": self.choose.one_of(("w", "v")), "more": more} if more else said

    def owner(self):
        """Whose a text is: mostly the same, or somebody who looks like it."""
        if not self.choose.one_in(4):
            return self.usual
        adapters, salts = tuple(ADAPTERS), tuple(SALTS)
        return {"adapter": self.choose.one_of(adapters), "salt": self.choose.one_of(salts)}


class Sequences(Texts):
    """Calls of one manager."""

    def __init__(self, choose, size):
        """Begin with nothing held."""
        super().__init__(choose)
        self.size, self.lengths = size, {}

    def told(self):
        """Return the steps."""
        for _ in range(self.choose.between(4, 16)):
            name = self.choose.one_of(("a", "b", "c", "d"))
            if name not in self.lengths or self.choose.one_in(12):
                self.begins(name)
            else:
                self.choose.one_of((self.grows, self.ends, self.forked, self.grows, self.asked))(
                    name
                )
        return self.steps

    def begins(self, name):
        """A new sequence."""
        words = self.words(4 * self.size + 1)
        self.steps.append({"do": "start", "name": name, **words, **self.owner()})
        self.lengths[name] = words["keep"] + words.get("more", 0)

    def grows(self, name):
        """More tokens, in most cases those that follow in the text."""
        skip, keep = min(self.lengths[name], 40), self.choose.between(1, self.size + 2)
        text = self.choose.one_of(("u", "u", "v", "w"))
        self.steps.append({"do": "append", "name": name, "text": text, "skip": skip, "keep": keep})
        self.lengths[name] += keep

    def ends(self, name):
        """The end of a sequence."""
        self.steps.append({"do": "release", "name": name})
        del self.lengths[name]

    def forked(self, name):
        """A fork, which goes on."""
        child = self.choose.one_of(("e", "d", "c"))
        self.steps.append({"do": "fork", "name": name, "child": child})
        self.lengths.setdefault(child, self.lengths[name])
        self.grows(self.choose.one_of((name, child)))

    def asked(self, name):
        """A look at what is found."""
        self.steps.append({"do": "find", **self.words(5 * self.size), **self.owner()})


class Requests(Texts):
    """Calls of one engine."""

    def __init__(self, choose, room):
        """Begin with no request."""
        super().__init__(choose)
        self.room, self.names = room, []

    def told(self):
        """Return the steps."""
        self.comes("a")
        self.runs()
        for name in ("b", "c", "d")[: self.choose.between(0, 3)]:
            self.comes(name)
            self.choose.one_of((self.runs, self.runs, self.forks, self.goes))()
        if self.choose.one_in(2):
            self.forks()
        for _ in range(self.choose.between(2, 6)):
            self.runs()
        for name in self.names:
            self.steps.append({"do": "result", "name": name})
        return self.steps

    def comes(self, name):
        """A new request, which may need nearly all blocks."""
        count = self.choose.between(1, max(1, min(8, self.room // 2)))
        words = self.words(max(1, min(self.room - count - 3, 14)))
        stop = {"stop": self.choose.below(5)} if self.choose.one_in(5) else {}
        self.steps.append(
            {"do": "add", "name": name, "count": count, **words, **self.owner(), **stop}
        )
        self.names.append(name)

    def runs(self):
        """Some steps."""
        self.steps.append({"do": "step", "times": self.choose.between(1, 4)})

    def forks(self):
        """A fork of one of the requests."""
        name = self.choose.one_of(self.names)
        token = self.choose.below(3)
        self.steps.append({"do": "branch", "name": name, "child": "e", "token": token})
        self.runs()

    def goes(self):
        """A request is cancelled."""
        self.steps.append({"do": "cancel", "name": self.choose.one_of(self.names)})


@made("sizes")
def sizes(case):
    """What engines and managers are made with."""
    return {name: getattr(case, name) for name in ("blocks", "block_size", "budget")}


@drawn(
    embed="Embedding [V, D]", place="Embedding of positions [P, D]", head="Head [V, D]",
    q="Weights of queries [L, D, D]", k="Weights of keys [L, D, D]", v="Weights of values [L, D, D]",
    adapters="What adapters add [7, D]",
)  # fmt: skip
def weights(case):
    """The model."""
    tokens, dim, square = case.vocabulary, case.dim, (case.layers, case.dim, case.dim)
    flat = case.draw(tokens, dim), case.draw(case.places, dim), case.draw(tokens, dim)
    return *flat, *(case.draw(*square, scale=dim**-0.5) for _ in "qkv"), case.draw(7, dim)


@made("tokens")
def words(
    case, text: Text = "u", skip: Skip = 0, keep: Keep = 4, then: Then = "w", more: More = 0,
    stated: Stated = None,
):  # fmt: skip
    """Tokens of one text, and behind them of another."""
    if stated is not None:
        return stated
    first, last = skip + keep, skip + keep + more
    return text_of(case, text)[skip:first] + text_of(case, then)[first:last]


def text_of(case, name):
    """All tokens of a text; numbers from -sqrt(3) to sqrt(3) are cut into as many ranges as there are tokens."""
    numbers = case.named(f"text-{name}", LONGEST)
    shares = [(float(x) / 3**0.5 + 1) / 2 for x in numbers]
    return [max(0, min(int(share * case.vocabulary), case.vocabulary - 1)) for share in shares]


@verb
def create(file, sizes, embed, place, head, q, k, v, adapters):
    """Keep sizes and weights; managers and engines are made where they are first named."""
    file.keep.sizes, file.keep.adapters = dict(sizes), adapters
    file.keep.weights = {"embed": embed, "place": place, "head": head, "q": q, "k": k, "v": v}
    file.keep.managers, file.keep.engines = {}, {}


def manager_named(file, name):
    """The manager of this name."""
    if name not in file.keep.managers:
        size = file.keep.sizes
        made = need(file, "BlockManager")(size["blocks"], size["block_size"])
        file.keep.managers[name] = made
    return guarded(file.keep.managers[name])


def engine_named(file, name):
    """The engine of this name; q reads its weights of queries backwards, and r has no adapters."""
    if name not in file.keep.engines:
        weights = dict(file.keep.weights)
        if name == "q":
            weights["q"] = weights["q"].flip(1)
        known = [number for name, number in ADAPTERS.items() if name not in ("none", "unknown")]
        adapters = dict(zip(known, file.keep.adapters, strict=True))
        more = {} if name == "r" else {"adapters": adapters}
        made = need(file, "Engine")(weights, **more, **file.keep.sizes)
        weights.clear()
        adapters.clear()
        file.keep.engines[name] = made
    return guarded(file.keep.engines[name])


def owner(adapter, salt):
    """The arguments that say whose the tokens are; those that a case leaves out are left out."""
    said = {"adapter": ADAPTERS[adapter], "salt": SALTS[salt]}
    return {name: item for name, item in said.items() if item is not None}


def called(method, *arguments, tokens, **named):
    """Call a method with a list of tokens, which must come back as it was, and which the caller then writes over."""
    mine = list(tokens)
    answer = method(*arguments, mine, **named)
    if mine != list(tokens):
        raise Wrong(
            "mutated_input", "the call changed its argument `tokens`, which belongs to the caller"
        )
    mine[:] = [0] * len(mine)
    return answer


def state(manager, *names):
    """Who holds what, and what is free."""
    manager = guarded(manager)
    # each begins with the name, as what ran does: which names there are may hang on what was drawn
    tables = [[name, *given(manager.table(name))] for name in names]
    references, free = given(manager.references()), given(manager.free_blocks())
    return {"tables": tables, "references": list(references), "free": list(free)}


@verb
def find(file, tokens, adapter: Adapter = "none", salt: Salt = "none", on: Manager = "m"):
    """Ask how many tokens are cached."""
    manager = manager_named(file, on)
    found = called(manager.find, tokens=tokens, **owner(adapter, salt))
    return {"found": int(given(found)), **state(manager)}


@verb(often=3)
def start(
    file,
    tokens,
    name: Name = "a",
    adapter: Adapter = "none",
    salt: Salt = "none",
    on: Manager = "m",
):
    """Begin a sequence; returns how many tokens were cached, or that there is no room."""
    manager = manager_named(file, on)
    found = called(manager.start, name, tokens=tokens, **owner(adapter, salt))
    if found is None:
        return {"found": "no room", **state(manager)}
    return {"found": int(found), **state(manager, name)}


@verb(often=3)
def append(file, tokens, name: Name = "a", on: Manager = "m"):
    """Add tokens to a sequence; returns the blocks to copy, or that there is no room."""
    manager = manager_named(file, on)
    copies = called(manager.append, name, tokens=tokens)
    told = "no room" if copies is None else [[int(x) for x in pair] for pair in copies]
    return {"copies": told, **state(manager, name)}


@verb
def fork(file, child: Name, name: Name = "a", on: Manager = "m"):
    """Begin a sequence that holds what another holds."""
    manager = manager_named(file, on)
    manager.fork(name, child)
    return state(manager, child)


@verb(often=2)
def release(file, name: Name = "a", on: Manager = "m"):
    """End a sequence."""
    manager = manager_named(file, on)
    manager.release(name)
    return state(manager)


@verb(recalled=True)
def tables(file, name: Name = "a", on: Manager = "m"):
    """Read a sequence's blocks, who holds what, and what is free."""
    manager = manager_named(file, on)
    table, references = given(manager.table(name)), given(manager.references())
    free = given(manager.free_blocks())
    return lambda: {"table": list(table), "references": list(references), "free": list(free)}


@verb
def scribble(file, name: Name = "a", on: Manager = "m"):
    """Write over the lists that a manager returned; returns what it then says."""
    manager = manager_named(file, on)
    for returned in (manager.table(name), manager.references(), manager.free_blocks()):
        given(returned).clear()
    return state(manager, name)


def seen(engine):
    """Queues and blocks of an engine."""
    running, waiting = list(given(engine.running())), list(given(engine.waiting()))
    return {"running": running, "waiting": waiting, **state(given(engine.blocks), *running)}


@verb(often=4)
def add(
    file, tokens, name: Name = "a", count: Count = 3, adapter: Adapter = "none", salt: Salt = "none",
    stop: Stop = None, on: Served = "p",
):  # fmt: skip
    """Add a request."""
    engine = engine_named(file, on)
    ends = {} if stop is None else {"stop": stop}
    mine = list(tokens)
    engine.add(name, mine, count, **owner(adapter, salt), **ends)
    if mine != list(tokens):
        raise Wrong(
            "mutated_input", "the call changed its argument `prompt`, which belongs to the caller"
        )
    mine[:] = [0] * len(mine)
    return seen(engine)


@verb(often=5)
def step(file, times: Times = 1, on: Served = "p"):
    """Run some steps; returns what ran in each, and what the requests that ran have got."""
    engine = engine_named(file, on)
    ran, names = [], []
    for _ in range(times):
        done = [(str(name), int(count)) for name, count in given(engine.step())]
        ran.append([part for pair in done for part in pair])  # name, count, name, count
        names += [name for name, _ in done if name not in names]
    outputs = [[name, *map(int, given(engine.output(name)))] for name in names]
    return {"ran": ran, "outputs": outputs, **seen(engine)}


@verb
def branch(file, child: Name, token: Token, name: Name = "a", on: Served = "p"):
    """Fork a request, with another newest token."""
    engine = engine_named(file, on)
    engine.fork(name, child, token)
    return {"output": [*map(int, given(engine.output(child)))], **seen(engine)}


@verb
def cancel(file, name: Name = "a", on: Served = "p"):
    """Forget a request."""
    engine = engine_named(file, on)
    engine.cancel(name)
    return seen(engine)


@verb(recalled=True, often=2)
def result(file, name: Name = "a", on: Served = "p"):
    """Read what a request has got, and the logits of its newest token."""
    engine = engine_named(file, on)
    output, logits = given(engine.output(name)), given(engine.logits(name))
    return lambda: {"output": [int(token) for token in output], "logits": logits}


@verb
def got(file, name: Name = "a", on: Served = "p"):
    """Read what a request has got so far."""
    return {"output": [*map(int, given(engine_named(file, on).output(name)))]}


@verb
def scrawl(file, name: Name = "a", on: Served = "p"):
    """Write over what an engine returned; returns what it then says."""
    engine = engine_named(file, on)
    given(engine.logits(name)).fill_(7)
    for returned in (engine.output(name), engine.running(), engine.waiting()):
        given(returned).clear()
    return {"output": [*map(int, given(engine.output(name)))], **seen(engine)}


BAD_SIZES = {
    "no_blocks": {"blocks": 0},
    "no_tokens": {"block_size": 0},
    "no_budget": {"budget": 0},
    "blocks_below_none": {"blocks": -3},
}


@verb
def make(
    file, wrong: choice(BAD_SIZES, "What is wrong with the sizes."),
    alone: switch("Whether it is a manager, and no engine.") = False,
):  # fmt: skip
    """Make an engine, or a manager, of sizes that must be refused."""
    size = file.keep.sizes | BAD_SIZES[wrong]
    if alone:
        need(file, "BlockManager")(size["blocks"], size["block_size"])
    else:
        need(file, "Engine")(file.keep.weights, **size)
    return {"made": True}


@drawn(query="Queries [S, D]")
def queries(case, queries: whole(1, 16, "Queries S; 1 unless given.") = 1):
    """New tokens of a helper."""
    return case.draw(queries, case.dim)


@drawn(keys="Keys [T, D]", values="Values [T, D]")
def held(case, held: whole(1, 32, "Tokens T; 4 unless given.") = 4):
    """All tokens of a helper."""
    return case.draw(held, case.dim), case.draw(held, case.dim)


attention = helper("_attention", "output", query=queries, keys=held, values=held)

Plan, Verbs = both_sides(globals())

"""Verbs of the prefix_blocks challenge: block managers alone, and engines that serve requests over them.

Sequences and requests have the names a to e, or a name without a letter.  Tokens are stretches of three texts, `u`, `v`
and `w`, which are the same wherever a case speaks of them: `{"text": "u", "keep": 6, "then": "v", "more": 3}` are the
first 6 tokens of u and then 3 of v.  A step is about a manager or an engine; each is made where it is first named.

    m  a manager                                         p  an engine
    n  another, which is told arguments by their names   q  the weights of its queries are read backwards
    o  another of other sizes, which is told them by     r  it has no adapters
       their places                                      s  it has other weights and adapters, and is told arguments by
                                                            their names
                                                         t  it has other sizes, and computes in float64
"""

import gc

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
    real,
    switch,
    verb,
    whole,
    wholes,
)  # fmt: skip

LONGEST = 480  # tokens of a text
ADAPTERS = {
    "none": None, "zero": 0, "one": 1, "two": 2, "far": 65537, "minus one": -1, "minus two": -2,
    "huge": 2**61 - 1, "unknown": 7,
}  # fmt: skip
SALTS = {
    "none": None, "empty": "", "None": "None", "a": "a", "b": "b", "1": "1", "buckeroo": "buckeroo",
    "plumless": "plumless", "A": "A", "a blank": "a ", "long": "tenant/" + 40 * "0" + "1",
    "longer": "tenant/" + 41 * "0" + "1", "last letter": "tenant/" + 40 * "0" + "2",
}  # fmt: skip
MOVED = {
    "nothing": 0,
    "minus two": -2,
    "a byte": 256,
    "two bytes": 65536,
    "four bytes": 2**32,
    "huge": 2**61 - 1,
}

Name = choice(("a", "b", "c", "d", "e", ""), "Name of the sequence or request.")
Manager = choice(("m", "n", "o"), "Name of the manager.")
Served = choice(("p", "q", "r", "s", "t"), "Name of the engine.")
Asked = choice(
    ("m", "n", "o", "p", "q", "r", "s", "t"), "Name of the manager, or of the engine whose it is."
)
Moved = choice(tuple(MOVED), "Number that is added to each token, nothing.")
Over = switch("Whether the caller then writes over what was returned.")
Text = choice(("u", "v", "w"), "Text of the first tokens, u.")
Then = choice(("u", "v", "w"), "Text of those behind them, w.")
Skip = whole(0, 80, "First tokens of the text that are left out.", usual=(0, 9))
Keep = whole(1, 320, "Tokens of the text, 4.", usual=(1, 13), refused=(0,))
More = whole(0, 40, "Tokens of the other text.", usual=(0, 6))
But = whole(0, 80, "Place of a token that is another one.", usual=(0, 9))
Stated = wholes(0, 12, "Tokens, instead of those of a text.", length=(1, 24), refused=(-1, 64))
Adapter = choice(tuple(ADAPTERS), "Adapter, none.")
Salt = choice(tuple(SALTS), "Salt, none.")
Count = whole(1, 40, "Tokens that the request is to get.", usual=(1, 6), refused=(0,))
Token = whole(0, 12, "The token.", refused=(-1, 64))
Stop = whole(0, "vocabulary - 1", "The token that ends the request.")
Times = whole(1, 48, "Steps, 1.", usual=(1, 5))


class Setup:
    """Sizes of the case."""

    blocks: whole(1, 128, "Blocks N, 8.", usual=(3, 9)) = 8
    block_size: whole(1, 16, "Tokens of a block, 4.", usual=(1, 4)) = 4
    budget: whole(1, 320, "Tokens of a step, 8.", usual=(2, 10)) = 8
    layers: whole(1, 4, "Layers L, 2.", usual=(1, 2)) = 2
    dim: whole(1, 32, "Features D, 6.", usual=(4, 8)) = 6
    vocabulary: whole(2, 64, "Tokens V of the model, 13.", usual=(11, 17)) = 13
    places: whole(1, 400, "Positions P of the model, 64.", usual=(40, 70)) = 64
    loud: real(1, 1e6, "Number that the weights of queries are multiplied by, 1.", usual=(1,)) = 1
    raised: real(
        -1e6, 1e6, "Number that is added to all scores of the engine p, and of a helper, 0.",
        usual=(0,),
    ) = 0  # fmt: skip

    dtypes = ("float32", "float64")


class RandomScenarios:
    """Any calls, and stories in which sequences or requests meet that begin alike."""

    verbs = (
        "find", "start", "append", "fork", "release", "tables", "scribble", "add", "step", "branch", "cancel",
        "result", "got", "queues", "scrawl", "anew",
    )  # fmt: skip
    steps = (1, 4)

    def amended(case, choose):
        """Let most cases go on with calls that build on each other, among few blocks."""
        # in float32 a score in the hundreds is rounded so much that it may decide which token comes next
        if case["dtype"] == "float64" and choose.one_in(3):
            case["setup"] |= choose.one_of(({"loud": 300}, {"raised": -40000}, {"raised": 1000}))
        if not choose.below(5):
            return case
        setup = case["setup"]
        setup["block_size"] = choose.one_of((2, 1, 3, 4))
        setup["budget"] = choose.between(1, 10)
        setup["places"] = 64
        if choose.one_in(2):
            setup["blocks"] = choose.between(3, 9)
            case["steps"] = Sequences(choose, setup["block_size"]).told()
        else:
            setup["blocks"] = choose.between(4, 10)
            if choose.one_in(4):  # so that requests stop
                setup["vocabulary"] = choose.between(2, 4)
            case["steps"] = Requests(choose, setup).told()
        return case


class Texts:
    """Texts and owners of a story, of which most are alike."""

    def __init__(self, choose, others):
        """Choose what most texts of the story have in common, and whether it goes on in two places at once."""
        self.choose, self.steps = choose, []
        self.usual = {}
        if choose.one_in(2):
            self.usual = {"adapter": choose.one_of(tuple(ADAPTERS)), "salt": choose.one_of(tuple(SALTS))}  # fmt: skip
        self.places = [{}]
        if choose.one_in(3):
            self.places.append({"on": choose.one_of(others)})

    def words(self, most):
        """A text of at most so many tokens."""
        text = self.choose.one_of(("u", "u", "v"))
        keep = self.choose.between(1, max(1, most))
        more = self.choose.between(0, min(3, max(0, most - keep)))
        said = {"text": text, "keep": keep}
        if more:
            said |= {"then": self.choose.one_of(("w", "v")), "more": more}
        if self.choose.one_in(8):
            said["but"] = self.choose.below(keep)
        return said

    def owner(self):
        """Whose a text is: mostly the same, or somebody who looks like it."""
        if not self.choose.one_in(4):
            return self.usual
        adapters, salts = tuple(ADAPTERS), tuple(SALTS)
        return {"adapter": self.choose.one_of(adapters), "salt": self.choose.one_of(salts)}

    def place(self):
        """Where the next call is made."""
        return self.choose.one_of(self.places)

    def says(self, do, place, **said):
        """Add a step."""
        self.steps.append({"do": do, **said, **place})


class Sequences(Texts):
    """Calls of one manager, or of two in turns."""

    def __init__(self, choose, size):
        """Begin with nothing held."""
        super().__init__(choose, ("n", "o"))
        self.size, self.lengths = size, {}
        self.moved = choose.one_of(tuple(MOVED)) if choose.one_in(4) else "nothing"

    def told(self):
        """Return the steps."""
        for _ in range(self.choose.between(4, 16)):
            place, name = self.place(), self.choose.one_of(("a", "b", "c", "d"))
            if (name, *place.values()) not in self.lengths or self.choose.one_in(12):
                self.begins(name, place)
            else:
                does = self.grows, self.ends, self.forked, self.grows, self.asked, self.looked_at
                self.choose.one_of(does)(name, place)
        if self.choose.one_in(3):
            self.steps.append({"do": "recall"})
        return self.steps

    def moves(self):
        """Whether a text's tokens are other numbers that may look like them."""
        if self.moved == "nothing" or not self.choose.one_in(2):
            return {}
        return {"moved": self.moved}

    def begins(self, name, place):
        """A new sequence."""
        words = self.words(4 * self.size + 1)
        self.says("start", place, name=name, **words, **self.owner(), **self.moves())
        self.lengths[name, *place.values()] = words["keep"] + words.get("more", 0)

    def grows(self, name, place):
        """More tokens, in most cases those that follow in the text."""
        length = self.lengths[name, *place.values()]
        skip, keep = min(length, 40), self.choose.between(1, self.size + 2)
        text = self.choose.one_of(("u", "u", "v", "w"))
        over = {"over": True} if self.choose.one_in(6) else {}
        more = {"text": text, "skip": skip, "keep": keep}
        self.says("append", place, name=name, **more, **self.moves(), **over)
        self.lengths[name, *place.values()] = length + keep

    def ends(self, name, place):
        """The end of a sequence."""
        self.says("release", place, name=name)
        del self.lengths[name, *place.values()]

    def forked(self, name, place):
        """A fork, which goes on."""
        child = self.choose.one_of(("e", "d", "c"))
        self.says("fork", place, name=name, child=child)
        self.lengths.setdefault((child, *place.values()), self.lengths[name, *place.values()])
        self.grows(self.choose.one_of((name, child)), place)

    def asked(self, name, place):
        """A look at what is found."""
        self.says("find", place, **self.words(5 * self.size), **self.owner(), **self.moves())

    def looked_at(self, name, place):
        """A look at tables, after which they may be written over."""
        self.says(self.choose.one_of(("tables", "scribble")), place, name=name)


class Requests(Texts):
    """Calls of one engine, or of two in turns."""

    def __init__(self, choose, setup):
        """Begin with no request."""
        super().__init__(choose, ("s", "q", "t", "r"))
        self.room, self.names = setup["blocks"] * setup["block_size"], []
        self.ends = range(min(5, setup.get("vocabulary", 5)))  # tokens that some requests stop at

    def told(self):
        """Return the steps."""
        self.comes("a", self.places[0])
        self.runs()
        for name in ("b", "c", "d")[: self.choose.between(0, 3)]:
            self.comes(name, self.place())
            self.choose.one_of((self.runs, self.runs, self.forks, self.goes, self.looked_at))()
        if self.choose.one_in(2):
            self.forks()
        for _ in range(self.choose.between(2, 6)):
            self.runs()
        if self.choose.one_in(4):
            self.looked_at()
            self.comes(*self.choose.one_of(self.names))
            self.runs()
            self.runs()
        for name, place in self.names:
            self.says("result", place, name=name)
        if self.choose.one_in(3):
            self.steps.append({"do": "recall"})
        return self.steps

    def comes(self, name, place):
        """A new request, which may need nearly all blocks; where two engines serve, often one for each."""
        count = self.choose.between(1, max(1, min(8, self.room // 2)))
        words = self.words(max(1, min(self.room - count - 3, 14)))
        stop = {"stop": self.choose.one_of(self.ends)} if self.choose.one_in(5) else {}
        said = {"name": name, "count": count, **words, **self.owner(), **stop}
        both = len(self.places) > 1 and self.choose.one_in(2)
        for where in self.places if both else (place,):
            self.says("add", where, **said)
            self.names.append((name, where))

    def runs(self):
        """Some steps, of each engine."""
        over = {"over": True} if self.choose.one_in(6) else {}
        for place in self.places:
            self.says("step", place, times=self.choose.between(1, 4), **over)

    def forks(self):
        """A fork of one of the requests."""
        name, place = self.choose.one_of(self.names)
        token = self.choose.below(3)
        child = self.choose.one_of(("e", "e", "d", "a"))
        self.says("branch", place, name=name, child=child, token=token)
        self.runs()

    def goes(self):
        """A request is cancelled."""
        name, place = self.choose.one_of(self.names)
        self.says("cancel", place, name=name)

    def looked_at(self):
        """A look at one of the requests, after which what was returned may be written over, or at what is found."""
        name, place = self.choose.one_of(self.names)
        do = self.choose.one_of(("result", "got", "queues", "scrawl", "find"))
        if do == "find":
            self.says("find", place or {"on": "p"}, **self.words(14), **self.owner())
        elif do == "queues":
            self.says("queues", place)
        else:
            self.says(do, place, name=name)


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
    embed, place, head = case.draw(tokens, dim), case.draw(case.places, dim), case.draw(tokens, dim)
    q, k, v = (case.draw(*square, scale=dim**-0.5) for _ in "qkv")
    adapters, q = case.draw(7, dim), q * case.loud
    if case.raised:  # the last feature of each token is 1 in all layers
        embed[:, -1], place[:, -1], adapters[:, -1], v[:, -1] = 1, 0, 0, 0
        q[:, -1], k[:, -1] = 0, 0
        q[:, -1, -1], k[:, -1, -1] = raising(case)
    return embed, place, head, q, k, v, adapters


def raising(case):
    """Last features of a query and of a key whose product adds to a score what the case says."""
    size = abs(case.raised * case.dim**0.5) ** 0.5
    return size, size if case.raised > 0 else -size


@made("tokens")
def words(
    case, text: Text = "u", skip: Skip = 0, keep: Keep = 4, then: Then = "w", more: More = 0,
    stated: Stated = None, but: But = None,
):  # fmt: skip
    """Tokens of one text, and behind them of another; one of them may be another one."""
    if stated is not None:
        return stated
    first, last = skip + keep, skip + keep + more
    said = text_of(case, text)[skip:first] + text_of(case, then)[first:last]
    if but is not None and but < len(said):
        said[but] = (said[but] + 1) % case.vocabulary
    return said


def text_of(case, name):
    """All tokens of a text; numbers from -sqrt(3) to sqrt(3) are cut into as many ranges as there are tokens."""
    shares = (case.named(f"text-{name}", LONGEST) / 3**0.5 + 1) / 2
    return (shares * case.vocabulary).astype(int).clip(0, case.vocabulary - 1).tolist()


@verb
def create(file, sizes, embed, place, head, q, k, v, adapters):
    """Keep sizes and weights; managers and engines are made where they are first named."""
    file.keep.sizes, file.keep.adapters = dict(sizes), adapters
    file.keep.weights = {"embed": embed, "place": place, "head": head, "q": q, "k": k, "v": v}
    file.keep.managers, file.keep.engines = {}, {}


def manager_named(file, name):
    """The manager of this name, or that of the engine of this name; o has other sizes."""
    if name not in "mno":
        return guarded(given(engine_named(file, name).blocks))
    if name not in file.keep.managers:
        size = sizes_on(file, name)
        made = need(file, "BlockManager")(size["blocks"], size["block_size"])
        file.keep.managers[name] = made
    return guarded(file.keep.managers[name])


def engine_named(file, name):
    """The engine of this name."""
    if name not in file.keep.engines:
        weights, adapters = weights_on(file, name)
        more = {} if name == "r" else {"adapters": adapters}
        made = need(file, "Engine")(weights, **more, **sizes_on(file, name))
        weights.clear()
        adapters.clear()
        file.keep.engines[name] = made
    return guarded(file.keep.engines[name])


def sizes_on(file, name):
    """Sizes of the manager or engine of this name."""
    more = name in ("o", "t")
    return {what: size + more for what, size in file.keep.sizes.items()}


def weights_on(file, name):
    """Weights and adapters of the engine of this name, in dictionaries of its own."""
    weights, vectors = dict(file.keep.weights), file.keep.adapters
    if name == "q":
        weights["q"] = weights["q"].flip(1)
    if name == "s":
        weights = {what: weight.flip(-1) for what, weight in weights.items()}
        vectors = vectors.flip(0)
    if name == "t":
        layers, dim = weights["q"].shape[:2]
        layers, dim = max(1, layers - 1), max(1, dim - 1)
        for what, weight in weights.items():
            part = weight[..., :dim] if weight.dim() == 2 else weight[:layers, :dim, :dim]
            weights[what] = part.double()
        vectors = vectors[:, :dim].double()
    known = [number for name, number in ADAPTERS.items() if name not in ("none", "unknown")]
    return weights, dict(zip(known, vectors, strict=True))


def call(method, on, **said):
    """Call a method: n and s are told arguments by their names, all others by their places."""
    return method(**said) if on in ("n", "s") else method(*said.values())


def owner(adapter, salt):
    """The arguments that say whose the tokens are; those that a case leaves out are left out."""
    said = {"adapter": ADAPTERS[adapter], "salt": SALTS[salt]}
    return {name: item for name, item in said.items() if item is not None}


def called(method, on, tokens, whose, name=None, moved="nothing"):
    """Call a method with a list of tokens, which must come back as it was, and which the caller then writes over."""
    mine = [token + MOVED[moved] for token in tokens]
    sent = [*mine]
    said = {"tokens": mine} if name is None else {"name": name, "tokens": mine}
    if on == "o" and whose:
        answer = method(*said.values(), whose.get("adapter"), whose.get("salt"))
    elif on == "n":
        answer = method(**said, **whose)
    else:
        answer = method(*said.values(), **whose)
    returned_as_sent(mine, sent, "tokens")
    return answer


def returned_as_sent(mine, sent, name):
    """Make sure that a list which was passed in came back as it was, and write over it."""
    if mine != sent:
        raise Wrong(
            "mutated_input", f"the call changed its argument `{name}`, which belongs to the caller"
        )
    mine[:] = [0] * len(mine)


def write_over(*lists):
    """Write over lists that were returned, also over empty ones."""
    for returned in lists:
        given(returned)[:] = [*reversed(returned), "nobody"]


def state(manager, *names):
    """Who holds what, and what is free."""
    manager = guarded(manager)
    # each begins with the name, as what ran does: which names there are may hang on what was drawn
    tables = [[name, *given(manager.table(name))] for name in names]
    references, free = given(manager.references()), given(manager.free_blocks())
    return {"tables": tables, "references": list(references), "free": list(free)}


@verb
def find(
    file,
    tokens,
    adapter: Adapter = "none",
    salt: Salt = "none",
    moved: Moved = "nothing",
    on: Asked = "m",
):
    """Ask how many tokens are cached."""
    manager = manager_named(file, on)
    found = called(manager.find, on, tokens, owner(adapter, salt), moved=moved)
    return {"found": int(given(found)), **state(manager)}


@verb(often=3)
def start(
    file,
    tokens,
    name: Name = "a",
    adapter: Adapter = "none",
    salt: Salt = "none",
    moved: Moved = "nothing",
    on: Manager = "m",
):
    """Begin a sequence; returns how many tokens were cached, or that there is no room."""
    manager = manager_named(file, on)
    found = called(manager.start, on, tokens, owner(adapter, salt), name, moved)
    if found is None:
        return {"found": "no room", **state(manager)}
    return {"found": int(found), **state(manager, name)}


@verb(recalled=True, often=3)
def append(
    file,
    tokens,
    name: Name = "a",
    moved: Moved = "nothing",
    over: Over = False,
    on: Manager = "m",
):
    """Add tokens to a sequence; returns the blocks to copy, or that there is no room."""
    manager = manager_named(file, on)
    copies = called(manager.append, on, tokens, {}, name, moved)
    if copies is None:
        told = {"copies": "no room", **state(manager, name)}
        return lambda: told
    pairs = [[int(x) for x in pair] for pair in copies]
    if over:
        write_over(copies)
    then = state(manager, name)
    if over:
        return lambda: {"copies": pairs, **then}
    return lambda: {"copies": [[int(x) for x in pair] for pair in copies], **then}


@verb
def fork(file, child: Name, name: Name = "a", on: Manager = "m"):
    """Begin a sequence that holds what another holds."""
    manager = manager_named(file, on)
    call(manager.fork, on, name=name, child=child)
    return state(manager, child)


@verb(often=2)
def release(file, name: Name = "a", on: Manager = "m"):
    """End a sequence."""
    manager = manager_named(file, on)
    call(manager.release, on, name=name)
    return state(manager)


@verb(recalled=True)
def tables(file, name: Name = "a", on: Asked = "m"):
    """Read a sequence's blocks, who holds what, and what is free."""
    manager = manager_named(file, on)
    table, references = given(call(manager.table, on, name=name)), given(manager.references())
    free = given(manager.free_blocks())
    return lambda: {"table": list(table), "references": list(references), "free": list(free)}


@verb
def scribble(file, name: Name = "a", on: Asked = "m"):
    """Write over the lists that a manager returned; returns what it said another time, and what it says then."""
    manager = manager_named(file, on)
    first, again = (
        (manager.table(name), manager.references(), manager.free_blocks()) for _ in range(2)
    )
    write_over(*first)
    said = dict(zip(("table", "references", "free"), map(list, map(given, again)), strict=True))
    return {**{f"{what} before": item for what, item in said.items()}, **state(manager, name)}


def seen(engine):
    """Queues and blocks of an engine."""
    running, waiting = list(given(engine.running())), list(given(engine.waiting()))
    return {"running": running, "waiting": waiting, **state(given(engine.blocks), *running)}


def numbers(tokens):
    """The tokens of an output."""
    return [int(token) for token in given(tokens)]


@verb(often=4)
def add(
    file, tokens, name: Name = "a", count: Count = 3, adapter: Adapter = "none", salt: Salt = "none",
    stop: Stop = None, on: Served = "p",
):  # fmt: skip
    """Add a request."""
    engine = engine_named(file, on)
    ends = {} if stop is None else {"stop": stop}
    mine = list(tokens)
    more = {**owner(adapter, salt), **ends}
    if on == "s":
        engine.add(name=name, prompt=mine, count=count, **more)
    else:
        engine.add(name, mine, count, **more)
    returned_as_sent(mine, list(tokens), "prompt")
    return seen(engine)


@verb(recalled=True, often=5)
def step(file, times: Times = 1, over: Over = False, on: Served = "p"):
    """Run some steps; returns what ran in each, and what the requests that ran have got."""
    engine = engine_named(file, on)
    returned, ran, names = [], [], []
    for _ in range(times):
        done = given(engine.step())
        ran.append(ran_in(done))
        names += [str(name) for name, _ in done if name not in names]
        if over:
            write_over(done)
        else:
            returned.append(done)
    outputs = [[name, *numbers(engine.output(name))] for name in names]
    then = {"outputs": outputs, **seen(engine)}
    if over:
        return lambda: {"ran": ran, **then}
    return lambda: {"ran": [ran_in(done) for done in returned], **then}


def ran_in(done):
    """What a step returned, as name, count, name, count."""
    return [part for name, count in done for part in (str(name), int(count))]


@verb
def branch(file, child: Name, token: Token, name: Name = "a", on: Served = "p"):
    """Fork a request, with another newest token."""
    engine = engine_named(file, on)
    call(engine.fork, on, name=name, child=child, token=token)
    return {"output": numbers(engine.output(child)), **seen(engine)}


@verb
def cancel(file, name: Name = "a", on: Served = "p"):
    """Forget a request."""
    engine = engine_named(file, on)
    call(engine.cancel, on, name=name)
    return seen(engine)


@verb(recalled=True, often=2)
def result(file, name: Name = "a", on: Served = "p"):
    """Read what a request has got, and the logits of its newest token."""
    engine = engine_named(file, on)
    output, logits = given(call(engine.output, on, name=name)), call(engine.logits, on, name=name)
    given(logits)
    return lambda: {"output": numbers(output), "logits": of_the_case(file, logits, on)}


def of_the_case(file, logits, on):
    """Logits of the engine t, which are float64, in the dtype of the case; all others as they are."""
    if on != "t":
        return logits
    if str(logits.dtype) != "torch.float64":
        raise Wrong("wrong_dtype", f"`logits` has dtype {logits.dtype}; torch.float64 is expected")
    return logits.to(file.keep.weights["q"].dtype)


@verb(recalled=True)
def got(file, name: Name = "a", on: Served = "p"):
    """Read what a request has got so far."""
    output = given(call(engine_named(file, on).output, on, name=name))
    return lambda: {"output": numbers(output)}


@verb(recalled=True)
def queues(file, on: Served = "p"):
    """Read which requests run, and which wait."""
    engine = engine_named(file, on)
    running, waiting = given(engine.running()), given(engine.waiting())
    return lambda: {"running": list(running), "waiting": list(waiting)}


@verb
def scrawl(
    file, name: Name = "a", lists: switch("Whether it is the lists alone, and no logits.") = False,
    on: Served = "p",
):  # fmt: skip
    """Write over what an engine returned; returns what it said another time, and what it says then."""
    engine = engine_named(file, on)
    before = {}
    if not lists:
        logits, other = given(engine.logits(name)), given(engine.logits(name))
        logits.fill_(7)
        before["logits"] = of_the_case(file, other, on)
    first, again = ((engine.output(name), engine.running(), engine.waiting()) for _ in range(2))
    write_over(*first)
    output, running, waiting = map(given, again)
    before |= {"output before": numbers(output), "running before": list(running)}
    before |= {"waiting before": list(waiting)}
    return {**before, "output": numbers(engine.output(name)), **seen(engine)}


@verb
def anew(file, on: Asked = "m"):
    """Put a manager or an engine away; where it is named again, it is a new one."""
    file.keep.managers.pop(on, None)
    file.keep.engines.pop(on, None)
    gc.collect()
    return {"away": True}


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
    query = case.draw(queries, case.dim) * case.loud
    if case.raised:
        query[:, -1] = raising(case)[0]
    return query


@drawn(keys="Keys [T, D]", values="Values [T, D]")
def held(case, held: whole(1, 320, "Tokens T; 4 unless given.") = 4):
    """All tokens of a helper."""
    keys, values = case.draw(held, case.dim), case.draw(held, case.dim)
    if case.raised:
        keys[:, -1] = raising(case)[1]
    return keys, values


attention = helper("_attention", "output", query=queries, keys=held, values=held)

Plan, Verbs = both_sides(globals())

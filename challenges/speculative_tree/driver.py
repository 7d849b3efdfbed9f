"""Verbs of the speculative_tree challenge: speculators and decoders, by name, and the file's helpers alone.

A step names rows by letters: `a` is the first row, `b` the last one, `c` the second.  `s` is a speculator whose target
and draft have weights of their own, `t` one with the two models exchanged; `p` is a decoder with the target's weights
and `q` one with the draft's.  `u` and `r` are like `s` and `p`, with the one row `a` and room for two tokens more.
Each is made where it is first named.

A tree is written as a text, a word for each node: its parent, and `+` for the target's choice behind that parent, `-`
for another token, `^` for a token that is too large, `!` for one below 0, or nothing where the token is left out; `~`
alone is a token without a parent.  So `-1+ 0- 0+ 2+` is a chain of three right guesses, with a wrong one beside the
second.  For `forward` the tokens of `+` and `-` are drawn.  A path is a text of nodes, such as `0 2 3`.

Every list that is passed in is written over behind the call, and equal lists of one call are one and the same.  A list
that comes back is either written over, or looked at again behind every later call.
"""

import re
from contextlib import contextmanager

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
    listed,
    made,
    need,
    numbers,
    parts,
    real,
    spoil,
    switch,
    text,
    verb,
    whole,
    wholes,
)  # fmt: skip

Row = choice(("a", "b", "c"), "Name of the row.")
Rows = choices(Row, "Names of the rows; a unless given.", length=(1, 3))
Speculator = choice(("s", "t", "u"), "Name of the speculator.")
Decoder = choice(("p", "q", "r"), "Name of the decoder.")
Whose = choice(
    ("p", "q", "s", "t", "s-draft", "t-draft", "r", "u", "u-draft"),
    "Whose cache: `s` is the target of s.",
)
Written = text(
    "A tree, a word for each node.", 400, r"^((-?\d{1,2}[-+^!]?|~)( |$))*$",
    usual=(
        "-1+ 0- 0+ 2+", "-1- -1+ 1- 1+ 3- 3+", "", "-1+", "-1-", "-1+ 0+ 1+", "-1+ 0+ 0- 1-", "-1- -1+ 0- 1+",
        "-1+ -1+ 1+ 2+", "-1+ -1- 1+ 0+ 3-", "-1- 0+ -1+ 2- 2+ 4+ 5-", "-1+ 0+ 1+ 2+ 3+ 4+ 5+", "-1+ 2+", "0+",
        "-2+ 0+", "-1+ 0^", "-1+ 0", "-1!", "-1+ ~", "~", "-1",
    ),
)  # fmt: skip
Trees = listed(Written, "A tree for each row.", (1, 3))
Path = text(
    "Nodes of the path.", 200, r"^(-?\d{1,2}( |$))*$", usual=("0", "", "0 2", "0 1", "1", "1 0", "-1"),
)  # fmt: skip
Paths = listed(Path, "A path for each row.", (1, 3))
Tokens = whole(0, 1100, "Tokens of the prompt, 4.", usual=(1, 7), refused=(0,))
Widths = wholes(1, 64, "Children of a node at each level.", length=(0, 5), usual=(1, 3), refused=(0, -1))  # fmt: skip
Parents = wholes(-1, 63, "Parents of the nodes.", length=(1, 64))


class Setup:
    """Sizes of the case."""

    rows: whole(3, 9, "Rows, 3.", usual=(3, 4)) = 3
    capacity: whole(1, 1200, "Tokens that a row has room for, 24.", usual=(14, 36)) = 24
    vocabulary: whole(5, 64, "Tokens of the vocabulary V, 9.", usual=(6, 12)) = 9
    more: whole(1, 32, "Features C of the model beyond V, 6.", usual=(3, 8)) = 6
    layers: whole(1, 12, "Layers of the target, 2.", usual=(1, 3)) = 2
    heads: whole(1, 8, "Heads H of the target, 2.", usual=(1, 3)) = 2
    head_dim: whole(2, 32, "Their dimension D, 4; even.", multiple=2, usual=(2, 6)) = 4
    draft_layers: whole(1, 4, "Layers of the draft, 1.", usual=(1, 2)) = 1
    draft_heads: whole(1, 8, "Heads of the draft, 1.", usual=(1, 3)) = 1
    draft_head_dim: whole(2, 32, "Their dimension, 6; even.", multiple=2, usual=(2, 6)) = 6
    theta: real(1, 1e6, "Base of the rotation, 100.", usual=(100.0, 10000.0, 8.0)) = 100.0
    agreement: choice(
        ("some", "all", "none"), "How often the draft finds likeliest what the target chooses."
    ) = "some"
    ties: switch("The even tokens from 2 on are all as likely, and likelier than the rest.") = False
    near: switch("They are nearly as likely, and float64 alone tells them apart.") = False
    defaults: switch("Whether theta is left to the file's own default.") = False
    draft_theta: real(
        0, 1e6, "Base of the draft, or 0 for that of the target.", usual=(0.0, 8.0)
    ) = 0.0
    sharp: switch("Whether scores go far beyond 10,000; float64 alone tells them apart.") = False
    draft_more: whole(
        0, 32, "Features C of the draft beyond V, or 0 for as many as the target.", usual=(0, 5)
    ) = 0
    draft_double: switch("Whether the draft is float64 whatever the target is.") = False

    dtypes = ("float32", "float64")


class RandomScenarios:
    """Any calls of speculators and decoders, and texts that are written in rounds."""

    verbs = ("start", "propose", "verify", "forward", "keep", "reset", "cache_of")
    steps = (1, 5)

    def amended(case, choose):
        """Let most cases tell of texts that are written in rounds, or of a decoder whose trees come true in part."""
        case["setup"].pop("defaults", None)
        case["setup"].pop("sharp", None)
        case["setup"].pop("near", None)
        if not choose.one_in(3):
            case["setup"].pop("ties", None)
        for step in case["steps"]:
            rows = step.get("rows", ["a"])
            for name in {"trees", "paths"} & step.keys():
                if not choose.one_in(6) and step[name]:
                    step[name] = (step[name] * 3)[: len(rows)]
        if choose.below(5):
            kind = choose.below(6)
            if kind < 3:
                told = rounds(choose)
            elif kind < 4:
                told = trees_kept(choose)
            else:
                told = crowded(case, choose, ("s", "t", "u") if kind == 4 else ("p", "q", "r"))
            if choose.one_in(2):
                told = among_refused(choose, told)
            case["steps"] = told + case["steps"][: choose.between(0, 2)]
            if choose.one_in(2):
                case["steps"].append({"do": "recall"})
        return case


def tree_text(choose, most=7, least=0):
    """A tree of random shape, with right and wrong guesses."""
    words = []
    for node in range(choose.between(least, most)):
        parent = choose.between(-1, node - 1) if choose.one_in(2) else node - 1
        words.append(f"{parent}{choose.one_of(('+', '+', '-'))}")
    return " ".join(words)


def path_text(choose, tree):
    """A path of a tree, from the text to any of its nodes."""
    parents = [int(word[:-1]) for word in tree.split()]
    node, path = choose.below(len(parents)), []
    while node >= 0:
        path.insert(0, node)
        node = parents[node]
    return " ".join(map(str, path))


def written(choose):
    """Whether the caller writes over what a call returns, in half of all calls."""
    return {"written_over": choose.one_in(2)}


def rounds(choose):
    """Texts in two rows, each with guesses of its own, looked at in both models."""
    on = {"on": "t"} if choose.one_in(4) else {}
    steps = [{"do": "start", "row": row, "tokens": choose.between(1, 6), **on} for row in "ab"]
    if choose.one_in(4):
        steps[1]["same"] = True
    for _ in range(choose.between(1, 6)):
        rows = choose.one_of((["a"], ["b"], ["a", "b"], ["b", "a"], ["a", "b"]))
        kind = choose.below(8)
        if kind < 3:
            widths = [choose.between(1, 3) for _ in range(choose.between(0, 3))]
            steps.append({"do": "propose", "rows": rows, "widths": widths, **on, **written(choose)})
            if choose.one_in(3):
                rows = rows[::-1]
            steps.append({"do": "verify", "rows": rows, **on, **written(choose)})
        elif kind < 6:
            trees = [tree_text(choose) for _ in rows]
            steps.append({"do": "verify", "rows": rows, "trees": trees, **on, **written(choose)})
        elif kind == 6:
            steps.append({"do": "verify", "rows": rows, "trees": ["-1+ 1+"] * len(rows), **on})
        else:
            steps.append({"do": "start", "row": rows[0], "tokens": choose.between(1, 5), **on})
    for whose in ("t", "t-draft") if on else ("s", "s-draft"):
        steps += [{"do": "cache_of", "whose": whose, "row": row} for row in "ab"]
    steps.append({"do": "propose", "rows": ["b", "a"], "widths": [1, 2], **on})
    return steps


def trees_kept(choose):
    """Trees behind each other in the rows of one decoder, of each of which a path is kept."""
    steps = []
    for _ in range(choose.between(1, 4)):
        rows = choose.one_of((["a"], ["b"], ["a", "b"], ["b", "a"]))
        trees = [tree_text(choose) or "-1+" for _ in rows]
        steps.append({"do": "forward", "rows": rows, "trees": trees})
        paths = [path_text(choose, tree) for tree in trees]
        if choose.one_in(4):
            wrong = f"{paths[0]} {len(trees[0].split())}"
            steps.append({"do": "keep", "rows": rows, "paths": [wrong, *paths[1:]]})
        if choose.below(4):
            both = list(zip(rows, paths, strict=True))
            rows, paths = zip(*(both[::-1] if choose.one_in(3) else both), strict=True)
            said = [path if choose.below(4) else "" for path in paths]
            steps.append({"do": "keep", "rows": [*rows], "paths": said})
            if choose.one_in(3):
                steps.append({"do": "keep", "rows": [*rows], "paths": [*paths]})
        if choose.one_in(5):
            steps.append({"do": "reset", "row": choose.one_of(rows)})
    steps += [{"do": "cache_of", "whose": "p", "row": row} for row in "ab"]
    steps.append({"do": "forward", "rows": ["a", "b"], "trees": ["-1+ 0+", "-1+"]})
    return steps


def crowded(case, choose, names):
    """Many rounds in rows of little room, with trees that fill it, of several speculators or decoders in turn."""
    setup = case["setup"]
    capacity = setup["capacity"] = choose.between(3, 8)
    if choose.one_in(3) and setup.get("layers", 2) <= 4:  # models of one shape
        setup |= {"draft_layers": setup.get("layers", 2), "draft_heads": setup.get("heads", 2)}
        setup |= {"draft_head_dim": setup.get("head_dim", 4), "draft_more": 0}
    names = choose.one_of((names[:1], names[:2], names[::2], names))
    kept, steps = {}, []
    for _ in range(choose.between(3, 14)):
        on = choose.one_of(names)
        rows = ["a"]
        if on not in "ru":
            rows = choose.one_of((["a"], ["b"], ["a", "b"], ["b", "a"], ["b", "c", "a"]))
        limit = capacity + 2 * (on in "ru")
        told = {"rows": rows, "on": on}
        if on in "pqr":
            for row in rows:
                if kept.get((on, row), 0) == limit and choose.below(4):
                    steps.append({"do": "reset", "row": row, "on": on})
                    kept[on, row] = 0
            rooms = [limit - kept.get((on, row), 0) for row in rows]
            trees = [filling(choose, room) or "-1+" for room in rooms]
            steps.append({"do": "forward", "trees": trees, **told})
            if choose.one_in(3):
                trees = [filling(choose, room) or "-1+" for room in rooms]
                steps.append({"do": "forward", "trees": trees, **told})
            fits = all(len(tree.split()) <= room for tree, room in zip(trees, rooms, strict=True))
            if not fits or choose.one_in(4):
                continue
            paths = [path_text(choose, tree) for tree in trees]
            said = [path if choose.below(3) else "" for path in paths]
            steps.append({"do": "keep", "paths": said, **told})
            for row, path in zip(rows, said, strict=True):
                kept[on, row] = kept.get((on, row), 0) + len(path.split())
            if choose.one_in(3):
                steps.append({"do": "keep", "paths": paths, **told})
            continue
        for row in rows:
            if kept.get((on, row), limit) >= limit and choose.below(5):
                kept[on, row] = choose.between(1, limit)
                steps.append({"do": "start", "row": row, "tokens": kept[on, row], "on": on})
        rooms = [limit - 1 - kept.get((on, row), limit) for row in rows]
        if choose.one_in(3):
            widths = [max(1, min(5, *rooms, 5))] if choose.below(3) else []
            steps.append({"do": "propose", "widths": widths, **told, **written(choose)})
        trees = [filling(choose, room) for room in rooms]
        steps.append({"do": "verify", "trees": trees, **told, **written(choose)})
        if all(len(tree.split()) <= room for tree, room in zip(trees, rooms, strict=True)):
            for row, tree in zip(rows, trees, strict=True):
                kept[on, row] += 1 + most_accepted(tree)
    for on, row in sorted(kept):
        steps.append({"do": "cache_of", "whose": on, "row": row})
        if on in "stu":
            steps.append({"do": "cache_of", "whose": f"{on}-draft", "row": row})
    return steps


def filling(choose, room):
    """A tree that fills what room is left in a row, or nearly, or is one node too large."""
    size = max(0, room + choose.one_of((0, 0, 0, 0, -1, -2, 1)))
    return tree_text(choose, size, size)


def most_accepted(tree):
    """The number of nodes on the longest path of right guesses."""
    found = []
    for word in tree.split():
        behind = found[int(word[:-1])] if word[0] != "-" else 0
        found.append(behind + 1 if word[-1] == "+" and behind is not None else None)
    return max((n for n in found if n), default=0)


BAD_TREES = ("0+", "-1+ 1+", "-2+", "-1+ 0", "-1", "-1+ ~", "~", "-1^", "-1+ 0!")


def among_refused(choose, told):
    """The same steps, and before some of them a call like it that must be refused."""
    steps = []
    for step in told:
        if choose.one_in(3) and step["do"] in SPOILS:
            steps.append(refused(choose, step))
        steps.append(step)
    return steps


def refused(choose, step):
    """A step with something that must be refused."""
    verb, rows = step["do"], step.get("rows", ["a"])
    place, other = choose.below(len(rows)), choose.below(2)
    if step.get("trees") and other:
        bad = choose.one_of((*BAD_TREES, "") if verb == "forward" else BAD_TREES)
        return step | {"trees": [*step["trees"][:place], bad, *step["trees"][place + 1 :]]}
    if step.get("paths") and other:
        bad = choose.one_of(("40", "-1", "0 0"))
        return step | {"paths": [*step["paths"][:place], bad, *step["paths"][place + 1 :]]}
    if "widths" in step and other:
        bad = choose.one_of((0, -1, 64))
        return step | {"widths": [*step["widths"][:4], bad]}
    if "tokens" in step and other:
        return step | {"tokens": choose.one_of((0, 128))}
    return step | {"spoil": choose.one_of(sorted(SPOILS[verb]))}


def layers_of(case, count, width, more):
    """Weights of so many layers; what attention adds leaves the first V features alone."""
    features, wanted = case.vocabulary + more, {}
    for layer in range(count):
        sharp = 100 if case.sharp else 1
        for name, gain in (("q", 1.6 * sharp), ("k", 1.6 * sharp), ("v", 1.2)):
            scale = gain / (1 + more) ** 0.5
            wanted[f"{layer}.{name}"] = case.draw(width, features, scale=scale)
        # many layers add less each, or numbers would grow and rounding with them
        scale = width**-0.5 * min(1.0, 3.0 / count)
        wanted[f"{layer}.o"] = case.draw(features, width, scale=scale)
        wanted[f"{layer}.o"][: case.vocabulary] = 0
    return wanted


def model(case, layers, width, likely, more):
    """Weights of a model: `likely[t]` lists the tokens that come behind token t, the likeliest first.

    The first V features of a token say which it is, and attention leaves them alone, so that what is chosen never hangs
    on rounding.  The others are what attention mixes.
    """
    v, scale = case.vocabulary, 0.6 * more**-0.5
    embed = np.concatenate((np.eye(v), case.draw(v, more)), axis=1)
    head = np.concatenate((np.zeros((v, v)), case.draw(v, more, scale=scale)), axis=1)
    for token, behind in enumerate(likely):
        for rank, other in enumerate(behind):
            head[other, token] = 16.0 - 5.0 * rank
    if case.ties:
        alike = np.arange(v) % 2 == 0
        alike[0] = False
        head[:, :v] = -16.0
        head[alike] = 0.0
        if case.near:
            head[alike, :v] = 1.0 + 2.0**-40 * (np.arange(alike.sum()) ^ 1)[:, None]
    return {"embed": embed, "head": head, **layers_of(case, layers, width, more)}


def liked_everywhere(case):
    """The token that is chosen everywhere where the even ones are all as likely, or nearly."""
    last = (case.vocabulary - 1) // 2 - 1  # the even tokens from 2 on are numbers 0 to this
    return 2 * (last - last % 2) + 2 if case.near else 2


@made("sizes", "target", "draft", "behind")
def models(case):
    """Sizes, the weights of both models, and which token each of them chooses behind each."""
    v = case.vocabulary
    first, second = case.draw.permutation(v), case.draw.permutation(v)
    ranks = case.draw.integers(0, 5, v)
    likely = []
    for token in range(v):
        others = [int(x) for x in np.roll(second, token) if x != first[token]][:3]
        rank = {"all": 0, "none": 3, "some": max(0, int(ranks[token]) - 2)}[case.agreement]
        others.insert(rank, int(first[token]))
        likely.append(others[:3])
    more = case.draft_more or case.more
    width, draft_width = case.heads * case.head_dim, case.draft_heads * case.draft_head_dim
    target = model(case, case.layers, width, [[int(x)] for x in first], case.more)
    draft = model(case, case.draft_layers, draft_width, likely, more)
    alike = liked_everywhere(case)
    behind = [[alike] * v] * 2 if case.ties else [[int(x) for x in first], [x[0] for x in likely]]
    theta = {} if case.defaults else {"theta": case.theta}
    sizes = {"rows": case.rows, "capacity": case.capacity, **theta}
    heads = {"target_heads": case.heads, "draft_heads": case.draft_heads}
    others = {"draft_theta": case.draft_theta, "draft_double": case.draft_double}
    return {**sizes, **heads, **others}, target, draft, behind


@made("prompt")
def prompt(
    case, tokens: Tokens = 4,
    alike: whole(0, 4, "The token that it is made of; tokens are drawn unless given.") = None,
):  # fmt: skip
    """A prompt."""
    drawn = case.draw.integers(0, case.vocabulary, tokens)
    return drawn if alike is None else np.full_like(drawn, alike)


@made("ids")
def ids(case, trees: Trees):
    """Tokens [R, N]."""
    most = max((len(tree.split()) for tree in trees), default=0)
    return case.draw.integers(0, case.vocabulary, len(trees), most)


@verb
def create(file, sizes, target, draft, behind):
    """Keep sizes and weights; decoders and speculators are made where they are first named."""
    if sizes["draft_double"]:
        draft = {name: x.double() for name, x in draft.items()}
    draft = dict(reversed(draft.items()))  # a dictionary has no order
    file.keep.sizes, file.keep.weights = dict(sizes), {"target": target, "draft": draft}
    file.keep.behind, file.keep.made = behind, {}
    file.keep.newest, file.keep.proposed, file.keep.tokens = {}, {}, []
    file.keep.returned, file.keep.prompt = [], []


def new_decoder(file, which, **other):
    """A decoder with the weights of one of the models, which the caller then writes over."""
    sizes = {k: v for k, v in file.keep.sizes.items() if "_" not in k}
    if which == "draft" and file.keep.sizes["draft_theta"]:
        sizes["theta"] = file.keep.sizes["draft_theta"]
    sizes |= {"heads": file.keep.sizes[f"{which}_heads"], **other}
    weights = {name: x.clone() for name, x in file.keep.weights[which].items()}
    decoder = need(file, "TreeDecoder")(weights, **sizes)
    before = file.keep.weights[which]
    if weights.keys() != before.keys() or not all(x.equal(before[n]) for n, x in weights.items()):
        raise Wrong("mutated_input", "the weights were changed, which belong to the caller")
    for x in weights.values():
        x.fill_(7)
    weights.clear()
    return decoder


def thing(file, name):
    """The decoder or speculator of this name, made if it is not there yet."""
    known = file.keep.made
    if name not in known:
        other = {"rows": 1, "capacity": file.keep.sizes["capacity"] + 2} if name in "ru" else {}
        if name in "pqr":
            known[name] = new_decoder(file, "draft" if name == "q" else "target", **other)
        else:
            order = ("draft", "target") if name == "t" else ("target", "draft")
            models = [new_decoder(file, which, **other) for which in order]
            known[name] = need(file, "Speculator")(*models)
            known[f"{name}-target"], known[f"{name}-draft"] = models
    return guarded(known[name])


def decoder_of(file, whose):
    """The decoder of this name: `s` is the target of the speculator s."""
    if whose in ("p", "q", "r"):
        return thing(file, whose)
    thing(file, whose[0])
    return guarded(file.keep.made[whose if whose[1:] else f"{whose}-target"])


def number(file, name):
    """The row of this name; a spoiled one is a number as it is."""
    known = {"a": 0, "b": file.keep.sizes["rows"] - 1, "c": 1}
    return known[name] if name in known else int(name)


def whole_numbers(answer):
    """A list of whole numbers."""
    return [int(item) for item in given(answer)]


def state(file, on):
    """Texts, and lengths of both caches."""
    kept = thing(file, on)
    both = {part: decoder_of(file, who) for part, who in (("target", on), ("draft", f"{on}-draft"))}
    lengths = {part: whole_numbers(decoder.lengths) for part, decoder in both.items()}
    return {"texts": [whole_numbers(row) for row in given(kept.texts)], "lengths": lengths}


def copied(item):
    """A copy of lists, and of those in them."""
    return [copied(part) for part in item] if isinstance(item, list | tuple) else item


def write_over(item):
    """Write over a list, and over those in it, as their owner may."""
    inner = [part for part in item if isinstance(part, list | tuple)]
    for part in inner:
        write_over(part)
    if isinstance(item, list):
        item[:] = [] if inner else [0] * (1 + len(item))


@contextmanager
def lent(**lists):
    """Lend lists to a call: it changes none of them, be it refused or not, and their owner writes over them then."""
    before = copied([*lists.values()])
    try:
        yield
    finally:
        after = copied([*lists.values()])
        write_over([*lists.values()])
        for name, was, now in zip(lists, before, after, strict=True):
            if was != now:
                told = f"the call changed its argument `{name}`, which belongs to the caller"
                raise Wrong("mutated_input", told)


def one_of_each(items):
    """The same lists, where those that are equal are one and the same."""
    known = []
    for item in items:
        known.append(next((other for other in known if other == item), item))
    return known


def receive(file, answer, lists, written_over):
    """Take lists of numbers that were returned in `answer`, and write over all of them or look at them again later."""
    known = [(item, whole_numbers, whole_numbers(item)) for item in lists if isinstance(item, list)]
    outer = [part for part in answer if isinstance(part, list)]
    if not written_over:
        file.keep.returned += [*known, *((part, which, which(part)) for part in outer)]
        return
    for item, shown, was in known:
        if shown(item) != was:
            raise Wrong("wrong_value", "two of the lists that were returned are one and the same")
        item[:] = [0] * (1 + len(item))
    for part in outer:
        part.clear()


def which(items):
    """Which objects a list holds."""
    return [id(item) for item in items]


def look_again(file):
    """Make sure that lists which were returned are as they were."""
    for item, shown, was in file.keep.returned:
        if len(item) != len(was) or shown(item) != was:
            raise Wrong("wrong_value", "a list that an earlier call returned has changed since")


def parsed(tree):
    """The words of a written tree: the parent of each node, None where it is left out, and what its token is."""
    words = [re.fullmatch(r"(-?\d+)?(.?)", word).groups() for word in tree.split()]
    return [(None if parent is None else int(parent), sign) for parent, sign in words]


def guessed(file, on, name, tree):
    """The tree behind a row's text: its tokens and its parents."""
    behind, v = file.keep.behind[on == "t"], len(file.keep.behind[0])
    words, newest = parsed(tree), file.keep.newest.get((on, name), 0)
    tokens = []
    for node, (parent, sign) in enumerate(words):
        last = tokens[parent] if parent is not None and 0 <= parent < len(tokens) else newest
        right = behind[last] if last is not None and 0 <= last < v else 0
        wrong = (right + 1 + node % (v - 1)) % v
        tokens.append({"+": right, "-": wrong, "~": right, "^": v, "!": -1, "": None}[sign])
    parents = [parent for parent, _ in words if parent is not None]
    return [token for token in tokens if token is not None], parents


BAD_ROWS = {
    "negative_row": spoil("rows", lambda names: [*names[:-1], "-1"]),
    "row_beyond": spoil("rows", lambda names: [*names[:-1], "9"]),
    "row_named_twice": spoil("rows", lambda names: [*names[:-1], names[0]]),
    "no_rows": spoil("rows", lambda names: []),
    "a_row_more": spoil("rows", lambda names: [*names, "c" if "c" not in names else "b"]),
    "a_row_less": spoil("rows", lambda names: names[1:]),
}
BAD_ROW = {
    "negative_row": spoil("row", lambda name: "-1"),
    "row_beyond": spoil("row", lambda name: "9"),
}
BAD_PROMPTS = {
    "too_large_a_token": spoil("prompt", lambda x: x.clone().fill_(10**4)),
    "negative_token": spoil("prompt", lambda x: -1 - x),
    "last_token_too_large": spoil("prompt", lambda x: [*x.tolist()[:-1], 64]),
    "first_token_negative": spoil("prompt", lambda x: [-1, *x.tolist()[1:]]),
}


@verb(spoils=BAD_ROW | BAD_PROMPTS, recalled=True, often=2)
def start(
    file, prompt, row: Row = "a", on: Speculator = "s",
    same: switch("Whether the prompt is that of the last start.") = False,
):  # fmt: skip
    """Begin a text; returns the target's first token, its logits, texts and lengths after."""
    said = [int(token) for token in prompt]
    said = [*file.keep.prompt] if same and file.keep.prompt else said
    before = [*said]
    with lent(prompt=said):
        answer = thing(file, on).start(number(file, row), said)
    token, logits = parts(answer, "token", "logits")
    file.keep.newest[on, row], file.keep.prompt = int(token), before
    after = state(file, on)
    look_again(file)
    return lambda: look_again(file) or {"token": int(token), "logits": logits, **after}


@verb(spoils=BAD_ROWS, recalled=True, often=2)
def propose(
    file, widths: Widths, rows: Rows = ("a",), on: Speculator = "s",
    written_over: switch("Whether the caller writes over the lists that are returned.") = False,
):  # fmt: skip
    """Let the draft guess; returns trees and the logits of their tokens, texts and lengths after."""
    named, said = [number(file, row) for row in rows], list(widths)
    with lent(rows=named, widths=said):
        answer = thing(file, on).propose(named, said)
    answer = parts(answer, "trees", "scores")
    trees, scores = (list(given(part)) for part in answer)
    if len(trees) != len(rows) or len(scores) != len(rows):
        raise Wrong("wrong_value", "`propose` must return a tree and scores for each row")
    shown, lists = {}, []
    for row, tree in zip(rows, trees, strict=False):
        tokens, parents = parts(tree, "tokens", "parents")
        shown[row] = {"tokens": whole_numbers(tokens), "parents": whole_numbers(parents)}
        lists += [tokens, parents]
        file.keep.proposed[on, row] = tree
        if written_over:
            file.keep.proposed[on, row] = [*shown[row]["tokens"]], [*shown[row]["parents"]]
    receive(file, answer, lists, written_over)
    after = state(file, on)
    look_again(file)
    found = dict(zip(rows, scores, strict=False))
    return lambda: look_again(file) or {"trees": shown, "scores": found, **after}


@verb(spoils=BAD_ROWS, recalled=True, often=3)
def verify(
    file,
    trees: listed(
        Written, "A tree for each row; what was proposed last, or no guess, unless given.", (1, 3), none=True,
    ) = None,
    rows: Rows = ("a",), on: Speculator = "s",
    flat: switch("Whether the tokens that were proposed all come right behind the text.") = False,
    written_over: switch("Whether the caller writes over the lists that are returned.") = True,
):  # fmt: skip
    """Let the target check guesses; returns the new tokens and their logits, texts and lengths after."""
    checker, named = thing(file, on), [number(file, row) for row in rows]
    if trees is None:
        said = [file.keep.proposed.get((on, row)) or ([], []) for row in rows]
        if flat:
            said = [([*tokens], [-1] * len(parents)) for tokens, parents in said]
        # what came back from `propose` is passed on as it is, and may be asked for again where the call is refused
        before = copied(said)
        with lent(rows=named):
            answer = checker.verify(named, list(said))
        if before != copied(said):
            raise Wrong("mutated_input", "the call changed a tree, which belongs to the caller")
        passed = [id(part) for tree in said for part in tree]
        file.keep.returned = [known for known in file.keep.returned if id(known[0]) not in passed]
        write_over(said)
    else:
        names = [*rows, *rows, "a", "a", "a"][: len(trees)]
        said = one_of_each(
            guessed(file, on, row, tree) for row, tree in zip(names, trees, strict=False)
        )
        with lent(rows=named, trees=said):
            answer = checker.verify(named, said)
    answer = parts(answer, "tokens", "logits")
    tokens, logits = (list(given(part)) for part in answer)
    if len(tokens) != len(rows) or len(logits) != len(rows):
        raise Wrong("wrong_value", "`verify` must return tokens and logits for each row")
    shown = {row: whole_numbers(new) for row, new in zip(rows, tokens, strict=False)}
    for row in rows:
        file.keep.proposed.pop((on, row), None)
        if shown[row]:
            file.keep.newest[on, row] = shown[row][-1]
    receive(file, answer, tokens, written_over)
    after = state(file, on)
    look_again(file)
    found = dict(zip(rows, logits, strict=False))
    return lambda: look_again(file) or {"tokens": shown, "logits": found, **after}


@verb(spoils=BAD_ROWS, recalled=True, often=2)
def forward(
    file, ids, trees: Trees, rows: Rows = ("a",), on: Decoder = "p",
    same: switch("Whether the tokens are those of the last call.") = False,
):  # fmt: skip
    """Put trees behind the rows of a decoder; returns their logits, and lengths after."""
    decoder, named = thing(file, on), [number(file, row) for row in rows]
    ids = file.keep.tokens if same and file.keep.tokens else ids.tolist()
    file.keep.tokens = ids
    tokens, parents = [], []
    odd = {"^": len(file.keep.behind[0]), "!": -1}
    for tree, drawn_ids in zip(trees, ids, strict=False):
        words = parsed(tree)
        pairs = zip(words, drawn_ids, strict=False)
        tokens.append([odd.get(sign, token) for (_, sign), token in pairs if sign])
        parents.append([parent for parent, _ in words if parent is not None])
    said = list(zip(tokens, one_of_each(parents), strict=True))
    with lent(rows=named, trees=said):
        answer = given(decoder.forward(named, said))
    logits = list(answer)
    if len(logits) != len(rows):
        raise Wrong("wrong_value", "`forward` must return logits for each row")
    if isinstance(answer, list):
        answer.clear()  # the caller's own now
    after = whole_numbers(decoder.lengths)
    look_again(file)
    found = dict(zip(rows, logits, strict=False))
    return lambda: look_again(file) or {"logits": found, "lengths": after}


@verb(spoils=BAD_ROWS, often=2)
def keep(file, paths: Paths, rows: Rows = ("a",), on: Decoder = "p"):
    """Keep paths of the trees that wait; returns the lengths after."""
    decoder, named = thing(file, on), [number(file, row) for row in rows]
    said = one_of_each([int(node) for node in path.split()] for path in paths)
    with lent(rows=named, paths=said):
        decoder.keep(named, said)
    look_again(file)
    return {"lengths": whole_numbers(decoder.lengths)}


@verb(spoils=BAD_ROW)
def reset(file, row: Row = "a", on: Decoder = "p"):
    """Forget a row; returns the lengths after."""
    decoder = thing(file, on)
    decoder.reset(number(file, row))
    look_again(file)
    return {"lengths": whole_numbers(decoder.lengths)}


@verb(spoils=BAD_ROW, recalled=True, often=2)
def cache_of(file, row: Row = "a", whose: Whose = "p"):
    """Read what a row of a decoder holds."""
    keys, values = parts(decoder_of(file, whose).cache_of(number(file, row)), "keys", "values")
    look_again(file)
    return lambda: look_again(file) or {"keys": keys, "values": values}


SPOILS = dict.fromkeys(("propose", "verify", "forward", "keep"), BAD_ROWS)
SPOILS |= {"start": BAD_ROW | BAD_PROMPTS, "reset": BAD_ROW, "cache_of": BAD_ROW}


BAD_SIZES = {
    "no_rows": {"rows": 0},
    "negative_rows": {"rows": -1},
    "no_capacity": {"capacity": 0},
    "no_heads": {"heads": 0},
    "odd_head_dim": {"heads": "width"},
    "uneven_heads": {"heads": 3},
    "rows_differ": {"rows": 4},
    "capacities_differ": {"capacity": 11},
    "vocabularies_differ": {"vocabulary": "shorter"},
    "negative_capacity": {"capacity": -1},
    "negative_heads": {"heads": -2},
    "heads_of_three": {"heads": "third"},
    "rows_exchanged_with_capacity_differ": {"rows": "capacity", "capacity": "rows"},
    "draft_rows_differ": {"rows": 4},
    "draft_capacities_differ": {"capacity": 11},
    "draft_vocabularies_differ": {"vocabulary": "shorter"},
}


@verb
def make(file, sizes: choice(BAD_SIZES, "What is wrong with the sizes.")):
    """Make a decoder, or a speculator of two decoders, of sizes that must be refused."""
    other = dict(BAD_SIZES[sizes])
    known, width = file.keep.sizes, len(file.keep.weights["target"]["0.q"])
    stood_for = {"width": width, "third": width // 3}
    stood_for |= {name: known[name] for name in ("rows", "capacity")}
    other = {name: stood_for.get(size, size) for name, size in other.items()}
    changed = "draft" if sizes.startswith("draft") else "target"
    weights = dict(file.keep.weights)
    if other.pop("vocabulary", None):
        shorter = {name: weights[changed][name][:-1] for name in ("embed", "head")}
        file.keep.weights = weights | {changed: weights[changed] | shorter}
    try:
        others = {changed: other}
        first = new_decoder(file, "target", **others.get("target", {}))
        if sizes.endswith("differ"):
            second = new_decoder(file, "draft", **others.get("draft", {}))
            need(file, "Speculator")(first, second)
    finally:
        file.keep.weights = weights
    return {"made": True}


@made("query", "keys", "values", "seen")
def looked_at(case, parents: Parents, start: whole(0, 64, "Tokens in front of the tree.") = 0):
    """Queries [H, N, D], keys and values [H, T, D], and what each query sees, bool [N, T]: half of all, none twice."""
    count = len(parents)
    total = start + count
    query, keys, values = (case.draw(case.heads, n, case.head_dim) for n in (count, total, total))
    seen = case.draw.integers(0, 2, count, total) > 0
    seen[:, 0] |= ~seen.any(axis=1)
    if count > 2:
        seen[1] = False
    return query, keys, values, seen


@drawn(x="Numbers [H, N, D]")
def turned(case, count: whole(1, 64, "Nodes N.")):
    """What is rotated."""
    return case.draw(case.heads, count, case.head_dim)


@made("logits")
def likely(
    case, count: whole(1, 32, "Nodes N."), kinds: whole(1, 40, "Values that logits may have.") = 3
):
    """Logits [N, V] that are small whole numbers, so that many are alike."""
    return case.draw.integers(0, kinds, count, case.vocabulary) - 1.0


@made("row_of_logits")
def likely_row(case, kinds: whole(1, 40, "Values that logits may have.") = 4):
    """Logits [V] that are small whole numbers, so that many are alike."""
    return case.draw.integers(0, kinds, case.vocabulary) - 1.0


@made("buffer")
def buffer(case, slots: whole(1, 96, "Slots T.") = 16):
    """A buffer [L, H, T, D]."""
    return case.draw(case.layers, case.heads, slots, case.head_dim)


depths = helper("_depths", "depths", list, parents=Parents)
visible = helper("_visible", "visible", parents=Parents, before=whole(0, 96, "Tokens before."))
rotated = helper(
    "_rotated", "rotated", x=turned,
    positions=numbers("Positions [N].", shape=[(1, 64)], within=(0, 4096)), base=real(1, 1e6, "Base."),
)  # fmt: skip
attention = helper(
    "_attention", "output", query=looked_at, keys=looked_at, values=looked_at, seen=looked_at,
)  # fmt: skip
chosen = helper("_choices", "tokens", list, logits=likely)
likeliest = helper(
    "_likeliest", "tokens", list, row_of_logits=likely_row, width=whole(1, 64, "How many.")
)
accepted = helper(
    "_accepted", "path", list,
    tokens=wholes(0, 63, "Tokens of the nodes, the root first.", length=(1, 64)), parents=Parents,
    target=wholes(0, 63, "The target's choice behind each node.", length=(1, 64)),
)  # fmt: skip


@verb("buffer", may_change="buffer", exact="buffer")
def moved(
    file, buffer, behind: whole(0, 96, "Tokens before the tree."),
    path: wholes(0, 63, "Nodes of the path.", length=(0, 32)),
):  # fmt: skip
    """Call `_move`; returns the buffer."""
    file._move(buffer, behind, path)
    return buffer


Plan, Verbs = both_sides(globals())

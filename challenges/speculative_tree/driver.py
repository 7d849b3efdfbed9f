"""Verbs of the speculative_tree challenge: speculators and decoders, by name, and the file's helpers alone.

A step names rows by letters: `a` is the first row, `b` the last one, `c` the second.  `s` is a speculator whose target
and draft have weights of their own, `t` one with the two models exchanged; `p` is a decoder with the target's weights
and `q` one with the draft's.  Each is made where it is first named.

A tree is written as a text, a word for each node: its parent, and `+` for the target's choice behind that parent, `-`
for another token, `^` for a token that is too large, `!` for one below 0, or nothing where the token is left out.  So
`-1+ 0- 0+ 2+` is a chain of three right guesses, with a wrong one beside the second.  For `forward` the tokens of `+`
and `-` are drawn.  A path is a text of nodes, such as `0 2 3`.
"""

import re

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
Speculator = choice(("s", "t"), "Name of the speculator.")
Decoder = choice(("p", "q"), "Name of the decoder.")
Whose = choice(("p", "q", "s", "t", "s-draft", "t-draft"), "Whose cache: `s` is the target of s.")
Written = text(
    "A tree, a word for each node.", 400, r"^(-?\d{1,2}[-+^!]?( |$))*$",
    usual=(
        "-1+ 0- 0+ 2+", "-1- -1+ 1- 1+ 3- 3+", "", "-1+", "-1-", "-1+ 0+ 1+", "-1+ 0+ 0- 1-", "-1- -1+ 0- 1+",
        "-1+ -1+ 1+ 2+", "-1+ -1- 1+ 0+ 3-", "-1- 0+ -1+ 2- 2+ 4+ 5-", "-1+ 0+ 1+ 2+ 3+ 4+ 5+", "-1+ 2+", "0+",
        "-2+ 0+", "-1+ 0^", "-1+ 0", "-1!",
    ),
)  # fmt: skip
Trees = listed(Written, "A tree for each row.", (1, 3))
Path = text(
    "Nodes of the path.", 200, r"^(-?\d{1,2}( |$))*$", usual=("0", "", "0 2", "0 1", "1", "1 0", "-1"),
)  # fmt: skip
Paths = listed(Path, "A path for each row.", (1, 3))
Tokens = whole(0, 128, "Tokens of the prompt, 4.", usual=(1, 7), refused=(0,))
Widths = wholes(1, 64, "Children of a node at each level.", length=(0, 5), usual=(1, 3), refused=(0, -1))  # fmt: skip
Parents = wholes(-1, 63, "Parents of the nodes.", length=(1, 64))


class Setup:
    """Sizes of the case."""

    rows: whole(3, 9, "Rows, 3.", usual=(3, 4)) = 3
    capacity: whole(1, 160, "Tokens that a row has room for, 24.", usual=(14, 36)) = 24
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
    defaults: switch("Whether theta is left to the file's own default.") = False
    draft_theta: real(
        0, 1e6, "Base of the draft, or 0 for that of the target.", usual=(0.0, 8.0)
    ) = 0.0
    sharp: switch("Whether scores are in the thousands; float64 alone tells them apart.") = False

    dtypes = ("float32", "float64")


class RandomScenarios:
    """Any calls of speculators and decoders, and texts that are written in rounds."""

    verbs = ("start", "propose", "verify", "forward", "keep", "reset", "cache_of")
    steps = (1, 5)

    def amended(case, choose):
        """Let most cases tell of texts that are written in rounds, or of a decoder whose trees come true in part."""
        case["setup"].pop("defaults", None)
        case["setup"].pop("sharp", None)
        if not choose.one_in(3):
            case["setup"].pop("ties", None)
        for step in case["steps"]:
            rows = step.get("rows", ["a"])
            for name in {"trees", "paths"} & step.keys():
                if not choose.one_in(6) and step[name]:
                    step[name] = (step[name] * 3)[: len(rows)]
        if choose.below(4):
            told = rounds(choose) if choose.below(3) else trees_kept(choose)
            case["steps"] = told + case["steps"][: choose.between(0, 2)]
        return case


def tree_text(choose, most=7):
    """A tree of random shape, with right and wrong guesses."""
    words = []
    for node in range(choose.between(0, most)):
        parent = choose.between(-1, node - 1) if choose.one_in(2) else node - 1
        words.append(f"{parent}{choose.one_of(('+', '+', '-'))}")
    return " ".join(words)


def rounds(choose):
    """Texts in two rows, each with guesses of its own, looked at in both models."""
    on = {"on": "t"} if choose.one_in(4) else {}
    steps = [{"do": "start", "row": row, "tokens": choose.between(1, 6), **on} for row in "ab"]
    for _ in range(choose.between(1, 6)):
        rows = choose.one_of((["a"], ["b"], ["a", "b"], ["b", "a"], ["a", "b"]))
        kind = choose.below(8)
        if kind < 3:
            widths = [choose.between(1, 3) for _ in range(choose.between(1, 3))]
            steps.append({"do": "propose", "rows": rows, "widths": widths, **on})
            if choose.one_in(3):
                rows = rows[::-1]
            steps.append({"do": "verify", "rows": rows, **on})
        elif kind < 6:
            trees = [tree_text(choose) for _ in rows]
            steps.append({"do": "verify", "rows": rows, "trees": trees, **on})
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
        paths = []
        for tree in trees:
            parents = [int(word[:-1]) for word in tree.split()]
            node = choose.below(len(parents))
            path = []
            while node >= 0:
                path.insert(0, node)
                node = parents[node]
            paths.append(path)
        if choose.one_in(4):
            wrong = [*paths[0], len(parents)]
            said = [" ".join(map(str, path)) for path in [wrong, *paths[1:]]]
            steps.append({"do": "keep", "rows": rows, "paths": said})
        if choose.below(4):
            said = [" ".join(map(str, path)) for path in paths]
            steps.append({"do": "keep", "rows": rows, "paths": said})
        if choose.one_in(5):
            steps.append({"do": "reset", "row": choose.one_of(rows)})
    steps += [{"do": "cache_of", "whose": "p", "row": row} for row in "ab"]
    steps.append({"do": "forward", "rows": ["a", "b"], "trees": ["-1+ 0+", "-1+"]})
    return steps


def layers_of(case, count, width):
    """Weights of so many layers; what attention adds leaves the first V features alone."""
    features, wanted = case.vocabulary + case.more, {}
    for layer in range(count):
        sharp = 25 if case.sharp else 1
        for name, gain in (("q", 1.6 * sharp), ("k", 1.6 * sharp), ("v", 1.2)):
            scale = gain / (1 + case.more) ** 0.5
            wanted[f"{layer}.{name}"] = case.draw(width, features, scale=scale)
        wanted[f"{layer}.o"] = case.draw(features, width, scale=width**-0.5)
        wanted[f"{layer}.o"][: case.vocabulary] = 0
    return wanted


def model(case, layers, width, likely):
    """Weights of a model: `likely[t]` lists the tokens that come behind token t, the likeliest first.

    The first V features of a token say which it is, and attention leaves them alone, so that what is chosen never hangs
    on rounding.  The others are what attention mixes.
    """
    v, scale = case.vocabulary, 0.6 * case.more**-0.5
    embed = np.concatenate((np.eye(v), case.draw(v, case.more)), axis=1)
    head = np.concatenate((np.zeros((v, v)), case.draw(v, case.more, scale=scale)), axis=1)
    for token, behind in enumerate(likely):
        for rank, other in enumerate(behind):
            head[other, token] = 16.0 - 5.0 * rank
    if case.ties:
        alike = np.arange(v) % 2 == 0
        alike[0] = False
        head[:, :v] = -16.0
        head[alike] = 0.0
    return {"embed": embed, "head": head, **layers_of(case, layers, width)}


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
    target = model(case, case.layers, case.heads * case.head_dim, [[int(x)] for x in first])
    draft = model(case, case.draft_layers, case.draft_heads * case.draft_head_dim, likely)
    behind = [[2] * v] * 2 if case.ties else [[int(x) for x in first], [x[0] for x in likely]]
    theta = {} if case.defaults else {"theta": case.theta}
    sizes = {"rows": case.rows, "capacity": case.capacity, **theta}
    heads = {"target_heads": case.heads, "draft_heads": case.draft_heads}
    return {**sizes, **heads, "draft_theta": case.draft_theta}, target, draft, behind


@made("prompt")
def prompt(case, tokens: Tokens = 4):
    """A prompt."""
    return case.draw.integers(0, case.vocabulary, tokens)


@made("ids")
def ids(case, trees: Trees):
    """Tokens [R, N]."""
    most = max((len(tree.split()) for tree in trees), default=0)
    return case.draw.integers(0, case.vocabulary, len(trees), most)


@verb
def create(file, sizes, target, draft, behind):
    """Keep sizes and weights; decoders and speculators are made where they are first named."""
    file.keep.sizes, file.keep.weights = dict(sizes), {"target": target, "draft": draft}
    file.keep.behind, file.keep.made = behind, {}
    file.keep.newest, file.keep.proposed, file.keep.tokens = {}, {}, []


def new_decoder(file, which, **other):
    """A decoder with the weights of one of the models, which the caller then writes over."""
    sizes = {k: v for k, v in file.keep.sizes.items() if "_" not in k}
    if which == "draft" and file.keep.sizes["draft_theta"]:
        sizes["theta"] = file.keep.sizes["draft_theta"]
    sizes |= {"heads": file.keep.sizes[f"{which}_heads"], **other}
    weights = {name: x.clone() for name, x in file.keep.weights[which].items()}
    decoder = need(file, "TreeDecoder")(weights, **sizes)
    for x in weights.values():
        x.fill_(7)
    weights.clear()
    return decoder


def thing(file, name):
    """The decoder or speculator of this name, made if it is not there yet."""
    known = file.keep.made
    if name not in known:
        if name in ("p", "q"):
            known[name] = new_decoder(file, "target" if name == "p" else "draft")
        else:
            order = ("target", "draft") if name == "s" else ("draft", "target")
            models = [new_decoder(file, which) for which in order]
            known[name] = need(file, "Speculator")(*models)
            known[f"{name}-target"], known[f"{name}-draft"] = models
    return guarded(known[name])


def decoder_of(file, whose):
    """The decoder of this name: `s` is the target of the speculator s."""
    if whose in ("p", "q"):
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


def parsed(tree):
    """Parents of a written tree, and what is said of each token."""
    words = [re.fullmatch(r"(-?\d+)(.?)", word).groups() for word in tree.split()]
    return [int(parent) for parent, _ in words], [sign for _, sign in words]


def guessed(file, on, name, tree):
    """The tree behind a row's text: its tokens and its parents."""
    behind, v = file.keep.behind[on == "t"], len(file.keep.behind[0])
    parents, signs = parsed(tree)
    newest = file.keep.newest.get((on, name), 0)
    tokens = []
    for node, (parent, sign) in enumerate(zip(parents, signs, strict=False)):
        last = tokens[parent] if 0 <= parent < len(tokens) else newest
        right = behind[last] if last is not None and 0 <= last < v else 0
        wrong = (right + 1 + node % (v - 1)) % v
        tokens.append({"+": right, "-": wrong, "^": v, "!": -1, "": None}[sign])
    return [token for token in tokens if token is not None], parents


BAD_ROWS = {
    "negative_row": spoil("rows", lambda names: [*names[:-1], "-1"]),
    "row_beyond": spoil("rows", lambda names: [*names[:-1], "9"]),
    "row_named_twice": spoil("rows", lambda names: [names[0]] * len(names)),
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
def start(file, prompt, row: Row = "a", on: Speculator = "s"):
    """Begin a text; returns the target's first token, its logits, texts and lengths after."""
    said = [int(token) for token in prompt]
    before = [*said]
    answer = thing(file, on).start(number(file, row), said)
    if said != before:
        raise Wrong(
            "mutated_input", "the call changed its argument `prompt`, which belongs to the caller"
        )
    token, logits = parts(answer, "token", "logits")
    said[:] = [0]
    file.keep.newest[on, row] = int(token)
    after = state(file, on)
    return lambda: {"token": int(token), "logits": logits, **after}


@verb(spoils=BAD_ROWS, recalled=True, often=2)
def propose(
    file, widths: Widths, rows: Rows = ("a",), on: Speculator = "s",
    written_over: switch("Whether the caller writes over the lists that are returned.") = False,
):  # fmt: skip
    """Let the draft guess; returns trees and the logits of their tokens, texts and lengths after."""
    said = list(widths)
    answer = thing(file, on).propose([number(file, row) for row in rows], said)
    trees, scores = parts(answer, "trees", "scores")
    trees, scores = list(given(trees)), list(given(scores))
    if len(trees) != len(rows) or len(scores) != len(rows):
        raise Wrong("wrong_value", "`propose` must return a tree and scores for each row")
    shown = {}
    for row, tree in zip(rows, trees, strict=False):
        tokens, parents = parts(tree, "tokens", "parents")
        shown[row] = {"tokens": whole_numbers(tokens), "parents": whole_numbers(parents)}
    said.append(1)
    for row, tree in zip(rows, trees, strict=False):
        file.keep.proposed[on, row] = tree
        if written_over:
            file.keep.proposed[on, row] = [*shown[row]["tokens"]], [*shown[row]["parents"]]
            for numbers_of in parts(tree, "tokens", "parents"):
                numbers_of[:] = [0] * len(numbers_of)
    after = state(file, on)
    return lambda: {"trees": shown, "scores": dict(zip(rows, scores, strict=False)), **after}


@verb(spoils=BAD_ROWS, recalled=True, often=3)
def verify(
    file,
    trees: listed(
        Written, "A tree for each row; what was proposed last, or no guess, unless given.", (1, 3), none=True,
    ) = None,
    rows: Rows = ("a",), on: Speculator = "s",
    flat: switch("Whether the tokens that were proposed all come right behind the text.") = False,
):  # fmt: skip
    """Let the target check guesses; returns the new tokens and their logits, texts and lengths after."""
    checker = thing(file, on)
    if trees is None:
        said = [file.keep.proposed.get((on, row)) or ([], []) for row in rows]
        if flat:
            said = [([*tokens], [-1] * len(parents)) for tokens, parents in said]
    else:
        names = [*rows, *rows, "a", "a", "a"][: len(trees)]
        said = [guessed(file, on, row, tree) for row, tree in zip(names, trees, strict=False)]
    before = [(list(tokens), list(parents)) for tokens, parents in said]
    answer = checker.verify([number(file, row) for row in rows], list(said))
    tokens, logits = parts(answer, "tokens", "logits")
    if before != [(list(tokens), list(parents)) for tokens, parents in said]:
        raise Wrong("mutated_input", "the call changed a tree, which belongs to the caller")
    tokens, logits = list(given(tokens)), list(given(logits))
    if len(tokens) != len(rows) or len(logits) != len(rows):
        raise Wrong("wrong_value", "`verify` must return tokens and logits for each row")
    shown = {row: whole_numbers(new) for row, new in zip(rows, tokens, strict=False)}
    for row, new in zip(rows, tokens, strict=False):
        file.keep.proposed.pop((on, row), None)
        if shown[row]:
            file.keep.newest[on, row] = shown[row][-1]
        if isinstance(new, list):
            new.append(0)  # the caller's own now
    if trees is not None:
        for part in said:
            part[0][:] = [0] * (1 + len(part[0]))
            part[1].clear()
    after = state(file, on)
    return lambda: {"tokens": shown, "logits": dict(zip(rows, logits, strict=False)), **after}


@verb(spoils=BAD_ROWS, recalled=True, often=2)
def forward(
    file, ids, trees: Trees, rows: Rows = ("a",), on: Decoder = "p",
    same: switch("Whether the tokens are those of the last call.") = False,
):  # fmt: skip
    """Put trees behind the rows of a decoder; returns their logits, and lengths after."""
    decoder = thing(file, on)
    said = []
    ids = file.keep.tokens if same and file.keep.tokens else ids.tolist()
    file.keep.tokens = ids
    for tree, drawn_ids in zip(trees, ids, strict=False):
        parents, signs = parsed(tree)
        odd = {"^": len(file.keep.behind[0]), "!": -1}
        tokens = [
            odd.get(sign, token) for sign, token in zip(signs, drawn_ids, strict=False) if sign
        ]
        said.append((tokens, parents))
    before = [(list(tokens), list(parents)) for tokens, parents in said]
    logits = list(given(decoder.forward([number(file, row) for row in rows], said)))
    if before != said:
        raise Wrong("mutated_input", "the call changed a tree, which belongs to the caller")
    if len(logits) != len(rows):
        raise Wrong("wrong_value", "`forward` must return logits for each row")
    for tokens, parents in said:
        tokens[:] = [0] * (1 + len(tokens))
        parents.clear()
    after = whole_numbers(decoder.lengths)
    return lambda: {"logits": dict(zip(rows, logits, strict=False)), "lengths": after}


@verb(spoils=BAD_ROWS, often=2)
def keep(file, paths: Paths, rows: Rows = ("a",), on: Decoder = "p"):
    """Keep paths of the trees that wait; returns the lengths after."""
    decoder = thing(file, on)
    said = [[int(node) for node in path.split()] for path in paths]
    decoder.keep([number(file, row) for row in rows], said)
    for path in said:
        path.clear()
    return {"lengths": whole_numbers(decoder.lengths)}


@verb(spoils=BAD_ROW)
def reset(file, row: Row = "a", on: Decoder = "p"):
    """Forget a row; returns the lengths after."""
    decoder = thing(file, on)
    decoder.reset(number(file, row))
    return {"lengths": whole_numbers(decoder.lengths)}


@verb(spoils=BAD_ROW, recalled=True, often=2)
def cache_of(file, row: Row = "a", whose: Whose = "p"):
    """Read what a row of a decoder holds."""
    keys, values = parts(decoder_of(file, whose).cache_of(number(file, row)), "keys", "values")
    return lambda: {"keys": keys, "values": values}


BAD_SIZES = {
    "no_rows": {"rows": 0},
    "negative_rows": {"rows": -1},
    "no_capacity": {"capacity": 0},
    "no_heads": {"heads": 0},
    "odd_head_dim": {"heads": "width"},
    "uneven_heads": {"heads": 3},
    "rows_differ": {"rows": 4},
    "capacities_differ": {"capacity": 11},
    "vocabularies_differ": None,
}


@verb
def make(file, sizes: choice(BAD_SIZES, "What is wrong with the sizes.")):
    """Make a decoder, or a speculator of two decoders, of sizes that must be refused."""
    other = dict(BAD_SIZES[sizes] or {})
    if other.get("heads") == "width":
        other["heads"] = len(file.keep.weights["target"]["0.q"])
    if sizes == "vocabularies_differ":
        weights = file.keep.weights["draft"]
        shorter = {name: weights[name][:-1] for name in ("embed", "head")}
        file.keep.weights["draft"] = {**weights, **shorter}
    first = new_decoder(file, "target", **other)
    if sizes.endswith("differ"):
        need(file, "Speculator")(first, new_decoder(file, "draft"))
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

"""Verbs of the interview challenge: models, caches and trainers by name, and the file's helpers alone.

`p` and `q` are models of the same sizes and with weights of their own; a step is about one of them.  Caches `a`, `b`
and `c` are a model's, and so are its trainers `t` and `u`, of which the second steps in another way.  Each is made
where it is first named.
"""

import numpy as np

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
    spoil,
    switch,
    verb,
    ways,
    whole,
    wholes,
)  # fmt: skip

Model = choice(("p", "q"), "Name of the model.")
CacheName = choice(("a", "b", "c"), "Name of the cache.")
TrainerName = choice(("t", "u"), "Name of the trainer; u has half the rate, no warm-up and no decay.")  # fmt: skip
Tokens = whole(0, 64, "Tokens of each row, 5 unless given.", usual=(2, 8))
Rows = whole(0, 8, "Rows, those of the setup unless given.", usual=(1, 3))
Skipped = choice(
    ("none", "some", "first_half", "all_but_one", "all"), "Which labels are not predicted; none unless given."
)  # fmt: skip
Counted = switch("Whether the tokens of every row are 0, 1, 2, ... and round.")
OneText = switch("Whether all micro-batches have the ids of the first one, which are one tensor.")
Other = switch("Whether the labels are tokens of their own, not those of the text.")
Reused = switch("Whether the caller writes over its tensors behind the call.")
Count = whole(-3, 64, "Tokens to generate, 4.", usual=(0, 9), refused=(-1,))
Ends = switch("Whether an end is given, and rows pick it at different steps.")
First = switch("Whether the end is the first token of the vocabulary, not the last.")


class Setup:
    """Sizes of the case."""

    vocab_size: whole(2, 40, "Tokens of the vocabulary V, 7.", usual=(5, 9)) = 7
    block_size: whole(1, 40, "Tokens that the model sees, 8.", usual=(5, 9)) = 8
    layers: whole(1, 6, "Layers, 2.", usual=(1, 2)) = 2
    heads: whole(1, 6, "Heads H, 2.", usual=(1, 3)) = 2
    head_dim: whole(1, 16, "Their size D, 3.", usual=(2, 4)) = 3
    rows: whole(1, 6, "Rows of a batch, 2.", usual=(1, 3)) = 2
    lr: real(0, 10, "Rate of the trainers, 0.1.", usual=(0.1, 0.3)) = 0.1
    warmup: whole(0, 20, "Steps in which it rises, 0.", usual=(0, 4)) = 0
    beta1: real(0, 0.99, "First of the betas, 0.7.", usual=(0.7, 0.5)) = 0.7
    beta2: real(0, 0.999, "Second of the betas, 0.9.", usual=(0.9, 0.8)) = 0.9
    eps: real(0.001, 10, "Added below a gradient, 0.05.", usual=(0.05, 0.2)) = 0.05
    weight_decay: real(0, 5, "Decay of the weights, 0.4.", usual=(0.4, 0.0, 1.0)) = 0.4
    clip: real(0.001, 1000, "Length of the gradients at most, 1.", usual=(1.0, 0.3, 100.0)) = 1.0
    loud: real(0, 100, "Times the usual queries and keys, 1.", usual=(1.0, 3.0)) = 1.0
    embedded: real(0, 1000, "Size of embeddings, 1.", usual=(1.0, 0.01)) = 1.0
    key_bias: real(0, 1e9, "Size of the keys' bias, 0.3.", usual=(0.3,)) = 0.3
    by_position: switch("Whether the position decides which token is likeliest, by far.") = False

    dtypes = ("float32", "float64")

    def legal(sizes):
        """What a position decides needs a feature for each token."""
        return not sizes.by_position or sizes.heads * sizes.head_dim >= sizes.vocab_size


class RandomScenarios:
    """Any calls of models, caches and trainers, and stories in which training and generation meet."""

    verbs = ("logits", "copied", "gradients", "train", "parameters", "generate")
    steps = (1, 5)

    def asked(case):
        """Not the likeliest token where rounding may decide it."""
        greedy = any(step.get("greedy") for step in case["steps"])
        return case["setup"].get("by_position") or not greedy

    def amended(case, choose):
        """Keep sizes small, and let most cases tell a story."""
        setup = case["setup"]
        if not choose.one_in(4):
            setup.pop("by_position", None)
        if not setup.get("by_position"):
            for step in case["steps"]:
                step.pop("greedy", None)
        if choose.below(4):
            case["steps"] = (
                choose.one_of((grown, trained, lived))(setup, choose) + case["steps"][:1]
            )
        return case


def size(setup, name):
    """A size of a setup, or what it is without."""
    return setup.get(name, getattr(Setup, name))


def grown(setup, choose):
    """A text in pieces, branched, and with calls that must be refused on the way."""
    block, steps = size(setup, "block_size"), []
    lengths = {"a": 0}
    for _ in range(choose.between(2, 6)):
        name = choose.one_of(sorted(lengths))
        if choose.one_in(4):
            to = choose.one_of(("b", "c"))
            steps.append({"do": "copied", "source": name, "target": to})
            lengths[to] = lengths[name]
            continue
        room = block - lengths[name]
        tokens = choose.between(1, max(1, min(4, room + 1)))
        step = {"do": "logits", "tokens": tokens, "into": name}
        if choose.one_in(5) and room:
            step |= {"spoil": choose.one_of(("token_too_large", "negative_token", "a_row_more"))}
        elif tokens <= room:
            lengths[name] += tokens
        steps.append(step)
    steps += [{"do": "logits", "tokens": 1, "into": name} for name in sorted(lengths)]
    return steps


def trained(setup, choose):
    """Steps of one or two trainers, with some that must be refused."""
    block, steps = size(setup, "block_size"), []
    for _ in range(choose.between(2, 4)):
        sizes = [choose.between(1, block) for _ in range(choose.between(1, 3))]
        step = {
            "do": "train",
            "batches": sizes,
            "skipped": choose.one_of(("none", "some", "first_half")),
        }
        if choose.one_in(4):
            step["trainer"] = "u"
        if choose.one_in(4):
            bad = choose.one_of(
                ("last_token_too_large", "last_labels_short", "last_label_too_large")
            )
            steps.append(step | {"spoil": bad})
        if choose.one_in(5):
            steps.append({"do": "gradients", "tokens": min(block, 4)})
        steps.append(step)
    return steps


def lived(setup, choose):
    """A model that is trained, asked and generates in turn."""
    block, steps = size(setup, "block_size"), []
    for _ in range(choose.between(2, 4)):
        kind = choose.below(3)
        if kind == 0:
            steps.append({"do": "train", "batches": [choose.between(2, max(2, block))]})
        elif kind == 1:
            prompt, count = choose.between(1, block + 3), choose.between(0, block + 3)
            steps.append(
                {
                    "do": "generate",
                    "tokens": prompt,
                    "count": count,
                    "ends": choose.one_in(2),
                    "first": choose.one_in(2),
                }
            )
        else:
            steps.append({"do": "logits", "tokens": choose.between(1, block)})
    return steps


SIZES = ("vocab_size", "block_size", "layers", "heads")
HOW = ("lr", "warmup", "eps", "weight_decay", "clip")


def weights_of(case, name):
    """Parameters by name: norms near 1 and 0, matrices that keep sizes near 1, biases that are not 0."""
    v, c = case.vocab_size, case.heads * case.head_dim
    quiet = 0.1 if case.by_position else 1.0
    size = 0.1 if case.by_position else case.embedded

    def matrix(rows, columns, gain=1.0):
        return case.draw(rows, columns, scale=gain * columns**-0.5)

    def norm(prefix):
        return {
            f"{prefix}.weight": 1 + case.draw(c, scale=0.2),
            f"{prefix}.bias": case.draw(c, scale=0.2),
        }

    wanted = {
        "tokens.weight": case.draw(v, c, scale=size),
        "positions.weight": case.draw(case.block_size, c, scale=size),
    }
    if case.by_position:
        likely = case.draw.integers(0, v, case.block_size)
        wanted["tokens.weight"] += 3 * np.eye(v, c)
        wanted["positions.weight"] += 9 * np.eye(v, c)[likely]
    for i in range(case.layers):
        qkv = matrix(3 * c, c)
        qkv[: 2 * c] *= 1.5 * case.loud
        bias = case.draw(3 * c, scale=0.3)
        bias[c : 2 * c] *= case.key_bias / 0.3
        layer = {
            **norm("norm1"),
            "attention.qkv.weight": qkv,
            "attention.qkv.bias": bias,
            "attention.out.weight": matrix(c, c, quiet),
            "attention.out.bias": case.draw(c, scale=0.3 * quiet),
            **norm("norm2"),
            "up.weight": matrix(4 * c, c, 1.5),
            "up.bias": case.draw(4 * c, scale=0.3),
            "down.weight": matrix(c, 4 * c, 1.5 * quiet),
            "down.bias": case.draw(c, scale=0.3 * quiet),
        }
        wanted |= {f"blocks.{i}.{key}": x for key, x in layer.items()}
    return wanted | norm("norm")


@made("sizes", "how", "weights", "others")
def models(case):
    """Sizes, how trainers step, and the parameters of both models."""
    sizes = {name: getattr(case, name) for name in SIZES}
    sizes["width"] = case.heads * case.head_dim
    how = {name: getattr(case, name) for name in HOW} | {"betas": [case.beta1, case.beta2]}
    return sizes, how, weights_of(case, "p"), weights_of(case, "q")


def text_of(case, rows, tokens, counted=False):
    """Ids [B, S] of a text: drawn, or in each row 0, 1, 2, ... and round."""
    if counted:
        return np.resize(np.arange(tokens) % case.vocab_size, (rows, tokens))
    return case.draw.integers(0, case.vocab_size, rows, tokens)


def labels_of(case, ids, skipped, other):
    """Labels [B, S] of a text: its tokens or others, -100 where they are not predicted."""
    labels = text_of(case, *ids.shape) if other else ids.copy()
    chance = case.draw.integers(0, 3, *ids.shape)
    if skipped == "some":
        labels[chance == 0] = -100
    elif skipped == "first_half":
        labels[:, : (ids.shape[1] + 1) // 2] = -100
    elif skipped == "all_but_one":
        labels[:, :-1] = -100
        labels[1:] = -100
    elif skipped == "all":
        labels[:, 1:] = -100
    return labels


@made("ids", any_layout=True)
def text(case, tokens: Tokens = 5, rows: Rows = None, counted: Counted = False):
    """Ids of a text [B, S]."""
    return text_of(case, case.rows if rows is None else rows, tokens, counted)


@made("ids", "labels", any_layout=True)
def labelled(case, tokens: Tokens = 5, rows: Rows = None, skipped: Skipped = "none", other: Other = False):  # fmt: skip
    """Ids and labels of a text, both [B, S]."""
    ids = text_of(case, case.rows if rows is None else rows, tokens)
    return ids, labels_of(case, ids, skipped, other)


@made("pairs")
def pairs(
    case,
    batches: wholes(1, 64, "Tokens of the micro-batches; [5] unless given.", length=(0, 4), usual=(2, 7)) = (5,),
    skipped: Skipped = "none", other: Other = False,
    bare: switch("Whether nothing is predicted in the first micro-batch.") = False,
    one_text: OneText = False,
):  # fmt: skip
    """Micro-batches of 2, 1, 3 and 2 rows where the setup has 2."""
    made_pairs = {}
    for i, tokens in enumerate(batches):
        rows = (case.rows, 1, case.rows + 1, 2)[i % 4]
        ids = made_pairs["0-ids"] if one_text and i else text_of(case, rows, tokens)
        labels = labels_of(case, ids, "all" if bare and i == 0 else skipped, other)
        made_pairs |= {f"{i}-ids": ids, f"{i}-labels": labels}
    return made_pairs


@made("prompt", "picks", any_layout=True)
def asked(
    case, tokens: Tokens = 5, rows: Rows = None, count: Count = 4, ends: Ends = False, first: First = False,
    stops: wholes(0, 64, "At which step each row picks the end.", length=(1, 8), none=True) = None,
    counted: Counted = False,
):  # fmt: skip
    """A prompt [B, T], and what is picked behind it [B, count]."""
    rows = case.rows if rows is None else rows
    picks = text_of(case, rows, max(0, count))
    if ends and picks.size:
        steps = case.draw.integers(0, count + 1, rows) if stops is None else np.resize(stops, rows)
        end = 0 if first else case.vocab_size - 1
        for row, step in enumerate(steps):
            picks[row, :step] = picks[row, :step] % (case.vocab_size - 1) + first
            if step < count:
                picks[row, step] = end
    return text_of(case, rows, tokens, counted), picks


@verb
def create(file, sizes, how, weights, others, dtype):
    """Keep sizes and parameters; models, caches and trainers are made where they are first named."""
    file.keep.sizes, file.keep.how, file.keep.dtype = dict(sizes), dict(how), dtype
    file.keep.weights = {"p": weights, "q": others}
    file.keep.models, file.keep.caches, file.keep.trainers = {}, {}, {}


def model_named(file, name):
    """The model of this name, with its parameters."""
    known = file.keep.models
    if name not in known:
        model = need(file, "GPT")(**file.keep.sizes)
        fill(model, file.keep.weights[name], file.keep.dtype)
        known[name] = model
    return known[name]


def fill(model, weights, dtype):
    """Copy parameters into a module, which must have these and no others."""
    import torch

    need(model, "to")(getattr(torch, dtype))
    named = dict(need(model, "named_parameters")())
    for name in weights.keys() - named.keys():
        raise Wrong("missing", f"the model has no parameter `{name}`")
    for name in named.keys() - weights.keys():
        raise Wrong(
            "wrong_value", f"the model has a parameter `{name}`, which is none of the brief's"
        )
    with torch.no_grad():
        for name, x in weights.items():
            if named[name].shape != x.shape:
                told = f"the parameter `{name}` has shape {[*named[name].shape]}, not {[*x.shape]}"
                raise Wrong("wrong_shape", told)
            named[name].copy_(x)


def cache_named(file, on, name):
    """The cache of this name."""
    if (on, name) not in file.keep.caches:
        file.keep.caches[on, name] = need(file, "Cache")()
    return file.keep.caches[on, name]


def trainer_named(file, on, name):
    """The trainer of this name, of the model `on`."""
    if (on, name) not in file.keep.trainers:
        how = file.keep.how | {"betas": tuple(file.keep.how["betas"])}
        if name == "u":
            how |= {"lr": how["lr"] / 2, "warmup": 0, "weight_decay": 0.0}
        file.keep.trainers[on, name] = need(file, "Trainer")(model_named(file, on), **how)
    return guarded(file.keep.trainers[on, name])


def tensor(answer, name):
    """A tensor without its history, or a number as one."""
    import torch

    answer = given(answer)
    if isinstance(answer, bool) or not isinstance(answer, (torch.Tensor, float, int)):
        raise Wrong("wrong_value", f"`{name}` must be a tensor")
    return answer.detach() if isinstance(answer, torch.Tensor) else answer


def number(file, answer):
    """A loss, which may be a tensor without axes or a float, in the dtype of the case."""
    import torch

    answer = tensor(answer, "loss")
    return torch.as_tensor(answer).reshape([]).to(getattr(torch, file.keep.dtype)).clone()


def of_parameters(file, on, look):
    """What `look` gives of each parameter, by name."""
    model = model_named(file, on)
    return {name: look(name, p) for name, p in model.named_parameters()}


def gradient(name, p):
    """The gradient of a parameter."""
    if p.grad is None:
        raise Wrong("missing", f"the parameter `{name}` gets no gradient")
    return p.grad.clone()


BEYOND = 40  # the lowest number that is a token of no vocabulary, since none has more than 40


def overwritten(x):
    """Write over a tensor of ids, as its owner may."""
    x.fill_(0)


BAD_IDS = {
    "token_too_large": spoil("ids", lambda x: x.clone().index_fill_(1, x.new_tensor([0]), BEYOND)),
    "negative_token": spoil("ids", lambda x: x.clone().index_fill_(1, x.new_tensor([0]), -1)),
    "one_token_too_large": spoil("ids", lambda x: spoilt(x, BEYOND)),
    "one_negative_token": spoil("ids", lambda x: spoilt(x, -1)),
    "no_tokens": spoil("ids", lambda x: x[:, :0]),
    "no_rows": spoil("ids", lambda x: x[:0]),
    "a_row_more": spoil("ids", lambda x: x[[*range(len(x)), 0]]),
    "flat_ids": spoil("ids", lambda x: x[0]),
    "int32_ids": spoil("ids", lambda x: x.int()),
    "float_ids": spoil("ids", lambda x: x.double()),
    "bool_ids": spoil("ids", lambda x: x > 0),
}
BAD_LABELS = {
    "ids:token_too_large": spoil("ids", lambda x: spoilt(x, BEYOND)),
    "ids:negative": spoil("ids", lambda x: spoilt(x, -1)),
    "ids:int32": spoil("ids", lambda x: x.int()),
    "labels:too_large": spoil("labels", lambda x: spoilt(x, BEYOND)),
    "labels:negative": spoil("labels", lambda x: spoilt(x, -1)),
    "labels:first_too_large": spoil(
        "labels", lambda x: x.clone().index_fill_(1, x.new_tensor([0]), BEYOND)
    ),
    "labels:short": spoil("labels", lambda x: x[:, 1:]),
    "labels:a_row_less": spoil("labels", lambda x: x[:-1]),
    "labels:flat": spoil("labels", lambda x: x.flatten()),
    "labels:int32": spoil("labels", lambda x: x.int()),
    "labels:float": spoil("labels", lambda x: x.double()),
    "labels:bool": spoil("labels", lambda x: x > 0),
}


def spoilt(x, token):
    """A copy of ids [B, S] with another last token, or of labels with another last label."""
    x = x.clone()
    x[-1:, -1:] = token
    return x


def last(change, part):
    """A way to spoil the last micro-batch."""

    def changed(found):
        names = sorted(name for name in found if name.endswith(part))
        return {**found, **{name: change(found[name]) for name in names[-1:]}}

    return spoil("pairs", changed)


BAD_BATCHES = {
    "last_token_too_large": last(lambda x: spoilt(x, BEYOND), "ids"),
    "last_token_negative": last(lambda x: spoilt(x, -1), "ids"),
    "last_ids_int32": last(lambda x: x.int(), "ids"),
    "last_label_too_large": last(lambda x: spoilt(x, BEYOND), "labels"),
    "last_label_negative": last(lambda x: spoilt(x, -1), "labels"),
    "last_first_label_negative": last(
        lambda x: x.clone().index_fill_(1, x.new_tensor([0]), -1), "labels"
    ),
    "last_labels_short": last(lambda x: x[:, 1:], "labels"),
    "last_labels_float": last(lambda x: x.double(), "labels"),
    "first_token_too_large": last(lambda x: spoilt(x, BEYOND), "0-ids"),
    "first_label_negative": last(lambda x: spoilt(x, -1), "0-labels"),
    "first_labels_short": last(lambda x: x[:, 1:], "0-labels"),
}


@verb(spoils=BAD_IDS | ways("ids"), recalled=True, often=3)
def logits(
    file, ids, into: choice(("a", "b", "c"), "Name of a cache; none unless given.", none=True) = None,
    reused: Reused = False, on: Model = "p",
):  # fmt: skip
    """Logits of a text, or of new tokens behind those in a cache; and the cache's length after."""
    import torch

    model = model_named(file, on)
    said = ids.clone() if reused else ids
    if into is None:
        answer, length = tensor(model(said), "logits"), {}
    else:
        cache = cache_named(file, on, into)
        with torch.no_grad():
            answer = tensor(model(said, cache), "logits")
        length = {"length": int(need(cache, "length"))}
    if reused:
        overwritten(said)
    return lambda: {"logits": answer, **length}


@verb
def copied(file, source: CacheName = "a", target: CacheName = "b", on: Model = "p"):
    """Copy a cache; returns the lengths of both."""
    cache = guarded(cache_named(file, on, source))
    file.keep.caches[on, target] = given(cache.copy())
    both = (cache_named(file, on, name) for name in (source, target))
    return {"lengths": [int(need(cache, "length")) for cache in both]}


@verb(spoils=BAD_LABELS, recalled=True, often=2)
def gradients(
    file, ids: labelled, labels, on: Model = "p",
    twice: switch("Whether the loss is asked for twice, and both are gone back through.") = False,
):  # fmt: skip
    """The loss of a text, and the gradient of each parameter."""
    model = model_named(file, on)
    model.zero_grad()
    for _ in range(1 + twice):
        loss = given(guarded(model).loss(ids, labels))
        tensor(loss, "loss")
        loss.backward()
    found = of_parameters(file, on, gradient)
    loss = loss.detach()
    return lambda: {"loss": loss, "gradients": found}


@verb(spoils=BAD_BATCHES, often=3)
def train(
    file, pairs, trainer: TrainerName = "t", on: Model = "p", reused: Reused = False,
    shown: switch("Whether the parameters are shown.") = True, one_text: OneText = False,
):  # fmt: skip
    """Take a step; returns its loss, and the parameters after."""
    pairs = pairs or {}
    said = []
    for i in range(len(pairs) // 2):
        pair = (pairs["0-ids" if one_text else f"{i}-ids"], pairs[f"{i}-labels"])
        said.append(tuple(x.clone() for x in pair) if reused else pair)
    before = list(said)
    loss = number(file, trainer_named(file, on, trainer).step(said))
    for key in [key for key in file.keep.caches if key[0] == on]:
        del file.keep.caches[key]  # what they hold is that of other parameters
    if len(said) != len(before) or any(x is not y for x, y in zip(said, before, strict=False)):
        raise Wrong("mutated_input", "the call changed the list of micro-batches")
    if reused:
        for pair in said:
            for x in pair:
                overwritten(x)
        said.clear()
    after = of_parameters(file, on, lambda name, p: p.detach().clone()) if shown else {}
    return {"loss": loss, "parameters": after} if shown else {"loss": loss}


@verb
def parameters(file, on: Model = "p"):
    """The parameters of a model."""
    return {"parameters": of_parameters(file, on, lambda name, p: p.detach().clone())}


@verb
def refill(file, on: Model = "p"):
    """Let the caller copy the other model's numbers into the parameters."""
    fill(model_named(file, on), file.keep.weights["q" if on == "p" else "p"], file.keep.dtype)
    for key in [key for key in file.keep.caches if key[0] == on]:
        del file.keep.caches[key]  # what they hold is that of other parameters


@verb
def elsewhere(file, ids: text):
    """Ask a model of the same sizes in another dtype; its answers are not looked at."""
    model = need(file, "GPT")(**file.keep.sizes)
    fill(model, file.keep.weights["p"], "float32" if file.keep.dtype == "float64" else "float64")
    model(ids)
    need(file, "generate")(model, ids, 2)


class Picker:
    """What the caller picks: tokens that were drawn, whatever the logits say, in one tensor that is written over.

    The logits of a row are written over before those of the next are read: rows have memory of their own.
    """

    def __init__(self, picks, end):
        self.picks, self.end, self.seen, self.shown = picks, end, [], None

    def __call__(self, logits):
        """Keep the logits of rows that go on, write over them, and return the next tokens."""
        step = len(self.seen)
        if step >= self.picks.shape[1]:
            raise Wrong("wrong_value", "`pick` was called more often than tokens were asked for")
        shown = tensor(logits, "logits")
        seen = shown.clone()
        for row in range(len(shown) if shown.dim() == 2 else 0):
            seen[row] = shown[row]
            shown[row] = 7
        if seen.dim() == 2 and len(seen) == len(self.picks) and self.end is not None:
            seen[(self.picks[:, :step] == self.end).any(dim=1)] = 0
        self.seen.append(seen)
        shown.fill_(7)
        if self.shown is None:
            self.shown = self.picks[:, 0].clone()
        self.shown.copy_(self.picks[:, step])
        return self.shown


COUNTS = {"two": 2.0, "yes": True, "none": None, "text": "2"}
BAD_PROMPTS = {
    "token_too_large": spoil("prompt", lambda x: spoilt(x, BEYOND)),
    "negative_token": spoil("prompt", lambda x: spoilt(x, -1)),
    "no_tokens": spoil("prompt", lambda x: x[:, :0]),
    "no_rows": spoil("prompt", lambda x: x[:0]),
    "flat_prompt": spoil("prompt", lambda x: x[0]),
    "int32_prompt": spoil("prompt", lambda x: x.int()),
    "float_prompt": spoil("prompt", lambda x: x.float()),
    "bool_prompt": spoil("prompt", lambda x: x > 0),
    "first_token_negative": spoil(
        "prompt", lambda x: x.clone().index_fill_(1, x.new_tensor([0]), -1)
    ),
}


@verb(spoils=BAD_PROMPTS, recalled=True, often=2)
def generate(
    file, prompt, picks, greedy: switch("Whether the file picks the likeliest token itself.") = False,
    count: Count = 4, ends: Ends = False, first: First = False,
    odd: choice(COUNTS, "A count that is no whole number.", none=True) = None,
    odd_end: whole(-9, 99, "An end that is no token.", none=True) = None,
    reused: Reused = False, on: Model = "p",
):  # fmt: skip
    """Generate; returns all tokens, and the logits that were shown to `pick`."""
    v = file.keep.sizes["vocab_size"]
    end = (0 if first else v - 1) if ends else odd_end
    how = {} if end is None else {"end": end}
    said = prompt.clone() if reused else prompt
    picker = Picker(picks, end)
    if not greedy:
        how["pick"] = picker
    model = model_named(file, on)
    tokens = tensor(
        need(file, "generate")(model, said, COUNTS[odd] if odd else count, **how), "tokens"
    )
    if reused:
        overwritten(said)
    seen = {str(step): x for step, x in enumerate(picker.seen)}
    return lambda: {"tokens": tokens, "seen": seen, "calls": len(seen)}


BAD_SIZES = {
    "no_tokens": {"vocab_size": 0},
    "no_block": {"block_size": 0},
    "no_layers": {"layers": 0},
    "no_heads": {"heads": 0},
    "no_width": {"width": 0},
    "uneven_width": {"width": 7},
    "negative_block": {"block_size": -1},
}


@verb
def make(file, sizes: choice(BAD_SIZES, "What is wrong with the sizes.")):
    """Make a model of sizes that must be refused."""
    need(file, "GPT")(**file.keep.sizes | BAD_SIZES[sizes])
    return {"made": True}


@drawn(joined="Features [B, S, C]")
def features(case, tokens: Tokens = 5):
    """What is split into heads."""
    return case.draw(case.rows, tokens, case.heads * case.head_dim)


@made("count")
def heads(case):
    """Number of heads."""
    return case.heads


@drawn(parted="Features of each head [B, H, S, D]")
def parted(case, tokens: Tokens = 5):
    """What is merged."""
    return case.draw(case.rows, case.heads, tokens, case.head_dim)


@drawn(query="Queries [B, H, S, D]", keys="Keys [B, H, T, D]", values="Values [B, H, T, D]")
def looked_at(case, tokens: Tokens = 5, before: whole(0, 32, "Tokens T - S before them.") = 0):
    """Queries of the newest tokens, keys and values of all."""
    shape = case.rows, case.heads, tokens, case.head_dim
    all_of = case.rows, case.heads, before + tokens, case.head_dim
    return case.draw(*shape, scale=1.5), case.draw(*all_of), case.draw(*all_of)


@made("scores", "targets")
def scored(case, tokens: Tokens = 5, skipped: Skipped = "none"):
    """Logits [B, S, V] and labels [B, S]."""
    ids = text_of(case, case.rows, tokens)
    return case.draw(case.rows, tokens, case.vocab_size), labels_of(case, ids, skipped, False)


@made("lengths")
def slopes(case, sizes: wholes(1, 16, "Numbers of each gradient.", length=(1, 6)) = (4, 3)):
    """Gradients of several parameters."""
    return {str(i): case.draw(n) for i, n in enumerate(sizes)}


@made("last_logits")
def last_logits(case):
    """Logits [B, V] of the newest tokens, no two alike."""
    return np.stack([case.draw.permutation(case.vocab_size) * 1.0 for _ in range(case.rows)])


split_heads = helper("_split_heads", "heads", joined=features, count=heads)
merge_heads = helper("_merge_heads", "joined", parted=parted)
hidden = helper("_hidden", "hidden", new=whole(1, 16, "New tokens S."), total=whole(1, 64, "Tokens T."))  # fmt: skip
attention = helper("_attention", "output", query=looked_at, keys=looked_at, values=looked_at)
predicted = helper("_predicted", "count", int, targets=scored)
summed = helper("_summed_loss", "loss", scores=scored, targets=scored)
rate = helper(
    "_rate", "rate", float, step=whole(1, 64, "Step, from 1."), lr=real(0, 10, "Rate."),
    warmup=whole(0, 64, "Steps of the warm-up."),
)  # fmt: skip
likeliest = helper("_likeliest", "tokens", last_logits=last_logits)


@verb("factor")
def factor(file, lengths, clip: real(0.001, 100, "Length at most.")):
    """Call `_factor`."""
    return lengths["0"].new_tensor(float(file._factor(list(lengths.values()), clip)))


Plan, Verbs = both_sides(globals())

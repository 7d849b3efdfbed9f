"""Verbs of the interview challenge: models, caches and trainers by name, and the file's helpers alone.

`p` and `q` are models of the same sizes and with weights of their own, `r` is one of other sizes; a step is about one
of them.  Caches `a`, `b` and `c` are a model's, and so are its trainers `t` and `u`, of which the second steps in
another way.  Each is made where it is first named.
"""

from functools import lru_cache
from math import prod
from types import SimpleNamespace

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

Model = choice(("p", "q", "r"), "Name of the model; r has other sizes.")  # fmt: skip
CacheName = choice(("a", "b", "c"), "Name of the cache.")
TrainerName = choice(("t", "u"), "Name of the trainer; u has half of all, no warm-up and no decay.")  # fmt: skip
Tokens = whole(0, 300, "Tokens of each row, 5 unless given.", usual=(2, 8))
Rows = whole(0, 8, "Rows, those of the setup unless given.", usual=(1, 3))
Skipped = choice(
    ("none", "some", "first_half", "all_but_one", "all"), "Which labels are not predicted; none unless given."
)  # fmt: skip
Counted = switch("Whether the tokens of every row are 0, 1, 2, ... and round.")
OneText = switch("Whether all micro-batches have the ids of the first one, which are one tensor.")
Other = switch("Whether the labels are tokens of their own, not those of the text.")
Reused = switch("Whether the caller has one tensor for all such calls, and writes over it behind each.")  # fmt: skip
Spent = switch("Whether the caller writes over what was returned.")
Named = switch("Whether arguments are passed by name.")
Count = whole(-3, 64, "Tokens to generate, 4.", usual=(0, 9), refused=(-1,))
Ends = switch("Whether an end is given, and rows pick it at different steps.")
First = switch("Whether the end is the first token of the vocabulary, not the last.")


class Setup:
    """Sizes of the case."""

    vocab_size: whole(1, 40, "Tokens of the vocabulary V, 7.", usual=(5, 9)) = 7
    block_size: whole(1, 300, "Tokens that the model sees, 8.", usual=(5, 9), room=True) = 8
    layers: whole(1, 6, "Layers, 2.", usual=(1, 2)) = 2
    heads: whole(1, 6, "Heads H, 2.", usual=(1, 3)) = 2
    head_dim: whole(1, 16, "Their size D, 3.", usual=(1, 4)) = 3
    rows: whole(1, 6, "Rows of a batch, 2.", usual=(1, 3)) = 2
    lr: real(0, 10, "Rate of the trainers, 0.1.", usual=(0.1, 0.3)) = 0.1
    warmup: whole(0, 20, "Steps in which it rises, 0.", usual=(0, 4)) = 0
    beta1: real(0, 0.99, "First of the betas, 0.7.", usual=(0.7, 0.5, 0.9, 0.0)) = 0.7
    beta2: real(0, 0.999, "Second of the betas, 0.9.", usual=(0.9, 0.8, 0.99, 0.0)) = 0.9
    eps: real(0.001, 10, "Added below a gradient, 0.05.", usual=(0.05, 0.2, 0.01)) = 0.05
    weight_decay: real(0, 5, "Decay of the weights, 0.4.", usual=(0.4, 0.0, 1.0, 3.0)) = 0.4
    clip: real(
        0.001, 1000, "Length of the gradients at most, 1.", usual=(1.0, 0.3, 100.0, 0.03)
    ) = 1.0
    loud: real(0, 100, "Times the usual queries and keys, 1.", usual=(1.0, 3.0)) = 1.0
    embedded: real(0, 1000, "Size of embeddings, 1.", usual=(1.0, 0.01)) = 1.0
    key_bias: real(0, 1e9, "Size of the keys' bias, 0.3.", usual=(0.3,)) = 0.3
    raised: real(0, 1e7, "Added to all numbers of the positions, 0.", usual=(0.0,)) = 0.0
    by_position: switch("Whether the position decides which token is likeliest, by far.") = False

    dtypes = ("float32", "float64")

    def legal(sizes):
        """What a position decides needs a feature for each token; a norm of two numbers makes much of rounding."""
        width = sizes.heads * sizes.head_dim
        other = other_heads(sizes.heads) * other_head_dim(sizes.head_dim)
        return (not sizes.by_position or width >= sizes.vocab_size) and (
            min(width, other) > 2 or sizes.eps >= 1
        )


class RandomScenarios:
    """Any calls of models, caches and trainers, and stories in which training and generation meet."""

    verbs = (
        "logits", "copied", "gradients", "train", "parameters", "generate", "handed_on", "refill", "renew", "elsewhere",
        "brought",
    )  # fmt: skip
    steps = (1, 5)

    def asked(case):
        """Not the likeliest token where rounding may decide it."""
        greedy = any(step.get("greedy") for step in case["steps"])
        return case["setup"].get("by_position") or not greedy

    def amended(case, choose):
        """Keep sizes small, sometimes all alike or one, and let most cases tell a story."""
        setup = case["setup"]
        # longer texts are slow, and have cases of their own
        for said, name, most in ((setup, "block_size", 40), *((x, "tokens", 64) for x in case["steps"])):  # fmt: skip
            if name in said:
                said[name] = min(said[name], most)
        if not choose.one_in(4):
            setup.pop("by_position", None)
        if choose.one_in(6):
            setup.pop("by_position", None)
            setup |= choose.one_of(RARE_SIZES)
        if min(widths(setup)) <= 2:
            # a norm of one or two numbers is nearly the same whatever they are: rounding is all that a step sees
            case["dtype"] = "float64"
        if not setup.get("by_position"):
            for step in case["steps"]:
                step.pop("greedy", None)
        if choose.below(4):
            story = choose.one_of((grown, trained, lived))(setup, choose)
            case["steps"] = [told(step, choose) for step in story] + case["steps"][:1]
            if choose.one_in(2):
                case["steps"].append({"do": "recall"})
        return case


RARE_SIZES = (
    {"heads": 1, "head_dim": 1, "eps": 1.0},
    {"vocab_size": 6, "block_size": 6, "heads": 2, "head_dim": 3},
    {"vocab_size": 1},
    {"block_size": 2, "rows": 1},
)
INPUTS = {"logits": "ids", "gradients": "ids", "train": "pairs", "generate": "prompt"}


def size(setup, name):
    """A size of a setup, or what it is without."""
    return setup.get(name, getattr(Setup, name))


def widths(setup):
    """The widths of the models."""
    heads, head_dim = size(setup, "heads"), size(setup, "head_dim")
    return heads * head_dim, other_heads(heads) * other_head_dim(head_dim)


def block_of(setup, on):
    """How many tokens a model sees."""
    return size(setup, "block_size") + (3 if on == "r" else 0)


def told(step, choose):
    """A step of a story, perhaps with tensors that are written over, or with a text that others have too."""
    if step["do"] in INPUTS:
        for name in ("reused", "spent", "counted", "named"):
            if choose.one_in(4):
                step[name] = True
        if choose.one_in(8):
            way = choose.one_of(("swapped", "strided", "window", "turned"))
            step["regimes"] = {INPUTS[step["do"]]: way}
    return step


def model_of(choose):
    """The name of a model, most often the first."""
    return choose.one_of(("p", "p", "p", "q", "r"))


def grown(setup, choose):
    """Texts in pieces, branched, and with calls between that leave them alone or must be refused."""
    steps = []
    lengths = {("p", "a"): 0}
    if choose.one_in(3):
        lengths[choose.one_of(("q", "r")), "a"] = 0
    for _ in range(choose.between(2, 6)):
        on, name = choose.one_of(sorted(lengths))
        room = block_of(setup, on) - lengths[on, name]
        if choose.one_in(4):
            to = choose.one_of(("b", "c"))
            steps.append({"do": "copied", "source": name, "target": to, "on": on})
            lengths[on, to] = lengths[on, name]
            continue
        if choose.one_in(5):
            steps.append(choose.one_of(beside(setup, on)))
            continue
        tokens = choose.between(1, max(1, min(4, room + 1)))
        step = {"do": "logits", "tokens": tokens, "into": name, "on": on}
        if choose.one_in(5) and room:
            bad = ("token_too_large", "negative_token", "a_row_more", "one_token_ignored")
            step |= {"spoil": choose.one_of(bad)}
        elif tokens <= room:
            lengths[on, name] += tokens
        steps.append(step)
    steps += [{"do": "logits", "tokens": 1, "into": name, "on": on} for on, name in sorted(lengths)]
    return steps


def beside(setup, on):
    """Steps that leave the caches of a model alone."""
    other, tokens = ("q" if on == "p" else "p"), min(4, size(setup, "block_size"))
    return (
        {"do": "generate", "tokens": tokens, "count": 3, "on": on},
        {"do": "gradients", "tokens": tokens, "on": on},
        {"do": "train", "batches": [tokens, tokens], "spoil": "last_token_too_large", "on": on},
        {"do": "train", "batches": [tokens], "on": other},
        {"do": "generate", "count": -1, "on": on},
        {"do": "elsewhere", "tokens": tokens},
    )


def trained(setup, choose):
    """Steps of one or two trainers, with some that must be refused."""
    steps = []
    for _ in range(choose.between(2, 4)):
        on = model_of(choose)
        block = block_of(setup, on)
        sizes = [choose.between(1, block) for _ in range(choose.between(1, 3))]
        step = {
            "do": "train",
            "batches": sizes,
            "skipped": choose.one_of(("none", "some", "first_half")),
            "on": on,
        }
        if choose.one_in(4):
            step["trainer"] = "u"
        if choose.one_in(5) and len(sizes) > 1:
            step["bare"] = True
        if choose.one_in(4):
            steps.append(step | {"spoil": choose.one_of(list(BAD_BATCHES))})
        if choose.one_in(5):
            steps.append({"do": "gradients", "tokens": min(block, 4), "on": on})
        if choose.one_in(6):
            only = choose.one_of(PARTS)
            steps.append({"do": "refill"} | ({"only": only} if only else {}))
        if choose.one_in(6):
            step["fresh"] = True
        steps.append(step)
    return steps


def lived(setup, choose):
    """A model that is trained, asked and generates in turn."""
    block, steps = size(setup, "block_size"), []
    for _ in range(choose.between(2, 5)):
        kind, on = choose.below(6), model_of(choose)
        if kind == 0:
            steps.append({"do": "train", "batches": [choose.between(2, max(2, block))], "on": on})
        elif kind == 1:
            prompt, count = choose.between(1, block + 3), choose.between(0, block + 3)
            steps.append(
                {
                    "do": "generate",
                    "tokens": prompt,
                    "count": count,
                    "ends": choose.one_in(2),
                    "first": choose.one_in(2),
                    "on": on,
                }
            )
        elif kind == 2:
            steps.append({"do": "logits", "tokens": choose.between(1, block), "on": on})
        elif kind == 3:
            step = {"do": "gradients", "tokens": choose.between(2, max(2, block)), "on": on}
            steps.append(step | {"kept": choose.one_in(2), "between": choose.one_of(BETWEEN)})
        elif kind == 4:
            then = choose.one_of(HANDED)
            steps.append({"do": "handed_on", "tokens": 2, "count": 2, "then": then, "on": on})
        else:
            steps.append({"do": choose.one_of(("refill", "renew", "elsewhere", "brought"))})
    return steps


BETWEEN = ("nothing", "loss", "logits", "cache", "generate", "evaluated", "refused")
PARTS = (
    None,
    "norm.bias",
    "tokens.weight",
    "positions.weight",
    "attention.qkv.weight",
    "down.bias",
)
HANDED = ("loss", "logits", "cache", "train", "generate")
SIZES = ("vocab_size", "block_size", "layers", "heads")
HOW = ("lr", "warmup", "eps", "weight_decay", "clip")


def shapes_of(sizes):
    """Shapes of the parameters, by name, in the order in which their numbers lie in one vector."""
    v, c = sizes["vocab_size"], sizes["width"]
    layer = {
        "norm1.weight": (c,),
        "norm1.bias": (c,),
        "attention.qkv.weight": (3 * c, c),
        "attention.qkv.bias": (3 * c,),
        "attention.out.weight": (c, c),
        "attention.out.bias": (c,),
        "norm2.weight": (c,),
        "norm2.bias": (c,),
        "up.weight": (4 * c, c),
        "up.bias": (4 * c,),
        "down.weight": (c, 4 * c),
        "down.bias": (c,),
    }
    shapes = {"tokens.weight": (v, c), "positions.weight": (sizes["block_size"], c)}
    for i in range(sizes["layers"]):
        shapes |= {f"blocks.{i}.{key}": shape for key, shape in layer.items()}
    return shapes | {"norm.weight": (c,), "norm.bias": (c,)}


def parameters_of(sizes, numbers):
    """Parameters by name, each a part of the vector that has the numbers of all."""
    parts, taken = {}, 0
    for name, shape in shapes_of(sizes).items():
        parts[name] = numbers[taken : taken + prod(shape)].reshape(shape)
        taken += prod(shape)
    return parts


@lru_cache
def spread(vocab_size, block_size, layers, width, quiet, embedded, loud, key_bias, raised):
    """What the numbers of all parameters [N] are multiplied by, and what is added to them.

    Norms are near 1 and 0, matrices keep sizes near 1, and biases are not 0.
    """
    sizes = {"vocab_size": vocab_size, "block_size": block_size, "layers": layers, "width": width}
    count = sum(map(prod, shapes_of(sizes).values()))
    scale, shift = np.empty(count), np.zeros(count)
    for name, x in parameters_of(sizes, scale).items():
        x[...] = 0.3 if x.ndim == 1 else x.shape[1] ** -0.5
        if name.endswith("qkv.weight"):
            x[: 2 * width] *= 1.5 * loud
        elif name.endswith("qkv.bias"):
            x[width : 2 * width] = key_bias
        elif name.endswith(("up.weight", "down.weight")):
            x *= 1.5
        elif "norm" in name:
            x[...] = 0.2
        if ".out." in name or ".down." in name:
            x *= quiet
        elif not name.startswith(("blocks", "norm")):
            x[...] = embedded
    for name, x in parameters_of(sizes, shift).items():
        x[...] = "norm" in name and name.endswith("weight")
        if name == "positions.weight":
            x[...] = raised
    return scale, shift


def weights_of(case):
    """The numbers of all parameters [N], which are drawn and sent together: that takes a fraction of the time."""
    v, c = case.vocab_size, case.heads * case.head_dim
    quiet, embedded = (0.1, 0.1) if case.by_position else (1.0, case.embedded)
    scale, shift = spread(
        v, case.block_size, case.layers, c, quiet, embedded, case.loud, case.key_bias, case.raised
    )
    numbers = scale * case.draw(len(scale) // c, c).ravel() + shift
    if case.by_position:
        parts = parameters_of(sizes_of(case), numbers)
        likely = case.draw.integers(0, v, case.block_size)
        gain = max(1.0, case.embedded)
        parts["tokens.weight"] += 3 * gain * np.eye(v, c)
        parts["positions.weight"] += 9 * gain * np.eye(v, c)[likely]
    return numbers


def sizes_of(case):
    """What a model of these sizes is made with."""
    return {name: getattr(case, name) for name in SIZES} | {"width": case.heads * case.head_dim}


def another(case):
    """Sizes of a small model of other sizes, which can be asked whatever the other two can."""
    names = "draw", "by_position", "embedded", "loud", "key_bias", "raised"
    told = {name: getattr(case, name) for name in names}
    return SimpleNamespace(
        **told,
        vocab_size=case.vocab_size + 1,
        block_size=case.block_size + 3,
        layers=1 + case.layers % 2,
        heads=other_heads(case.heads),
        head_dim=other_head_dim(case.head_dim),
    )


def other_heads(heads):
    """Heads of the model of other sizes: another number whatever it is."""
    return 1 + heads % 3


def other_head_dim(head_dim):
    """Size of its heads."""
    return 2 + head_dim % 3


@made("sizes", "how", "weights", "others", "other_sizes", "other_weights")
def models(case):
    """Sizes, how trainers step, and the numbers of the parameters of all models."""
    how = {name: getattr(case, name) for name in HOW} | {"betas": [case.beta1, case.beta2]}
    more = another(case)
    weights = weights_of(case), weights_of(case)
    return sizes_of(case), how, *weights, sizes_of(more), weights_of(more)


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
def labelled(
    case, tokens: Tokens = 5, rows: Rows = None, skipped: Skipped = "none", other: Other = False,
    counted: Counted = False,
):  # fmt: skip
    """Ids and labels of a text, both [B, S]."""
    ids = text_of(case, case.rows if rows is None else rows, tokens, counted)
    return ids, labels_of(case, ids, skipped, other)


@made("pairs", any_layout=True)
def pairs(
    case,
    batches: wholes(1, 64, "Tokens of the micro-batches; [5] unless given.", length=(0, 4), usual=(2, 7)) = (5,),
    skipped: Skipped = "none", other: Other = False,
    bare: switch("Whether nothing is predicted in the first micro-batch.") = False,
    one_text: OneText = False, counted: Counted = False,
):  # fmt: skip
    """Micro-batches of 2, 1, 3 and 2 rows where the setup has 2."""
    made_pairs = {}
    for i, tokens in enumerate(batches):
        rows = (case.rows, 1, case.rows + 1, 2)[i % 4]
        ids = made_pairs["0-ids"] if one_text and i else text_of(case, rows, tokens, counted)
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
    if ends and case.vocab_size > 1 and picks.size:
        steps = case.draw.integers(0, count + 1, rows) if stops is None else np.resize(stops, rows)
        end = 0 if first else case.vocab_size - 1
        for row, step in enumerate(steps):
            picks[row, :step] = picks[row, :step] % (case.vocab_size - 1) + first
            if step < count:
                picks[row, step] = end
    return text_of(case, rows, tokens, counted), picks


@verb
def create(file, sizes, how, weights, others, other_sizes, other_weights, dtype):
    """Keep sizes and parameters; models, caches and trainers are made where they are first named."""
    file.keep.how, file.keep.dtype = dict(how), dtype
    file.keep.sizes = {"p": dict(sizes), "q": dict(sizes), "r": dict(other_sizes)}
    file.keep.numbers = {"p": weights, "q": others, "r": other_weights}
    file.keep.models, file.keep.caches, file.keep.trainers = {}, {}, {}
    file.keep.added = {}  # how many losses were gone back through, of models that no step was asked for since
    file.keep.owned, file.keep.list, file.keep.abroad = {}, [], None


def model_named(file, name):
    """The model of this name, with its parameters."""
    known = file.keep.models
    if name not in known:
        model = need(file, "GPT")(**file.keep.sizes[name])
        fill(model, weights_named(file, name), file.keep.dtype)
        known[name] = model
    return known[name]


def weights_named(file, name):
    """The parameters that the model of this name begins with."""
    return parameters_of(file.keep.sizes[name], file.keep.numbers[name])


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
        file.keep.trainers[on, name] = trainer_of(file, model_named(file, on), name)
    return guarded(file.keep.trainers[on, name])


def trainer_of(file, model, name):
    """A new trainer of a model."""
    how = file.keep.how | {"betas": tuple(file.keep.how["betas"])}
    if name == "u":
        how |= {"lr": how["lr"] / 2, "clip": how["clip"] / 2, "warmup": 0, "weight_decay": 0.0}
        how |= {"betas": tuple(b / 2 for b in how["betas"])}
    return need(file, "Trainer")(model, **how)


def without_caches(file, on):
    """Throw away the caches of a model, which hold what was computed with other parameters."""
    for key in [key for key in file.keep.caches if key[0] == on]:
        del file.keep.caches[key]


def length_of(cache):
    """The number of tokens in a cache."""
    return an_int(need(cache, "length"), "length")


def an_int(answer, name):
    """An answer that must be an int, which a tensor without axes is not."""
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise Wrong("wrong_value", f"`{name}` must be an int, not {type(answer).__name__}")
    return answer


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

    answer = torch.as_tensor(tensor(answer, "loss"))
    if answer.dim():
        raise Wrong("wrong_shape", f"the loss of a step has shape {[*answer.shape]}, not []")
    return answer.to(getattr(torch, file.keep.dtype), copy=True)


def of_parameters(file, on, look):
    """What `look` gives of each parameter, by name."""
    model = model_named(file, on)
    return {name: look(name, p) for name, p in model.named_parameters()}


def gradient(name, p):
    """The gradient of a parameter."""
    if p.grad is None:
        raise Wrong("missing", f"the parameter `{name}` gets no gradient")
    return p.grad.clone()


BEYOND = 40  # the lowest number that is no token of p and q, whose vocabularies have at most 40


def overwritten(x):
    """Write over a tensor, as its owner may."""
    import torch

    if isinstance(x, torch.Tensor):
        with torch.inference_mode():  # where a file answers in this mode, others may not write
            x.detach().zero_()


def owned(file, name, x):
    """The caller's tensor for what has this name, shape and dtype, with these numbers; there is one for all calls."""
    key = name, tuple(x.shape), x.dtype
    if key not in file.keep.owned:
        file.keep.owned[key] = x.clone()
    return file.keep.owned[key].copy_(x)


FAR = 2**32  # 0 in 32 bits


def spoilt(x, token):
    """A copy of ids [B, S] with another last token, or of labels with another last label."""
    x = x.clone()
    x[-1:, -1:] = token
    return x


def begun(x, token):
    """A copy of ids [B, S] with other first tokens, or of labels with other first labels."""
    return x.clone().index_fill_(1, x.new_tensor([0]).long(), token)


BAD_IDS = {
    "token_too_large": spoil("ids", lambda x: begun(x, BEYOND)),
    "negative_token": spoil("ids", lambda x: begun(x, -1)),
    "one_token_too_large": spoil("ids", lambda x: spoilt(x, BEYOND)),
    "one_negative_token": spoil("ids", lambda x: spoilt(x, -1)),
    "one_token_ignored": spoil("ids", lambda x: spoilt(x, -100)),
    "one_token_far_too_large": spoil("ids", lambda x: spoilt(x, FAR)),
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
    "ids:ignored": spoil("ids", lambda x: begun(x, -100)),
    "ids:far_too_large": spoil("ids", lambda x: spoilt(x, FAR)),
    "ids:int32": spoil("ids", lambda x: x.int()),
    "ids:float": spoil("ids", lambda x: x.double()),
    "labels:too_large": spoil("labels", lambda x: spoilt(x, BEYOND)),
    "labels:far_too_large": spoil("labels", lambda x: spoilt(x, FAR)),
    "labels:negative": spoil("labels", lambda x: spoilt(x, -1)),
    "labels:below_the_ignored": spoil("labels", lambda x: spoilt(x, -101)),
    "labels:above_the_ignored": spoil("labels", lambda x: spoilt(x, -99)),
    "labels:first_too_large": spoil("labels", lambda x: begun(x, BEYOND)),
    "labels:first_negative": spoil("labels", lambda x: begun(x, -1)),
    "labels:short": spoil("labels", lambda x: x[:, 1:]),
    "labels:one_column": spoil("labels", lambda x: x[:, :1]),
    "labels:a_row_less": spoil("labels", lambda x: x[:-1]),
    "labels:turned": spoil("labels", lambda x: x.flatten()[:, None]),
    "labels:flat": spoil("labels", lambda x: x.flatten()),
    "labels:int32": spoil("labels", lambda x: x.int()),
    "labels:float": spoil("labels", lambda x: x.double()),
    "labels:bool": spoil("labels", lambda x: x > 0),
    "both:flat": spoil("ids labels", lambda x: x[0]),
    "both:deep": spoil("ids labels", lambda x: x[None]),
    "both:no_tokens": spoil("ids labels", lambda x: x[:, :0]),
    "both:no_rows": spoil("ids labels", lambda x: x[:0]),
    "both:int32": spoil("ids labels", lambda x: x.int()),
}


def in_batch(place, parts, change):
    """A way to spoil the first, the second or the last micro-batch."""

    def changed(found):
        last = len(found) // 2 - 1
        which = {"first": 0, "second": min(1, last), "last": last}[place]
        names = [name for part in parts if (name := f"{which}-{part}") in found]
        return {**found, **{name: change(found[name]) for name in names}}

    return spoil("pairs", changed)


BAD_PAIRS = {
    "token_too_large": (["ids"], lambda x: spoilt(x, BEYOND)),
    "token_negative": (["ids"], lambda x: spoilt(x, -1)),
    "token_ignored": (["ids"], lambda x: spoilt(x, -100)),
    "token_far_too_large": (["ids"], lambda x: spoilt(x, FAR)),
    "ids_int32": (["ids"], lambda x: x.int()),
    "ids_float": (["ids"], lambda x: x.double()),
    "label_too_large": (["labels"], lambda x: spoilt(x, BEYOND)),
    "label_far_too_large": (["labels"], lambda x: spoilt(x, FAR)),
    "label_negative": (["labels"], lambda x: spoilt(x, -1)),
    "label_below_the_ignored": (["labels"], lambda x: spoilt(x, -101)),
    "first_label_negative": (["labels"], lambda x: begun(x, -1)),
    "first_label_too_large": (["labels"], lambda x: begun(x, BEYOND)),
    "labels_short": (["labels"], lambda x: x[:, 1:]),
    "labels_of_one_column": (["labels"], lambda x: x[:, :1]),
    "labels_flat": (["labels"], lambda x: x.flatten()),
    "labels_int32": (["labels"], lambda x: x.int()),
    "labels_float": (["labels"], lambda x: x.double()),
    "pair_flat": (["ids", "labels"], lambda x: x[0]),
    "pair_deep": (["ids", "labels"], lambda x: x[None]),
    "pair_without_tokens": (["ids", "labels"], lambda x: x[:, :0]),
    "pair_without_rows": (["ids", "labels"], lambda x: x[:0]),
}
BAD_BATCHES = {
    f"{place}_{way}": in_batch(place, *how)
    for way, how in BAD_PAIRS.items()
    for place in ("last", "first", "second")
}


@verb(spoils=BAD_IDS | ways("ids"), recalled=True, often=3)
def logits(
    file, ids, into: choice(("a", "b", "c"), "Name of a cache; none unless given.", none=True) = None,
    reused: Reused = False, spent: Spent = False, named: Named = False, on: Model = "p",
):  # fmt: skip
    """Logits of a text, or of new tokens behind those in a cache; and the cache's length after."""
    import torch

    model = model_named(file, on)
    said = owned(file, "ids", ids) if reused else ids
    if into is None:
        answer = model(ids=said, cache=None) if named else model(said)
        answer, length = tensor(answer, "logits"), {}
    else:
        cache = cache_named(file, on, into)
        with torch.no_grad():
            answer = model(ids=said, cache=cache) if named else model(said, cache)
        answer = tensor(answer, "logits")
        length = {"length": length_of(cache)}
    shown = kept_or_spent(answer, spent)
    if reused:
        overwritten(said)
    return lambda: {"logits": shown, **length}


def kept_or_spent(answer, spent):
    """What is shown of an answer: itself, or a copy where the caller writes over it."""
    if not spent or not hasattr(answer, "clone"):
        return answer
    shown = answer.clone()
    overwritten(answer)
    return shown


@verb
def copied(file, source: CacheName = "a", target: CacheName = "b", on: Model = "p"):
    """Copy a cache; returns the lengths of both."""
    cache = guarded(cache_named(file, on, source))
    file.keep.caches[on, target] = given(cache.copy())
    return {"lengths": [length_of(cache_named(file, on, name)) for name in (source, target)]}


@verb(spoils=BAD_LABELS, recalled=True, often=2)
def gradients(
    file, ids: labelled, labels, on: Model = "p",
    twice: switch("Whether the loss is asked for twice, and both are gone back through.") = False,
    together: switch("Whether all losses are asked for first, and their sum is gone back through.") = False,
    kept: switch("Whether gradients that earlier losses left are there still, and are added to.") = False,
    between: choice(BETWEEN, "What the model is asked before a loss is gone back through.") = "nothing",
    same: switch("Whether the ids, as the same tensor, are the labels, too.") = False,
    reused: Reused = False, spent: Spent = False, named: Named = False,
):  # fmt: skip
    """The loss of a text, and the gradient of each parameter, the mean of those that were added up."""
    model = model_named(file, on)
    if not (kept and on in file.keep.added):
        model.zero_grad()
        file.keep.added[on] = 0
    if reused:
        ids, labels = owned(file, "ids", ids), owned(file, "labels", labels)
    losses = []
    for _ in range(1 + twice):
        both = {"ids": ids, "labels": ids if same else labels}
        ask = guarded(model).loss
        losses.append(given(ask(**both) if named else ask(*both.values())))
        tensor(losses[-1], "loss")
        ask_between(file, model, between, ids, labels)
        if not together:
            losses[-1].backward()
    if together:
        sum(losses).backward()
    file.keep.added[on] += 1 + twice
    added = file.keep.added[on]
    found = of_parameters(file, on, lambda name, p: gradient(name, p) / added)
    loss = kept_or_spent(losses[-1].detach(), spent)
    if spent:
        of_parameters(file, on, lambda name, p: p.grad.fill_(float("inf")))
        del file.keep.added[on]  # there is nothing to add to
    if reused:
        overwritten(ids)
        overwritten(labels)
    return lambda: {"loss": loss, "gradients": found}


def ask_between(file, model, what, ids, labels):
    """Ask a model of something whose answer is not looked at."""
    import torch

    if what == "loss":
        model.loss(ids, ids)
    elif what == "logits":
        model(ids)
    elif what == "cache":
        with torch.no_grad():
            model(ids, need(file, "Cache")())
    elif what == "evaluated":
        with torch.no_grad():
            model.loss(ids, ids)
    elif what == "generate":
        need(file, "generate")(model, ids, 2)
    elif what == "refused":
        try:
            model.loss(ids, labels[:, 1:])
        except ValueError:
            return
        raise Wrong("wrong_value", "labels of another shape than their ids were not refused")


@verb(spoils=BAD_BATCHES, recalled=True, often=3)
def train(
    file, pairs, trainer: TrainerName = "t", on: Model = "p", reused: Reused = False, spent: Spent = False,
    shown: switch("Whether the parameters are shown.") = True, one_text: OneText = False, named: Named = False,
    repeated: switch("Whether the first micro-batch is given once more at the end, as the same pair.") = False,
    fresh: switch("Whether a new trainer takes the step, in place of the one that has its name.") = False,
):  # fmt: skip
    """Take a step; returns its loss, and the parameters after."""
    pairs = pairs or {}
    said = file.keep.list if reused else []
    said.clear()
    for i in range(len(pairs) // 2):
        names = "0-ids" if one_text else f"{i}-ids", f"{i}-labels"
        said.append(tuple(owned(file, n, pairs[n]) if reused else pairs[n] for n in names))
    said += said[:1] if repeated else []
    before = list(said)
    file.keep.added.pop(on, None)  # behind one that is refused, too
    if fresh:
        file.keep.trainers.pop((on, trainer), None)
    take = trainer_named(file, on, trainer).step
    answer = take(batches=said) if named else take(said)
    without_caches(file, on)
    if len(said) != len(before) or any(x is not y for x, y in zip(said, before, strict=False)):
        raise Wrong("mutated_input", "the call changed the list of micro-batches")
    number(file, answer)
    answer = kept_or_spent(tensor(answer, "loss"), spent)
    if reused:
        for pair in said:
            for x in pair:
                overwritten(x)
        said.clear()
    after = of_parameters(file, on, lambda name, p: p.detach().clone()) if shown else {}
    more = {"parameters": after} if shown else {}
    return lambda: {"loss": number(file, answer), **more}


@verb
def parameters(file, on: Model = "p"):
    """The parameters of a model."""
    return {"parameters": of_parameters(file, on, lambda name, p: p.detach().clone())}


@verb
def refill(
    file, on: choice(("p", "q"), "Name of the model.") = "p",
    only: choice(PARTS[1:], "The end of the names of those that are written; all unless given.", none=True) = None,
):  # fmt: skip
    """Let the caller copy the other model's numbers into the parameters."""
    numbers = of_parameters(file, on, lambda name, p: p.detach().clone())
    others = weights_named(file, "q" if on == "p" else "p")
    numbers |= {name: x for name, x in others.items() if name.endswith(only or "")}
    fill(model_named(file, on), numbers, file.keep.dtype)
    without_caches(file, on)


@verb
def renew(file, on: Model = "p"):
    """Let go of a model, its caches and its trainers; the next one of this name is new."""
    without_caches(file, on)
    for key in [key for key in file.keep.trainers if key[0] == on]:
        del file.keep.trainers[key]
    file.keep.models.pop(on, None)
    file.keep.added.pop(on, None)


def other_dtype(file):
    """The dtype that the case does not have."""
    return "float32" if file.keep.dtype == "float64" else "float64"


@verb
def elsewhere(
    file, ids: text,
    stepped: switch("Whether it takes a step, too, and is the model that took such steps before.") = False,
):  # fmt: skip
    """Ask a model of the same sizes in another dtype; the numbers that it answers are not looked at."""
    import torch

    model = (
        file.keep.abroad[0]
        if stepped and file.keep.abroad
        else need(file, "GPT")(**file.keep.sizes["p"])
    )
    if not (stepped and file.keep.abroad):
        fill(model, weights_named(file, "p"), other_dtype(file))
    if stepped and not file.keep.abroad:
        file.keep.abroad = model, trainer_of(file, model, "t")
    answer = model(ids)
    with torch.no_grad():
        model(ids, need(file, "Cache")())
    need(file, "generate")(model, ids, 2)
    if stepped:
        guarded(file.keep.abroad[1]).step([(ids, ids)])
    if str(tensor(answer, "logits").dtype) != f"torch.{other_dtype(file)}":
        raise Wrong("wrong_dtype", f"logits of a {other_dtype(file)} model are {answer.dtype}")


@verb
def brought(file, ids: text, on: Model = "p"):
    """Bring a model to another dtype, ask it, and bring it back; the numbers that it answers are not looked at."""
    import torch

    model = model_named(file, on)
    numbers = of_parameters(file, on, lambda name, p: p.detach().clone())
    try:
        model.to(getattr(torch, other_dtype(file)))
        dtype = tensor(model(ids), "logits").dtype
        need(file, "generate")(model, ids, 2)
    finally:
        fill(model, numbers, file.keep.dtype)
        file.keep.added.pop(on, None)
        without_caches(file, on)
    if str(dtype) != f"torch.{other_dtype(file)}":
        raise Wrong("wrong_dtype", f"logits of a {other_dtype(file)} model are {dtype}")


NO_TOKEN = 99  # in no vocabulary


class Picker:
    """What the caller picks: tokens that were drawn, whatever the logits say, in one tensor that is written over.

    For a row that has ended it is at times no token at all.

    The logits of a row are written over before those of the next are read: rows have memory of their own.
    """

    def __init__(self, picks, end, asks=None):
        self.picks, self.end, self.seen, self.shown = picks, end, [], None
        self.asks = asks

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
            seen[self.over(step)] = 0
        self.seen.append(seen)
        shown.fill_(7)
        if self.asks:
            self.asks()
        if self.shown is None:
            self.shown = self.picks[:, 0].clone()
        self.shown.copy_(self.picks[:, step])
        if step % 2 and self.end is not None:
            self.shown[self.over(step)] = NO_TOKEN
        return self.shown

    def over(self, step):
        """Which rows have ended before a step."""
        return (self.picks[:, :step] == self.end).any(dim=1)


COUNTS = {
    "two": 2.0, "yes": True, "none": None, "text": "2", "nought": 0.0, "empty": "", "list": [2], "half": 0.5,
}  # fmt: skip
BAD_PROMPTS = {
    "token_too_large": spoil("prompt", lambda x: spoilt(x, BEYOND)),
    "negative_token": spoil("prompt", lambda x: spoilt(x, -1)),
    "no_tokens": spoil("prompt", lambda x: x[:, :0]),
    "no_rows": spoil("prompt", lambda x: x[:0]),
    "flat_prompt": spoil("prompt", lambda x: x[0]),
    "int32_prompt": spoil("prompt", lambda x: x.int()),
    "float_prompt": spoil("prompt", lambda x: x.float()),
    "bool_prompt": spoil("prompt", lambda x: x > 0),
    "deep_prompt": spoil("prompt", lambda x: x[None]),
    "first_token_negative": spoil("prompt", lambda x: begun(x, -1)),
    "token_ignored": spoil("prompt", lambda x: begun(x, -100)),
    "token_far_too_large": spoil("prompt", lambda x: begun(x, FAR)),
}


@verb(spoils=BAD_PROMPTS, recalled=True, often=2)
def generate(
    file, prompt, picks, greedy: switch("Whether the file picks the likeliest token itself.") = False,
    count: Count = 4, ends: Ends = False, first: First = False,
    odd: choice(COUNTS, "A count that is no whole number.", none=True) = None,
    odd_end: whole(-100, FAR, "An end that is no token.", none=True, usual=(-9, 50)) = None,
    reused: Reused = False, spent: Spent = False, named: Named = False, on: Model = "p",
    asking: switch("Whether `pick` asks the model for other texts before it answers.") = False,
):  # fmt: skip
    """Generate; returns all tokens, and the logits that were shown to `pick`."""
    import torch

    v = file.keep.sizes["p"]["vocab_size"]
    end = (0 if first else v - 1) if ends else odd_end
    how = {} if end is None else {"end": end}
    said = owned(file, "prompt", prompt) if reused else prompt
    model = model_named(file, on)

    def asks():
        few = prompt[:, :1]
        model(few)
        with torch.no_grad():
            model(few, need(file, "Cache")())
        need(file, "generate")(model, few, 2)

    picker = Picker(picks, end, asks if asking else None)
    if not greedy:
        how["pick"] = picker
    wanted = {"model": model, "prompt": said, "count": COUNTS[odd] if odd else count}
    if named:
        tokens = need(file, "generate")(**wanted, **{"pick": None, "end": None} | how)
    else:
        tokens = need(file, "generate")(*wanted.values(), **how)
    tokens = tensor(tokens, "tokens")
    tokens = kept_or_spent(tokens, spent)
    if reused:
        overwritten(said)
    seen = {str(step): x for step, x in enumerate(picker.seen)}
    return lambda: {"tokens": tokens, "seen": seen, "calls": len(seen)}


@verb(recalled=True)
def handed_on(
    file, prompt, picks, count: Count = 4,
    then: choice(HANDED, "What is asked with the tokens that were generated.") = "loss",
    trainer: TrainerName = "t", on: Model = "p",
):  # fmt: skip
    """Generate, and hand the very answer to another call, as ids and labels or as a prompt."""
    import torch

    model, found = model_named(file, on), {}
    tokens = given(need(file, "generate")(model, prompt, count, pick=Picker(picks, None)))
    tensor(tokens, "tokens")
    if then == "logits":
        found["logits"] = tensor(model(tokens), "logits")
    elif then == "cache":
        with torch.no_grad():
            found["logits"] = tensor(model(tokens, need(file, "Cache")()), "logits")
    elif then == "loss":
        model.zero_grad()
        file.keep.added.pop(on, None)
        loss = given(guarded(model).loss(tokens, tokens))
        loss.backward()
        found = {"loss": loss.detach(), "gradients": of_parameters(file, on, gradient)}
    elif then == "train":
        file.keep.added.pop(on, None)
        loss = trainer_named(file, on, trainer).step([(tokens, tokens)])
        without_caches(file, on)
        found["loss"] = number(file, loss)
        found["parameters"] = of_parameters(file, on, lambda name, p: p.detach().clone())
    else:
        picker = Picker(picks, None)
        again = need(file, "generate")(model, tokens, count, pick=picker)
        seen = {str(step): x for step, x in enumerate(picker.seen)}
        found = {"again": tensor(again, "again"), "seen": seen}
    return lambda: {"tokens": tensor(tokens, "tokens"), **found}


BAD_SIZES = {
    "no_tokens": {"vocab_size": 0},
    "no_block": {"block_size": 0},
    "no_layers": {"layers": 0},
    "no_heads": {"heads": 0},
    "no_width": {"width": 0},
    "uneven_width": {"width": 7},
    "negative_block": {"block_size": -1},
    "negative_tokens": {"vocab_size": -1},
    "negative_layers": {"layers": -1},
    "negative_heads": {"heads": -1},
    "negative_width": {"heads": 1, "width": -1},
    "more_heads_than_width": {"heads": 4, "width": 2},
}


@verb
def make(file, sizes: choice(BAD_SIZES, "What is wrong with the sizes.")):
    """Make a model of sizes that must be refused."""
    need(file, "GPT")(**file.keep.sizes["p"] | BAD_SIZES[sizes])
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
    """Logits [B, V] of the newest tokens, no two alike and all below 0."""
    v = case.vocab_size
    return np.stack([case.draw.permutation(v) - 1.0 * v for _ in range(case.rows)])


split_heads = helper("_split_heads", "heads", joined=features, count=heads)
merge_heads = helper("_merge_heads", "joined", parted=parted)
hidden = helper("_hidden", "hidden", new=whole(1, 16, "New tokens S."), total=whole(1, 64, "Tokens T."))  # fmt: skip
attention = helper("_attention", "output", query=looked_at, keys=looked_at, values=looked_at)
predicted = helper("_predicted", "count", lambda count: an_int(count, "count"), targets=scored)
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

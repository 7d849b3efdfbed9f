"""Verbs of the conversation_prefix challenge: conversations, by name, and the parts of the file alone.

Weights and rows are drawn; what is said is text that a case states.  The driver does not know what is right.

Beside `base` there may be other models: `other`, `Base` and `base-2` share its store, and where the models are unlike,
`other` has other sizes, `Base` another dtype and `base-2` both.  `twin` has the name of `base`, other weights, and a
store of its own.
"""

import json
from pathlib import Path

from grader.kit import (
    Wrong,
    both_sides,
    choice,
    guarded,
    listed,
    made,
    named_object,
    need,
    real,
    switch,
    text,
    verb,
    whole,
)  # fmt: skip

VOCABULARY = 276
MODELS = ("base", "other", "Base", "base-2", "twin")
OF_OTHER_SIZES, OF_OTHER_DTYPE = (
    ("other", "base-2"),
    ("Base", "base-2"),
)  # where the models are unlike
PARTS = {"Tokenizer": "_tokenizer", "ChatTemplate": "_template"}  # where a conversation holds them
CONVERSATION_METHODS = ("_commit", "_encode", "_head", "_ids", "_text")
HELPERS = [f"Conversation.{name}" for name in CONVERSATION_METHODS]
HELPERS += ["Tokenizer.encode", "ChatTemplate.render", "last_turns", "make_message"]
HELPERS += ["refuse_control_tokens", "reusable_prefix", "turn_starts"]
CHAT = r"^[a-z][a-z0-9-]*$"  # a conversation's name


def chat(description):
    return named_object(description, 20, CHAT)


Chat = chat("The conversation; `main` when left out.")


class Setup:
    """Sizes of the model and the first conversation, which is called `main`."""

    d_model: whole(4, 64, "Width of the model, a multiple of num_heads; 16 when left out.") = 16
    num_heads: whole(1, 8, "Attention heads; 2 when left out. The head dim has to be even.") = 2
    layers: whole(1, 4, "Attention layers; 2 when left out.", usual=(1, 2)) = 2
    models: whole(
        1,
        5,
        "Beside `base` there are as many of `other`, `Base`, `base-2` and `twin`; 1 when left out.",
    ) = 1
    unlike: switch("Whether the other models differ in sizes and dtype, too.") = False
    max_context: whole(
        8, 2000, "The longest prompt, in tokens; the file's own default, 256, when left out."
    ) = None
    system: text(
        "System prompt of `main`; when left out the template's default stands there.", 400
    ) = None
    template: text("A chat template in place of chat_template.jinja.", 2000) = None
    loud: real(
        1, 30, "How many times larger the weights of queries and keys are.", usual=(1, 4, 24)
    ) = 1
    below: real(
        0, 1e6, "About how far below zero all scores of `base` lie; 0 when left out.", usual=(0,)
    ) = 0
    faint: real(1, 10000, "How many times smaller the embeddings are.", usual=(1, 1, 1000)) = 1
    passed: choice(
        ("by name", "by place"),
        "How arguments are passed; as the brief shows them, the optional ones by name, when left out.",
    ) = None

    dtypes = ("float32", "float64")

    def legal(sizes):
        """Whether random cases may have these sizes."""
        return sizes.d_model % (2 * sizes.num_heads) == 0


PIECES = (
    *("Hi", "the", " the", "ing", "user", "  ", "\n\n", "\r\n", " ", "a", "0123456789", "</think>"),
    *("t", "h", "e", "\n", "hand", "your", "there", "tooling", "systems", "\\n'\"", "<|end|>"),
    *("\u00e9", "\u4e16\u754c", "<b>&amp;", "{{ 1 }}", "<|im_end"),
    *("\t", "\0", "\ufeff", "e\u0301", "\U0001f642", "\u2028", "{% raw %}"),
)
REFUSED = ("<|im_end|>", "<|bos|>", "<|im_start|><|im_start|>")
EACH = "{% for message in messages %}"
TEMPLATES = (
    "{{ bos_token }}" + EACH + "{{ message.role }}: {{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}\n",
    "{{ bos_token }}" + EACH + "\n"
    "{% if message.role == 'tool' and loop.last %}{{ raise_exception('no') }}{% endif %}\n"
    "    <|im_start|>{{ message.role }} {{ message.content | trim }}<|im_end|>\n"
    "{% endfor %}\n{{ messages | length }}>",
    "{{ bos_token }}{{ tools }}" + EACH + "[{{ message.role }}{{ message.name }}]"
    " {{ message.content }}\n{% endfor %}{% if add_generation_prompt and not tools %}[assistant]{% endif %}",
    # pieces that begin in one message and end in the next
    "{{ bos_token }}" + EACH + "{{ message.content }}{% endfor %}",
    # the newest message first, so that nothing stays where it is
    "{{ bos_token }}{% for message in messages | reverse %}[{{ message.role }}]{{ message.content }}{% endfor %}>",
    # a prompt that always has the same length
    "{{ bos_token }}{{ '%03d' | format(messages | map(attribute='content') | join | length) }}"
    "{{ messages[-1].role[0] if messages else '-' }}>",
    # a beginning that changes as the chat goes on, and back
    "{{ bos_token }}{{ '[later]' if messages | length > 2 else '[begin]' }}" + EACH
    + "{{ message.role }}: {{ message.content }}<|im_end|>{% endfor %}>",
    # nothing at all behind the answer of a tool
    "{% if not messages or messages[-1].role != 'tool' %}{{ bos_token }}" + EACH
    + "{{ message['role'] }} {{ message.get('content') }}\n{% endfor %}{{ messages | length }}>{% endif %}",
    # white space at its ends, and a token said twice
    "\r\n  {{ bos_token }}{{ bos_token }}\t\n" + EACH + "\n{{ message.content }}  \n  {% endfor %}  \n",
)  # fmt: skip
NO_TEMPLATES = (
    "{% for %}",
    "{{ bos_token }}" + EACH + "{% break %}{% endfor %}",
    "{{ bos_token }}{{ raise_exception('never') }}",
    "{# nothing #}",
    "{{ bos_token }}{{ 'x' * 2100 }}",
)
ROLES = ("user", "user", "user", "assistant", "assistant", "tool", "assistant", "system", "User")


class RandomScenarios:
    """Up to four conversations, with texts of all kinds, many of them of one beginning."""

    verbs = ("logits", "ids", "positions", "retract", "prune", "scribble")
    steps = (2, 9)

    def amended(case, choose):
        """Put what is said, and other conversations, between the calls; texts are no numbers that a range could say."""
        setup = {n: x for n, x in case["setup"].items() if n not in ("max_context", "loud")}
        # in float32 a score in the hundreds is rounded by more than the answer may be off
        if case["dtype"] == "float64" and not setup.get("unlike") and choose.one_in(3):
            setup |= choose.one_of(({"loud": 24}, {"below": 40000}))
        if choose.one_in(3):
            setup["max_context"] = choose.between(40, 120)
        if choose.one_in(2):
            setup["system"] = any_text(choose)
        if choose.one_in(3):
            setup["template"] = choose.one_of(TEMPLATES)
        first = {n: setup[n] for n in ("system", "template") if n in setup}
        chats, steps = {"main": first}, []
        for step in case["steps"]:
            if step["do"] == "recall":
                continue
            for _ in range(choose.below(3)):
                text = (
                    any_text(choose, (*PIECES, *REFUSED)) if choose.one_in(3) else any_text(choose)
                )
                said = {"do": "say", "role": choose.one_of(ROLES), "text": text}
                steps.append({**said, "to": choose.one_of([*chats])})
            if len(chats) < 4 and choose.one_in(4):
                begun = like(chats[choose.one_of([*chats])], setup, choose)
                name = f"chat-{len(chats)}"
                chats[name] = begun
                steps.append({"do": "open", "name": name, **begun})
            if choose.one_in(12):
                steps.append({"do": "open", "name": "refused", **refused(choose)})
            steps.append({**step, "of": choose.one_of([*chats])})
        if choose.one_in(2):
            steps.append({"do": "recall"})
        return {**case, "setup": setup, "steps": steps}


def any_text(choose, pieces=PIECES):
    return "".join(choose.one_of(pieces) for _ in range(choose.below(5)))


def like(known, setup, choose):
    """What another conversation begins with: what a known one does, but for a thing or two."""
    begun = dict(known)
    if choose.one_in(2):
        begun["system"] = any_text(choose)
    if choose.one_in(4):
        begun["template"] = choose.one_of(TEMPLATES)
    if choose.one_in(2):
        begun["model"] = choose.one_of(MODELS[: setup.get("models", 1)])
    if choose.one_in(4):
        begun["max_context"] = choose.between(40, 200)
    if choose.one_in(6):
        begun["alone"] = True
    return begun


def refused(choose):
    """What no conversation can begin with."""
    if choose.one_in(2):
        return {"template": choose.one_of(NO_TEMPLATES)}
    return {"system": any_text(choose) + choose.one_of(REFUSED) + any_text(choose)}


# What is drawn, in the grader


@made("weights", "num_heads", "template", "system", "max_context", "unlike", "passed")
def beginning(case):
    """The models, and what the first conversation begins with."""
    weights = {name: drawn_weights(case, name) for name in MODELS[: case.models]}
    for name, model in weights.items():
        model |= {name: model[name] * case.loud for name in "qk"}
        model["embed"] = model["embed"] / case.faint
        if name != "base":  # in another order
            weights[name] = dict(reversed(model.items()))
    template = case.template
    if template is None:
        template = Path(__file__).with_name("chat_template.jinja").read_text("utf-8")
    num_heads = {name: sizes_of(case, name)[1] for name in weights}
    return weights, num_heads, template, case.system, case.max_context, case.unlike, case.passed


def sizes_of(case, model):
    """Width, heads and layers of a model."""
    if case.unlike and model in OF_OTHER_SIZES:
        heads = case.num_heads + 1
        return heads * (case.d_model // case.num_heads + 2), heads, case.layers % 3 + 1
    return case.d_model, case.num_heads, case.layers


def drawn_weights(case, model):
    """Weights of one model by name: `embed` and `head` [V, C], `q`, `k`, `v` and `o` [L, C, C]."""
    width, _, layers = sizes_of(case, model)
    near = width**-0.5
    embed, head = (case.draw(VOCABULARY, width, scale=scale) for scale in (1, near))
    square = {name: case.draw(layers, width, width, scale=1.5 * near) for name in "qkvo"}
    if case.below:
        put_below(case, embed, **square)
    return {"embed": embed, "head": head, **square}


def put_below(case, embed, q, k, v, o):
    """Let the last feature be the same for all tokens, and the pair that turns least lower every score by it."""
    dim = case.d_model // case.num_heads
    size = (case.below * dim**0.5) ** 0.5
    embed[:, -1], o[:, -1] = 1, 0
    for weight, last in ((q, size), (k, -size)):
        weight[:, dim // 2 - 1 :: dim] = 0
        weight[:, dim // 2 - 1 :: dim, -1] = last


def heads(case, tokens):
    """Rows [H, T, D]."""
    return case.draw(case.num_heads, tokens, case.d_model // case.num_heads)


def pairs(case, *counts):
    """Keys and values [H, T, D] for one append after the other, by their number."""
    return {str(i): {"k": heads(case, n), "v": heads(case, n)} for i, n in enumerate(counts)}


@made("x")
def rotated_rows(case, tokens: whole(1, 32, "Rows.")):
    return heads(case, tokens)


@made("q", "k", "v")
def attended_rows(
    case,
    tokens: whole(1, 32, "Queries."),
    past: whole(0, 32, "Keys before those of the queries."),
):
    return heads(case, tokens), heads(case, past + tokens), heads(case, past + tokens)


@made("past", "x")
def two_runs(
    case,
    past: whole(1, 32, "Rows of the first run."),
    tokens: whole(1, 32, "Rows of the second run."),
):
    """Rows [T, C] of two runs."""
    return case.draw(past, case.d_model), case.draw(tokens, case.d_model)


@made("script", "rows")
def scripted(
    case,
    script: listed(
        text("One action.", 10, r"^(append [0-9]{1,2}|crop [0-9]{1,2}|copy)$"),
        "What is done: `append N`, `crop N` or `copy`, after which the copy goes on.", (1, 12),
    ),
):  # fmt: skip
    """What is done, and the rows that it appends."""
    counts = [int(action.split()[1]) for action in script if action.startswith("append")]
    return script, pairs(case, *counts)


@made("rows")
def put_and_grown(
    case,
    rows: whole(1, 16, "Rows that are put."),
    grow: whole(1, 16, "Rows appended afterwards, each time."),
):
    """Rows of two appends."""
    return pairs(case, rows, grow)


# What is asked of the submission, in the worker: conversations


@verb
def create(file, weights, num_heads, template, system, max_context, unlike, passed):
    import torch

    torch.set_grad_enabled(False)
    keep = file.keep
    keep.passed, keep.template, keep.models = passed, template, {}
    for name, model in weights.items():
        if unlike and name in OF_OTHER_DTYPE:
            model = {part: of_another_dtype(tensor) for part, tensor in model.items()}
        said = "base" if name == "twin" else name
        keep.models[name] = called(
            file, "Decoder", 2, weights=model, num_heads=num_heads[name], name=said
        )
    keep.prefixes, keep.of_twin = file.PrefixStore(), file.PrefixStore()
    keep.options = {} if max_context is None else {"max_context": max_context}
    begin(file, "main", system)
    return {"ready": True}


def of_another_dtype(x):
    """The same numbers in the other of the two dtypes."""
    return x.float() if str(x.dtype) == "torch.float64" else x.double()


def called(file, what, required, /, **arguments):
    """Call something of the file; only the first arguments are passed by place, unless the case says otherwise."""
    passed = {"by name": 0, "by place": len(arguments)}.get(file.keep.passed, required)
    values = list(arguments.values())[:passed]
    return getattr(file, what)(*values, **dict([*arguments.items()][passed:]))


def begin(file, name, system, model="base", template=None, alone=False, max_context=None):
    """Make a conversation that later steps find under its name."""
    keep = file.keep
    options = {"system": system}
    if not alone:
        options["prefixes"] = keep.of_twin if model == "twin" else keep.prefixes
    options |= keep.options if max_context is None else {"max_context": max_context}
    if alone and keep.passed == "by place" and "max_context" in options:
        options = {"system": system, "prefixes": None, "max_context": options["max_context"]}
    template = keep.template if template is None else template
    begun = called(file, "Conversation", 2, model=keep.models[model], template=template, **options)
    file.objects[name] = begun
    return {"prompt_ids": begun.prompt_ids()}


@verb
def open(
    file,
    name: text("What later steps call it.", 20, CHAT),
    system: text("Its system prompt.", 400) = None,
    model: choice(MODELS, "Which model; `base` when left out.") = "base",
    template: text("A chat template of its own.", 2000) = None,
    alone: switch("Whether it is given no store of prefixes; false when left out.") = False,
    max_context: whole(1, 2000, "Its longest prompt; as for `main` when left out.") = None,
):
    """Open another conversation, on the store of its model unless it is alone; returns `prompt_ids`."""
    return begin(file, name, system, model, template, alone, max_context)


@verb
def say(file, role: text("Who speaks.", 20), text: text("What is said.", 1200), to: Chat = "main"):
    """Add a message."""
    if file.keep.passed == "by name":
        to.say(role=role, text=text)
    else:
        to.say(role, text)


@verb
def retract(file, of: Chat = "main"):
    """Take the newest message back."""
    of.retract()


@verb
def prune(
    file, keep_turns: whole(-9, 99, "How many turns stay.", usual=(-1, 4)), of: Chat = "main"
):
    """Keep the newest turns only."""
    if file.keep.passed == "by name":
        of.prune(keep_turns=keep_turns)
    else:
        of.prune(keep_turns)


@verb(recalled=True)
def ids(file, of: Chat = "main"):
    """Returns `prompt_ids`; the model does not run."""
    answer = of.prompt_ids()
    return lambda: {"prompt_ids": answer}


@verb(recalled=True)
def positions(file, of: Chat = "main"):
    """Returns `position_ids`."""
    answer = of.position_ids()
    return lambda: {"position_ids": answer}


@verb(recalled=True, often=3)
def logits(file, of: Chat = "main"):
    """Returns `logits` of the token that follows the prompt."""
    answer = of.logits()
    return lambda: {"logits": answer}


@verb
def scribble(file, of: Chat = "main"):
    """Overwrite the tensors that prompt_ids(), logits() and position_ids() return; returns nothing."""
    for tensor in (of.prompt_ids(), of.logits(), of.position_ids()):
        tensor.fill_(7)  # as a careless caller may


@verb
def same_key(file, left: chat("One conversation."), right: chat("The other.")):
    """Returns `same`, whether the store would take two conversations' prefixes for one."""
    keys = [guarded(item)._prefix_key() for item in (left, right)]
    return {"same": bool(keys[0] == keys[1])}


@verb
def tamper(file, of: Chat = "main"):
    """Double the values that the store keeps for a conversation's prefix; returns `rows`, how many it keeps."""
    key = guarded(of)._prefix_key()
    kept = file.keep.prefixes.get(key)
    if kept is None:
        raise Wrong("missing", "the store keeps nothing under this conversation's key")
    kept.values = [2 * values for values in kept.values]
    file.keep.prefixes.put(key, kept)  # a conversation that uses them will show it
    return {"rows": len(kept.positions)}


# Parts of the file


@verb(uses=(*CONVERSATION_METHODS, *PARTS.values()))
def call(
    file,
    helper: choice(
        HELPERS, "A function of the file, or a method of `main`, its tokenizer or its template."
    ),
    arguments: listed(None, "Positional arguments.", (0, 4)),
):
    """Call a helper; returns `result`, what it returned as JSON text."""
    owner, _, name = helper.rpartition(".")
    target = file
    if owner:
        need(file, owner)
        target = file.objects["main"]
        target = need(target, PARTS[owner], having=name) if owner in PARTS else target
    answer = need(target, name)(*arguments)
    try:
        return {"result": json.dumps(answer, ensure_ascii=False)}
    except (TypeError, ValueError):
        raise Wrong("wrong_dtype", f"`{helper}` returned {type(answer).__name__}") from None


@verb("rotated")
def rotary(file, x: rotated_rows, start: whole(0, 4096, "Position of the first.")):
    """Rotate random rows; returns `rotated`, [H, T, D]."""
    import torch

    return file.rotary(x, torch.arange(start, start + x.shape[1]))


@verb("mixed")
def attention(file, q, k, v):
    """Attend with random q, k and v; returns `mixed`, [H, T, D]."""
    return file.attention(q, k, v)


@verb("mixed")
def attend(file, past, x: two_runs):
    """Run random rows through layer 0 in two runs; returns `mixed`, [T, C], of the second."""
    model, cache = guarded(file.keep.models["base"]), empty(file)
    for rows in (past, x):
        mixed = model._attend(0, rows, cache.advance(len(rows)), cache)
    return mixed


@verb
def cache(file, script, rows):
    """Work on an empty cache; returns the rows of `cache`, and of `other`, which it was copied from."""
    caches, turn = {"cache": empty(file)}, 0
    for action, *count in map(str.split, script):
        cache = guarded(caches["cache"])
        if action == "append":
            append(caches["cache"], rows[str(turn)])
            turn += 1
        elif action == "crop":
            cache.crop(int(count[0]))
        else:
            caches |= {"other": caches["cache"], "cache": cache.copy()}
    return {name: rows_of(kept) for name, kept in caches.items()}


@verb
def pool(file, rows: put_and_grown):
    """Put a cache into the store and append to it, get it and append to that, get it again; returns the rows of
    `first` and `again`."""
    store, cache = guarded(file.keep.prefixes), empty(file)
    append(cache, rows["0"])
    store.put("prompt", cache)
    append(cache, rows["1"])
    mine = store.get("prompt")
    first = rows_of(mine)
    append(mine, rows["1"])
    again = rows_of(store.get("prompt"))
    return {"first": first, "again": again, "found": store.get("none") is not None}


def empty(file):
    """A cache without rows."""
    need(file, "KVCache")
    return guarded(file.keep.models["base"]).new_cache()


def append(cache, rows):
    guarded(cache).advance(rows["k"].shape[1])
    for layer in range(len(cache.keys)):
        guarded(cache).append(layer, rows["k"], rows["v"])


def rows_of(cache):
    """All that a cache holds."""
    if cache is None:
        raise Wrong("missing", "no cache came back")
    pairs = zip(cache.keys, cache.values, strict=True)
    layers = {str(i): {"key": k, "value": v} for i, (k, v) in enumerate(pairs)}
    return {**layers, "positions": cache.positions, "cursor": int(cache.cursor)}


Plan, Verbs = both_sides(globals())

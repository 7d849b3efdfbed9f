"""Verbs of the conversation_prefix challenge: conversations, by name, and the parts of the file alone.

Weights and rows are drawn; what is said is text that a case states.  The driver does not know what is right.
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
MODELS = ("base", "other", "Base", "base-2")
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
        1, 4, "Beside `base` there are as many of `other`, `Base` and `base-2`; 1 when left out."
    ) = 1
    max_context: whole(
        8, 512, "The longest prompt, in tokens; the file's own default, 256, when left out."
    ) = None
    system: text(
        "System prompt of `main`; when left out the template's default stands there.", 400
    ) = None
    template: text("A chat template in place of chat_template.jinja.", 2000) = None
    loud: real(1, 30, "How many times larger the weights of queries and keys are.") = 1

    def legal(sizes):
        """Whether random cases may have these sizes."""
        return sizes.d_model % (2 * sizes.num_heads) == 0


PIECES = (
    *("Hi", "the", " the", "ing", "user", "  ", "\n\n", "\r\n", " ", "a", "0123456789", "</think>"),
    *("\u00e9", "\u4e16\u754c", "<b>&amp;", "{{ 1 }}", "<|im_end", "<|im_end|>"),
    *(
        "\t",
        "\0",
        "\ufeff",
        "e\u0301",
        "\U0001f642",
        "\u2028",
        "{% raw %}",
        "<|bos|>",
        "<|im_start|><|im_start|>",
    ),
)
TEMPLATES = (
    "{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}\n",
    "{{ bos_token }}{% for message in messages %}\n"
    "{% if message.role == 'tool' and loop.last %}{{ raise_exception('no') }}{% endif %}\n"
    "    <|im_start|>{{ message.role }} {{ message.content | trim }}<|im_end|>\n"
    "{% endfor %}\n{{ messages | length }}>",
    "{{ bos_token }}{{ tools }}{% for message in messages %}[{{ message.role }}{{ message.name }}]"
    " {{ message.content }}\n{% endfor %}{% if add_generation_prompt and not tools %}[assistant]{% endif %}",
)
ROLES = ("user", "user", "assistant", "tool", "assistant", "system", "User")


class RandomScenarios:
    """Up to three conversations on one store, with texts of all kinds."""

    verbs = ("logits", "ids", "positions", "retract", "prune", "scribble")
    steps = (2, 9)

    def amended(case, choose):
        """Put what is said, and other conversations, between the calls; texts are no numbers that a range could say."""
        setup = {n: x for n, x in case["setup"].items() if n not in ("max_context", "loud")}
        if choose.one_in(3):
            setup["max_context"] = choose.between(40, 120)
        if choose.one_in(2):
            setup["system"] = any_text(choose)
        if choose.one_in(4):
            setup["template"] = choose.one_of(TEMPLATES)
        chats, systems, steps = ["main"], [setup.get("system")], []
        for step in case["steps"]:
            for _ in range(choose.below(3)):
                said = {"do": "say", "role": choose.one_of(ROLES), "text": any_text(choose)}
                steps.append({**said, "to": choose.one_of(chats)})
            if len(chats) < 3 and choose.one_in(6):
                chats.append(f"chat-{len(chats)}")
                shared = choose.one_of(systems) if choose.one_in(2) else any_text(choose)
                systems.append(shared)
                begun = {"do": "open", "name": chats[-1]} | (
                    {} if shared is None else {"system": shared}
                )
                if choose.one_in(4):
                    begun["template"] = choose.one_of(TEMPLATES)
                steps.append({**begun, "model": choose.one_of(MODELS[: setup.get("models", 1)])})
            steps.append({**step, "of": choose.one_of(chats)})
        return {**case, "setup": setup, "steps": steps}


def any_text(choose):
    return "".join(choose.one_of(PIECES) for _ in range(choose.below(5)))


# What is drawn, in the grader


@made("weights", "num_heads", "template", "system", "max_context")
def beginning(case):
    """One or two models, and what the first conversation begins with."""
    weights = {name: drawn_weights(case) for name in MODELS[: case.models]}
    for model in weights.values():
        model |= {name: model[name] * case.loud for name in "qk"}
    template = case.template
    if template is None:
        template = Path(__file__).with_name("chat_template.jinja").read_text("utf-8")
    return weights, case.num_heads, template, case.system, case.max_context


def drawn_weights(case):
    """Weights of one model by name: `embed` and `head` [V, C], `q`, `k`, `v` and `o` [L, C, C]."""
    width, near = case.d_model, case.d_model**-0.5
    embed, head = (case.draw(VOCABULARY, width, scale=scale) for scale in (1, near))
    square = {name: case.draw(case.layers, width, width, scale=1.5 * near) for name in "qkvo"}
    return {"embed": embed, "head": head, **square}


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
def create(file, weights, num_heads, template, system, max_context):
    import torch

    torch.set_grad_enabled(False)
    keep, decoder = file.keep, file.Decoder
    keep.models = {n: decoder(w, num_heads=num_heads, name=n) for n, w in weights.items()}
    keep.prefixes = file.PrefixStore()
    keep.template = template
    keep.options = {} if max_context is None else {"max_context": max_context}
    begin(file, "main", system)
    return {"ready": True}


def begin(file, name, system, model="base", template=None, alone=False):
    """Make a conversation that later steps find under its name."""
    keep = file.keep
    options = keep.options if alone else {**keep.options, "prefixes": keep.prefixes}
    template = template or keep.template
    begun = file.Conversation(keep.models[model], template, system=system, **options)
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
):
    """Open another conversation on the same store of prefixes; returns `prompt_ids`."""
    return begin(file, name, system, model, template, alone)


@verb
def say(file, role: text("Who speaks.", 20), text: text("What is said.", 400), to: Chat = "main"):
    """Add a message."""
    to.say(role, text)


@verb
def retract(file, of: Chat = "main"):
    """Take the newest message back."""
    of.retract()


@verb
def prune(file, keep_turns: whole(-9, 99, "How many turns stay."), of: Chat = "main"):
    """Keep the newest turns only."""
    of.prune(keep_turns)


@verb
def ids(file, of: Chat = "main"):
    """Returns `prompt_ids`; the model does not run."""
    return {"prompt_ids": of.prompt_ids()}


@verb
def positions(file, of: Chat = "main"):
    """Returns `position_ids`."""
    return {"position_ids": of.position_ids()}


@verb
def logits(file, of: Chat = "main"):
    """Returns `logits` of the token that follows the prompt."""
    return {"logits": of.logits()}


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

"""The verbs of this challenge: what a case may ask of a conversation and of its parts.

`Plan` draws weights and reads the chat template; `Verbs` makes the calls. Neither knows what is
right.
"""

from __future__ import annotations

import json
from pathlib import Path

from grader.kit import Wrong, need

VOCABULARY = 276
PARTS = {"Tokenizer": "_tokenizer", "ChatTemplate": "_template"}


class Plan:
    """Sizes come from the case's `setup`, numbers from `draw`."""

    def __init__(self, setup, draw):
        self.setup, self.draw = setup, draw
        self.d_model, self.num_heads = setup.get("d_model", 16), setup.get("num_heads", 2)
        self.template = Path(__file__).with_name("chat_template.jinja").read_text("utf-8")

    def create(self):
        names = ["base", "other"][: self.setup.get("models", 1)]
        return {
            "weights": {name: self._weights() for name in names},
            "num_heads": self.num_heads,
            "template": self.setup.get("template", self.template),
            "system": self.setup.get("system"),
            "max_context": self.setup.get("max_context"),
        }

    def rotary(self, *, tokens, start):
        return {"x": self._heads(tokens), "start": start}

    def attention(self, *, tokens, past):
        return {
            "q": self._heads(tokens),
            "k": self._heads(past + tokens),
            "v": self._heads(past + tokens),
        }

    def attend(self, *, tokens, past):
        return {"past": self.draw(past, self.d_model), "x": self.draw(tokens, self.d_model)}

    def cache(self, *, script):
        counts = [int(step.split()[1]) for step in script if step.startswith("append")]
        return {"script": script, "rows": self._pairs(*counts)}

    def pool(self, *, rows, grow):
        return {"rows": self._pairs(rows, grow)}

    def _pairs(self, *counts):
        return {str(i): {"k": self._heads(n), "v": self._heads(n)} for i, n in enumerate(counts)}

    def _heads(self, tokens):
        return self.draw(self.num_heads, tokens, self.d_model // self.num_heads)

    def _weights(self):
        layers, near = self.setup.get("layers", 2), self.d_model**-0.5
        square = (layers, self.d_model, self.d_model)
        embed, head = (self.draw(VOCABULARY, self.d_model, scale=s) for s in (1, near))
        weights = {name: self.draw(*square, scale=1.5 * near) for name in "qkvo"}
        return {"embed": embed, "head": head, **weights}


class Verbs:
    """Makes the calls and returns what came back."""

    def __init__(self, submission):
        self.kit, self.chats = submission, {}

    def create(self, *, dtype, weights, num_heads, template, system, max_context):
        import torch

        torch.set_grad_enabled(False)
        self.torch = torch
        decoder = need(self.kit, "Decoder")
        self.models = {n: decoder(w, num_heads=num_heads, name=n) for n, w in weights.items()}
        self.prefixes = need(self.kit, "PrefixStore")()
        self.template = template
        self.options = {} if max_context is None else {"max_context": max_context}
        self.open(name="main", system=system)
        return {"ready": True}

    def open(self, *, name, system=None, model="base", template=None, alone=False):
        options = self.options if alone else {**self.options, "prefixes": self.prefixes}
        self.chats[name] = need(self.kit, "Conversation")(
            self.models[model], template or self.template, system=system, **options
        )
        return self.ids(of=name)

    def say(self, *, role, text, to="main"):
        self.chats[to].say(role, text)
        return {}

    def retract(self, *, of="main"):
        self.chats[of].retract()
        return {}

    def prune(self, *, keep_turns, of="main"):
        self.chats[of].prune(keep_turns)
        return {}

    def ids(self, *, of="main"):
        return {"prompt_ids": self.chats[of].prompt_ids()}

    def positions(self, *, of="main"):
        return {"position_ids": self.chats[of].position_ids()}

    def logits(self, *, of="main"):
        return {"logits": self.chats[of].logits()}

    def scribble(self, *, of="main"):
        """Spoil what was returned, as a careless caller may."""
        chat = self.chats[of]
        for made in (chat.prompt_ids(), chat.logits(), chat.position_ids()):
            made.fill_(7)
        return {}

    def call(self, *, helper, arguments):
        """Call a helper with plain values; what it returns is compared as JSON text."""
        owner, _, name = helper.rpartition(".")
        target = self.kit
        if owner:
            need(self.kit, owner)
            target = self.chats["main"]
            target = need(target, PARTS[owner]) if owner in PARTS else target
        made = need(target, name)(*arguments)
        try:
            return {"result": json.dumps(made, ensure_ascii=False)}
        except (TypeError, ValueError):
            raise Wrong("wrong_dtype", f"`{helper}` returned {type(made).__name__}") from None

    def same_key(self, *, left, right):
        keys = [need(self.chats[name], "_prefix_key")() for name in (left, right)]
        return {"same": bool(keys[0] == keys[1])}

    def tamper(self, *, of="main"):
        """Double the values that the store keeps for a conversation's prefix: who uses them will show it."""
        key = need(self.chats[of], "_prefix_key")()
        kept = self.prefixes.get(key)
        if kept is None:
            raise Wrong("missing", "the store keeps nothing under this conversation's key")
        kept.values = [2 * values for values in kept.values]
        self.prefixes.put(key, kept)
        return {"rows": len(kept.positions)}

    def rotary(self, *, x, start):
        positions = self.torch.arange(start, start + x.shape[1])
        return {"rotated": need(self.kit, "rotary")(x, positions)}

    def attention(self, *, q, k, v):
        return {"mixed": need(self.kit, "attention")(q, k, v)}

    def attend(self, *, past, x):
        model, cache = self.models["base"], self._empty()
        for rows in (past, x):
            mixed = need(model, "_attend")(0, rows, cache.advance(len(rows)), cache)
        return {"mixed": mixed}

    def cache(self, *, script, rows):
        cache, turn, kept = self._empty(), 0, {}
        for word, *count in map(str.split, script):
            if word == "append":
                self._append(cache, rows[str(turn)])
                turn += 1
            elif word == "crop":
                need(cache, "crop")(int(count[0]))
            else:
                kept["other"], cache = cache, need(cache, "copy")()
        return {"cache": self._rows(cache), **{n: self._rows(c) for n, c in kept.items()}}

    def pool(self, *, rows):
        """Put a cache and go on with it; get it and go on with that; then get it again."""
        store, cache = self.prefixes, self._empty()
        self._append(cache, rows["0"])
        need(store, "put")("prompt", cache)
        self._append(cache, rows["1"])
        mine = need(store, "get")("prompt")
        first = self._rows(mine)
        self._append(mine, rows["1"])
        again = self._rows(store.get("prompt"))
        return {"first": first, "again": again, "found": store.get("none") is not None}

    def _empty(self):
        need(self.kit, "KVCache")
        return need(self.models["base"], "new_cache")()

    def _append(self, cache, rows):
        need(cache, "advance")(rows["k"].shape[1])
        for layer in range(len(cache.keys)):
            need(cache, "append")(layer, rows["k"], rows["v"])

    def _rows(self, cache):
        if cache is None:
            raise Wrong("missing", "no cache came back")
        pairs = zip(cache.keys, cache.values, strict=True)
        layers = {str(i): {"key": k, "value": v} for i, (k, v) in enumerate(pairs)}
        return {**layers, "positions": cache.positions, "cursor": int(cache.cursor)}

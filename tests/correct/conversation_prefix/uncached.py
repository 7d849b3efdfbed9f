"""No cache at all: every question renders the chat anew and runs all of it."""

import jinja2
import jinja2.sandbox
import torch

MERGES = ["th", "the", " the", "in", "ing", "er", "re", "an", "and", "ou", "you", "  ", "\n\n"]
MERGES += ["system", "user", "assistant", "tool"]
CONTROL = ["<|bos|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = {piece.encode(): 256 + i for i, piece in enumerate(MERGES + CONTROL)}
LONGEST = max(map(len, VOCABULARY))


def tokenize(text):
    data, ids, i = text.encode(), [], 0
    while i < len(data):
        for size in range(min(LONGEST, len(data) - i), 0, -1):
            piece = data[i : i + size]
            if piece in VOCABULARY:
                ids.append(VOCABULARY[piece])
                break
        else:
            size = 1
            ids.append(data[i])
        i += size
    return ids


class Decoder:
    def __init__(self, weights, num_heads, name="base"):
        self.w, self.heads, self.name = weights, num_heads, name

    def run(self, ids):
        x = self.w["embed"][torch.tensor(ids)]
        count, width = x.shape
        size = width // self.heads
        turn = torch.arange(count, dtype=torch.float64).outer(
            10000.0 ** (torch.arange(0, size, 2, dtype=torch.float64) / -size)
        )
        cos, sin = turn.cos().to(x.dtype), turn.sin().to(x.dtype)

        def rotated(y):
            a, b = y.split(size // 2, dim=-1)
            return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

        hidden = torch.full((count, count), float("-inf"), dtype=x.dtype).triu(1)
        for q, k, v, o in zip(*(self.w[n] for n in "qkvo"), strict=True):
            y = self.normed(x)
            q, k, v = ((y @ m.mT).unflatten(1, (self.heads, size)).movedim(1, 0) for m in (q, k, v))
            score = rotated(q) @ rotated(k).mT * size**-0.5 + hidden
            x = x + (torch.softmax(score, -1) @ v).movedim(0, 1).flatten(1) @ o.mT
        return self.w["head"] @ self.normed(x)[-1]

    @staticmethod
    def normed(x):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)


class PrefixStore:
    pass


class Conversation:
    def __init__(self, model, template, system=None, prefixes=None, max_context=256):
        def raise_exception(text):
            raise jinja2.TemplateError(text)

        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True
        )
        environment.globals["raise_exception"] = raise_exception
        try:
            self.template = environment.from_string(template)
        except jinja2.TemplateError as error:
            raise ValueError(str(error)) from error
        self.model, self.limit = model, max_context
        self.system = [] if system is None else [self.checked("system", system)]
        self.chat = self.fitting([])

    def say(self, role, text):
        if role not in {"user", "assistant", "tool"}:
            raise ValueError(f"no such role: {role}")
        self.chat = self.fitting([*self.chat, self.checked(role, text)])

    def retract(self):
        if len(self.chat) == 0:
            raise ValueError("nothing was said")
        self.chat = self.fitting(self.chat[:-1])

    def prune(self, keep_turns):
        if keep_turns <= 0:
            raise ValueError("something has to stay")
        chat = list(self.chat)
        while sum(m["role"] == "user" for m in chat) > keep_turns:
            chat.pop(0)
            while chat[0]["role"] != "user":
                chat.pop(0)
        self.chat = self.fitting(chat)

    def prompt_ids(self):
        return torch.tensor(self.rendered(self.chat))

    def position_ids(self):
        return torch.arange(len(self.rendered(self.chat)))

    def logits(self):
        return self.model.run(self.rendered(self.chat))

    @staticmethod
    def checked(role, text):
        for token in CONTROL:
            if token in text:
                raise ValueError(f"{token} is not yours to say")
        return {"role": role, "content": text}

    def rendered(self, chat):
        values = {"bos_token": CONTROL[0], "add_generation_prompt": True}
        try:
            return tokenize(self.template.render(messages=self.system + chat, **values))
        except jinja2.TemplateError as error:
            raise ValueError(str(error)) from error

    def fitting(self, chat):
        if not 0 < len(self.rendered(chat)) <= self.limit:
            raise ValueError("the prompt does not fit")
        return chat

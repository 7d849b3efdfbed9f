"""Buffers of full size, written in place; a shared prefix is copied into them row by row."""

import re

import torch
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MERGES = [
    "th",
    "the",
    " the",
    "in",
    "ing",
    "er",
    "re",
    "an",
    "and",
    "ou",
    "you",
    "  ",
    "\n\n",
    "system",
    "user",
    "assistant",
    "tool",
]
CONTROL = ["<|bos|>", "<|im_start|>", "<|im_end|>"]
NUMBER = {piece: 256 + i for i, piece in enumerate(MERGES + CONTROL)}
LEXER = re.compile("|".join(map(re.escape, sorted(NUMBER, key=len, reverse=True))) + "|(?s:.)")


def encode(text):
    return [i for p in LEXER.findall(text) for i in ([NUMBER[p]] if p in NUMBER else p.encode())]


class Decoder:
    def __init__(self, weights, num_heads, name="base"):
        self.weights, self.num_heads, self.name = weights, num_heads, name
        self.layers, self.width = weights["q"].shape[:2]
        self.head_dim = self.width // num_heads

    def buffers(self, size):
        shape = (2, self.layers, self.num_heads, size, self.head_dim)
        # unwritten rows are NaN, so that reading one cannot go unnoticed
        return torch.full(shape, float("nan"), dtype=self.weights["embed"].dtype)

    def prefill(self, ids, rows, start):
        """Write rows start to start + len(ids) and return the last logits."""
        end = start + len(ids)
        where = torch.arange(start, end)
        visible = torch.arange(end)[None, :] <= where[:, None]
        x = self.weights["embed"][torch.tensor(ids)]
        for layer in range(self.layers):
            y = self.norm(x)
            q, k, v = (y @ self.weights[name][layer].T for name in "qkv")
            rows[0, layer, :, start:end] = self.turn(self.heads(k), where)
            rows[1, layer, :, start:end] = self.heads(v)
            keys, values = rows[:, layer, :, :end]
            scores = torch.einsum("htd,hsd->hts", self.turn(self.heads(q), where), keys)
            scores = scores / self.head_dim**0.5
            scores = torch.where(visible, scores, torch.finfo(scores.dtype).min)
            mixed = torch.einsum("hts,hsd->thd", scores.softmax(-1), values)
            x = x + mixed.reshape(len(ids), self.width) @ self.weights["o"][layer].T
        return self.weights["head"] @ self.norm(x[-1])

    def heads(self, x):
        return x.reshape(len(x), self.num_heads, self.head_dim).transpose(0, 1)

    def turn(self, x, where):
        half = self.head_dim // 2
        speed = 1 / 10000 ** (torch.arange(half, dtype=torch.float64) / half)
        angle = torch.cat([where[:, None] * speed] * 2, dim=-1)
        swapped = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return x * angle.cos().to(x.dtype) + swapped * angle.sin().to(x.dtype)

    @staticmethod
    def norm(x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class PrefixStore:
    def __init__(self):
        self.rows = {}


class Conversation:
    def __init__(self, model, template, system=None, prefixes=None, max_context=256):
        self.model, self.max_context = model, max_context
        self.store = prefixes if prefixes is not None else PrefixStore()
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = self._raise
        try:
            self.template = environment.from_string(template)
        except TemplateError as error:
            raise ValueError(error) from error
        self.system = []
        if system is not None:
            self._no_control(system)
            self.system = [("system", system)]
        self.messages = []
        self._set([])
        self.rows, self.filled = None, []

    def say(self, role, text):
        if role not in ("user", "assistant", "tool"):
            raise ValueError(f"{role} cannot speak")
        self._no_control(text)
        self._set([*self.messages, (role, text)])

    def retract(self):
        if not self.messages:
            raise ValueError("nothing to retract")
        self._set(self.messages[:-1])

    def prune(self, keep_turns):
        if keep_turns < 1:
            raise ValueError("keep one turn at least")
        left = 0
        for i in reversed(range(len(self.messages))):
            left += self.messages[i][0] == "user"
            if left == keep_turns and any(role == "user" for role, _ in self.messages[:i]):
                self._set(self.messages[i:])
                return

    def prompt_ids(self):
        return torch.tensor(self._prompt(self.messages))

    def position_ids(self):
        return torch.arange(len(self._prompt(self.messages)))

    def logits(self):
        ids = self._prompt(self.messages)
        if self.rows is None:
            self._begin()
        start = 0
        while start < min(len(ids) - 1, len(self.filled)) and ids[start] == self.filled[start]:
            start += 1
        self.filled = ids
        return self.model.prefill(ids[start:], self.rows, start)

    def _begin(self):
        ids = encode(self._render([], False))
        self.rows = self.model.buffers(max(self.max_context, len(ids)))
        if not ids:
            return
        key = f"{self.model.name}:{ids}"
        if key not in self.store.rows:
            self.model.prefill(ids, self.rows, 0)
            self.store.rows[key] = self.rows[..., : len(ids), :].clone()
        self.rows[..., : len(ids), :] = self.store.rows[key]
        self.filled = ids

    def _set(self, messages):
        size = len(self._prompt(messages))
        if size == 0 or size > self.max_context:
            raise ValueError(f"a prompt of {size} tokens does not fit")
        self.messages = messages

    def _prompt(self, messages):
        return encode(self._render(messages, True))

    def _render(self, messages, opening):
        chat = [{"role": role, "content": text} for role, text in self.system + messages]
        try:
            return self.template.render(
                messages=chat, bos_token=CONTROL[0], add_generation_prompt=opening
            )
        except TemplateError as error:
            raise ValueError(error) from error

    @staticmethod
    def _raise(text):
        raise TemplateError(text)

    @staticmethod
    def _no_control(text):
        if re.search("|".join(map(re.escape, CONTROL)), text):
            raise ValueError("text holds a control token")

"""Functions over tuples: every answer starts again from the frozen rows of the system prompt."""

from functools import reduce
from itertools import takewhile

import jinja2
import jinja2.sandbox
import torch
import torch.nn.functional as F

SPECIAL = ("<|bos|>", "<|im_start|>", "<|im_end|>")
WORDS = [
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
RANKED = sorted(((p, 256 + i) for i, p in enumerate((*WORDS, *SPECIAL))), key=lambda x: -len(x[0]))


def to_ids(text):
    ids = []
    while text:
        piece, number = next(((p, i) for p, i in RANKED if text.startswith(p)), (text[0], None))
        ids += piece.encode() if number is None else [number]
        text = text[len(piece) :]
    return tuple(ids)


def spin(x, start):
    """Rotate by complex multiplication; x is [H, T, D]."""
    half = x.shape[-1] // 2
    speed = torch.pow(10000.0, -torch.arange(half, dtype=torch.float64) / half)
    angle = torch.outer(torch.arange(start, start + x.shape[1], dtype=torch.float64), speed)
    z = torch.complex(x[..., :half].double(), x[..., half:].double())
    z = z * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([z.real, z.imag], dim=-1).to(x.dtype)


def rms(x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Decoder:
    def __init__(self, weights, num_heads, name="base"):
        self.weights, self.num_heads, self.name = weights, num_heads, name

    def step(self, ids, past):
        """Return the logits of the last id, and the rows of all layers, as a tuple of pairs."""
        x = F.embedding(torch.tensor(ids), self.weights["embed"])
        rows = []
        for layer in range(len(self.weights["q"])):
            y, pair = self._mix(layer, rms(x), past[layer] if past else None)
            x = x + y
            rows.append(pair)
        return F.linear(rms(x[-1]), self.weights["head"]), tuple(rows)

    def _mix(self, layer, x, pair):
        start = 0 if pair is None else pair[0].shape[1]
        split = (len(x), self.num_heads, -1)
        q, k, v = (
            F.linear(x, self.weights[n][layer]).reshape(split).permute(1, 0, 2) for n in "qkv"
        )
        q, k = spin(q, start), spin(k, start)
        if pair is not None:
            k, v = torch.cat((pair[0], k), 1), torch.cat((pair[1], v), 1)
        seen = torch.arange(k.shape[1]) <= torch.arange(len(x))[:, None] + start
        y = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=seen)[0]
        return F.linear(y.permute(1, 0, 2).flatten(1), self.weights["o"][layer]), (k, v)


class PrefixStore(dict):
    pass


class Conversation:
    def __init__(self, model, template, system=None, prefixes=None, max_context=256):
        self.model, self.limit = model, max_context
        self.store = PrefixStore() if prefixes is None else prefixes
        self.page = _compile(template)
        self.first = () if system is None else (("system", _clean(system)),)
        self.said = self._fit(())
        self.prefix = to_ids(self._render((), False))

    def say(self, role, text):
        if role not in ("user", "assistant", "tool"):
            raise ValueError(role)
        self.said = self._fit((*self.said, (role, _clean(text))))

    def retract(self):
        if not self.said:
            raise ValueError("nothing to take back")
        self.said = self._fit(self.said[:-1])

    def prune(self, keep_turns):
        if keep_turns < 1:
            raise ValueError(keep_turns)
        head, *turns = reduce(
            lambda turns, said: (
                [*turns, (said,)] if said[0] == "user" else [*turns[:-1], (*turns[-1], said)]
            ),
            self.said,
            [()],
        )
        kept = [head, *turns] if len(turns) <= keep_turns else turns[-keep_turns:]
        self.said = self._fit(sum(kept, ()))

    def prompt_ids(self):
        return torch.tensor(self._prompt(self.said), dtype=torch.int64)

    def position_ids(self):
        return torch.arange(self.prompt_ids().numel())

    def logits(self):
        ids = self._prompt(self.said)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(self.prefix, ids, strict=False))
        if len(ids) > len(self.prefix) == sum(1 for _ in same) > 0:
            return self.model.step(ids[len(self.prefix) :], self._rows())[0]
        return self.model.step(ids, None)[0]

    def _rows(self):
        key = self.model.name, self.prefix
        if key not in self.store:
            self.store[key] = self.model.step(self.prefix, None)[1]
        return self.store[key]

    def _fit(self, said):
        if not 0 < len(self._prompt(said)) <= self.limit:
            raise ValueError("the prompt is empty or too long")
        return said

    def _prompt(self, said):
        return to_ids(self._render(said, True))

    def _render(self, said, opening):
        messages = [{"role": role, "content": text} for role, text in (*self.first, *said)]
        try:
            return self.page.render(
                messages=messages, bos_token="<|bos|>", add_generation_prompt=opening
            )
        except jinja2.TemplateError as error:
            raise ValueError(f"template: {error}") from error


def _compile(source):
    pages = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    pages.globals["raise_exception"] = _refuse
    try:
        return pages.from_string(source)
    except jinja2.TemplateError as error:
        raise ValueError(f"template: {error}") from error


def _refuse(text):
    raise jinja2.TemplateError(text)


def _clean(text):
    if any(token in text for token in SPECIAL):
        raise ValueError("control tokens cannot be said")
    return text

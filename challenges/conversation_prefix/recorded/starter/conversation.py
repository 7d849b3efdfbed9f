"""A chat over a small RoPE decoder that keeps the keys and values of its system prompt.

Knows nothing of sampling, batches or devices, nor where weights and chat templates come from.

Shapes: V vocabulary, L layers, C d_model, H heads, D head dim, T new tokens, S tokens in the cache
after they were appended. Query i sees key j iff j <= i + S - T.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence

import torch
from jinja2 import TemplateError, sandbox
from torch import Tensor

Message = dict[str, str]

ROLES = ("user", "assistant", "tool")
BOS = "<|bos|>"
CONTROL = (BOS, "<|im_start|>", "<|im_end|>")
MERGES = (
    *("th", "the", " the", "in", "ing", "er", "re", "an", "and", "ou", "you", "  ", "\n\n"),
    *("system", "user", "assistant", "tool"),
)


class Tokenizer:
    """Greedy longest match: ids 0-255 are bytes, then come the merges, then the control tokens."""

    def __init__(self) -> None:
        pieces = (*MERGES, *CONTROL)
        self.ids = {piece: 256 + i for i, piece in enumerate(pieces)}
        longest_first = sorted(pieces, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(piece) for piece in longest_first))

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Ids of `text`; with `add_special_tokens` the beginning-of-sequence id is put before."""
        ids = [self.ids[BOS]] if add_special_tokens else []
        end = 0
        for match in self._pattern.finditer(text):
            ids += text[end : match.start()].encode()
            ids.append(self.ids[match[0]])
            end = match.end()
        return ids + list(text[end:].encode())


class ChatTemplate:
    """A Jinja2 chat template from a model's author, run where it can neither escape nor write."""

    def __init__(self, source: str) -> None:
        environment = sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=False,
            lstrip_blocks=True,
            autoescape=False,
        )
        environment.globals["raise_exception"] = _raise_exception
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ValueError(f"the chat template does not compile: {error}") from error

    def render(self, messages: list[Message], add_generation_prompt: bool) -> str:
        """The text of a chat; ValueError when the template refuses the messages."""
        try:
            return self._template.render(
                messages=messages, bos_token=BOS, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:  # a template is a program and may fail in any way
            raise ValueError(f"the chat template refused the messages: {error}") from error


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


class KVCache:
    """Rotated keys and values of every layer, [H, S, D] each, and the position of every row, [S]."""

    def __init__(
        self, keys: list[Tensor], values: list[Tensor], positions: Tensor, cursor: int
    ) -> None:
        self.keys, self.values = keys, values
        self.positions = positions
        self.cursor = cursor  # position of the next token

    def advance(self, count: int) -> Tensor:
        """Take the positions of `count` new tokens, [T]."""
        fresh = torch.arange(count) + self.cursor  # [T]
        self.cursor += count
        self.positions = torch.cat((self.positions, fresh))  # [S]
        return fresh

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add k and v, [H, T, D], to a layer and return all it holds, [H, S, D] each."""
        self.keys[layer] = torch.cat((self.keys[layer], k), dim=1)  # [H, S, D]
        self.values[layer] = torch.cat((self.values[layer], v), dim=1)  # [H, S, D]
        return self.keys[layer], self.values[layer]

    def crop(self, length: int) -> None:
        """Forget every row from `length` on."""
        self.cursor = max(self.cursor, length)
        self.positions = self.positions[:length]
        self.keys = [keys[:, :length] for keys in self.keys]
        self.values = [values[:, :length] for values in self.values]

    def copy(self) -> KVCache:
        """A cache with the same rows; appending to either leaves the other as it is."""
        return KVCache(list(self.keys), list(self.values), self.positions, self.cursor)


def rotary(x: Tensor, positions: Tensor) -> Tensor:
    """Rotate pairs (i, i + D/2) of x, [H, T, D], by the angle of their positions, [T]."""
    half = x.shape[-1] // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)  # [D/2]
    angles = positions.to(torch.float64)[:, None] * frequencies  # [T, D/2]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]  # [H, T, D/2] each
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)  # [H, T, D]


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Bottom-right causal attention of q, [H, T, D], over k and v, [H, S, D]; returns [H, T, D]."""
    t, s = q.shape[1], k.shape[1]
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(1, 2)  # [H, T, S]
    visible = torch.ones(t, s, dtype=torch.bool).tril(s - t)  # [T, S]
    weights = scores.masked_fill(~visible, -torch.inf).softmax(dim=-1)  # [H, T, S]
    return weights @ v  # [H, T, D]


def _norm(x: Tensor) -> Tensor:
    return x * (x.square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt()


class Decoder:
    """Pre-norm attention layers without biases.

    Weights: `embed` and `head` [V, C]; `q`, `k`, `v` and `o` [L, C, C], applied as x @ w.T.
    `name` tells two models apart that share a store of prefixes.
    """

    def __init__(self, weights: Mapping[str, Tensor], num_heads: int, name: str = "base") -> None:
        self.weights, self.num_heads, self.name = dict(weights), num_heads, name

    def new_cache(self) -> KVCache:
        """A cache without rows."""
        layers, d_model = self.weights["k"].shape[:2]
        empty = self.weights["k"].new_zeros(self.num_heads, 0, d_model // self.num_heads)
        return KVCache([empty] * layers, [empty] * layers, torch.arange(0), 0)

    def __call__(self, ids: Sequence[int], cache: KVCache) -> Tensor:
        """Run T new tokens behind what `cache` holds, append them, return the last logits, [V]."""
        positions = cache.advance(len(ids))  # [T]
        x = self.weights["embed"][torch.tensor(ids)]  # [T, C]
        for layer in range(len(cache.keys)):
            x = x + self._attend(layer, _norm(x), positions, cache)  # [T, C]
        return self.weights["head"] @ _norm(x[-1])  # [V]

    def _attend(self, layer: int, x: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        q, k, v = (self._heads(x @ self.weights[name][layer].T) for name in "qkv")  # [H, T, D]
        q = rotary(q, positions)
        keys, values = cache.append(layer, rotary(k, positions), v)  # [H, S, D]
        mixed = attention(q, keys, values).transpose(0, 1).reshape(x.shape)  # [T, C]
        return mixed @ self.weights["o"][layer].T

    def _heads(self, x: Tensor) -> Tensor:
        t, c = x.shape
        return x.view(-1, self.num_heads, c // self.num_heads).transpose(0, 1)  # [H, T, D]


class PrefixStore:
    """Caches of system prompts, shared by conversations; nobody else ever holds one of its own."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, KVCache] = {}

    def put(self, key: Hashable, cache: KVCache) -> None:
        """Keep the rows `cache` has now."""
        self._entries[key] = cache

    def get(self, key: Hashable) -> KVCache | None:
        """A cache of the caller's own with the rows kept under `key`."""
        entry = self._entries.get(key)
        return entry.copy() if entry else None


def make_message(role: str, text: str) -> Message:
    """A message; ValueError for a role that cannot speak or text that forges a control token."""
    if role not in ROLES:
        raise ValueError(f"role {role!r} is not one of {', '.join(ROLES)}")
    refuse_control_tokens(text)
    return {"role": role, "content": text}


def refuse_control_tokens(text: str) -> None:
    """ValueError when `text` holds a token that only the template may write."""
    if any(token in text for token in CONTROL):
        raise ValueError(f"text holds a control token: {text!r}")


def turn_starts(messages: Sequence[Message]) -> list[int]:
    """Where turns begin: at what the user says, up to all that answers it."""
    return list(range(0, len(messages), 2))


def last_turns(messages: Sequence[Message], keep_turns: int) -> list[Message]:
    """The messages of the newest turns; all of them when there are no more than `keep_turns`."""
    if keep_turns < 1:
        raise ValueError(f"cannot keep {keep_turns} turns, at least 1 has to stay")
    starts = turn_starts(messages)
    first = starts[-keep_turns] if len(starts) > keep_turns else 0
    return list(messages[first:])


def reusable_prefix(held: Sequence[int], ids: Sequence[int]) -> int:
    """How many cached rows serve `ids`: the last one always runs again, its logits are wanted."""
    shared = min(len(held), len(ids))
    return min(shared, len(ids) - 1)


class Conversation:
    """Messages under one system prompt; ids, positions and logits equal those of an uncached run.

    Without `system` the template's own default stands in its place. A call that raises ValueError
    (bad role or text, template error, nothing to keep, beyond `max_context`) changes nothing.
    """

    def __init__(
        self,
        model: Decoder,
        template: str,
        system: str | None = None,
        prefixes: PrefixStore | None = None,
        max_context: int = 256,
    ) -> None:
        refuse_control_tokens(system or "")
        self._model, self._template, self._system = model, ChatTemplate(template), system
        self._prefixes = PrefixStore() if prefixes is None else prefixes
        self._max_context = max_context
        self._tokenizer = Tokenizer()
        self._prefix_ids = self._encode(self._template.render(self._head(), False))
        self._commit([])
        self._cache: KVCache | None = None
        self._held: list[int] = []  # the ids whose rows the cache has
        self._last = torch.zeros(0)  # logits of the newest run

    def say(self, role: str, text: str) -> None:
        """Add a message."""
        self._commit([*self._messages, make_message(role, text)])

    def retract(self) -> None:
        """Take the newest message back."""
        if not self._messages:
            raise ValueError("there is no message to retract")
        self._commit(self._messages[:-1])

    def prune(self, keep_turns: int) -> None:
        """Forget all but the newest turns; the system prompt stays."""
        self._commit(last_turns(self._messages, keep_turns))
        self._forget(len(self._held))

    def prompt_ids(self) -> Tensor:
        """The whole prompt, up to where the assistant is to speak, [S] int64."""
        return torch.tensor(self._ids(self._messages))

    def position_ids(self) -> Tensor:
        """The position of every prompt token, [S] int64."""
        return self._sync().positions.clone()

    def logits(self) -> Tensor:
        """Scores of the token that follows the prompt, [V]."""
        self._sync()
        return self._last

    def _head(self) -> list[Message]:
        if self._system is None:
            return []
        return [{"role": "system", "content": self._system}]

    def _text(self, messages: Sequence[Message]) -> str:
        chat = list(messages)
        return self._template.render(chat, add_generation_prompt=True)

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        text = self._text(messages)
        return self._prefix_ids + self._encode(text)

    def _encode(self, text: str) -> list[int]:
        # the template writes the beginning of the sequence itself
        return self._tokenizer.encode(text)

    def _commit(self, messages: list[Message]) -> None:
        self._messages = list(messages)
        count = len(self._ids(self._messages))
        if count == 0:
            raise ValueError("the chat template wrote nothing")
        if count > self._max_context:
            raise ValueError(f"{count} tokens do not fit a context of {self._max_context}")
        self._messages = messages

    def _prefix_key(self) -> Hashable:
        return (
            self._model.name,
            tuple(self._prefix_ids[:16]),
        )

    def _prefix_cache(self) -> KVCache:
        key = self._prefix_key()
        cache = self._prefixes.get(key)
        if cache is None:
            cache = self._model.new_cache()
            if self._prefix_ids:
                self._model(self._prefix_ids, cache)
            self._prefixes.put(key, cache)
        return cache

    def _forget(self, length: int) -> None:
        if self._cache is not None and length < len(self._held):
            self._cache.crop(length)
            self._held = self._held[:length]

    def _sync(self) -> KVCache:
        ids = self._ids(self._messages)
        if self._cache is None:
            self._cache, self._held = self._prefix_cache(), list(self._prefix_ids)
        reuse = reusable_prefix(self._held, ids)
        self._forget(reuse)
        self._last = self._model(ids[reuse:], self._cache)  # [V]
        self._held = ids
        return self._cache

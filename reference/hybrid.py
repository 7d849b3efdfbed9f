"""One attention layer and one gated-delta layer behind one cache, for several sequences.

The attention layer keeps keys and values, one a token, and can be cut anywhere.  The delta layer keeps a matrix into
which every token was folded, and the last few inputs of its convolution.  Neither can be cut: who wants to go back must
have kept a copy.  There are three kinds of copies: drafts, one before each token that may be taken back; checkpoints,
one at each multiple of `interval` tokens, from which another sequence may go on; and snapshots of a whole sequence.

A sequence lives in a slot.  R rows of a call, one a slot, S new tokens, T tokens of a sequence; H heads of dim D in the
attention layer; Hk key heads of dim K and Hv value heads of dim V in the delta layer; C = 2 * Hk * K + Hv * V channels,
W width of the convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Copy = tuple[Tensor, Tensor]  # window [C, W - 1] and state [Hv, K, V] of the delta layer


@dataclass(frozen=True)
class Snapshot:
    """All that a slot held: keys and values [H, T, D], and the copies of the delta layer."""

    length: int
    keys: Tensor
    values: Tensor
    window: Tensor
    state: Tensor
    checkpoints: list[Copy]


class HybridCache:
    """What both layers keep of the sequences, and the layers' answers to new tokens."""

    def __init__(
        self, weight: Tensor, *, slots: int, capacity: int, heads: int, head_dim: int, key_heads: int,
        value_heads: int, key_dim: int, value_dim: int, interval: int, block: int,
    ) -> None:  # fmt: skip
        """Make empty slots; weight [C, W] is the convolution's, and its dtype that of the cache.

        A sequence has at most `capacity` tokens; `block` is the number of tokens by which keys and values are shared.
        Raises ValueError for sizes that make no sense.
        """
        sizes = (slots, capacity, heads, head_dim, key_heads, value_heads, key_dim, value_dim)
        if min(*sizes, interval, block) < 1 or value_heads % key_heads:
            raise ValueError("sizes must be at least 1, value_heads a multiple of key_heads")
        channels = 2 * key_heads * key_dim + value_heads * value_dim
        if weight.dim() != 2 or weight.shape[0] != channels or weight.shape[1] < 1:
            raise ValueError(f"weight must be [{channels}, W], not {[*weight.shape]}")
        self.key_heads, self.value_heads, self.key_dim, self.value_dim = sizes[4:]
        self.interval, self.block = interval, block
        self.lengths = [0] * slots  # tokens of each slot's sequence
        self._weight, self._width = weight.clone(), weight.shape[1]
        self._dtype, self._wide = weight.dtype, torch.promote_types(weight.dtype, torch.float32)
        self._keys = torch.zeros(slots, heads, capacity, head_dim, dtype=self._dtype)
        self._values = torch.zeros_like(self._keys)
        self._windows = torch.zeros(slots, channels, self._width - 1, dtype=self._dtype)
        self._states = torch.zeros(slots, value_heads, key_dim, value_dim, dtype=self._wide)
        self._checkpoints: list[list[Copy]] = [[] for _ in range(slots)]
        self._drafts: list[list[Copy]] = [[] for _ in range(slots)]

    def forward(
        self, slots: Sequence[int], mixed: Tensor, decay: Tensor, beta: Tensor, query: Tensor, key: Tensor,
        value: Tensor, *, draft: bool = False,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Take S new tokens into each of R slots, and answer them.

        The delta layer gets mixed [R, S, C], the logarithm of its decay and beta, both [R, S, Hv]; the attention layer
        query, key and value [R, H, S, D].  Tokens of `draft` calls can be taken back until an ordinary call follows.
        Returns the delta layer's output [R, S, Hv, V] and the attention's [R, H, S, D], both in the cache's dtype.
        Raises ValueError, and changes nothing, for what does not fit.
        """
        slots = list(slots)
        self._check(slots, mixed, decay, beta, query, key, value)
        recurrent = self._recurrent(slots, mixed, decay, beta, draft)
        attended = self._attended(slots, query, key, value)
        for slot in slots:
            self.lengths[slot] += mixed.shape[1]
        return recurrent, attended

    def start(self, slot: int) -> None:
        """Give a slot to a new sequence, which has no token yet."""
        self._check_slots([slot])
        self.lengths[slot] = 0
        self._checkpoints[slot] = []
        self._drafts[slot] = []

    def state_of(self, slot: int) -> Copy:
        """Return copies of a slot's window [C, W - 1] and state [Hv, K, V]."""
        self._check_slots([slot])
        windows, states = self._before([slot])
        return windows[0], states[0]

    def rollback(self, slot: int, count: int) -> None:
        """Take the newest `count` tokens back; raises ValueError unless they are all drafts."""
        self._check_slots([slot])
        drafts = self._drafts[slot]
        if not 0 <= count <= len(drafts):
            raise ValueError(f"{len(drafts)} tokens can be taken back, not {count}")
        if count == 0:
            return
        self._windows[slot], self._states[slot] = drafts[-count]
        self.lengths[slot] -= count
        self._drafts[slot] = drafts[:-count]
        del self._checkpoints[slot][self.lengths[slot] // self.interval :]

    def snapshot(self, slot: int) -> Snapshot:
        """Return a copy of all that a slot holds but its drafts."""
        window, state = self.state_of(slot)
        length = self.lengths[slot]
        keys = self._keys[slot, :, :length].clone()
        values = self._values[slot, :, :length].clone()
        checkpoints = [(old.clone(), then.clone()) for old, then in self._checkpoints[slot]]
        return Snapshot(length, keys, values, window, state, checkpoints)

    def restore(self, slot: int, snapshot: Snapshot) -> None:
        """Let a slot hold what a snapshot, of any slot of this cache, holds."""
        self._check_slots([slot])
        length = self.lengths[slot] = snapshot.length
        self._drafts[slot] = []
        self._keys[slot, :, :length] = snapshot.keys
        self._values[slot, :, :length] = snapshot.values
        self._windows[slot] = snapshot.window
        self._states[slot] = snapshot.state
        self._checkpoints[slot] = list(snapshot.checkpoints)

    def share(self, source: int, target: int, count: int) -> int:
        """Start a sequence in slot `target` with the first tokens of another, and return with how many.

        Those are as many of its first `count` as both layers can give: whole blocks that end at a checkpoint.
        """
        self._check_slots([source, target])
        if not 0 <= count <= self.lengths[source]:
            raise ValueError(f"slot {source} has {self.lengths[source]} tokens, not {count}")
        step = math.lcm(self.interval, self.block)
        hit = count // step * step
        self.start(target)
        if hit:
            self._keys[target, :, :hit] = self._keys[source, :, :hit]
            self._values[target, :, :hit] = self._values[source, :, :hit]
            self._checkpoints[target] = self._checkpoints[source][: hit // self.interval]
            copy = self._checkpoints[source][hit // self.interval - 1]
            self._windows[target], self._states[target] = copy
            self.lengths[target] = hit
        return hit

    def _check_slots(self, slots: Sequence[int]) -> None:
        """Refuse slots that are not there or named twice."""
        if not all(0 <= slot < len(self.lengths) for slot in slots):
            raise ValueError(f"slots are from 0 to {len(self.lengths) - 1}, not {[*slots]}")
        if len(set(slots)) < len(slots):
            raise ValueError(f"a slot is named twice: {[*slots]}")

    def _check(self, slots: Sequence[int], *tensors: Tensor) -> None:
        """Refuse slots and tensors, in the order of `forward`, that do not fit."""
        self._check_slots(slots)
        if tensors[0].dim() != 3 or not len(slots) or not tensors[0].shape[1]:
            raise ValueError("mixed must be [R, S, C], of at least one slot and one token")
        rows, tokens = len(slots), tensors[0].shape[1]
        _, heads, capacity, dim = self._keys.shape
        gates, parts = (rows, tokens, self.value_heads), (rows, heads, tokens, dim)
        wanted = ((rows, tokens, len(self._weight)), gates, gates, parts, parts, parts)
        for x, shape in zip(tensors, wanted, strict=True):
            if tuple(x.shape) != shape or x.dtype != self._dtype:
                raise ValueError(f"{[*shape]} in {self._dtype} is due, not {[*x.shape]} {x.dtype}")
        if any(self.lengths[slot] + tokens > capacity for slot in slots):
            raise ValueError(f"a slot has room for {capacity} tokens")

    def _before(self, slots: Sequence[int]) -> Copy:
        """Return copies of windows [R, C, W - 1] and states [R, Hv, K, V]; both are zero where no token was."""
        windows, states = self._windows[slots], self._states[slots]
        new = torch.tensor([self.lengths[slot] == 0 for slot in slots])  # [R]
        windows[new], states[new] = 0, 0
        return windows, states

    def _recurrent(
        self, slots: Sequence[int], mixed: Tensor, decay: Tensor, beta: Tensor, draft: bool
    ) -> Tensor:
        """Fold new tokens into the states of their slots; returns the delta layer's output [R, S, Hv, V]."""
        tokens = mixed.shape[1]
        windows, states = self._before(slots)
        columns = torch.cat((windows, mixed.transpose(1, 2)), dim=2)  # [R, C, W - 1 + S]
        q, k, v = self._heads(_convolved(columns, self._weight))  # each [R, Hv, S, K or V]
        decay = decay.transpose(1, 2).to(self._wide)  # [R, Hv, S]
        beta = beta.transpose(1, 2).to(self._wide)
        outputs = []
        for row, slot in enumerate(slots):
            parts = (q[row], k[row], v[row], decay[row], beta[row])
            output, state = self._folded(slot, columns[row], parts, states[row], draft)
            self._windows[slot] = columns[row, :, tokens:]
            self._states[slot] = state
            outputs.append(output)
        return torch.stack(outputs).transpose(1, 2).to(self._dtype)

    def _folded(
        self, slot: int, columns: Tensor, parts: Sequence[Tensor], state: Tensor, draft: bool
    ) -> Copy:
        """Fold one row's tokens, parts [Hv, S, ...], into its state, and keep copies on the way.

        Returns the output [Hv, S, V] and the new state.
        """
        start, tokens, past = self.lengths[slot], parts[0].shape[1], self._width - 1
        if not draft:
            self._drafts[slot] = []
        done, outputs = 0, []
        for count in [1] * tokens if draft else _pieces(start, tokens, self.interval):
            if draft:
                self._drafts[slot].append((columns[:, done : done + past], state))
            piece = [x[:, done : done + count] for x in parts]
            output, state = _step(state, *piece) if count == 1 else _chunk(state, *piece)
            outputs.append(output)
            done += count
            if (start + done) % self.interval == 0:
                self._checkpoints[slot].append((columns[:, done : done + past], state))
        return torch.cat(outputs, dim=1), state

    def _heads(self, channels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split channels [R, C, S] into queries and keys [R, Hv, S, K] of length 1 and values [R, Hv, S, V].

        Value head h reads key head h // (Hv // Hk); queries are scaled by 1 / sqrt(K).
        """
        keys = self.key_heads * self.key_dim
        q, k, v = torch.split(channels, [keys, keys, channels.shape[1] - 2 * keys], dim=1)
        q, k = (x.reshape(len(x), self.key_heads, self.key_dim, -1).transpose(2, 3) for x in (q, k))
        v = v.reshape(len(v), self.value_heads, self.value_dim, -1).transpose(2, 3)
        group = self.value_heads // self.key_heads
        q, k = (_normed(x).repeat_interleave(group, dim=1) for x in (q, k))
        return q / math.sqrt(self.key_dim), k, v

    def _attended(self, slots: Sequence[int], query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Store new keys and values behind those of their slots, and attend; returns [R, H, S, D]."""
        outputs = []
        for row, slot in enumerate(slots):
            start, total = self.lengths[slot], self.lengths[slot] + query.shape[2]
            self._keys[slot, :, start:total] = key[row]
            self._values[slot, :, start:total] = value[row]
            keys, values = self._keys[slot, :, :total], self._values[slot, :, :total]
            outputs.append(_attention(query[row], keys, values, start))
        return torch.stack(outputs)


def _pieces(start: int, tokens: int, interval: int) -> list[int]:
    """Cut new tokens where the length is a multiple of the interval: 6 tokens behind 3 at 4 are 1, 4 and 1."""
    ends = [*range((start // interval + 1) * interval, start + tokens, interval), start + tokens]
    return [end - first for first, end in zip([start, *ends], ends, strict=False)]


def _convolved(columns: Tensor, weight: Tensor) -> Tensor:
    """Convolve each channel of columns [R, C, W - 1 + S] with its weight [C, W], then SiLU: [R, C, S], wide."""
    wide = torch.promote_types(columns.dtype, torch.float32)
    taps = columns.to(wide).unfold(2, weight.shape[1], 1)  # [R, C, S, W], the newest last
    return torch.nn.functional.silu((taps * weight.to(wide)[:, None]).sum(-1))


def _normed(x: Tensor) -> Tensor:
    """Divide vectors [..., K] by their length, but for those that are nearly zero."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)


def _step(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """Fold one token into state [Hv, K, V]: q, k [Hv, 1, K], v [Hv, 1, V], decay, beta [Hv, 1].

    The state fades, then what it holds for the key moves towards the value by the part beta.
    Returns the output [Hv, 1, V] and the new state.
    """
    state = state * decay.exp()[..., None]
    change = beta[..., None] * (v - k @ state)  # [Hv, 1, V]
    state = state + k.transpose(1, 2) @ change
    return q @ state, state


def _chunk(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """Fold N tokens at once: q, k [Hv, N, K], v [Hv, N, V], decay, beta [Hv, N]; the same as N steps.

    What a token changes depends on what those before it changed: a triangular system.
    """
    faded = decay.cumsum(1)  # [Hv, N], logarithm of what is left of the state that came in
    after = decay[:, :, None].expand(-1, -1, decay.shape[1]).tril(-1)  # [Hv, N, N]
    between = after.cumsum(1).exp().tril()  # [Hv, N, N]
    system = beta[..., None] * between * (k @ k.transpose(1, 2))  # its diagonal counts as 1
    known = faded.exp()[..., None] * (k @ state)  # [Hv, N, V]
    change = torch.linalg.solve_triangular(
        system, beta[..., None] * (v - known), upper=False, unitriangular=True
    )
    output = faded.exp()[..., None] * (q @ state)  # [Hv, N, V]
    output = output + between * (q @ k.transpose(1, 2)) @ change
    last = faded[:, -1:]
    state = last.exp()[..., None] * state  # [Hv, K, V]
    state = state + k.transpose(1, 2) @ (between[:, -1, :, None] * change)
    return output, state


def _attention(query: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
    """Softmax attention of query [H, S, D], the first of them at `start`, over keys and values [H, T, D]."""
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = query.to(wide) @ keys.to(wide).transpose(1, 2) / math.sqrt(query.shape[2])  # [H, S, T]
    positions = torch.arange(start, start + query.shape[1])
    later = torch.arange(keys.shape[1]) > positions[:, None]  # [S, T]
    weights = scores.masked_fill(later, -math.inf).softmax(-1)
    return (weights @ values.to(wide)).to(query.dtype)

"""The quantised cache against plain loops in float64, the format's own bounds and torch's fake quantisation."""

from __future__ import annotations

import copy
import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference.quantised_cache import QuantisedCache, _packed, _quantised, _unpacked

ROWS, HEADS, DIM, CAPACITY = 3, 2, 5, 40
LEVELS = [sum((n >> i & 1) << 2 * i for i in range(4)) for n in range(16)]  # no quotient is a half
Token = tuple[list[list[float]], list[list[float]]]  # keys and values of one token, [Hkv][D]


def made(bits: int = 4, group: int = 4, residual: int = 3, **other: Any) -> QuantisedCache:
    sizes = {"rows": ROWS, "capacity": CAPACITY, "heads": HEADS, "head_dim": DIM, **other}
    return QuantisedCache(bits=bits, group=group, residual=residual, **sizes)


def drawn(count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    numbers = torch.randint(0, 16, (2, HEADS, count, DIM), generator=draw)
    return tuple((torch.tensor(LEVELS)[numbers] - 42).float() / 32)


def by_loops(numbers: list[float], most: int) -> tuple[list[int], float, float]:
    """Codes, scale and low of the numbers that are quantised together, in whole-number arithmetic."""
    exact = [Fraction(x) for x in numbers]
    low, scale = min(exact), (max(exact) - min(exact)) / most
    codes = [math.floor((x - low) / scale + Fraction(1, 2)) if scale else 0 for x in exact]
    return codes, float(scale), float(low)


class Loops:
    """One row, kept as the tokens that came, with codes found one number after the other."""

    def __init__(self, bits: int, group: int, residual: int) -> None:
        self.most, self.group, self.residual = 2**bits - 1, group, residual
        self.tokens: list[Token] = []
        self.keys: dict[
            tuple[int, int, int], float
        ] = {}  # head, token, channel: what a code stands for
        self.values: dict[tuple[int, int, int], float] = {}
        self.old_keys = self.old_values = 0

    def append(self, token: Token) -> None:
        self.tokens.append(token)
        if len(self.tokens) - self.old_keys == self.residual + self.group:
            for head in range(HEADS):
                for d in range(DIM):
                    places = range(self.old_keys, self.old_keys + self.group)
                    numbers = [self.tokens[t][0][head][d] for t in places]
                    codes, scale, low = by_loops(numbers, self.most)
                    for t, code in zip(places, codes, strict=True):
                        self.keys[head, t, d] = low + code * scale
            self.old_keys += self.group
        if len(self.tokens) - self.old_values == self.residual + 1:
            for head in range(HEADS):
                codes, scale, low = by_loops(self.tokens[self.old_values][1][head], self.most)
                for d, code in enumerate(codes):
                    self.values[head, self.old_values, d] = low + code * scale
            self.old_values += 1

    def read(self) -> tuple[Tensor, Tensor]:
        found = torch.zeros(2, HEADS, len(self.tokens), DIM, dtype=torch.float64)
        for part, held in enumerate((self.keys, self.values)):
            for head in range(HEADS):
                for t, token in enumerate(self.tokens):
                    for d in range(DIM):
                        found[part, head, t, d] = held.get((head, t, d), token[part][head][d])
        return found[0], found[1]

    def attend(self, query: Tensor) -> Tensor:
        keys, values = self.read()
        output = torch.zeros(query.shape, dtype=torch.float64)
        for h in range(len(query)):
            head = h // (len(query) // HEADS)
            for s in range(query.shape[1]):
                seen = len(self.tokens) - query.shape[1] + s + 1
                weights = (keys[head, :seen] @ query[h, s].double() / math.sqrt(DIM)).softmax(0)
                output[h, s] = weights @ values[head, :seen]
        return output


call = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 11), st.lists(st.integers(0, 11), min_size=3, max_size=3)),
    st.tuples(st.just("trim"), st.integers(0, 2), st.integers(0, 4)),
    st.tuples(st.just("reset"), st.integers(0, 2)),
    st.tuples(st.just("reorder"), st.lists(st.integers(0, 2), min_size=3, max_size=3)),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    st.lists(call, max_size=10), st.sampled_from([4, 8]), st.integers(1, 5), st.integers(0, 4), st.integers(0, 999)
)  # fmt: skip
def test_any_calls_leave_what_the_loops_leave(
    calls: list[tuple[Any, ...]], bits: int, group: int, residual: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    cache = made(bits, group, residual)
    rows = [Loops(bits, group, residual) for _ in range(ROWS)]
    for name, *said in calls:
        if name == "append":
            rooms = [CAPACITY - len(row.tokens) for row in rows]
            counts = [min(said[0], *both) for both in zip(said[1], rooms, strict=True)]
            new = [drawn(said[0], draw) for _ in rows]
            keys, values = (torch.stack(part) for part in zip(*new, strict=True))
            for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
                for t in range(count):
                    row.append((keys[i, :, t].tolist(), values[i, :, t].tolist()))
                keys[i, :, count:], values[i, :, count:] = math.nan, math.nan
            cache.append(range(ROWS), keys, values, counts)
        elif name == "trim":
            row = rows[said[0]]
            if said[1] > len(row.tokens) - row.old_values:
                with pytest.raises(ValueError, match="can be taken back"):
                    cache.trim(*said)
            else:
                cache.trim(*said)
                del row.tokens[len(row.tokens) - said[1] :]
        elif name == "reset":
            cache.reset(said[0])
            rows[said[0]] = Loops(bits, group, residual)
        else:
            cache.reorder(said[0])
            rows = [copy.deepcopy(rows[source]) for source in said[0]]
    assert cache.lengths == [len(row.tokens) for row in rows]
    for number, row in enumerate(rows):
        for found, wanted in zip(cache.read(number), row.read(), strict=True):
            assert torch.allclose(found.double(), wanted, atol=2e-6)
        if row.tokens:
            query = torch.randn(4, min(3, len(row.tokens)), DIM, generator=draw)
            output = cache.attend([number], query[None])[0]
            assert torch.allclose(output.double(), row.attend(query), atol=5e-6)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_whatever_comes_is_read_within_half_a_step(bits: int, scale: float) -> None:
    """The bound of the format: numbers that lie anywhere, also right between two codes."""
    draw = torch.Generator().manual_seed(bits)
    keys, values = torch.randn(2, ROWS, HEADS, 37, DIM, generator=draw) * scale
    cache = made(bits, 6, 5)
    cache.append(range(ROWS), keys, values)
    for row in range(ROWS):
        held = cache.stored(row)
        assert held["key_codes"].shape[1] == 30
        assert held["value_codes"].shape[1] == 32
        found = cache.read(row)
        steps = held["key_scales"].repeat_interleave(6, dim=1), held["value_scales"][..., None]
        for x, back, step in zip((keys[row], values[row]), found, steps, strict=True):
            old = step.shape[1]
            gaps = (x[:, :old] - back[:, :old]).abs()
            assert (gaps <= step * 0.5001).all()
            assert (gaps > step * 0.3).any()
            assert torch.equal(x[:, old:], back[:, old:])


@pytest.mark.parametrize("bits", [4, 8])
def test_codes_are_those_of_torchs_fake_quantisation(bits: int) -> None:
    """torch's zero point is a whole number, so its groups begin at a multiple of the scale."""
    draw = torch.Generator().manual_seed(7)
    most = 2**bits - 1
    codes = torch.randint(0, most + 1, (3, 8, DIM), generator=draw)
    codes[:, 0], codes[:, 1] = 0, most
    scales = 2.0 ** torch.randint(-4, 3, (3, 1, DIM), generator=draw)
    zeros = torch.randint(0, 9, (3, 1, DIM), generator=draw)
    # its first two tokens are the lowest and the highest of a channel
    exact = (codes - zeros) * scales
    noise = torch.rand(codes.shape, generator=draw) * 0.9 - 0.45
    noise[:, :2] = 0
    x = (exact + noise * scales).clamp(exact[:, :1], exact[:, 1:2])
    got, found_scales, lows = _quantised(x, bits, dim=1)
    flat = x.permute(0, 2, 1).reshape(3 * DIM, 8)
    wanted = torch.fake_quantize_per_channel_affine(
        flat, scales.flatten(), zeros.flatten().int(), 0, 0, most
    )
    back = (lows + got * found_scales).permute(0, 2, 1).reshape(3 * DIM, 8)
    assert torch.equal(got, codes.to(torch.uint8))
    assert torch.allclose(back, wanted, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_codes_come_out_of_bytes_as_they_went_in(count: int) -> None:
    codes = torch.randint(0, 16, (2, 3, count), dtype=torch.uint8)
    packed = _packed(codes, 4)
    assert packed.shape == (2, 3, (count + 1) // 2)
    assert torch.equal(_unpacked(packed, 4, count), codes)
    assert packed[0, 0, 0] == codes[0, 0, 0] + 16 * (codes[0, 0, 1] if count > 1 else 0)


def test_a_refused_call_changes_no_row() -> None:
    cache = made()
    draw = torch.Generator().manual_seed(1)
    keys, values = (x[None].repeat(2, 1, 1, 1) for x in drawn(9, draw))
    cache.append([0, 2], keys, values)
    before = [cache.stored(row) for row in range(ROWS)]
    for wrong in (
        lambda: cache.append([1, 0], keys, values, [9, 10]),
        lambda: cache.append([1, 1], keys, values),
        lambda: cache.append([1, 3], keys, values),
        lambda: cache.append([1, -1], keys, values),
        lambda: cache.append([1, 0], keys, values[:, :, 1:]),
        lambda: cache.append([1, 0], keys, values.double()),
        lambda: cache.append([1, 0], keys[..., 1:], values),
        lambda: cache.append([], keys[:0], values[:0]),
        lambda: cache.trim(0, 4),
        lambda: cache.trim(0, -1),
        lambda: cache.reorder([0, 1]),
        lambda: cache.reorder([0, 1, 3]),
        lambda: cache.attend([0], torch.zeros(1, 4, 10, DIM)),
        lambda: cache.attend([0], torch.zeros(1, 3, 1, DIM)),
    ):
        with pytest.raises(ValueError, match=r"due|row|taken back|queries"):
            wrong()
        for row, held in enumerate(before):
            after = cache.stored(row)
            assert all(torch.equal(held[name], after[name]) for name in held)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    cache = made(dtype=dtype)
    keys, values = (x[None].to(dtype) for x in drawn(9, torch.Generator().manual_seed(2)))
    cache.append([1], keys, values)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    held = cache.stored(1)
    assert {held[name].dtype for name in held if "codes" in name} == {torch.uint8}
    assert {held[name].dtype for name in held if "scales" in name or "lows" in name} == {wide}
    assert held["new_keys"].dtype == held["new_values"].dtype == dtype
    assert {x.dtype for x in cache.read(1)} == {wide}
    assert cache.attend([1], keys.repeat(1, 2, 1, 1)).dtype == dtype

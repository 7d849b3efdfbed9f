"""Right files in forms that no brief forbids: fields with helpers' names, wider numbers, states of any form."""

from __future__ import annotations

import pytest

from grader.content import load_challenge
from grader.judge import grade_source

SOFTMAX = """
def _fold(state, scores, values):
    top, total, acc = {old}
    new_top = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
    shift = new_top.masked_fill(new_top == -math.inf, 0.0)
    decay = torch.exp(top - shift)
    weights = torch.exp(scores - shift)
    total = total * decay + weights.sum(dim=-1, keepdim=True)
    acc = acc * decay + weights @ values.to(weights.dtype)
    return {new}


def _start(query):
    wide = torch.promote_types(query.dtype, torch.float32)
    total = query.new_zeros(*query.shape[:3], 1, dtype=wide)
    top, acc = torch.full_like(total, -math.inf), torch.zeros_like(query, dtype=wide)
    return {new_start}


def _finish(state, dtype):
    top, total, acc = {old}
    return (acc / total.masked_fill(total == 0.0, 1.0)).to(dtype)
"""
DICTIONARY = SOFTMAX.format(
    old='(state[name] for name in ("m", "l", "o"))',
    new='{"m": new_top, "l": total, "o": acc}',
    new_start='{"m": top, "l": total, "o": acc}',
)
DATACLASS = """
import dataclasses


@dataclasses.dataclass(slots=True)
class Running:
    m: torch.Tensor
    l: torch.Tensor
    o: torch.Tensor
""" + SOFTMAX.format(
    old="(state.m, state.l, state.o)",
    new="Running(new_top, total, acc)",
    new_start="Running(top, total, acc)",
)
WIDE = """
def _scores(query, keys, scale):
    return query.double() @ keys.double().transpose(-2, -1) * scale
"""
STATISTICS = """
import collections

Told = collections.namedtuple("Told", "size hits misses evictions hit_rate")
All = collections.namedtuple("All", "init recur wm")
_before = KVCachePool.statistics


def _of_pool(self):
    found = _before(self)
    if not self._hits + self._misses:
        found["hit_rate"] = None
    return Told(**found)


KVCachePool.statistics = _of_pool
"""


def renamed(text: str, *names: str) -> str:
    """Return a file whose own helpers have other names, so that theirs are free for fields."""
    for name in names:
        for before in ("def ", "self."):
            text = text.replace(f"{before}{name}(", f"{before}{name}_of(")
    return text


VARIANTS = {
    "softmax state as a dictionary": ("static_cache", lambda text: text + DICTIONARY),
    "softmax state as a dataclass": ("static_cache", lambda text: text + DATACLASS),
    "scores in float64": ("static_cache", lambda text: text + WIDE),
    "statistics as named tuples": ("world_model_cache", lambda text: text + STATISTICS),
    "fields named as helpers": (
        "conversation_prefix",
        lambda text: (
            renamed(text, "_ids", "_text", "_prefix_key")
            .replace("self._held: list[int] = []", "self._text, self._ids = '', ()\n        self._held: list[int] = []")
            .replace("    def _commit(", "    @property\n    def _prefix_key(self): return 1\n\n    def _commit(", 1)
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", VARIANTS)
def test_a_right_file_passes(kind: str, sandbox_for) -> None:
    name, change = VARIANTS[kind]
    reference = load_challenge(name).reference_text
    text = change(reference)
    assert text != reference
    result = grade_source(name, text.encode(), sandbox=sandbox_for(name))
    causes = [case.cause.rationale for case in result.cases if case.cause]
    assert result.verdict == "passed", causes[:3]
    skipped = [case for case in result.cases if case.status == "skipped"]
    assert all(case.kind == "unit" for case in skipped)
    assert bool(skipped) is (kind == "fields named as helpers")


def test_a_field_of_a_helpers_name_skips_no_scenario(sandbox_for) -> None:
    """A wrong file gains nothing by it: what it skips it could as well have left out."""
    name = "conversation_prefix"
    text = VARIANTS["fields named as helpers"][1](load_challenge(name).reference_text)
    wrong = text.replace("return self._last", "return self._last + 1")
    assert wrong != text
    result = grade_source(name, wrong.encode(), sandbox=sandbox_for(name))
    assert result.verdict == "failed"
    assert not [c for c in result.cases if c.status == "skipped" and c.kind == "scenario"]

"""Credit does not depend on which cases are asked for, nor on what else is wrong with the file."""

from __future__ import annotations

import random

import pytest

from grader.content import load_challenge
from grader.content.planting import plant
from grader.judge import grade_source

NAME = "multi_head_attention"
CHALLENGE = load_challenge(NAME)
STARTER = CHALLENGE.presets["default"].bugs
SCALE, OFFSET, LIMIT = (
    "seed-scale-missing-sqrt",
    "seed-causal-offset-plus1",
    "cache-limit-off-by-one",
)
# a right line, and five other ways to write it
REWRITES = {
    SCALE: (
        "self.scale = math.sqrt(self.head_dim)",
        "self.scale = self.head_dim**0.5",
        "self.scale = float(self.head_dim) ** (1 / 2)",
        "self.scale = pow(self.head_dim, 0.5)",
        "self.scale = 1 / (self.head_dim**-0.5)",
        "size = self.head_dim\n        self.scale = math.sqrt(size)",
    ),
    OFFSET: (
        "offset = cache_len",
        "offset = cache_len + 0",
        "offset = int(cache_len)",
        "offset = 0 + cache_len",
        "offset = cache_len if cache_len else 0",
        "offset = max(cache_len, 0)",
    ),
    LIMIT: (
        "if total_len > self.max_cache_len:",
        "if self.max_cache_len < total_len:",
        "if not total_len <= self.max_cache_len:",
        "if total_len - self.max_cache_len > 0:",
        "if total_len >= self.max_cache_len + 1:",
        "if total_len > self.max_cache_len + 0:",
    ),
}


@pytest.mark.parametrize("seed", range(3))
def test_a_fix_in_own_words_is_credited_beside_other_mistakes(seed, sandbox_for) -> None:
    draw = random.Random(seed)
    for mended, (right, *others) in REWRITES.items():
        beside = draw.sample([bug for bug in STARTER if bug != mended], draw.randint(0, 4))
        text = plant(CHALLENGE, beside)
        if text.count(right) != 1:
            continue  # another bug stands on this line
        source = text.replace(right, draw.choice(others)).encode()
        result = grade_source(CHALLENGE, source, sandbox=sandbox_for(NAME))
        status = {bug.id: bug.status for bug in result.bugs}
        assert status[mended] == "fixed", (mended, beside)
        assert all(status[bug] == "present" for bug in beside)


def test_which_cases_are_asked_for_changes_no_status(sandbox_for) -> None:
    text = plant(CHALLENGE, STARTER).replace(
        "self.scale = self.head_dim\n", "self.scale = self.head_dim**0.5\n"
    )
    text = text.replace(
        "if total_len >= self.max_cache_len:", "if total_len == self.max_cache_len:"
    )
    source = text.encode()
    whole = grade_source(CHALLENGE, source, sandbox=sandbox_for(NAME))
    for name in ("mask-chunk", "one-head", "reset"):
        one = grade_source(CHALLENGE, source, cases=[name], sandbox=sandbox_for(NAME))
        assert [case.id for case in one.cases] == [name]
        assert [(b.id, b.status) for b in one.bugs] == [(b.id, b.status) for b in whole.bugs]

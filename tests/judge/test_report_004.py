"""Field report 004: with the two bugs that its validator could not see, shapes are right and the file is refused.

Run just this file: pytest tests/judge/test_report_004.py
"""

from __future__ import annotations

import sys
import types

import torch

from grader.content import load_challenge
from grader.content.planting import plant
from grader.judge import grade_source

CHALLENGE = load_challenge("multi_head_attention")
LEFT = ("causal-comparison-off-by-one", "dropout-active-in-eval")


def test_what_the_validator_looked_at_is_right(monkeypatch) -> None:
    module = types.ModuleType("left_over")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(plant(CHALLENGE, LEFT), "left_over.py", "exec"), module.__dict__)
    x = torch.ones(1, 4, 16)
    output, cache = module.KVCachedMultiHeadAttention(16, 4)(x, x, x)
    assert [list(t.shape) for t in (output, cache["key"], cache["value"])] == [[1, 4, 16]] * 3


def test_the_file_is_refused_and_both_bugs_are_named(sandbox_for) -> None:
    source = plant(CHALLENGE, LEFT).encode()
    result = grade_source(CHALLENGE, source, sandbox=sandbox_for(CHALLENGE.id))
    assert result.verdict == "failed"
    assert {bug.id for bug in result.bugs if bug.status == "present"} == set(LEFT)
    failed = {case.id for case in result.cases if case.status == "failed"}
    assert {"mask-prefill", "mask-chunk", "weights"} <= failed

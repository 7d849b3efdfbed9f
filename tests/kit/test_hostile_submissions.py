"""A submission shares its process with the worker's side of the kit and can rewrite it; that must gain it nothing."""

from __future__ import annotations

from typing import Any

import pytest

from grader.content import load_challenge
from grader.judge import grade_source

NAME = "static_cache"
ZEROS = """
import torch


def attention_with_kv_cache(query, key, value, past_key_value=None, **options):
    return torch.zeros_like(query), (key, value, torch.zeros(len(key), dtype=torch.int32))
"""
REWRITES = {
    "answers are emptied": """
import grader.kit.worker_side as side

side._named = lambda verb, answer: {}
""",
    "everything may be changed": """
import grader.kit.declare as declare
import grader.kit.worker_side as side

declare.Verb.may_change = frozenset({"query", "key", "value", "past"})
side.Calls.MAY_CHANGE = {"forward": {"query", "key", "value", "past"}}
""",
    "look-ups always succeed": """
import grader.kit.answers as answers

answers.need = lambda obj, name: (lambda *a, **b: None)
answers.given = lambda answer: answer
answers.parts = lambda answer, *names: tuple(answer)
""",
    "helpers are said to be missing": """
import grader.kit.worker_side as side
from grader.kit import Wrong


def missing(verb, answer):
    raise Wrong("missing", "not there", name="_attend")


side._named = missing
""",
    "both sides are replaced": """
import sys

for name in ("grader.kit", "grader.kit.worker_side", "grader.kit.trusted_side"):
    sys.modules[name].both_sides = lambda scope: (object, lambda submission: None)
""",
    "the modules are taken away": """
import sys

for name in [name for name in sys.modules if name.startswith("grader.kit")]:
    del sys.modules[name]
""",
    "names asked for are forgotten": """
import grader.kit.answers as answers


class Forgetful(list):
    def append(self, item):
        pass


answers.asked = Forgetful()
""",
    "inputs are answered as outputs": """
import torch
import grader.kit.worker_side as side


def call(self, verb, **given):
    tensors = [x for x in given.values() if isinstance(x, torch.Tensor)]
    return {"output": tensors[0]} if tensors else {}


side.Calls._call = call
""",
}


@pytest.mark.parametrize("name", REWRITES)
def test_a_submission_that_rewrites_the_kit_passes_no_scenario(name: str, sandbox_for: Any) -> None:
    challenge = load_challenge(NAME)
    result = grade_source(challenge, (REWRITES[name] + ZEROS).encode(), sandbox=sandbox_for(NAME))
    assert result.verdict == "failed"
    passed = [case.id for case in result.cases if case.status == "passed"]
    skipped = [case.id for case in result.cases if case.status == "skipped"]
    assert passed == []
    assert all(challenge.cases[case].kind == "unit" for case in skipped)


@pytest.mark.parametrize("name", REWRITES)
def test_the_next_submission_sees_nothing_of_it(name: str, sandbox_for: Any) -> None:
    box = sandbox_for(NAME)
    case = ["chunks-3-3-2"]
    grade_source(NAME, (REWRITES[name] + ZEROS).encode(), sandbox=box, cases=case)
    challenge = load_challenge(NAME)
    after = grade_source(challenge, challenge.reference.read_bytes(), sandbox=box, cases=case)
    assert after.verdict == "passed"

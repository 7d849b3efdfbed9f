"""Where a file and the reference first part, over the real sandbox."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from grader.author import static_checks
from grader.author.checkpoint_rules import checkpoint_faults
from grader.content import load_challenge
from grader.content.catalogue import challenge_ids
from grader.content.planting import plant
from grader.diagnose.checkpoints import load_checkpoints, stage_of
from grader.diagnose.explain_failures import with_first_divergence
from grader.diagnose.trace_case import trace_case
from grader.diagnose.trace_model import trace_to_json
from grader.judge import grade_source
from grader.judge.golden import load_golden

NAME = "multi_head_attention"
CASE = "chunks-3-3-2"
BARE = """
import torch
from torch import nn


class KVCachedMultiHeadAttention(nn.Module):
    def __init__(self, d_model, num_heads, max_cache_len=2048, dropout=0.1):
        super().__init__()
        self.H, self.D = num_heads, d_model // num_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(d_model, d_model) for _ in range(4)
        )

    def forward(self, query, key, value, cache=None, use_causal_mask=True):
        K, V = self.k_proj(key), self.v_proj(value)
        if cache is not None and cache["key"] is not None:
            K, V = torch.cat([cache["key"], K], 1), torch.cat([cache["value"], V], 1)
        q, k, v = (
            x.unflatten(-1, (self.H, self.D)).transpose(1, 2) for x in (self.q_proj(query), K, V)
        )
        s, t = q.shape[2], k.shape[2]
        mask = torch.ones(s, t, dtype=torch.bool).tril(OFFSET)
        BODY
        return self.out_proj(out.transpose(1, 2).flatten(2)), {"key": K, "value": V}
"""
SOFTMAX = """scores = (q @ k.transpose(-1, -2) * self.D ** -0.5).masked_fill(~mask, float("-inf"))
        out = torch.softmax(scores, -1) @ v"""
FUSED = "out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)"


@pytest.fixture(scope="module")
def challenge():
    return load_challenge(NAME)


@pytest.fixture(scope="module")
def trace(challenge, sandbox_for):
    def run(source: str, case: str = CASE):
        return trace_case(sandbox_for(NAME), challenge, challenge.cases[case], source.encode())

    return run


def test_the_reference_does_not_part_from_itself(challenge, trace) -> None:
    made = trace(challenge.reference_text)
    assert made.divergence is None
    assert {checkpoint.status for step in made.steps for checkpoint in step.checkpoints} == {"same"}
    facts = [(s.cache_length, s.scores, s.weight_sum) for s in made.steps[1:]]
    assert [[pair.actual for pair in step] for step in facts] == [
        ["3", "3", "1.0000"],
        ["6", "6", "1.0000"],
        ["8", "8", "1.0000"],
    ]


@pytest.mark.parametrize(
    ("bug", "step", "said"),
    [
        ("seed-scale-missing-sqrt", 0, "1/sqrt(head_dim)"),
        ("causal-top-left-with-cache", 1, "top-left"),
        ("causal-comparison-off-by-one", 0, "Off by one along keys"),
        ("seed-split-heads-view-order", 0, "`split heads`"),
        ("row0-values-used-for-all-rows", 0, "Only batch 1 is wrong."),
        ("seed-mask-int-dtype", 0, "Everything is hidden"),
        ("seed-cache-cat-dim2", 1, "got shape [2, 3, 24]"),
    ],
)
def test_stage_family_and_pattern(challenge, trace, bug, step, said) -> None:
    first = trace(plant(challenge, [bug])).divergence
    assert first is not None
    assert (first.step, first.stage) == (
        step,
        stage_of(challenge, load_checkpoints(challenge), bug),
    )
    assert first.bug_class == challenge.bugs[bug].family == first.bug_class_by_place
    assert said in " ".join([first.sentence(), *first.checkpoint.sentences])


def test_the_sentence_names_step_point_and_place(challenge, trace) -> None:
    first = trace(plant(challenge, ["causal-top-left-with-cache"])).divergence
    assert first is not None
    assert first.sentence().startswith(
        "step 2 (chunk, 3 tokens), `mask`, batch 0, head 0, query 0, key 1: expected "
    )
    assert first.looks_like is None, "a past read from the heads looks the same here"
    first = trace(plant(challenge, ["seed-scale-missing-sqrt"])).divergence
    assert first.looks_like == challenge.bugs["seed-scale-missing-sqrt"].symptom


@pytest.mark.parametrize("body", [SOFTMAX, FUSED])
def test_a_file_without_the_methods_is_seen_through_torch(trace, body) -> None:
    def file(offset: str) -> str:
        return BARE.replace("BODY", body).replace("OFFSET", offset)

    assert trace(file("t - s")).divergence is None
    first = trace(file("0")).divergence
    assert first is not None
    assert (first.step, first.stage, first.checkpoint.from_method) == (1, "mask", False)


CORRECT = ["einsum", "per_head_loop", "query_chunks", "scale_on_query", "sdpa_two_paths"]


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_file_has_no_divergence_whatever_road_it_takes(trace, name) -> None:
    path = Path(__file__).parents[1] / "correct" / NAME / f"{name}.py"
    assert trace(path.read_text("utf-8")).divergence is None


HOSTILE = {
    "huge results": "    def _merge_heads(self, x):\n        return torch.zeros(2000, 2000)\n",
    "objects": "    def _merge_heads(self, x):\n        return {object(): '\\x1b[2J'}\n",
    "death": "    def _merge_heads(self, x):\n        import os\n        os._exit(0)\n",
    "many calls": "    def _merge_heads(self, x):\n"
    "        return [self._split_heads(x.flatten(2)) for _ in range(3000)][0]\n",
    "forged notes": "    def _merge_heads(self, x):\n        import sys\n"
    "        sys.modules['driver'].Verbs.recorded_calls = lambda self: {'rows': [[1, 2], 'x', 3]}\n"
    "        return x.flatten(1)\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_gets_a_trace_of_bounded_size(challenge, trace, kind) -> None:
    text = challenge.reference_text.replace("    def _merge_heads(", "    def _spare(", 1)
    made = trace(text.replace("    def _spare(", HOSTILE[kind] + "\n    def _spare(", 1))
    document = json.dumps(trace_to_json(made), allow_nan=False)
    assert len(document) < 4 << 20
    assert made.divergence or made.ended


def test_a_file_that_cannot_be_loaded_says_so(trace) -> None:
    assert "could not be loaded" in (trace("x = (").ended or "")


def test_the_cause_of_the_first_failed_scenario_tells_it(challenge, sandbox_for) -> None:
    source = plant(challenge, ["seed-scale-missing-sqrt"]).encode()
    box = sandbox_for(NAME)
    result = grade_source(challenge, source, cases=[CASE, "no-cache"], sandbox=box)
    assert not any(case.cause and case.cause.divergence for case in result.cases)
    found = with_first_divergence(box, challenge, load_golden(challenge), source, result)
    told = [case.cause for case in found.cases if case.cause]
    assert [cause.divergence is not None for cause in told] == [True, False]
    assert told[0].divergence in told[0].advice


@pytest.mark.parametrize("name", challenge_ids())
def test_points_speak_of_what_exists(name) -> None:
    assert list(checkpoint_faults(load_challenge(name))) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"points": [{"name": "a", "method": "no_such_method"}]}', "no_such_method"),
        ('{"points": [{"name": "a", "method": "forward", "stgae": "x"}]}', "stgae"),
        ('{"points": [], "stages": {"no-such-bug": "x"}}', "no-such-bug"),
        ('{"points": [}', "points.json"),
    ],
)
def test_broken_points_are_a_breach_of_one_line(tmp_path, text, told) -> None:
    copied = load_challenge(NAME)
    shutil.copytree(copied.folder, tmp_path / NAME)
    (tmp_path / NAME / "points.json").write_text(text, "utf-8")
    breaches = static_checks.check(dataclasses.replace(copied, folder=tmp_path / NAME))
    found = [breach.text for breach in breaches if told in breach.text]
    assert found
    assert "\n" not in found[0]

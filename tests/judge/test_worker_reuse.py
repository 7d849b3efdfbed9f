"""Cases that share a worker: what one leaves behind helps or harms no other."""

from __future__ import annotations

import pytest

from grader.content import load_challenge
from grader.judge import grade_source
from grader.judge.case_run import RunInfo
from grader.judge.golden_check import load_valid
from grader.judge.worker_reuse import SubmissionRunner

NAME = "multi_head_attention"
CHALLENGE = load_challenge(NAME)
REFERENCE = CHALLENGE.reference_text

SPOILS_THE_NEXT = """
import torch.nn.functional as _f
if hasattr(_f, "spoiled"):
    _f.softmax = lambda x, dim=-1, **more: torch.zeros_like(x)
_f.spoiled = True
torch.softmax = _f.softmax
"""
COUNTS = """
import builtins
builtins.loads = getattr(builtins, "loads", 0) + 1
print("load", builtins.loads)
"""
DIES_LATER = """
import os
import torch.nn.functional as _f
_f.loads = getattr(_f, "loads", 0) + 1
if _f.loads == 3:
    os._exit(0)
"""
SLEEPS_LATER = DIES_LATER.replace("os._exit(0)", "import time; time.sleep(3)")


def graded(sandbox_for, extra: str, cases: list[str] | None = None):
    source = (REFERENCE + extra).encode()
    return grade_source(NAME, source, sandbox=sandbox_for(NAME), cases=cases)


def test_a_right_file_passes_though_it_spoils_its_process(sandbox_for) -> None:
    for extra in (SPOILS_THE_NEXT, DIES_LATER, SLEEPS_LATER):
        # every third worker sleeps, so all cases would take minutes
        result = graded(sandbox_for, extra, list(CHALLENGE.cases)[:20])
        assert result.verdict == "passed", [
            (case.id, case.cause) for case in result.cases if case.status != "passed"
        ]


def test_cases_share_workers_and_each_begins_with_a_new_log(sandbox_for) -> None:
    golden_cases = list(CHALLENGE.cases.values())[:3]
    golden = load_valid(CHALLENGE)
    source = (REFERENCE + COUNTS).encode()
    logs = []
    with SubmissionRunner(sandbox_for(NAME), CHALLENGE, source) as runner:
        for case in golden_cases:
            info = RunInfo()
            assert runner.run(case, golden.cases[case.id], info=info).status == "passed"
            logs.append(info.log.strip())
    assert logs == ["load 1", "load 2", "load 3"]


def test_settings_of_torch_do_not_outlive_a_case(sandbox_for) -> None:
    extra = """
assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
print(float(torch.rand(())))
torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False); torch.manual_seed(7)
torch.set_default_dtype(torch.float32)
"""
    assert graded(sandbox_for, extra).verdict == "passed"


def test_every_case_of_a_wrong_file_fares_as_it_does_alone(sandbox_for) -> None:
    starter = CHALLENGE.starter.read_bytes()
    together = grade_source(NAME, starter, sandbox=sandbox_for(NAME))
    for case in together.cases[::4]:
        alone = grade_source(NAME, starter, cases=[case.id], sandbox=sandbox_for(NAME)).cases[0]
        assert (alone.status, alone.cause) == (case.status, case.cause)


WRONG_THEN_SILENT = """
_forward = KVCachedMultiHeadAttention.forward
_calls = []
def forward(self, *args, **named):
    _calls.append(1)
    if len(_calls) == 2:
        END
    output, cache = _forward(self, *args, **named)
    return output + 1, cache
KVCachedMultiHeadAttention.forward = forward
"""


@pytest.mark.parametrize("end", ["import os; os._exit(0)", "import time; time.sleep(60)"])
def test_a_wrong_answer_counts_before_a_later_silence(sandbox_for, end: str) -> None:
    """Also where both calls were sent together."""
    source = (REFERENCE + WRONG_THEN_SILENT.replace("END", end)).encode()
    names = [
        case.id
        for case in CHALLENGE.cases.values()
        if [step["do"] for step in case.steps[:2]] == ["forward", "forward"]
    ]
    together = grade_source(NAME, source, cases=names[:4], sandbox=sandbox_for(NAME))
    for case in together.cases:
        assert case.cause is not None
        assert (case.cause.kind, case.cause.where.step) == ("wrong_value", 0)

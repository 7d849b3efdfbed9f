"""Right files at home in another environment: compiled, deterministic, slow to import, with files and plots."""

from __future__ import annotations

import importlib.util
import re
import time

import pytest

from grader.content import load_challenge
from grader.content.catalogue import challenge_ids
from grader.judge import grade_source, start_sandbox
from grader.judge.missing_packages import missing_package
from grader.judge.sandbox_start import modules_to_preload

NAME = "multi_head_attention"
REFERENCE = load_challenge(NAME).reference_text
DETERMINISTIC = "\nimport torch\ntorch.use_deterministic_algorithms(True)\n"
FILES = """
import json, os, pathlib, tempfile
with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "settings.json").write_text(json.dumps({"heads": 4}))
(pathlib.Path.home() / ".cache").mkdir(exist_ok=True)
with open("log.txt", "a") as log:
    print("loaded", file=log)
"""
SLOW = """
import time as _time
_began = _time.process_time()
while _time.process_time() - _began < 1.0:
    sum(range(1000))
"""
PLOT = """
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.savefig("loss.png"); plt.show()
"""
COMPILED = (
    "@torch.compile",
    '@torch.compile(backend="eager")',
    '@torch.compile(mode="max-autotune", fullgraph=True, dynamic=True)',
)


def compiled(source: str, decorator: str) -> str:
    """Every function of the file is compiled, but those that are decorated already."""
    lines, before = [], ""
    for line in source.splitlines():
        if re.match(r"\s*def (?!__)\w+\(", line) and not before.lstrip().startswith("@"):
            lines.append(line[: len(line) - len(line.lstrip())] + decorator)
        lines.append(line)
        before = line
    return "\n".join(lines) + "\n"


def failures(result) -> list[tuple[str, object]]:
    return [
        (case.id, case.cause) for case in result.cases if case.status not in ("passed", "skipped")
    ]


@pytest.mark.parametrize("name", challenge_ids())
def test_the_reference_of_every_challenge_passes_in_such_an_environment(name) -> None:
    challenge = load_challenge(name)
    if missing_package(challenge) is not None:
        pytest.skip("a package is missing")
    if challenge.file.endswith(".json"):
        pytest.skip("its submissions are no Python files")
    source = compiled(challenge.reference_text, COMPILED[0]) + DETERMINISTIC + FILES
    assert "@torch.compile" in source
    chosen = list(challenge.cases)
    cases = [*chosen[:2], *chosen[len(chosen) // 2 : len(chosen) // 2 + 2], *chosen[-2:]]
    with start_sandbox(challenge, source=source.encode()) as sandbox:
        result = grade_source(challenge, source.encode(), cases=cases, sandbox=sandbox)
    assert result.verdict == "passed", failures(result)


@pytest.mark.parametrize("decorator", COMPILED)
def test_a_compiled_file_passes_every_case(sandbox_for, decorator) -> None:
    source = compiled(REFERENCE, decorator).encode()
    assert failures(grade_source(NAME, source, sandbox=sandbox_for(NAME))) == []


def test_a_call_of_compile_that_torch_refuses_is_refused(sandbox_for) -> None:
    wrong = REFERENCE + "\ntorch.compile(lambda x: x, mood='fast')\n"
    result = grade_source(NAME, wrong.encode(), sandbox=sandbox_for(NAME))
    assert "mood" in result.cases[0].cause.rationale


def test_a_file_that_takes_a_second_to_import_is_executed_few_times(sandbox_for) -> None:
    sandbox = sandbox_for(NAME)
    sandbox.ready()
    began = time.monotonic()
    grade_source(NAME, REFERENCE.encode(), sandbox=sandbox)
    quick = time.monotonic() - began
    began = time.monotonic()
    result = grade_source(NAME, (REFERENCE + SLOW).encode(), sandbox=sandbox)
    slow = time.monotonic() - began
    assert failures(result) == []
    # as many times as there are cases would be more than a minute
    assert slow < 15 + 3 * quick


def test_what_a_slow_file_leaves_behind_in_one_case_is_gone_in_the_next(sandbox_for) -> None:
    source = (
        REFERENCE
        + SLOW
        + """
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    made = 0
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        KVCachedMultiHeadAttention.made += 1
        assert KVCachedMultiHeadAttention.made < 10
        assert not hasattr(torch, "left") or KVCachedMultiHeadAttention.made > 1
        torch.left = True
"""
    )
    assert failures(grade_source(NAME, source.encode(), sandbox=sandbox_for(NAME))) == []


@pytest.mark.skipif(
    not importlib.util.find_spec("matplotlib"), reason="matplotlib is not installed"
)
def test_matplotlib_can_be_imported_and_used(sandbox_for) -> None:
    source = (REFERENCE + PLOT).encode()
    assert failures(grade_source(NAME, source, sandbox=sandbox_for(NAME))) == []


WASTE = {
    "spins": "_began = _t.process_time()\n        while _t.process_time() - _began < 0.3: pass",
    "sleeps": "_t.sleep(0.7)",
    "prints": "_began = _t.process_time()\n        while _t.process_time() - _began < 0.3: print('x' * 4000)",
    "allocates": "_began = _t.process_time()\n"
    "        while _t.process_time() - _began < 0.3: torch.zeros(1 << 20).sum()",
}


@pytest.mark.parametrize("how", WASTE)
def test_the_time_for_all_cases_is_bounded_and_said(sandbox_for, how) -> None:
    from dataclasses import replace

    source = (
        REFERENCE
        + f"""
import time as _t
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, *arguments, **options):
        {WASTE[how]}
        return super().forward(*arguments, **options)
"""
    )
    challenge = replace(load_challenge(NAME), total_seconds=2.0)
    began = time.monotonic()
    result = grade_source(challenge, source.encode(), sandbox=sandbox_for(NAME))
    assert time.monotonic() - began < 40
    assert result.verdict == "failed"
    said = [case.cause.rationale for case in result.cases if case.cause]
    assert any(text.startswith("Not run, since the file has used all the time") for text in said)
    # on a busy machine even a file that computes may be waited for too long
    limits = ["6 s by the clock", "2 s of CPU time"][: 1 if how == "sleeps" else 2]
    assert any(limit in text for text in said for limit in limits), said[-1]


def test_a_right_file_uses_a_small_part_of_its_time(sandbox_for) -> None:
    from dataclasses import replace

    challenge = load_challenge(NAME)
    assert challenge.total_seconds >= 60
    tight = replace(challenge, total_seconds=challenge.total_seconds / 4)
    assert failures(grade_source(tight, REFERENCE.encode(), sandbox=sandbox_for(NAME))) == []


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        (b"from torch.optim import AdamW\n", True),
        (b"import torch.optim as optim\n", True),
        (b"from torch import nn, optim\n", True),
        (b"self.step = torch.optim.SGD(parameters, lr=1)\n", True),
        (b"optimizer = Trainer(model)  # no optimiser of the library\n", False),
        (b"import torch\noptim = None\n", False),
    ],
)
def test_what_an_optimiser_imports_is_there_before_it_is_made(source, asked) -> None:
    assert ("torch._dynamo" in modules_to_preload(source)) is asked

"""What a command reads before it answers: a passing grade nothing that diagnoses, help and lists next to nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from grader.content import load_challenge
from grader.ground.paths import ROOT

NAME = "multi_head_attention"
PROGRAM = """
import sys
from grader.cli.main import main
main(sys.argv[1:])
print(*sorted(name for name in sys.modules if name.startswith("grader.")), sep="\\n", file=sys.stderr)
"""


def loaded(*words: str) -> Counter[str]:
    """Run a command and return how many modules of each room it has loaded."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line for line in run.stderr.splitlines() if line.startswith("grader.")]
    return Counter(name.split(".")[1] for name in names)


def test_a_passing_grade_does_not_read_the_code_that_traces() -> None:
    challenge = load_challenge(NAME)
    passed = loaded("grade", NAME, str(challenge.reference))
    assert passed["judge"]
    assert passed["sandbox"]
    assert not passed["diagnose"] + passed["author"] + passed["classroom"]
    starter = str(challenge.starter)
    assert not loaded("grade", NAME, starter)["diagnose"], "a symptom needs no trace"
    assert loaded("grade", NAME, starter, "--tell", "place")["diagnose"], "a place does"


@pytest.mark.parametrize("words", [["--help"], ["list"]])
def test_help_and_lists_do_not_read_the_judge(words: list[str]) -> None:
    found = loaded(*words)
    assert found["cli"]
    assert not found["judge"] + found["sandbox"] + found["diagnose"] + found["report"]

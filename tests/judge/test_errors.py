"""What goes wrong on our side is an error or is mended; it is never a wrong answer and never a pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader.content import load_challenge
from grader.judge import GraderError, grade_source, start_sandbox, worker_reuse
from grader.judge.worker_reuse import SubmissionRunner
from grader.sandbox import Sandbox, SandboxError

NAME = "multi_head_attention"
ROOT = Path(__file__).resolve().parents[2]


def test_a_grader_fault_in_one_case_is_an_error_for_that_case(sandbox_for, monkeypatch) -> None:
    real = SubmissionRunner.run

    def broken(runner, case, *rest, **options):
        if case.id == "cross-attention":
            raise ZeroDivisionError("ours")
        return real(runner, case, *rest, **options)

    monkeypatch.setattr(SubmissionRunner, "run", broken)
    source = load_challenge(NAME).reference.read_bytes()
    result = grade_source(NAME, source, sandbox=sandbox_for(NAME))
    assert result.verdict == "error"
    (case,) = [case for case in result.cases if case.status == "error"]
    assert case.id == "cross-attention"
    assert case.cause is not None
    assert "ours" in case.cause.rationale
    assert case.points == 0


def test_a_sandbox_that_never_answers_gives_no_verdict(monkeypatch) -> None:
    def refuse(self, timeout=0):
        raise SandboxError("the self-test saw a hole")

    monkeypatch.setattr(Sandbox, "ready", refuse)
    with pytest.raises(GraderError, match="a hole"):
        grade_source(NAME, b"")


def test_a_lost_worker_is_tried_once_more(sandbox_for, monkeypatch) -> None:
    real, lost = worker_reuse.judge_case, []

    def flaky(session, loaded, challenge, case, *rest, **options):
        if case.id not in lost and len(lost) < 5:
            lost.append(case.id)
            raise SandboxError("the fork server ended")
        return real(session, loaded, challenge, case, *rest, **options)

    monkeypatch.setattr(worker_reuse, "judge_case", flaky)
    source = load_challenge(NAME).reference.read_bytes()
    assert grade_source(NAME, source, sandbox=sandbox_for(NAME)).verdict == "passed"
    assert len(lost) == 5


def test_a_worker_lost_twice_is_an_error_of_that_case(sandbox_for, monkeypatch) -> None:
    real = worker_reuse.judge_case

    def lose(session, loaded, challenge, case, *rest, **options):
        if case.id == "cross-attention":
            raise SandboxError("the fork server ended")
        return real(session, loaded, challenge, case, *rest, **options)

    monkeypatch.setattr(worker_reuse, "judge_case", lose)
    source = load_challenge(NAME).reference.read_bytes()
    result = grade_source(NAME, source, sandbox=sandbox_for(NAME))
    (case,) = [case for case in result.cases if case.status != "passed"]
    assert (case.id, case.status) == ("cross-attention", "error")
    assert case.unjudged_because == "the fork server ended"


def test_a_killed_fork_server_is_replaced(sandbox_for) -> None:
    challenge = load_challenge(NAME)
    with start_sandbox(challenge) as sandbox:
        sandbox.ready()
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        names = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        servers = [int(pid) for pid, line in names.items() if "grader.sandbox" in line]
        os.kill(max(servers), signal.SIGKILL)
        result = grade_source(challenge, challenge.reference.read_bytes(), sandbox=sandbox)
    assert result.verdict == "passed"


def test_an_interruption_ends_at_once_with_130(tmp_path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import time\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "grader", "grade", NAME, str(slow)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted" in error
    assert b"Traceback" not in error

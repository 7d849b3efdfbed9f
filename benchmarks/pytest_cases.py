"""The usual way to grade, to measure against: the same cases as tests, beside the submission in one fresh process.

Collected by the command that `benchmarks.batch` prints.  It isolates nothing, draws no secret inputs and reports
no bugs, so it does less than a grading does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from grader.content import load_challenge
from grader.judge.case_run import RunInfo, judge_case
from grader.judge.golden import load_golden
from grader.sandbox import Reply, Request
from grader.sandbox.protocol import codec

CHALLENGE = load_challenge(os.environ.get("KVDOJO_CHALLENGE", "multi_head_attention"))
GOLDEN = load_golden(CHALLENGE)
SUBMISSION = Path(os.environ.get("KVDOJO_SUBMISSION", CHALLENGE.reference))


class Here:
    """Answers in this very process."""

    log = ""

    def __init__(self) -> None:
        from grader.sandbox.worker.host import WorkerHost

        self.host = WorkerHost(CHALLENGE.file, isolated=False)
        self.loaded = reply(
            self.host.load(SUBMISSION.read_bytes(), codec.pack_driver(CHALLENGE.driver))
        )

    def pipeline(self, requests: object) -> int:
        """Send nothing together: nothing would be gained here by that."""
        return 0

    def drain(self) -> None:
        """Forget what was announced."""

    def ask(self, request: Request, *, max_reply_bytes: int) -> Reply:
        """Call one verb."""
        return reply(self.host.answer(codec.pack_request(request, max_reply_bytes)))


def reply(blob: bytes) -> Reply:
    """Read a frame."""
    return codec.read_reply(blob)


@pytest.mark.parametrize("name", CHALLENGE.cases)
def test_case(name: str) -> None:
    """One case is one test."""
    session: Any = Here()
    result = judge_case(
        session,
        session.loaded,
        CHALLENGE,
        CHALLENGE.cases[name],
        GOLDEN.cases[name],
        info=RunInfo(),
    )
    if result.status == "skipped":
        pytest.skip(result.cause.rationale if result.cause else "")
    assert result.status == "passed", result.cause

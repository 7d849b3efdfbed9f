"""One file at work on one case after the other, in as few workers as a fair verdict allows.

A fork and its confinement cost more than most cases, so a worker goes on to the next case with the file executed
anew. What an earlier case left behind must not be held against the file: its first wrong answer in a used worker is
asked for again in a new one, and so is every later one if the two differ, and always when the worker has died.
A right answer is right wherever it comes from.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Self

from grader.content import Case, Challenge
from grader.judge.case_run import RunInfo, cause_of, judge_case, result_of
from grader.judge.golden import CaseGolden
from grader.judge.result import CaseResult
from grader.sandbox import Limits, Reply, Sandbox, Session, WorkerFailure

WALL_PER_CPU = 6
HASTE_SECONDS = 1.0  # an answer that takes longer in a used worker is awaited in a new one


def limits_of(challenge: Challenge) -> Limits:
    """The bounds of a worker: CPU time counts, for the clock also measures the machine's other work."""
    wall = WALL_PER_CPU * challenge.seconds
    return Limits(seconds=wall, memory_mb=challenge.memory_mb, cpu=challenge.seconds)


class SubmissionRunner:
    """Judges cases on one file; leaving the `with` block ends its worker. Not for several threads at once."""

    def __init__(self, sandbox: Sandbox, challenge: Challenge, source: bytes) -> None:
        self._sandbox, self._challenge, self._source = sandbox, challenge, source
        self._session: Session | None = None
        self._trusted = False  # a wrong answer of a used worker was also given by a new one
        self._doubted = False  # or was not

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker, if there is one; the next case gets a new one."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def run(
        self,
        case: Case,
        golden: CaseGolden,
        *,
        seed: int | None = None,
        info: RunInfo | None = None,
    ) -> CaseResult:
        """Return the verdict on one case; with a `seed`, on inputs drawn from it, and `golden` made for it."""
        info = info or RunInfo()
        used = self._session is not None
        try:
            result = self._once(case, golden, seed, info)
            doubtful = used and (self._dead or not self._trusted)
            if result.status == "failed" and (doubtful or self._killed):
                result = self._again(result, case, golden, seed, info)
        except BaseException:
            self.close()
            raise
        if case.visibility == "hidden":
            # what it printed may tell the inputs, and so may what it kept in memory for a later case to print
            info.log = ""
            self.close()
        if self._dead:
            self.close()
        return result

    @property
    def _dead(self) -> bool:
        return self._session is None or self._session.broken

    @property
    def _killed(self) -> bool:
        return self._session is not None and self._session.killed

    def _again(
        self,
        first: CaseResult,
        case: Case,
        golden: CaseGolden,
        seed: int | None,
        info: RunInfo,
    ) -> CaseResult:
        dead = self._dead
        self.close()
        info.excess = 0.0
        second = self._once(case, golden, seed, info)
        if not dead:
            self._trusted = first.cause == second.cause
            self._doubted |= not self._trusted
        self._trusted &= not self._doubted
        return second

    def _once(self, case: Case, golden: CaseGolden, seed: int | None, info: RunInfo) -> CaseResult:
        began = time.monotonic()
        try:
            session, loaded = self._loaded()
        except WorkerFailure as failure:
            result = result_of(case, cause_of(failure, None))
        else:
            result = judge_case(
                session, loaded, self._challenge, case, golden, seed=seed, info=info
            )
        info.log = self._session.log if self._session is not None else ""
        return replace(result, seconds=time.monotonic() - began)

    def _loaded(self) -> tuple[Session, Reply]:
        if self._session is not None:
            self._session.reload(HASTE_SECONDS)
            return self._session, Reply()
        self._session = self._sandbox.open(
            self._source,
            self._challenge.driver,
            filename=self._challenge.file,
            limits=limits_of(self._challenge),
        )
        return self._session, self._session.load()

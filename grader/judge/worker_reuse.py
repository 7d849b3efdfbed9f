"""Run the cases of one submission in as few workers as a fair verdict allows.

Forking and confining a worker costs more than most cases take, so a worker that has answered one case is *used*: it
executes the file anew and goes on with the next case.  A file may leave something behind in its process (a patched
torch function, a counter, a thread), and that must not be held against it in a later case.  Hence the rule: a right
answer counts wherever it comes from, and a wrong answer counts when a new worker has given it, or when this file's
used workers have proved trustworthy.

A file that takes long to execute is executed once per worker, which then forks a child for every case; a child is as
good as new, yet the same rule holds for its answers.  A worker in whose folder a case has made files is not used again,
and cases that are hidden have workers of their own: what one keeps in memory can be printed by none that is shown.

What is tried again, and where
------------------------------
1. *A wrong answer of a used worker* (`_again`): asked again of a new worker, whose answer counts.  The first time that
   both give the same cause, used workers of this file are trusted and later wrong answers are believed.  The first time
   they differ, they are doubted for good, and every later wrong answer is asked again.
2. *A used worker that died or was killed* says nothing about this case: asked again of a new worker, always.
3. *The fork server died* (`SandboxError`): `Sandbox.open` replaces it once by itself; if it is lost in the middle of a
   case, `run` begins the case once more.  A submission cannot reach the fork server, so the file is not to blame; a
   second loss is an error of the grader (`grading` makes it the status `error`), never a wrong answer.

Example, for a file that returns zeros from its third call on, whatever the case:

    case  worker     answer                      what counts
    a     new        right                       right
    b     used (a)   wrong: out is zero          asked again of a new worker: right.  Doubted from here on.
    c     used (b)   wrong: out is zero          asked again, because the workers are doubted: right
    d     used (c)   right                       right

A file with a real bug in case `b` gives the same wrong answer twice; from then on its cases cost one worker in all.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from typing import Self

from grader.content import Case, Challenge
from grader.judge.case_run import RunInfo, judge_case
from grader.judge.failure_causes import worker_failure_cause
from grader.judge.golden import CaseGolden
from grader.judge.result import CaseResult, Cause
from grader.sandbox import Limits, Reply, Sandbox, SandboxError, Session, WorkerFailure

WALL_PER_CPU = 6
WALL_PER_CPU_IN_ALL = 3  # of a whole submission, whose cases run two at a time
HASTE_SECONDS = 1.0  # an answer that takes longer in a used worker is awaited in a new one


def limits_of(challenge: Challenge) -> Limits:
    """Return the bounds of a worker.

    CPU time is what counts, for the clock also measures the machine's other work; six times as much may pass by the
    clock.
    """
    wall = WALL_PER_CPU * challenge.seconds
    return Limits(seconds=wall, memory_mb=challenge.memory_mb, cpu=challenge.seconds)


class TimeBudget:
    """The time that a submission may use for all its cases together; shared by its runners, in any thread.

    `seconds` are of CPU time; since a file can also sleep, three times as many may be waited for its answers by the
    clock.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._cpu = self._wall = 0.0
        self.ended: Cause | None = None  # why nothing more is run

    def charge(self, *, cpu: float = 0.0, wall: float = 0.0) -> None:
        """Count time that was used."""
        with self._lock:
            self._cpu += cpu
            self._wall += wall

    @property
    def in_sight(self) -> bool:
        """Whether so much time has passed that the budget may be used up, and CPU time is worth a look."""
        return self._wall >= self._seconds

    def used_up(self, running: float = 0.0) -> Cause | None:
        """Say that the budget is used up, once it is; `running` are CPU seconds that were not charged yet."""
        if self.ended is not None:
            return self.ended
        most = WALL_PER_CPU_IN_ALL * self._seconds
        if self._cpu + running >= self._seconds:
            used = f"{self._seconds:g} s of CPU time"
        elif self._wall >= most:
            used = f"{most:g} s by the clock"
        else:
            return None
        text = f"Not run, since the file has used all the time there is for its cases together: {used}."
        self.ended = Cause(
            "timeout", text, "Look for work that is done again and again, or at import."
        )
        return self.ended


class SubmissionRunner:
    """Judges cases of one submission, one after the other; not for several threads at once.

    Leaving the `with` block ends its workers. Without a `budget` only the limits of a single worker hold.

        with SubmissionRunner(sandbox, challenge, source) as runner:
            results = [runner.run(case, golden.cases[case.id]) for case in challenge.cases.values()]
    """

    def __init__(
        self,
        sandbox: Sandbox,
        challenge: Challenge,
        source: bytes,
        budget: TimeBudget | None = None,
    ) -> None:
        self._sandbox, self._challenge, self._source = sandbox, challenge, source
        self._budget = budget or TimeBudget(math.inf)
        self._session: Session | None = None
        # the worker of cases of the other visibility
        self._hidden, self._other = False, None
        self._trusted = False  # a new worker confirmed a wrong answer of a used one
        self._doubted = False  # a new worker contradicted one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._turn_to(hidden=not self._hidden)
        self.close()

    def without_budget(self) -> SubmissionRunner:
        """Let nothing count from now on but the limits of a single worker."""
        self._budget = TimeBudget(math.inf)
        return self

    def close(self) -> None:
        """End the worker, if there is one; the next case gets a new one."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            self._budget.charge(cpu=session.cpu_seconds)

    def _turn_to(self, *, hidden: bool) -> None:
        """Go on with the worker of the hidden cases, or with that of the others."""
        if hidden != self._hidden:
            self._session, self._other = self._other, self._session
            self._hidden = hidden

    def run(
        self,
        case: Case,
        golden: CaseGolden,
        *,
        seed: int | None = None,
        info: RunInfo | None = None,
    ) -> CaseResult:
        """Return the verdict on one case; with a `seed`, on inputs drawn from it, and `golden` made for it.

        Raises SandboxError when the fork server was lost twice, GraderError and ContentError when the case cannot be
        asked.  What the run was like is noted in `info`.
        """
        info = info or RunInfo()
        self._turn_to(hidden=case.visibility == "hidden")
        if (cause := self._used_up()) is not None:
            return CaseResult.judged(case, cause)
        try:
            return self._fairly(case, golden, seed, info)
        except SandboxError:
            return self._fairly(case, golden, seed, info)

    def _used_up(self) -> Cause | None:
        if not self._budget.in_sight:
            return None
        both = (item for item in (self._session, self._other) if item is not None)
        return self._budget.used_up(sum(item.cpu_seconds for item in both))

    def _fairly(
        self, case: Case, golden: CaseGolden, seed: int | None, info: RunInfo
    ) -> CaseResult:
        """Judge a case, and ask a new worker where the answer of a used one may not count."""
        used = self._session is not None
        try:
            result = self._once(case, golden, seed, info)
            doubtful = used and (self._dead or not self._trusted)
            if result.status == "failed" and (doubtful or self._killed):
                result = self._again(result, case, golden, seed, info)
        except BaseException:
            self.close()
            raise
        if self._hidden:
            info.log = ""  # it may tell the inputs
        if self._session is None or self._dead or self._session.touched:
            self.close()
        return result

    @property
    def _dead(self) -> bool:
        return self._session is None or self._session.broken

    @property
    def _killed(self) -> bool:
        return self._session is not None and self._session.killed

    def _again(
        self, first: CaseResult, case: Case, golden: CaseGolden, seed: int | None, info: RunInfo
    ) -> CaseResult:
        """Ask a new worker, and learn from a used worker that answered whether this file's may be trusted."""
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
            result = CaseResult.judged(case, worker_failure_cause(None, failure))
        else:
            result = judge_case(
                session, loaded, self._challenge, case, golden, seed=seed, info=info
            )
        info.log = self._session.log if self._session is not None else ""
        seconds = time.monotonic() - began
        self._budget.charge(wall=seconds)
        return replace(result, seconds=seconds)

    def _loaded(self) -> tuple[Session, Reply]:
        """Return a worker in which the file was executed for this case alone: the used one, or else a new one."""
        if self._session is not None:
            limits = limits_of(self._challenge)
            self._session.reload(limits.seconds if self._session.forks else HASTE_SECONDS)
            return self._session, Reply()
        self._session = self._sandbox.open(
            self._source,
            self._challenge.driver,
            filename=self._challenge.file,
            limits=limits_of(self._challenge),
        )
        return self._session, self._session.load()

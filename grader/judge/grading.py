"""Judge the cases of one submission: on published inputs, on secret ones, and some not at all.

1. A case that needs no helper comes first.  If the file cannot even be imported, every case gets the cause of this one
   and nothing more is run.
2. The other cases are divided among threads, each with a `SubmissionRunner` of its own.  They are assigned in a fixed
   order, so that two gradings of one file run identical sequences in their workers.
3. A file that passed all of them is judged again on secret inputs, case by case.  What is right on the published
   inputs and wrong on the secret ones was remembered, or depends on a size, and the case counts as failed.

With `secret_only` (files of a class, which nobody debugs while they are graded) the secret inputs are the only ones.

A case is not run when two earlier ones ran out of time, or when the file has used up the time for all cases together
(it then counts as failed, for time), and when it is about a helper that the file does not have or uses for something
else (it is then skipped and costs no marks).

Whatever goes wrong on our side becomes the status `error` of that case, never a wrong answer and never a pass.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import repeat
from queue import SimpleQueue
from typing import Any, Self

from grader.content import Case, Challenge, ContentError
from grader.ground.errors import KvdojoError
from grader.judge.case_run import LeftOut, RunInfo
from grader.judge.golden import CaseGolden, Golden
from grader.judge.result import CaseResult, Cause
from grader.judge.secret_inputs import SecretCase, SecretInputs, same_plain
from grader.judge.worker_reuse import SubmissionRunner, TimeBudget
from grader.sandbox import Sandbox, SandboxError, WorkerFailure

PARALLEL = 2
ROUNDING_MAY = (
    "wrong_value",
    "wrong_shape",
)  # what rounding may make of a right answer, by kind of cause
MOST_TIMEOUTS = 2  # cases that may run out of time before the others are not run any more
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """A case to judge, on the published inputs or on secret ones."""

    case: Case
    secret: bool = False


@dataclass(frozen=True)
class Outcome:
    """A job that is done."""

    job: Job
    result: CaseResult
    info: RunInfo


@dataclass
class Grading:
    """A run over cases of one submission, within one time for all of them; leaving the `with` block ends its workers.

    With `secret` a file that passes is judged on secret inputs, too, and with `secret_only` on these alone.  `foreign`
    are helpers whose names the file uses for functions of its own, `unnamed` those that its text does not mention at
    all.
    """

    sandbox: Sandbox
    challenge: Challenge
    golden: Golden
    secret_inputs: SecretInputs
    source: bytes
    progress: Progress
    parallel: int = PARALLEL
    secret: bool = True
    secret_only: bool = False
    foreign: frozenset[str] = frozenset()
    unnamed: frozenset[str] = frozenset()
    _timeouts: int = 0
    _stopped: bool = False
    _loaded: bool = False

    def __post_init__(self) -> None:
        """Begin the time that the file has for all cases."""
        self._budget = TimeBudget(self.challenge.total_seconds)
        self._runners: list[SubmissionRunner] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for runner in self._runners:
                stack.push(runner)
            self._runners = []

    @property
    def runners(self) -> list[SubmissionRunner]:
        """One for each thread, kept until the `with` block ends: a file may take long to execute."""
        if not self._runners:
            self._runners = [
                SubmissionRunner(self.sandbox, self.challenge, self.source, self._budget)
                for _ in range(self.parallel)
            ]
        return self._runners

    @property
    def loaded(self) -> bool:
        """Whether the file could be executed."""
        return self._loaded

    def run(self, cases: Sequence[Case]) -> tuple[list[CaseResult], str]:
        """Return the verdicts in the order of the cases, and what the submission printed.

        Printed text is that of the first case that failed, else that of the first case.
        """
        probe = next((case for case in cases if not self._helpers(case)), cases[0])
        judge = self._judge_secret if self.secret_only else self._judge
        first, info = judge(self.runners[0], probe)
        self.progress(1, len(cases))
        if not info.loaded and first.status == "failed":
            return [CaseResult.judged(case, first.cause) for case in cases], info.log
        self._loaded = True
        judged = {probe.id: first}
        logs = [info.log] if info.log else []
        jobs = [Job(case, self.secret_only) for case in cases if case is not probe]
        for outcome in self._outcomes(jobs):
            case, result, log = outcome.job.case, outcome.result, outcome.info.log
            judged[case.id] = result
            if log and (not logs or result.status == "failed"):
                logs.insert(0, log)
            self.progress(len(judged), len(cases))
        if self.secret and not self.secret_only and passed(judged.values()):
            again = [Job(case, True) for case in cases if judged[case.id].status == "passed"]
            with self._answering_ahead(again):
                for outcome in self._outcomes(again):
                    case = outcome.job.case
                    judged[case.id] = self._both(judged[case.id], outcome.result)
        return [judged[case.id] for case in cases], logs[0] if logs else ""

    def _helpers(self, case: Case) -> set[str]:
        """Return the helpers the case asks for that a correct file may leave out."""
        return {n for n in self.golden.cases[case.id].needs if self.challenge.may_lack(n)}

    def _outcomes(self, jobs: list[Job]) -> Iterator[Outcome]:
        """Yield each job with its outcome, as the threads finish them, each with a runner of its own."""
        shares = [jobs[start :: self.parallel] for start in range(self.parallel)]
        if len(shares) == 1:
            # files are graded side by side: a thread for this one's cases would only cost
            yield from self._work_through(shares[0], self.runners[0])
            return
        done: SimpleQueue[Outcome] = SimpleQueue()
        self._stopped = False

        def work(share: list[Job], runner: SubmissionRunner) -> None:
            for outcome in self._work_through(share, runner):
                done.put(outcome)

        with _threads() as pool:
            threads = list(map(pool.submit, repeat(work), shares, self.runners))
            try:
                for _ in jobs:
                    yield done.get()
            finally:
                self._stopped = True
            for thread in threads:
                thread.result()

    @contextmanager
    def _answering_ahead(self, jobs: list[Job]) -> Iterator[None]:
        """Have the oracle answer secret inputs before the file is asked them, until the block ends."""
        ended = threading.Event()

        def work() -> None:
            for job in jobs:
                if ended.is_set():
                    return
                # told when the case is asked
                with suppress(SandboxError, ContentError, WorkerFailure):
                    self.secret_inputs.answer_ahead(job.case)

        with _threads() as pool:
            pool.submit(work)
            try:
                yield
            finally:
                ended.set()

    def _work_through(self, share: list[Job], runner: SubmissionRunner) -> Iterator[Outcome]:
        for job in share:
            if self._stopped:
                return
            judge = self._judge_secret if job.secret else self._judge
            try:
                result, info = judge(runner, job.case)
            except (
                Exception
            ) as error:  # `_outcomes` would wait for ever for an outcome that never comes
                why = f"{type(error).__name__}: {error}"
                result, info = CaseResult.unjudged(job.case, why), RunInfo()
            yield Outcome(job, result, info)

    def _judge(self, runner: SubmissionRunner, case: Case) -> tuple[CaseResult, RunInfo]:
        info = RunInfo()
        if (known := self._not_run(case)) is not None:
            return known, info
        return self._guarded(runner, case, self.golden.cases[case.id], None, info), info

    def _not_run(self, case: Case) -> CaseResult | None:
        """Return the result of a case that is not run at all."""
        if self._budget.ended is not None:
            return CaseResult.judged(case, self._budget.ended)
        if self._timeouts >= MOST_TIMEOUTS:
            text = f"Not run, since {self._timeouts} earlier cases ran out of time."
            return CaseResult.judged(case, Cause("timeout", text))
        if self._loaded and (name := self._left_out(case)) is not None:
            return CaseResult.skipped(case, LeftOut(name).why)
        for name in self.foreign.intersection(self.golden.cases[case.id].needs):
            text = f"`{name}` is this file's own helper, not the one this case is about."
            return CaseResult.skipped(case, text)
        return None

    def _left_out(self, case: Case) -> str | None:
        """Return a helper that a worker would miss, where that is plain from the file's text and no worker is needed.

        It is when the case is about helpers alone and the text mentions none of them.
        """
        needs = self.golden.cases[case.id].needs
        missing = [name for name in needs if name in self.unnamed]
        if case.kind != "unit" or not missing or set(missing) != self._helpers(case):
            return None
        return missing[0]

    def _judge_secret(self, runner: SubmissionRunner, case: Case) -> tuple[CaseResult, RunInfo]:
        info = RunInfo()
        if (known := self._not_run(case)) is not None:
            return known, info
        try:
            secret = self.secret_inputs.of(case)
        except (SandboxError, ContentError, WorkerFailure) as error:
            return CaseResult.unjudged(case, str(error)), info
        if secret.same and not self.secret_only:
            info.loaded = (
                True  # it passed on published inputs, and its answers do not depend on them
            )
            return CaseResult.judged(case, None), info
        result = self._guarded(runner, secret.case, secret.golden, secret.seed, info)
        if result.cause and result.cause.kind in ROUNDING_MAY:
            try:
                again = self.secret_inputs.allowing_for_rounding(case)
            except (SandboxError, ContentError, WorkerFailure) as error:
                return CaseResult.unjudged(case, str(error)), info
            if again.same and not self.secret_only:
                return CaseResult.judged(case, None), info
            if _excused(secret, again, result.cause, info.missed):
                result = self._guarded(runner, again.case, again.golden, again.seed, info)
        return result, info

    def _both(self, published: CaseResult, secret: CaseResult) -> CaseResult:
        """Return one verdict of two: a case passes only if it passes on inputs that nobody could know."""
        if secret.status in ("passed", "skipped"):
            return published
        if secret.status == "error" or not secret.cause:
            return replace(secret, points=0)
        if secret.cause is self._budget.ended:
            return replace(published, status="failed", points=0, cause=secret.cause)
        sizes = _of_sizes(self.secret_inputs.of(self.challenge.cases[published.id]).sizes)
        if secret.cause.kind in ("timeout", "memory"):
            text = (
                f"Right on the published inputs. On fresh ones of {sizes}: {secret.cause.rationale}"
            )
            cause = replace(secret.cause, rationale=text)
            return replace(published, status="failed", points=0, cause=cause)
        cause = Cause(
            secret.cause.kind,
            f"Right on the published inputs, wrong on fresh ones of {sizes}.",
            "Outputs must be computed from the inputs of the call, not remembered.",
            where=replace(secret.cause.where, index=None) if secret.cause.where else None,
        )
        return replace(published, status="failed", points=0, cause=cause)

    def _guarded(
        self,
        runner: SubmissionRunner,
        case: Case,
        golden: CaseGolden,
        seed: int | None,
        info: RunInfo,
    ) -> CaseResult:
        """Judge a case and count it if it ran out of time.

        An error of the grader becomes the status `error`, once `worker_reuse` has tried again.
        """
        try:
            result = runner.run(case, golden, seed=seed, info=info)
        except KvdojoError as error:
            return CaseResult.unjudged(case, str(error))
        except Exception as error:
            return CaseResult.unjudged(case, f"{type(error).__name__}: {error}")
        self._timeouts += bool(result.cause and result.cause.kind == "timeout")
        return result


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """A pool that an interruption (Ctrl-C) leaves at once, without running what still waits."""
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def passed(results: Iterable[CaseResult]) -> bool:
    """Whether nothing failed and nothing was left without a verdict, and something was run."""
    states = {result.status for result in results}
    return "passed" in states and states <= {"passed", "skipped"}


def _excused(secret: SecretCase, again: SecretCase, cause: Cause, missed: float) -> bool:
    """Whether an answer that was wrong by `missed` tolerances may be right where rounding is allowed for."""
    place = 0 if cause.where is None or cause.where.step is None else cause.where.step + 1
    before, after = secret.golden.steps[place], again.golden.steps[place]
    same_inputs = (secret.seed, secret.case) == (again.seed, again.case)
    if not same_inputs or not same_plain(secret.golden, again.golden):
        return True
    wider = (
        after.tolerances[name] / x if x else math.inf
        for name, x in before.tolerances.items()
        if after.tolerances[name] > x
    )
    return missed <= max(wider, default=1.0)


def _of_sizes(sizes: Mapping[str, Any]) -> str:
    """Say of which sizes the secret inputs were."""
    if not sizes:
        return "the same sizes"
    return "other sizes: " + ", ".join(f"{name} {size}" for name, size in sizes.items())

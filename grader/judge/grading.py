"""The run over a file's cases: which are run, side by side, once more on secret inputs, or not at all.

What goes wrong on our side becomes an error of that case, never a wrong answer and never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from queue import SimpleQueue

from grader.content import Case, Challenge, ContentError
from grader.ground.errors import KvdojoError
from grader.judge.case_run import LeftOut, RunInfo
from grader.judge.golden import CaseGolden, Golden
from grader.judge.result import CaseResult, Cause
from grader.judge.secret_inputs import SecretInputs
from grader.judge.worker_reuse import SubmissionRunner
from grader.sandbox import Sandbox, SandboxError

PARALLEL = 2
PATIENCE = 2  # cases that may run out of time before the rest is not tried
Progress = Callable[[int, int], None]
Job = tuple[Case, bool]  # a case, and whether it is to be judged on secret inputs
Outcome = tuple[Job, tuple[CaseResult, RunInfo]]


@dataclass
class Grading:
    """One run over the cases of one file."""

    sandbox: Sandbox
    challenge: Challenge
    golden: Golden
    fresh: SecretInputs
    source: bytes
    progress: Progress
    timeouts: int = 0
    parallel: int = PARALLEL
    stopped: bool = False
    foreign: frozenset[str] = frozenset()
    # names that cases ask for and the file's text does not hold
    unnamed: frozenset[str] = frozenset()
    loaded: bool = False

    def run(self, cases: Sequence[Case]) -> tuple[list[CaseResult], str]:
        """Return the verdicts in the order of the cases, and the submission's log."""
        # a file that cannot be loaded is told once, by a case that no file can skip
        probe = next((case for case in cases if not self._helpers(case)), cases[0])
        with self._bench() as runner:
            first, info = self._judge(runner, probe)
            self.progress(1, len(cases))
            if not info.loaded and first.status == "failed":
                return [self._same(case, first) for case in cases], info.log
            self.loaded = True
            done = {probe.id: first}
            logs = [info.log] if info.log else []
            jobs: list[Job] = [(case, False) for case in cases if case is not probe]
            jobs += [(case, True) for case in cases if case.id in self.challenge.fresh]
            fresh: dict[str, CaseResult] = {}
            for (case, again), (result, info) in self._all(runner, jobs):
                (fresh if again else done)[case.id] = result
                if info.log and not again and (not logs or result.status == "failed"):
                    logs.insert(0, info.log)
                self.progress(len(done), len(cases))
        for name, result in fresh.items():
            done[name] = _merged(done[name], result)
        return [done[case.id] for case in cases], logs[0] if logs else ""

    def _helpers(self, case: Case) -> set[str]:
        """Names a correct file may lack that the case asks for."""
        return set(self.challenge.helpers).intersection(self.golden.cases[case.id].needs)

    def _bench(self) -> SubmissionRunner:
        return SubmissionRunner(self.sandbox, self.challenge, self.source)

    def _all(self, runner: SubmissionRunner, jobs: list[Job]) -> Iterator[Outcome]:
        """Yield each job with its outcome, from several benches side by side.

        Which job goes to which bench is fixed, so that the same file always lives through the same.
        """
        shares = [jobs[start :: self.parallel] for start in range(self.parallel)]
        if len(shares) == 1:
            # files are graded side by side: a thread for this one's cases would only cost
            yield from self._line(runner, shares[0])
            return
        news: SimpleQueue[Outcome] = SimpleQueue()
        with _threads() as pool:
            lines = [pool.submit(self._tell, runner, shares[0], news)]
            lines += [pool.submit(self._tell, None, share, news) for share in shares[1:]]
            try:
                for _ in jobs:
                    yield news.get()
            finally:
                self.stopped = True
            for line in lines:
                line.result()

    def _tell(
        self, runner: SubmissionRunner | None, share: list[Job], news: SimpleQueue[Outcome]
    ) -> None:
        for outcome in self._line(runner, share):
            news.put(outcome)

    def _line(self, runner: SubmissionRunner | None, share: list[Job]) -> Iterator[Outcome]:
        with runner or self._bench() as runner:
            for case, again in share:
                if self.stopped:
                    return
                judge = self._judge_fresh if again else self._judge
                try:
                    outcome = judge(runner, case)
                except Exception as error:  # what a line does not tell would be awaited for ever
                    outcome = (
                        CaseResult.unjudged(case, f"{type(error).__name__}: {error}"),
                        RunInfo(),
                    )
                yield (case, again), outcome

    def _judge(self, runner: SubmissionRunner, case: Case) -> tuple[CaseResult, RunInfo]:
        info = RunInfo()
        if self.timeouts >= PATIENCE:
            text = f"Not run, since {self.timeouts} earlier cases ran out of time."
            return CaseResult.judged(case, Cause("timeout", text)), info
        if self.loaded and (name := self._absent(case)) is not None:
            return CaseResult.skipped(case, LeftOut(name).why), info
        for name in self.foreign.intersection(self.golden.cases[case.id].needs):
            text = f"`{name}` is this file's own helper, not the one this case is about."
            return CaseResult.skipped(case, text), info
        result = self._guarded(runner, case, self.golden.cases[case.id], None, info)
        self.timeouts += bool(result.cause and result.cause.kind == "timeout")
        return result, info

    def _absent(self, case: Case) -> str | None:
        """Foresee what a worker would answer: this case is about helpers alone, and the file has none of them."""
        needs = self.golden.cases[case.id].needs
        missing = [name for name in needs if name in self.unnamed]
        if case.kind != "unit" or not missing or set(missing) != self._helpers(case):
            return None
        return missing[0]

    def _judge_fresh(self, runner: SubmissionRunner, case: Case) -> tuple[CaseResult, RunInfo]:
        info = RunInfo()
        if self.timeouts >= PATIENCE:
            return CaseResult.judged(case, Cause("timeout", "Not run.")), info
        try:
            seed, golden = self.fresh.of(case)
        except (SandboxError, ContentError) as error:
            return CaseResult.unjudged(case, str(error)), info
        return self._guarded(runner, case, golden, seed, info), info

    def _guarded(
        self,
        runner: SubmissionRunner,
        case: Case,
        golden: CaseGolden,
        seed: int | None,
        info: RunInfo,
    ) -> CaseResult:
        """Judge a case; whatever goes wrong on our side is an error, never a wrong answer and never a pass.

        What is tried again before that, `worker_reuse` explains.
        """
        try:
            return runner.run(case, golden, seed=seed, info=info)
        except KvdojoError as error:
            return CaseResult.unjudged(case, str(error))
        except Exception as error:
            return CaseResult.unjudged(case, f"{type(error).__name__}: {error}")

    @staticmethod
    def _same(case: Case, first: CaseResult) -> CaseResult:
        assert first.cause, "only a failed load is spread over the cases"
        return CaseResult.judged(case, first.cause)


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


def _merged(stored: CaseResult, fresh: CaseResult) -> CaseResult:
    """A case counts as passed only if it also passes on inputs nobody could know."""
    if stored.status != "passed" or fresh.status in ("passed", "skipped"):
        return stored
    if fresh.status == "error" or not fresh.cause:
        return replace(fresh, points=0)
    cause = Cause(
        fresh.cause.kind,
        "Right on the published inputs, wrong on fresh ones of the same sizes.",
        "Outputs must be computed from the inputs of the call, not remembered.",
        where=replace(fresh.cause.where, index=None) if fresh.cause.where else None,
    )
    return replace(stored, status="failed", points=0, cause=cause)

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
from grader.judge.bench import Bench
from grader.judge.case import GraderError, Tape, left_out, result_of
from grader.judge.fresh import Fresh
from grader.judge.golden import CaseGolden, Golden
from grader.judge.result import CaseResult, Cause
from grader.sandbox import Sandbox, SandboxError

PARALLEL = 2
PATIENCE = 2  # cases that may run out of time before the rest is not tried
Progress = Callable[[int, int], None]
Job = tuple[Case, bool]  # a case, and whether it is to be judged on secret inputs
Outcome = tuple[Job, tuple[CaseResult, Tape]]


@dataclass
class Grading:
    """One run over the cases of one file."""

    sandbox: Sandbox
    challenge: Challenge
    golden: Golden
    fresh: Fresh
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
        with self._bench() as bench:
            first, tape = self._judge(bench, probe)
            self.progress(1, len(cases))
            if not tape.loaded and first.status == "failed":
                return [self._same(case, first) for case in cases], tape.log
            self.loaded = True
            done = {probe.id: first}
            logs = [tape.log] if tape.log else []
            jobs: list[Job] = [(case, False) for case in cases if case is not probe]
            jobs += [(case, True) for case in cases if case.id in self.challenge.fresh]
            fresh: dict[str, CaseResult] = {}
            for (case, again), (result, tape) in self._all(bench, jobs):
                (fresh if again else done)[case.id] = result
                if tape.log and not again and (not logs or result.status == "failed"):
                    logs.insert(0, tape.log)
                self.progress(len(done), len(cases))
        for name, result in fresh.items():
            done[name] = _merged(done[name], result)
        return [done[case.id] for case in cases], logs[0] if logs else ""

    def _helpers(self, case: Case) -> set[str]:
        """Names a correct file may lack that the case asks for."""
        return set(self.challenge.helpers).intersection(self.golden.cases[case.id].needs)

    def _bench(self) -> Bench:
        return Bench(self.sandbox, self.challenge, self.source)

    def _all(self, bench: Bench, jobs: list[Job]) -> Iterator[Outcome]:
        """Yield each job with its outcome, from several benches side by side.

        Which job goes to which bench is fixed, so that the same file always lives through the same.
        """
        shares = [jobs[start :: self.parallel] for start in range(self.parallel)]
        if len(shares) == 1:
            # files are graded side by side: a thread for this one's cases would only cost
            yield from self._line(bench, shares[0])
            return
        news: SimpleQueue[Outcome] = SimpleQueue()
        with _threads() as pool:
            lines = [pool.submit(self._tell, bench, shares[0], news)]
            lines += [pool.submit(self._tell, None, share, news) for share in shares[1:]]
            try:
                for _ in jobs:
                    yield news.get()
            finally:
                self.stopped = True
            for line in lines:
                line.result()

    def _tell(self, bench: Bench | None, share: list[Job], news: SimpleQueue[Outcome]) -> None:
        for outcome in self._line(bench, share):
            news.put(outcome)

    def _line(self, bench: Bench | None, share: list[Job]) -> Iterator[Outcome]:
        with bench or self._bench() as bench:
            for case, again in share:
                if self.stopped:
                    return
                judge = self._judge_fresh if again else self._judge
                try:
                    outcome = judge(bench, case)
                except Exception as error:  # what a line does not tell would be awaited for ever
                    outcome = _errored(case, f"{type(error).__name__}: {error}"), Tape()
                yield (case, again), outcome

    def _judge(self, bench: Bench, case: Case) -> tuple[CaseResult, Tape]:
        tape = Tape()
        if self.timeouts >= PATIENCE:
            text = f"Not run, since {self.timeouts} earlier cases ran out of time."
            return result_of(case, Cause("timeout", text)), tape
        if self.loaded and (name := self._absent(case)) is not None:
            return result_of(case, left_out(name)), tape
        for name in self.foreign.intersection(self.golden.cases[case.id].needs):
            text = f"Skipped: `{name}` is this file's own helper, not the one this case is about."
            return result_of(case, Cause(None, text)), tape
        result = self._guarded(bench, case, self.golden.cases[case.id], None, tape)
        self.timeouts += bool(result.cause and result.cause.kind == "timeout")
        return result, tape

    def _absent(self, case: Case) -> str | None:
        """Foresee what a worker would answer: this case is about helpers alone, and the file has none of them."""
        needs = self.golden.cases[case.id].needs
        missing = [name for name in needs if name in self.unnamed]
        if case.kind != "unit" or not missing or set(missing) != self._helpers(case):
            return None
        return missing[0]

    def _judge_fresh(self, bench: Bench, case: Case) -> tuple[CaseResult, Tape]:
        tape = Tape()
        if self.timeouts >= PATIENCE:
            return result_of(case, Cause("timeout", "Not run.")), tape
        try:
            seed, golden = self.fresh.of(case)
        except (SandboxError, ContentError) as error:
            return _errored(case, str(error)), tape
        return self._guarded(bench, case, golden, seed, tape), tape

    def _guarded(
        self, bench: Bench, case: Case, golden: CaseGolden, seed: int | None, tape: Tape
    ) -> CaseResult:
        """Whatever goes wrong on our side is an error, never a wrong answer and never a pass."""
        for last in (False, True):
            try:
                return bench.run(case, golden, seed=seed, tape=tape)
            except SandboxError as error:
                # a submission cannot reach the sandbox's own process, so what ended it was not the file: once more
                if last:
                    return _errored(case, str(error))
            except (GraderError, ContentError) as error:
                return _errored(case, str(error))
            except Exception as error:
                return _errored(case, f"{type(error).__name__}: {error}")
        raise AssertionError("the second attempt always returns")

    @staticmethod
    def _same(case: Case, first: CaseResult) -> CaseResult:
        assert first.cause, "only a failed load is spread over the cases"
        return result_of(case, first.cause)


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


def _errored(case: Case, text: str) -> CaseResult:
    cause = Cause(None, f"Could not be judged: {text}")
    return replace(result_of(case, cause), status="error", max_points=case.points)

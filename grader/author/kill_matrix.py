"""The kill matrix: which case catches which known fault, each planted alone.

A fault is a bug or a trivial solution.  In the words of mutation testing, a case *kills* a fault when it fails on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from grader.author.wrong_variants import bug_ids, planted, trivial_solution
from grader.content import Case, Challenge
from grader.judge.case_run import RunInfo
from grader.judge.golden import Golden
from grader.judge.grading import PARALLEL
from grader.judge.result import CaseResult
from grader.judge.worker_reuse import SubmissionRunner
from grader.sandbox import Sandbox

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Judged:
    """A result, and by how many tolerances the worst number missed, 0.0 where none was compared."""

    result: CaseResult
    excess: float


@dataclass(frozen=True)
class KillMatrix:
    """Results and excesses by fault id and case id; the bugs come first, then the trivial solutions."""

    rows: Mapping[str, Mapping[str, CaseResult]]
    excess: Mapping[str, Mapping[str, float]]

    def witnesses(self, fault: str) -> list[str]:
        """Return the ids of the cases that catch a fault, in the order of the cases."""
        return [name for name, result in self.rows[fault].items() if result.status == "failed"]

    @property
    def known(self) -> dict[str, list[str]]:
        """The ids of the cases that catch each fault."""
        return {fault: self.witnesses(fault) for fault in self.rows}

    def kills(self, case: str) -> list[str]:
        """Return the ids of the faults that a case catches."""
        return [fault for fault, row in self.rows.items() if row[case].status == "failed"]


def kill_matrix(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden,
    *,
    cases: Iterable[Case] | None = None,
    progress: Progress | None = None,
) -> KillMatrix:
    """Run every case on every bug and trivial solution; raises GraderError when one cannot be judged."""
    chosen = list(cases if cases is not None else challenge.cases.values())
    sources = {name: planted(challenge, name) for name in bug_ids(challenge)}
    sources |= {name: trivial_solution(challenge, name) for name in challenge.trivial_solutions}
    rows: dict[str, Mapping[str, Judged]] = {}
    with ThreadPoolExecutor(PARALLEL) as pool:
        jobs = {
            name: pool.submit(run_cases, sandbox, challenge, golden, source, chosen)
            for name, source in sources.items()
        }
        for name, job in jobs.items():
            rows[name] = job.result()
            if progress:
                progress(len(rows), len(jobs))
    return KillMatrix(
        {name: {case: item.result for case, item in row.items()} for name, row in rows.items()},
        {name: {case: item.excess for case, item in row.items()} for name, row in rows.items()},
    )


def run_cases(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden,
    source: bytes,
    cases: Sequence[Case],
) -> dict[str, Judged]:
    """Run cases one after the other on one source; return the results by case id."""
    judged = {}
    with SubmissionRunner(sandbox, challenge, source) as runner:
        for case in cases:
            info = RunInfo(measure=True)
            result = runner.run(case, golden.cases[case.id], info=info)
            judged[case.id] = Judged(result, info.excess)
    return judged


def first_kill(
    sandbox: Sandbox, challenge: Challenge, golden: Golden, source: bytes, cases: Sequence[Case]
) -> CaseResult | None:
    """Return the first case that refuses a source, or None when all accept it."""
    with SubmissionRunner(sandbox, challenge, source) as runner:
        for case in cases:
            result = runner.run(case, golden.cases[case.id])
            if result.status == "failed":
                return result
    return None


def telling_first(
    challenge: Challenge, known: Mapping[str, Sequence[str]], faults: Iterable[str] = ()
) -> list[Case]:
    """Return the cases in the order in which they settle most quickly that a file with these faults is refused.

    First come those that catch most of these faults, then those that catch most of all; `known` are the cases that
    catch each fault.
    """
    catches = Counter(case for cases in known.values() for case in cases)
    here = Counter(case for fault in faults for case in known.get(fault, ()))
    return sorted(challenge.cases.values(), key=lambda c: (-here[c.id], -catches[c.id], c.id))

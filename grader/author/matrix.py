"""The kill matrix: which case catches which known wrong answer, each planted alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from grader.author.faults import bug_ids, impostor, planted
from grader.content import Case, Challenge
from grader.judge.bench import run_cases
from grader.judge.golden import Golden
from grader.judge.grading import PARALLEL
from grader.judge.result import CaseResult
from grader.sandbox import Sandbox

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Matrix:
    """Results by fault id and case id; faults are the bugs and then the impostors."""

    rows: Mapping[str, Mapping[str, CaseResult]]

    def witnesses(self, fault: str) -> list[str]:
        """Cases that catch a fault."""
        return [name for name, result in self.rows[fault].items() if result.status == "failed"]

    def kills(self, case: str) -> list[str]:
        """Faults that a case catches."""
        return [fault for fault, row in self.rows.items() if row[case].status == "failed"]


def kill_matrix(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden,
    *,
    cases: Iterable[Case] | None = None,
    progress: Progress | None = None,
) -> Matrix:
    """Run every case on every bug and impostor; raises GraderError when one cannot be judged."""
    chosen = list(cases if cases is not None else challenge.cases.values())
    sources = {name: planted(challenge, name) for name in bug_ids(challenge)}
    sources |= {name: impostor(challenge, name) for name in challenge.impostors}
    rows: dict[str, Mapping[str, CaseResult]] = {}
    with ThreadPoolExecutor(PARALLEL) as pool:
        jobs = {
            name: pool.submit(row, sandbox, challenge, golden, source, chosen)
            for name, source in sources.items()
        }
        for name, job in jobs.items():
            rows[name] = job.result()
            if progress:
                progress(len(rows), len(jobs))
    return Matrix(rows)


def row(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden,
    source: bytes,
    cases: Sequence[Case],
) -> dict[str, CaseResult]:
    """Run the cases one after the other on one source."""
    return {result.id: result for result in run_cases(sandbox, challenge, golden, source, cases)}


def first_kill(
    sandbox: Sandbox, challenge: Challenge, golden: Golden, source: bytes, cases: Sequence[Case]
) -> CaseResult | None:
    """Return the first case that refuses a source, or None when all accept it."""
    with closing(run_cases(sandbox, challenge, golden, source, cases)) as results:
        for result in results:
            if result.status == "failed":
                return result
    return None


def loudest_first(challenge: Challenge, matrix: Matrix) -> list[Case]:
    """Order the cases by how many faults they catch."""
    return sorted(challenge.cases.values(), key=lambda case: (-len(matrix.kills(case.id)), case.id))

"""Throughput, cost and memory of a batch: `python -m benchmarks.batch [SUBMISSIONS] [PYTEST_RUNS] [JOBS]`.

Honest `multi_head_attention` files are graded by `kvdojo batch`'s own machinery, start-up included, and beside it by
one fresh pytest process per file with the same cases, one by one and as many at a time.  Machine noise hits both
alike: the figure is the ratio.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.options import many, parser
from grader.classroom.batch_plan import PlannedSubmission
from grader.classroom.run_batch import BatchObserver, BatchOptions, BatchStart, run_batch
from grader.content import load_challenge

NAME = "multi_head_attention"
ROOT = Path(__file__).resolve().parents[1]
SAMPLE = 20  # submissions from one look at the memory to the next: looking costs, too
FILES = sorted((ROOT / "tests" / "correct" / NAME).glob("*.py"))


class Gauge(BatchObserver):
    """Notes when each submission was finished, and how much memory our processes hold."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.memory: list[tuple[int, int]] = []
        self.wrong = 0

    def grading_started(self, start: BatchStart) -> None:
        """Grading begins."""
        self.times.append(time.monotonic())

    def submission_finished(self, entry: PlannedSubmission, verdict: str) -> None:
        """One more is finished."""
        self.times.append(time.monotonic())
        if len(self.times) % SAMPLE == 0 or not self.memory:
            self.memory.append((resident(os.getpid()), max(map(resident, lanes()), default=0)))
        self.wrong += verdict != "passed"


def resident(pid: int) -> int:
    """Memory of a process that is in RAM, in MiB."""
    try:
        text = Path(f"/proc/{pid}/statm").read_text()
    except OSError:
        return 0
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def lanes() -> list[int]:
    """Ids of this process's children: the workers that judge."""
    pid = os.getpid()
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    # started from threads, which are listed each by their own
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()] or [
        int(child) for child in found
    ]


def fill(folder: Path, count: int) -> None:
    """Write so many honest submissions."""
    for number, path in enumerate(islice(cycle(FILES), count)):
        (folder / f"learner{number:05}.py").write_bytes(path.read_bytes())


def batch(count: int, jobs: int) -> tuple[float, Gauge]:
    """Grade `count` files; return the seconds from start to end."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "in"
        folder.mkdir()
        fill(folder, count)
        gauge, began = Gauge(), time.monotonic()
        run_batch(BatchOptions(load_challenge(NAME), folder, Path(scratch) / "out", jobs), gauge)
        return time.monotonic() - began, gauge


def pytests(count: int, jobs: int) -> float:
    """Run `count` fresh pytest processes, `jobs` at a time; return the seconds."""

    def one(path: Path) -> None:
        words = ["-q", "-p", "no:cacheprovider", str(ROOT / "benchmarks" / "pytest_cases.py")]
        variables: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1"}
        variables |= {"KVDOJO_CHALLENGE": NAME, "KVDOJO_SUBMISSION": str(path)}
        subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            env=variables, cwd=ROOT, check=True, capture_output=True,
        )  # fmt: skip

    began = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, islice(cycle(FILES), count)))
    return time.monotonic() - began


def main() -> int:
    """Print the figures; the status is 1 when a verdict is wrong."""
    options = parser(__doc__)
    options.add_argument("submissions", nargs="?", type=many, default=300)
    options.add_argument("pytest_runs", nargs="?", type=many, default=4)
    options.add_argument("jobs", nargs="?", type=many, default=os.cpu_count() or 1)
    given = options.parse_args()
    count, runs, jobs = max(3, given.submissions), given.pytest_runs, given.jobs
    cases = len(load_challenge(NAME).cases)
    alone = pytests((runs + 1) // 2, 1) / ((runs + 1) // 2)
    seconds, gauge = batch(count, jobs)
    together = pytests(runs, jobs) / runs
    fast = seconds / count
    print(f"{count} honest files, {cases} cases each, {jobs} at a time")
    steady = (gauge.times[-1] - gauge.times[count // 10]) / (count - count // 10)
    print(f"batch: {1 / fast:.1f}/s, start-up included; {gauge.wrong} wrong verdicts")
    print(f"batch, after the first tenth: {1 / steady:.1f}/s")
    print(f"a fresh pytest process each, one by one: {1 / alone:.2f}/s, ratio {alone / fast:.1f}")
    print(
        f"a fresh pytest process each, {jobs} at a time: {1 / together:.2f}/s, ratio {together / fast:.1f}"
    )
    part = max(1, min(100, count // 3))  # the very first wait for torch to be imported
    first = (gauge.times[2 * part] - gauge.times[part]) / part
    last = (gauge.times[-1] - gauge.times[-1 - part]) / part
    print(
        f"cost of one: {first * 1000:.1f} ms in the second {part}, {last * 1000:.1f} ms in the last"
    )
    early, late = gauge.memory[len(gauge.memory) // 10], gauge.memory[-1]
    print(f"memory of the grader: {early[0]} MiB after a tenth, {late[0]} MiB at the end")
    print(f"memory of a worker process: {early[1]} MiB after a tenth, {late[1]} MiB at the end")
    return 1 if gauge.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

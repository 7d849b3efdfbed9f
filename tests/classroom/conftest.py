"""A batch without processes: a pool whose workers do what a test tells them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from grader.classroom.batch_plan import BatchError, PlannedSubmission
from grader.classroom.batch_store import BatchStore
from grader.classroom.grading_worker import GradingJob, JobAnswer
from grader.classroom.pool import WorkerLost
from grader.classroom.run_batch import BatchObserver, BatchOptions, run_batch
from grader.content import Challenge, load_challenge
from grader.judge.result import Result

CHALLENGE = load_challenge("multi_head_attention")


def answer(
    job: GradingJob, verdict: str = "passed", *, challenge: Challenge = CHALLENGE
) -> JobAnswer:
    """Return a document such as grading would give."""
    entry = PlannedSubmission(job.id, "", "", "", job.file, sha256(job.source).hexdigest())
    made = Result.unjudged(challenge, entry.file, entry.sha256, "by nobody.")
    document = {**made.document(), "verdict": verdict}
    return JobAnswer(document, job.fingerprint, "here")


class Workers:
    """Answers at once; `tricks` by submission id raise or answer otherwise."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.out = Path()
        self.judge: Callable[[GradingJob], JobAnswer] = answer
        self.given: list[str] = []
        self.tricks: dict[str, Callable[[GradingJob], JobAnswer]] = {}
        self.excluded: list[str] = []

    def open(self, address: str | None, jobs: int | None) -> Workers:
        """Stand in for the pool that a batch opens."""
        return self

    def submit(self, fn: Callable[..., Any], job: GradingJob) -> Future[Any]:
        self.given.append(job.id)
        future: Future[Any] = Future()
        try:
            future.set_result(self.tricks.get(job.id, self.judge)(job))
        except KeyboardInterrupt:
            raise
        except Exception as error:
            future.set_exception(error)
        return future

    def exclude(self, worker: str) -> None:
        if worker == "last":
            raise BatchError("no worker is left")
        self.excluded.append(worker)

    def check(self) -> None:
        """Always well."""

    def close(self) -> None:
        """Nothing to end."""


def lost(job: GradingJob) -> JobAnswer:
    raise WorkerLost("gone")


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    made = Workers()
    made.out = tmp_path / "out"
    return made


@pytest.fixture
def klass(tmp_path: Path) -> Path:
    """Eight submissions, a to h."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcdefgh":
        (folder / f"{name}.py").write_text(f"# {name}\n")
    return folder


@pytest.fixture
def run(workers: Workers, klass: Path) -> Callable[..., BatchStore]:
    """Run a batch of `klass` on the workers; more options by keyword."""

    def go(*, observer: BatchObserver | None = None, **more: Any) -> BatchStore:
        options = BatchOptions(
            more.pop("challenge", CHALLENGE),
            more.pop("searched", klass),
            more.pop("out", workers.out),
            **more,
        )
        _, store = run_batch(options, observer, pool_opener=workers.open)
        return store

    return go


def verdicts(store: BatchStore) -> dict[str, str]:
    return {
        path.stem: json.loads(path.read_text())["verdict"]
        for path in sorted(store.results.glob("*.json"))
    }

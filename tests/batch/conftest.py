"""A batch without processes: a pool whose workers do what a test tells them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from grader.batch import conduct as conducting
from grader.batch.conduct import Order, Watcher, conduct
from grader.batch.documents import unjudged
from grader.batch.executors import WorkerLost
from grader.batch.plan import BatchError, Entry
from grader.batch.store import Store
from grader.batch.work import Answer, Job
from grader.content import load_challenge

CHALLENGE = load_challenge("multi_head_attention")


def answer(job: Job, verdict: str = "passed") -> Answer:
    """A document such as grading would give."""
    entry = Entry(job.id, "", "", "", job.file, sha256(job.source).hexdigest())
    document = {**unjudged(CHALLENGE, entry, "by nobody"), "verdict": verdict}
    return Answer(document, job.fingerprint, "here")


class Workers:
    """Answers at once; `tricks` by submission id raise or answer otherwise."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.out = Path()
        self.judge: Callable[[Job], Answer] = answer
        self.given: list[str] = []
        self.tricks: dict[str, Callable[[Job], Answer]] = {}
        self.excluded: list[str] = []

    def submit(self, fn: Callable[..., Any], job: Job) -> Future[Any]:
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


def lost(job: Job) -> Answer:
    raise WorkerLost("gone")


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workers:
    made = Workers()
    made.out = tmp_path / "out"
    monkeypatch.setattr(conducting, "open_pool", lambda address, jobs: made)
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
def run(klass: Path, tmp_path: Path) -> Callable[..., Store]:
    """Run a batch of `klass`; more of the order by keyword."""

    def go(*, watcher: Watcher | None = None, **order: Any) -> Store:
        out = order.pop("out", tmp_path / "out")
        _, store = conduct(Order(CHALLENGE, klass, out, **order), watcher)
        return store

    return go


def verdicts(store: Store) -> dict[str, str]:
    return {
        path.stem: json.loads(path.read_text())["verdict"]
        for path in sorted(store.results.glob("*.json"))
    }

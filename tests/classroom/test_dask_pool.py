"""A real Dask scheduler with workers in processes of their own, one of which is killed midway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grader.classroom.batch_plan import BatchError
from grader.classroom.grading_worker import GradingJob, grade
from grader.classroom.journal import read_journal
from grader.classroom.pool import WorkerLost
from grader.classroom.run_batch import BatchObserver, BatchOptions, open_pool, run_batch
from grader.content import load_challenge

pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parents[2]
CORRECT = sorted((ROOT / "tests" / "correct" / "multi_head_attention").glob("*.py"))
WRONG = sorted((ROOT / "tests" / "wrong" / "multi_head_attention").glob("*.py"))


class Cluster:
    """A scheduler and its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", "0")]
        deadline = time.monotonic() + 60
        while not self.file.exists() or not self.file.read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.workers = [self.worker(), self.worker()]

    @property
    def address(self) -> str:
        return json.loads(self.file.read_text())["address"].replace("tcp://", "dask://")

    def worker(self) -> subprocess.Popen[bytes]:
        made = self._start(
            "worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder)
        )
        self.processes.append(made)
        return made

    def _start(self, kind: str, *more: str) -> subprocess.Popen[bytes]:
        program = f"from distributed.cli.dask_{kind} import main; main()"
        words = ["--scheduler-file", str(self.file), "--no-dashboard", *more]
        with (self.folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", program, *words], cwd=ROOT, stdout=log, stderr=log
            )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


class Assassin(BatchObserver):
    """Kills a process once the first submissions are finished."""

    def __init__(self, victim: subprocess.Popen[bytes]) -> None:
        self.victim, self.seen_so_far = victim, 0

    def submission_finished(self, entry: Any, verdict: str) -> None:
        self.seen_so_far += 1
        if self.seen_so_far == 2:
            self.victim.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_a_batch_on_a_cluster_outlives_a_worker(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    wanted = {}
    for number, path in enumerate([*CORRECT[:8], *WRONG[:4]]):
        (folder / f"l{number:02}.py").write_bytes(path.read_bytes())
        wanted[f"l{number:02}"] = "passed" if path in CORRECT else "failed"
    challenge = load_challenge("multi_head_attention")
    order = BatchOptions(challenge, folder, tmp_path / "out", executor=cluster.address)
    plan, store = run_batch(order, Assassin(cluster.workers[0]))

    documents = {entry.id: store.result(entry) for entry in plan.entries}
    assert {
        name: document and document["verdict"] for name, document in documents.items()
    } == wanted
    assert all("seccomp" in d["environment"]["isolation"] for d in documents.values() if d)
    events = list(read_journal(store.journal_path))
    assert set(Counter(e["id"] for e in events if e["event"] == "finished").values()) == {1}
    assert [event for event in events if event["event"] == "lost"]

    pool = open_pool(cluster.address, None)
    try:
        assert pool.slots == 1
        job = GradingJob("x", challenge.id, "other content", "x.py", b"", 7)
        answer = pool.submit(grade, job).result(timeout=60)
        assert answer.document is None
        assert answer.fingerprint == plan.fingerprint
        with pytest.raises(WorkerLost):
            pool.submit(os._exit, 3).result(timeout=60)
        with pytest.raises(BatchError, match="bring the workers up to date"):
            pool.exclude(answer.worker)
    finally:
        pool.close()


@pytest.mark.parametrize("address", ["http://x", "dask://", "x", "dask:/x:1"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(BatchError, match="dask://HOST:PORT"):
        open_pool(address, None)


def test_a_scheduler_that_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grader.classroom.dask_pool.CONNECT_SECONDS", 0.3)
    with pytest.raises(BatchError, match="no Dask scheduler answers"):
        open_pool("dask://127.0.0.1:1", None)

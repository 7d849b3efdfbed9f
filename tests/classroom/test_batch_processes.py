"""Batches with real processes: interrupted, killed and resumed from the command line; worker processes that end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from grader.classroom import grading_worker
from grader.classroom.fingerprint import fingerprint
from grader.classroom.journal import read_journal
from grader.classroom.local_pool import LocalPool, WorkerProcess
from grader.classroom.pool import WorkerLost
from grader.content import load_challenge

ROOT = Path(__file__).resolve().parents[2]
RIGHT = sorted((ROOT / "tests" / "correct" / "multi_head_attention").glob("*.py"))[:4]
WRONG = sorted((ROOT / "tests" / "wrong" / "multi_head_attention").glob("*.py"))[:2]


@pytest.fixture
def klass(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for kind, paths in (("right", RIGHT), ("wrong", WRONG)):
        for number, path in enumerate(paths):
            (folder / f"{number}-{kind}.py").write_bytes(path.read_bytes())
    return folder


def start(folder: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    words = ["batch", "multi_head_attention", str(folder), "--out", str(out), "--jobs", "1", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "grader", *words],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
        start_new_session=True,
    )


def wait_for_results(out: Path, number: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(list((out / "results").glob("*.json"))) < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no results"
        time.sleep(0.02)


@pytest.mark.slow
def test_interrupted_killed_and_resumed(klass: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start(klass, out)
    wait_for_results(out, 1, first)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does, to the worker processes too
    _, told = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "Traceback" not in told
    assert "--resume" in told
    assert any(event["event"] == "interrupted" for event in read_journal(out / "journal.jsonl"))

    second = start(klass, out, "--resume")
    wait_for_results(out, 3, second)
    second.kill()
    second.communicate(timeout=60)

    third = start(klass, out, "--resume")
    shown, told = third.communicate(timeout=120)
    assert third.returncode == 1, told
    assert "going on: " in told
    assert "6 submissions: 4 passed, 2 failed" in shown
    documents = [json.loads(path.read_text()) for path in sorted((out / "results").glob("*.json"))]
    names = [path.stem for path in sorted((out / "results").glob("*.json"))]
    assert {name: document["verdict"] for name, document in zip(names, documents, strict=True)} == {
        path.stem: "passed" if "right" in path.stem else "failed" for path in klass.iterdir()
    }
    assert all("seccomp" in document["environment"]["isolation"] for document in documents)
    events = Counter(
        event["id"] for event in read_journal(out / "journal.jsonl") if event["event"] == "finished"
    )
    assert set(events.values()) == {1}
    assert (out / "class.html").exists()


def test_a_local_worker_that_ends_is_reported_and_replaced() -> None:
    pool = LocalPool(1)
    try:
        with pytest.raises(WorkerLost):
            pool.submit(os._exit, 3).result(timeout=60)
        first = pool.submit(os.getpid).result(timeout=60)
        assert first != os.getpid()
        with pytest.raises(ValueError, match="invalid literal"):
            pool.submit(int, "x").result(timeout=60)
        assert pool.submit(os.getpid).result(timeout=60) == first
    finally:
        pool.close()


def test_ctrl_c_while_a_worker_still_imports_does_not_end_it() -> None:
    worker = WorkerProcess(None)
    try:
        for _ in range(20):
            os.kill(worker.pid, signal.SIGINT)
            time.sleep(0.01)
        assert worker.call(os.getpid) == worker.pid
    finally:
        worker.kill()


def test_closing_a_pool_ends_what_runs() -> None:
    pool = LocalPool(1)
    pid = pool.submit(os.getpid).result(timeout=60)
    hanging = pool.submit(time.sleep, 1000)
    while not hanging.running():
        time.sleep(0.01)
    pool.close()
    assert isinstance(hanging.exception(timeout=10), WorkerLost)
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_text()


def test_modules_that_few_files_need_are_imported_for_these_alone() -> None:
    mark = fingerprint(load_challenge("multi_head_attention"))
    plain = RIGHT[0].read_bytes()
    needy = plain.replace(b"import torch\n", b"import torch\nimport torch.nn.attention.bias\n", 1)
    jobs = [
        grading_worker.GradingJob(name, "multi_head_attention", mark, "kv_attention.py", source, 7)
        for name, source in (("plain", plain), ("needy", needy))
    ]
    states = [grading_worker.worker_state(job) for job in jobs]
    try:
        for job in jobs:
            document = grading_worker.grade(job).document
            assert document is not None
            assert document["verdict"] == "passed"
        assert states[0].sandbox is not states[1].sandbox
        assert states == [grading_worker.worker_state(job) for job in jobs]
    finally:
        grading_worker.close_worker()


def test_where_a_file_departs_is_recorded_only_where_it_is_asked_for() -> None:
    challenge = load_challenge("multi_head_attention")
    source, mark = challenge.starter.read_bytes(), fingerprint(challenge)
    told = {}
    try:
        for inside in (False, True):
            job = grading_worker.GradingJob(
                *("a", challenge.id, mark, challenge.file, source, 7), inside=inside
            )
            document = grading_worker.grade(job).document
            assert document is not None
            causes = {case["id"]: case["cause"] for case in document["cases"] if case["cause"]}
            told[inside] = {
                name: cause["parts"]["divergence"]
                for name, cause in causes.items()
                if cause["parts"]["divergence"]
            }
    finally:
        grading_worker.close_worker()
    assert told[False] == {}
    (name,) = told[True]
    assert challenge.cases[name].kind == "scenario"
    assert "expected" in told[True][name]

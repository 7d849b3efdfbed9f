"""What breaks around a grading: it ends in one clear line and the right exit code, and no result is lost or wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from grader.content import load_challenge
from grader.ground.files import write_atomically
from grader.judge import grade_source
from grader.judge.result import Result
from grader.sandbox import Sandbox, Session
from grader.sandbox import sandbox as sandbox_module

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks and limits")
NAME = "decode_positions"
CASES = ["prompt", "prompt-then-decode", "decode-from-empty", "chunks-3-3-2"]


def grade(box: Sandbox, progress: Callable[[int, int], None] | None = None) -> Result:
    challenge = load_challenge(NAME)
    source = challenge.reference_text.encode()
    return grade_source(challenge, source, cases=CASES, sandbox=box, progress=progress)


def once(act: Callable[[], None]) -> Callable[[int, int], None]:
    """Act after the first verdict."""
    acts = [act]

    def progress(_done: int, _total: int) -> None:
        if acts:
            acts.pop()()

    return progress


def workers(box: Sandbox) -> list[int]:
    pid = box.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_fork_server_is_replaced_and_no_case_lost(sandbox_for) -> None:
    box = sandbox_for(NAME)
    first = box.pid
    result = grade(box, once(lambda: os.kill(first, signal.SIGKILL)))
    assert result.verdict == "passed", result.cases
    assert box.pid != first


def test_nobody_is_given_the_new_fork_server_before_it_is_proven(
    sandbox_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread replaces the dead process at the moment another has just seen that all is ready."""
    box = sandbox_for(NAME)
    box.ready()
    replaced, ready, start = threading.Event(), box.ready, sandbox_module.ForkServerClient

    def slow_ready(timeout: float = 60.0) -> None:
        ready(timeout)
        if threading.current_thread() is late:
            replaced.wait(0.3)

    def told_start(**options: Any) -> Any:
        made = start(**options)
        threading.Timer(0.05, replaced.set).start()
        return made

    def ask() -> None:
        with box.open(b"", b"class Verbs:\n    def __init__(self, _): pass") as session:
            outcomes.append(session.load().raised)

    outcomes: list[object] = []
    late, other = threading.Thread(target=ask), threading.Thread(target=ask)
    monkeypatch.setattr(box, "ready", slow_ready)
    monkeypatch.setattr(sandbox_module, "ForkServerClient", told_start)
    os.kill(box.pid, signal.SIGKILL)
    late.start()
    time.sleep(0.05)
    other.start()
    late.join()
    other.join()
    assert outcomes == [None, None]


def test_killed_workers_are_asked_again(sandbox_for) -> None:
    box = sandbox_for(NAME)
    killed: list[int] = []

    def kill() -> None:
        for pid in workers(box):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    result = grade(box, once(kill))
    assert killed
    assert result.verdict == "passed", result.cases


def test_a_worker_that_the_system_kills_at_its_first_case_is_asked_again(
    sandbox_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = sandbox_for(NAME)
    deaths: list[int] = []
    ask = Session.ask

    def killing(self, request, **room):
        if len(deaths) < 1:
            deaths.append(self.pid)
            os.kill(self.pid, signal.SIGKILL)
        return ask(self, request, **room)

    monkeypatch.setattr(Session, "ask", killing)
    result = grade(box)
    assert deaths
    assert result.verdict == "passed", result.cases


@pytest.fixture
def descriptors() -> Iterator[Callable[[], None]]:
    """Take every descriptor there still is, until the test is over."""
    with ExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

        def take() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
            for _ in range(256):
                try:
                    stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    return

        yield take


def test_without_descriptors_there_is_an_error_and_no_wrong_answer(
    sandbox_for, descriptors
) -> None:
    box = sandbox_for(NAME)
    result = grade(box, once(descriptors))
    assert {case.status for case in result.cases} <= {"passed", "error"}
    assert result.verdict == "error"
    causes = [case.cause.rationale for case in result.cases if case.cause]
    assert all(text.startswith("Could not be judged: ") for text in causes), causes


def test_after_a_shortage_everything_works_again(sandbox_for) -> None:
    assert grade(sandbox_for(NAME)).verdict == "passed"


def test_ten_thousand_open_temporary_files_do_no_harm(sandbox_for) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 11_000:
        pytest.skip(f"at most {hard} files may be open here")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 11_000), hard))
        with ExitStack() as stack:
            for _ in range(10_000):
                stack.enter_context(tempfile.TemporaryFile(buffering=0))
            assert grade(sandbox_for(NAME)).verdict == "passed"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_jump_of_the_clock_changes_nothing(sandbox_for, monkeypatch, jump: float) -> None:
    real = time.time
    moved = once(lambda: monkeypatch.setattr(time, "time", lambda: real() + jump))
    result = grade(sandbox_for(NAME), moved)
    assert result.verdict == "passed"
    assert 0 < result.seconds < 100


def kvdojo(*words: object, **limits: int) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own under resource limits."""

    def limit() -> None:
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    command = [sys.executable, "-m", "grader", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=limit, timeout=120
    )


def test_too_few_files_are_told_before_anything_is_run() -> None:
    done = kvdojo("grade", NAME, load_challenge(NAME).reference, RLIMIT_NOFILE=60)
    assert done.returncode == 4
    assert done.stderr == (
        "kvdojo: only 60 files may be open at once, and the sandbox needs 128;"
        " raise the limit (`ulimit -n 128`)\n"
    )


def test_a_full_disk_costs_the_page_and_not_the_old_one(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    reference = load_challenge(NAME).reference
    done = kvdojo("grade", NAME, reference, "--case", CASES[0], "--html", page, RLIMIT_FSIZE=1000)
    assert done.returncode == 2
    assert done.stderr == f"kvdojo: {page} cannot be written: File too large.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert page.read_text() == "old"


def test_standard_output_on_a_full_disk_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "grader", "list", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        4,
        "kvdojo: the system refused: No space left on device\n",
    )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("option", ["ro", "size=4k"])
def test_a_read_only_or_full_file_system_is_told_and_keeps_what_was_there(
    tmp_path: Path, option: str
) -> None:
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", option, "none", tmp_path], check=False
    ).returncode:
        pytest.skip("this root may not mount")
    try:
        with pytest.raises(OSError, match=r"Read-only|No space"):
            write_atomically(tmp_path / "result.json", "x" * 10_000)
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_costs_a_started_file_its_hints_and_not_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVDOJO_WORK", str(tmp_path))
    assert kvdojo("start", NAME).returncode == 0
    done = kvdojo("grade", NAME, "--case", CASES[0], "--json", RLIMIT_FSIZE=0)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["verdict"] == "failed"


def test_starting_on_a_full_disk_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVDOJO_WORK", str(tmp_path))
    done = kvdojo("start", NAME, RLIMIT_FSIZE=100)
    assert done.returncode in (2, 4)
    assert done.stderr.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

"""Whole processes in the place of forks, as on macOS: shared one after another, ended when they owe an answer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from grader.sandbox import Limits, Request, Sandbox, SandboxError, Session, WorkerFailure
from tests.sandbox.conftest import DRIVER

DOUBLES = b"def f(n): return 2 * n"


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(isolate=False, preload=(), env={}, forks=False) as started:
        started.ready()
        yield started


def loaded(box: Sandbox, source: bytes = DOUBLES, **limits: float) -> Session:
    session = box.open(source, DRIVER, limits=Limits(**limits))
    assert session.load().raised is None
    return session


def ask(session: Session, number: int) -> object:
    request = Request("call", {"n": number})
    return session.ask(request, max_reply_bytes=64).values["out"]


def test_files_share_a_process_one_after_another(box) -> None:
    seen = []
    for number in (1, 2, 3):
        with loaded(box) as session:
            assert ask(session, number) == 2 * number
            seen.append(session.pid)
    assert len(set(seen)) == 1


def test_sessions_at_the_same_time_have_processes_of_their_own(box) -> None:
    with loaded(box) as one, loaded(box, b"def f(n): return -n") as other:
        assert one.pid != other.pid
        assert [ask(one, 5), ask(other, 5), ask(one, 6)] == [10, -5, 12]


def test_each_session_has_a_log_and_a_file_name_of_its_own(box) -> None:
    for name in ("first.py", "second.py"):
        source = (
            b"import sys\nprint(sys._getframe().f_code.co_filename)\nprint('!', file=sys.stderr)"
        )
        with box.open(source, DRIVER, filename=name) as session:
            session.load()
        assert session.log == f"{name}\n!\n"


def test_requests_can_be_sent_together(box) -> None:
    with loaded(box) as session:
        ask(session, 1)
        session.reload(5)
        requests = [Request("call", {"n": number}) for number in (4, 5, 6)]
        assert session.pipeline((request, 64) for request in requests) == 3
        replies = [session.ask(request, max_reply_bytes=64) for request in requests]
    assert [reply.values["out"] for reply in replies] == [8, 10, 12]


def test_a_process_that_owes_an_answer_is_not_given_to_another_file(box) -> None:
    with loaded(box) as session:
        first = session.pid
        ask(session, 1)
        session.reload(5)
        requests = [Request("call", {"n": number}) for number in (4, 5)]
        session.pipeline((request, 64) for request in requests)
        session.ask(requests[0], max_reply_bytes=64)
    with loaded(box) as session:
        assert session.pid != first
        assert ask(session, 50) == 100


def test_a_process_that_fell_silent_is_ended(box) -> None:
    with loaded(box, b"import time\ndef f(n): time.sleep(60)", seconds=0.3) as session:
        first = session.pid
        with pytest.raises(WorkerFailure) as caught:
            ask(session, 1)
    assert caught.value.kind == "timeout"
    assert not os.path.exists(f"/proc/{first}")
    with loaded(box) as session:
        assert ask(session, 2) == 4


def test_the_end_of_a_process_is_explained(box) -> None:
    with loaded(box, b"import os\ndef f(n): os.abort()") as session:
        with pytest.raises(WorkerFailure) as caught:
            ask(session, 1)
        assert (caught.value.kind, caught.value.message) == (
            "crashed",
            "the process was ended by SIGABRT",
        )


def test_closing_ends_every_process_and_gives_back_every_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Sandbox(isolate=False, preload=(), env={}, forks=False) as box:
        with loaded(box) as session:
            pid = session.pid
        assert box.pid == pid
    assert not os.path.exists(f"/proc/{pid}")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_that_cannot_start_is_our_error() -> None:
    with (
        Sandbox(isolate=False, preload=["no_such_module"], env={}, forks=False) as box,
        pytest.raises(SandboxError, match="no_such_module"),
    ):
        box.ready()


WINDOWS = """
import select, sys
sys.modules.update(fcntl=None, resource=None)
del select.poll
from grader.sandbox import Sandbox, SandboxError
from grader.sandbox.layers import isolating_names
assert "seccomp" in isolating_names()
try:
    Sandbox(isolate=True, preload=(), env={}, forks=False)
except SandboxError as error:
    print(error)
"""


def test_where_pipes_cannot_be_polled_nothing_is_run_and_that_is_told() -> None:
    command = [sys.executable, "-c", WINDOWS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Windows Subsystem for Linux" in done.stdout


def test_a_compiler_finds_the_source_of_the_kernels_of_file_and_driver():
    driver = b"import inspect\n" + DRIVER + b"\n\nTEXT = inspect.getsource(Verbs)\n"
    source = b"import inspect\n\ndef f(): return len(inspect.getsource(f))\n"
    with (
        Sandbox(isolate=False, preload=(), env={}, forks=False) as box,
        box.open(source, driver, limits=Limits(seconds=20)) as session,
    ):
        assert session.load().raised is None
        assert session.ask(Request("call"), max_reply_bytes=1024).values["out"] == 42

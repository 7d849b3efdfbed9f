"""Starting, proving, losing and replacing the warm process; running without isolation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from grader.sandbox import Limits, Request, Sandbox, SandboxError, WorkerFailure
from tests.sandbox.conftest import DRIVER

SOURCE = b"def f(): return 1"


def answer(box: Sandbox, source: bytes = SOURCE) -> object:
    with box.open(source, DRIVER, limits=Limits(seconds=3)) as session:
        loaded = session.load()
        assert loaded.raised is None, loaded.raised
        return session.ask(Request("call"), max_reply_bytes=1024).values.get("out")


def test_importing_the_package_does_not_import_torch():
    code = "import sys, grader.sandbox; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_layers_in_force_are_told(sandbox):
    assert sandbox.isolated
    assert sandbox.layers[:3] == ("process", "rlimits", "no_new_privs")
    assert "seccomp" in sandbox.layers[-1]
    assert sandbox.versions["torch"]
    assert sandbox.versions["python"]


def test_the_worker_of_root_has_no_capabilities(sandbox):
    with open(f"/proc/{sandbox.pid}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines())
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(status[name], 16)]
    assert held == []
    assert os.geteuid() != 0 or int(status["CapBnd"], 16) == 0


def test_a_dead_warm_process_is_replaced_once(sandbox):
    with Sandbox.start() as box:
        assert answer(box) == 1
        os.kill(box.pid, signal.SIGKILL)
        time.sleep(0.1)
        assert answer(box) == 1


def test_a_warm_process_that_dies_while_it_starts_is_our_error(sandbox):
    with Sandbox.start() as box:
        os.kill(box.pid, signal.SIGKILL)
        with pytest.raises(SandboxError, match="ended while starting"):
            box.ready()


def test_a_session_in_flight_is_not_blamed_for_it(sandbox):
    with Sandbox.start() as box, box.open(SOURCE, DRIVER) as session:
        session.load()
        os.kill(box.pid, signal.SIGKILL)
        time.sleep(0.5)
        with pytest.raises(SandboxError):
            session.ask(Request("call"), max_reply_bytes=1024)


def test_closing_ends_workers_and_descriptors(sandbox):
    before = len(os.listdir("/proc/self/fd"))
    with Sandbox.start() as box:
        session = box.open(SOURCE, DRIVER)
        session.load()
        pid = session.pid
        assert os.path.exists(f"/proc/{pid}")
    session.close()
    time.sleep(0.2)
    # an orphan may wait for init to reap it, but it runs no more
    assert not os.path.exists(f"/proc/{pid}/exe")
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(SandboxError):
        box.open(SOURCE, DRIVER)


def test_a_preloaded_module_that_is_missing_is_our_error():
    with Sandbox.start(preload=["no_such_module"]) as box, pytest.raises(SandboxError):
        box.ready()


@pytest.mark.parametrize("forks", [True, False])
def test_without_isolation_it_works_and_says_so(forks):
    if forks and not sys.platform.startswith("linux"):
        pytest.skip("nothing is forked here")
    with Sandbox(isolate=False, preload=(), env={}, forks=forks) as box:
        assert answer(box) == 1
        assert not box.isolated
        assert "process" in box.layers
        assert "self-checking" in (box.notice or "")
        with (
            pytest.raises(WorkerFailure) as caught,
            box.open(b"while True: pass", DRIVER, limits=Limits(seconds=0.5)) as session,
        ):
            session.load()
        assert caught.value.kind == "timeout"
        with pytest.raises(WorkerFailure) as caught:
            answer(box, b"import os; os._exit(3)")
        assert caught.value.kind == "crashed"
        assert answer(box) == 1


def test_a_machine_that_cannot_fork_gives_a_notice():
    with Sandbox(isolate=True, preload=(), env={}, forks=False) as box:
        box.ready()
        assert not box.isolated
        assert "do not grade other people's files" in (box.notice or "")
        assert answer(box, b"print('to the log')\ndef f(): return 2") == 2


KERNEL = b"""
import torch
import triton
import triton.language as tl

@triton.jit
def double(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)

def f():
    x = torch.arange(20.0)
    out = torch.empty_like(x)
    double[(2,)](x, out, 20, BLOCK=16)
    return bool((out == 2 * x).all())
"""


def test_a_triton_kernel_runs_interpreted_and_isolated(sandbox):
    pytest.importorskip("triton")
    with Sandbox.start(preload=["triton"], env={"TRITON_INTERPRET": "1"}) as box:
        assert answer(box, KERNEL) is True
        assert box.isolated
        assert box.versions["triton"]


def test_a_file_that_draws_comes_out_the_same_in_every_sandbox() -> None:
    drawn = b"[random.random(), numpy.random.rand(), float(torch.rand(1))]"
    source = b"import random, numpy, torch\ndef f(): return " + drawn
    seen = []
    for _ in range(2):
        with Sandbox.start() as box, box.open(source, DRIVER) as session:
            session.load()
            seen.append(session.ask(Request("call"), max_reply_bytes=1000).values)
            session.reload(5)
            seen.append(session.ask(Request("call"), max_reply_bytes=1000).values)
    assert seen[0] == seen[2]
    assert len({values["out"][2] for values in seen}) == 1

"""The memory limit is on what a submission adds, whatever its interpreter has mapped before."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from grader.content import load_challenge
from grader.judge import grade_source
from grader.sandbox import Limits, Request, Sandbox, SandboxError
from grader.sandbox.layers import rlimits
from tests.sandbox.conftest import DRIVER

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")

LARGE = "tests.sandbox.preloaded.large_mapping"
WITHOUT_PROC = "tests.sandbox.preloaded.without_proc"
BUDGET = 1536
NAME = "decode_positions"
CASES = ["prompt", "prompt-then-decode"]
FILL = b"""
import torch
def f():
    held = []
    try:
        while len(held) < 9000:
            held.append(torch.empty(1 << 20, dtype=torch.uint8))
    except RuntimeError:
        pass
    count = len(held)
    held.clear()
    return count
"""
# an allocator that reserved its address space ahead, and makes it usable step by step
COMMIT = b"""
import ctypes, sys
def f():
    large = sys.modules["tests.sandbox.preloaded.large_mapping"]
    libc, step, count = ctypes.CDLL(None), 1 << 20, 0
    while libc.mprotect(ctypes.c_void_p(large.ADDRESS + count * step), ctypes.c_size_t(step), 3) == 0:
        count += 1
    return count
"""


KINDS = pytest.mark.parametrize("forks", [True, False], ids=["forked", "whole-process"])


@contextmanager
def beside_a_large_mapping(forks: bool) -> Iterator[Sandbox]:
    with Sandbox(isolate=forks, preload=[LARGE], env={}, forks=forks) as box:
        box.ready()
        assert held_by(box)[0] > 6 << 30
        yield box


@pytest.fixture(scope="module", params=[True, False], ids=["forked", "whole-process"])
def large(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with beside_a_large_mapping(request.param) as box:
        yield box


def held_by(box: Sandbox) -> list[int]:
    """Return the memory of the fork server in bytes, as /proc/PID/statm lists it."""
    with open(f"/proc/{box.pid}/statm", encoding="ascii") as file:
        return [int(pages) * resource.getpagesize() for pages in file.read().split()]


def outcome(box: Sandbox, source: bytes, memory_mb: int = BUDGET) -> object:
    limits = Limits(seconds=30, memory_mb=memory_mb)
    with box.open(source, DRIVER, limits=limits) as session:
        loaded = session.load()
        assert loaded.raised is None, loaded.raised
        reply = session.ask(Request("call"), max_reply_bytes=1024)
        assert reply.raised is None, reply.raised
        return reply.values["out"]


@KINDS
@pytest.mark.parametrize("budget", [BUDGET, 700])
def test_a_submission_can_add_its_budget_and_no_more(forks, sandbox, budget) -> None:
    # in a process of its own: a whole process serves one file after another, and what its allocator kept of an
    # earlier one is memory that it holds
    with beside_a_large_mapping(forks) as large:
        for box in (large, sandbox):
            added = outcome(box, FILL, budget)
            assert 0.95 * budget < added < 1.02 * budget, box.layers


def test_the_reference_passes_beside_a_large_mapping(large) -> None:
    challenge = load_challenge(NAME)
    source = challenge.reference_text.encode()
    result = grade_source(challenge, source, cases=CASES, sandbox=large)
    assert result.verdict == "passed", result.cases


HUNGRY = {
    "import": "torch.ones(1 << 20, 2000)",
    "call": """
def hungry(*arguments, **options):
    torch.ones(1 << 20, 2000)
    return softmax(*arguments, **options)
softmax, torch.softmax = torch.softmax, hungry
""",
}


@pytest.mark.parametrize("when", HUNGRY)
def test_a_hungry_file_is_refused_for_its_memory(large, when) -> None:
    challenge = load_challenge(NAME)
    source = f"{challenge.reference_text}\n{HUNGRY[when]}"
    result = grade_source(challenge, source.encode(), cases=CASES, sandbox=large)
    assert result.verdict == "failed"
    assert {case.cause.kind for case in result.cases if case.cause} == {"memory"}


def test_reserved_address_space_counts_when_it_is_made_usable(large) -> None:
    assert 0.95 * BUDGET < outcome(large, COMMIT) < 1.02 * BUDGET


@pytest.mark.parametrize("forks", [True, False])
def test_where_the_size_of_a_process_cannot_be_read_nothing_is_judged(forks) -> None:
    with Sandbox(isolate=forks, preload=[WITHOUT_PROC], env={}, forks=forks) as box:
        for _ in range(2):
            with pytest.raises(SandboxError, match="no memory limit can be set"):
                outcome(box, FILL)


@pytest.mark.parametrize(("kind", "field"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
def test_a_lower_limit_of_the_machine_is_an_error_and_not_the_files_fault(
    sandbox, kind: str, field: int
) -> None:
    most = held_by(sandbox)[field] + (900 << 20)  # enough to start with, less than the budget

    def limit() -> None:
        resource.setrlimit(getattr(resource, kind), (most, most))

    command = [sys.executable, "-m", "grader", "grade", NAME, load_challenge(NAME).reference]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=limit, timeout=120
    )
    assert done.returncode == 4, done
    assert done.stderr.count("\n") == 1
    assert f"a worker could not confine itself: only {most >> 20} MiB of" in done.stderr


def test_a_limit_that_is_lifted_again_leaves_the_process_as_it_was() -> None:
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    before = [resource.getrlimit(kind) for kind in kinds]
    with rlimits.memory_limited(1 << 30):
        held = [resource.getrlimit(kind) for kind in kinds]
        assert all(soft > 1 << 30 for soft, _ in held)
        assert [hard for _, hard in held] == [hard for _, hard in before]
    assert [resource.getrlimit(kind) for kind in kinds] == before


def test_no_limit_means_none(sandbox) -> None:
    source = b"import resource\ndef f(): return resource.getrlimit(resource.RLIMIT_AS)[0]"
    with Sandbox.start(isolate=False) as box:
        assert outcome(box, source, memory_mb=0) == resource.getrlimit(resource.RLIMIT_AS)[0]

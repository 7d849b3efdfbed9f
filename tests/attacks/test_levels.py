"""A few programs of each kind where the kernel offers less: Landlock's first ABI, and none at all.

`python -m benchmarks.levels` runs all of them at every level, as root and as an ordinary user.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from grader.sandbox import Sandbox

from test_attacks import (
    HERE,
    HONEST_CASES,
    HOSTILE_CASES,
    REFERENCE,
    compose,
    grade,
    traces,
    workers,
)

LEVELS = {"landlock-beyond-abi1": "landlock-abi1", "landlock-support": "seccomp-closed-book"}
SAMPLE = (
    *("find_golden", "find_glob", "find_reference", "find_parent_memory", "find_symlink"),
    *("leave_notes", "machine_sockets", "machine_exec", "machine_kill", "machine_undo"),
    *("machine_plant", "resource_disk", "resource_shared_memory", "machine_unknown_calls"),
)


@pytest.fixture(scope="module", params=LEVELS)
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(isolate=True, preload=(), env={}, without=frozenset({request.param})) as sandbox:
        sandbox.ready()
        if not sandbox.isolated:
            pytest.skip(sandbox.notice or "not isolated")
        assert LEVELS[request.param] in sandbox.layers
        yield sandbox


@pytest.mark.parametrize("name", SAMPLE)
def test_a_hostile_program_fails_at_every_level(box: Sandbox, name: str) -> None:
    result = grade(box, compose(HERE / "programs" / f"{name}.py"), HOSTILE_CASES, seconds=0.3)
    assert result.verdict == "failed", result
    assert "ESCAPED" not in result.log
    assert traces() == []
    assert workers(box) == ""


def test_an_honest_file_passes_at_every_level(box: Sandbox) -> None:
    assert grade(box, REFERENCE, HONEST_CASES).verdict == "passed"


def test_what_has_to_be_read_cannot_be_imported_without_landlock(box: Sandbox) -> None:
    late = f"{REFERENCE}\nimport xmlrpc.client\n"
    closed = "seccomp-closed-book" in box.layers
    assert grade(box, late, HONEST_CASES).verdict == ("failed" if closed else "passed")

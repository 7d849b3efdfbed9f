"""The process that becomes the fork server can be begun ahead of all else, and is never left behind."""

from __future__ import annotations

import os
import sys

import pytest

from grader.cli import main as program
from grader.sandbox import Sandbox, SandboxError, spawn

pytestmark = pytest.mark.skipif(not spawn.FORKS, reason="there is no fork server here")


@pytest.fixture(autouse=True)
def none_left() -> object:
    yield
    spawn.end_unused()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_first_sandbox_takes_it_and_the_next_does_not() -> None:
    spawn.begin_ahead()
    assert spawn._ahead is not None
    begun = spawn._ahead.pid
    with Sandbox.start(env={"KVDOJO_TOLD": "late"}) as first, Sandbox.start() as second:
        assert first.pid == begun != second.pid
        assert first.warming
        first.ready()
        assert not first.warming
        with open(f"/proc/{begun}/environ", encoding="utf-8") as file:
            assert "KVDOJO_TOLD" not in file.read(), "what is told later is no part of its start"
    assert not alive(begun)


def test_one_that_nobody_took_is_ended() -> None:
    spawn.begin_ahead()
    assert spawn._ahead is not None
    begun = spawn._ahead.pid
    spawn.begin_ahead()
    assert spawn._ahead.pid == begun, "one is enough"
    spawn.end_unused()
    assert not alive(begun)
    spawn.end_unused()


@pytest.mark.parametrize("words", [["no-such-challenge"], ["--no-such-option"], []])
def test_a_command_that_needs_none_leaves_none(words, monkeypatch, capsys) -> None:
    begun, begin = [], spawn.begin_ahead

    def watched() -> None:
        begin()
        assert spawn._ahead is not None
        begun.append(spawn._ahead.pid)

    monkeypatch.setattr(spawn, "begin_ahead", watched)
    monkeypatch.setattr(sys, "argv", ["kvdojo", "grade", *words])
    assert program.main() == 2
    assert begun
    assert spawn._ahead is None
    assert not alive(begun[0])


@pytest.mark.parametrize("words", [["grade", "--help"], ["list"], []])
def test_what_grades_nothing_begins_none(words, monkeypatch, capsys) -> None:
    monkeypatch.setattr(spawn, "begin_ahead", lambda: pytest.fail("a process was begun"))
    monkeypatch.setattr(sys, "argv", ["kvdojo", *words])
    program.main()


def test_where_none_can_be_started_the_sandbox_says_so(monkeypatch) -> None:
    def refused(*_: object, **__: object) -> int:
        raise OSError(11, "no more processes")

    monkeypatch.setattr(os, "posix_spawn", refused)
    spawn.begin_ahead()  # says nothing: a command may need none
    assert spawn._ahead is None
    with pytest.raises(SandboxError, match="warm process cannot start"):
        Sandbox.start()

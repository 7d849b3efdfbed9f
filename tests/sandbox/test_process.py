"""The small pieces: how a log is shown, how the end of a process is explained, what a driver reports."""

from __future__ import annotations

import os
import signal

import pytest

from grader.kit import Wrong, need
from grader.sandbox import Limits
from grader.sandbox.channel import LOG_KEPT, Log
from grader.sandbox.process import End, explain, starved
from grader.sandbox.protocol.messages import OUT_OF_MEMORY


def test_a_log_counts_what_it_does_not_keep():
    log = Log()
    log.add(b"a" * (LOG_KEPT - 1))
    log.add(b"\xffbc")
    assert str(log).endswith("\\xff\n[2 more bytes not kept]")


@pytest.mark.parametrize(
    ("code", "cpu", "kind"),
    [
        (OUT_OF_MEMORY, 0.1, "memory"),
        (0, 0.1, "crashed"),
        (-signal.SIGSEGV, 0.1, "crashed"),
        (-signal.SIGXCPU, 2.0, "timeout"),
        (-signal.SIGKILL, 2.1, "timeout"),
        (-signal.SIGKILL, 0.1, "killed"),
        (-signal.SIGSYS, 0.1, "blocked"),
    ],
)
def test_the_end_of_a_process_has_a_kind(code, cpu, kind):
    assert explain(End(code, cpu), Limits(seconds=1)).kind == kind


@pytest.mark.parametrize(
    ("state", "ticks", "expected"), [("R", 10, True), ("R", 90, False), ("S", 10, False)]
)
def test_only_a_runnable_process_without_processor_gets_more_time(state, ticks, expected):
    fields = [state, *["0"] * 10, str(ticks * os.sysconf("SC_CLK_TCK") // 100), "0", "0"]
    assert starved(f"7 (a) b) {' '.join(fields)}", seconds=1.0) is expected


def test_need_returns_or_reports():
    assert need("text", "upper")() == "TEXT"
    with pytest.raises(Wrong) as caught:
        need(object(), "_split_heads")
    assert (caught.value.kind, caught.value.name) == ("missing", "_split_heads")

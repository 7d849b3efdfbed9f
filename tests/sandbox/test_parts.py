"""The small pieces: what may be read, how a log is shown, how an end is explained."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from grader.kit import Wrong, need
from grader.sandbox import Limits
from grader.sandbox.channel import LOG_KEPT, Log
from grader.sandbox.layers import trees
from grader.sandbox.layers.landlock import READ, READ_DIR
from grader.sandbox.process import End, explain, starved
from grader.sandbox.protocol.messages import OUT_OF_MEMORY
from grader.sandbox.worker.tensors import nest


def test_nothing_of_the_repository_but_its_environment_is_readable():
    granted = trees.rights()
    for hidden in trees.HIDDEN:
        covering = [path for path, right in granted.items() if hidden.is_relative_to(path)]
        assert all(granted[path] == READ_DIR for path in covering)


def test_a_hidden_folder_is_carved_out_of_a_readable_tree(tmp_path: Path):
    for name in ("site/grader/judge", "site/torch", "lib"):
        (tmp_path / name).mkdir(parents=True)
    granted = trees.without_hidden(tmp_path, (tmp_path / "site" / "grader",))
    assert granted == {
        str(tmp_path): READ_DIR,
        str(tmp_path / "lib"): READ,
        str(tmp_path / "site"): READ_DIR,
        str(tmp_path / "site" / "torch"): READ,
    }


def test_a_log_counts_what_it_does_not_keep():
    log = Log()
    log.add(b"a" * (LOG_KEPT - 1))
    log.add(b"\xffbc")
    assert str(log).endswith("\\xff\n[2 more bytes not kept]")


@pytest.mark.parametrize(
    ("status", "cpu", "kind"),
    [
        (OUT_OF_MEMORY << 8, 0.1, "memory"),
        (0, 0.1, "crashed"),
        (int(signal.SIGSEGV), 0.1, "crashed"),
        (int(signal.SIGXCPU), 2.0, "timeout"),
        (int(signal.SIGKILL), 2.1, "timeout"),
        (int(signal.SIGKILL), 0.1, "killed"),
        (int(signal.SIGSYS), 0.1, "blocked"),
    ],
)
def test_the_end_of_a_process_has_a_kind(status, cpu, kind):
    assert explain(End(status, cpu), Limits(seconds=1)).kind == kind


@pytest.mark.parametrize(
    ("state", "ticks", "expected"), [("R", 10, True), ("R", 90, False), ("S", 10, False)]
)
def test_only_a_runnable_process_without_processor_gets_more_time(state, ticks, expected):
    fields = [state, *["0"] * 10, str(ticks * os.sysconf("SC_CLK_TCK") // 100), "0", "0"]
    assert starved(f"7 (a) b) {' '.join(fields)}", seconds=1.0) is expected


def test_nesting_merges_arguments_and_tensors():
    assert nest({"a/b": 1, "c": [2]}, {"a/d/e": 3}) == {"a": {"b": 1, "d": {"e": 3}}, "c": [2]}


def test_need_returns_or_reports():
    assert need("text", "upper")() == "TEXT"
    with pytest.raises(Wrong) as caught:
        need(object(), "_split_heads")
    assert (caught.value.kind, caught.value.name) == ("missing", "_split_heads")

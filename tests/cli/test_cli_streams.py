"""The streams a program is started with: closed, read-only, or on a terminal of an absurd size."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grader.cli import terminal
from grader.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
HINT = "hint multi_head_attention reference/kv_attention.py"
TRACE = "trace multi_head_attention /nowhere.py --case scores-square --json"


@pytest.mark.parametrize(
    "closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-", "1</dev/null"]
)
@pytest.mark.parametrize(
    ("words", "code"), [("list --json", 0), ("list", 0), (HINT, 0), ("grade nosuch", 2), (TRACE, 2)]
)
def test_a_closed_stream_changes_no_exit_code(closed: str, words: str, code: int) -> None:
    command = f"exec {sys.executable} -m grader {words} {closed}"
    ended = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == code, ended.stderr
    assert b"Traceback" not in ended.stdout + ended.stderr
    if code == 0 and ">" not in closed and "1<" not in closed:
        assert ended.stdout


@pytest.mark.parametrize("text", ["0", "00", "1", "²", "-4", "", "9" * 5000, "12x"])
@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
def test_an_absurd_size_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv(name, text)
    assert main(["list", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict | list)
    assert main(["list"]) == 0
    assert "multi_head_attention" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "used"), [("1", 80), ("19", 80), ("20", 20), ("5000", 120)])
def test_the_width_is_within_reason(monkeypatch: pytest.MonkeyPatch, given: str, used: int) -> None:
    monkeypatch.setenv("COLUMNS", given)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal.console().width == used


def test_streams_that_python_left_out_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    terminal.make_streams_robust()
    terminal.out("nobody reads this")
    terminal.err("nor this")
    terminal.flush()
    assert sys.stdin.read() == ""
    assert os.path.samefile(sys.stdout.name, os.devnull)

"""A watch of a small file in a process of its own, its grader replaced by a double, on a terminal of ours."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

HERE = Path(__file__).parent
ALTERNATE = (b"\x1b[?1049h", b"\x1b[?1049l")
SECONDS = 20.0


def _environment() -> dict[str, str]:
    """What we run in, without a window's size that test runners hand on: the terminal has its own."""
    return {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}


class Terminal:
    """A program on a pseudo-terminal, and what a person would see there."""

    def __init__(self, argv: list[str], *, columns: int = 100, rows: int = 30) -> None:
        self.master, slave = os.openpty()
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.resize(columns, rows)
        self.raw = b""
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**_environment(), "TERM": "xterm-256color", "PYTHONPATH": str(HERE.parents[1])},
            preexec_fn=_own_terminal,
        )

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def see(self, *wanted: str) -> str:
        """Wait until the screen shows all of `wanted`, and return it."""
        deadline = time.monotonic() + SECONDS
        while not all(part in self.text for part in wanted):
            assert time.monotonic() < deadline, f"{wanted} never came; the screen is:\n{self.text}"
            self._take(0.05)
        return self.text

    def end(self) -> int:
        """Wait for the end and return the exit status."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
            self._take(0.05)
        while self._take(0.0):
            pass
        return self.process.returncode

    @property
    def restored(self) -> bool:
        """Whether the terminal is as it was: its modes, its normal screen, its cursor."""
        entered, left = (self.raw.count(code) for code in ALTERNATE)
        shown = self.raw.rfind(b"\x1b[?25h") > self.raw.rfind(b"\x1b[?25l")
        return termios.tcgetattr(self.slave) == self.before and entered == left and shown

    def _take(self, seconds: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            data = os.read(self.master, 65536)
            self.raw += data
            self._stream.feed(data)
        return bool(ready)


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one wrong line."""
    path = tmp_path / "kv_attention.py"
    path.write_text("x = 'wrong'\n")
    return path


@pytest.fixture
def watching(file: Path) -> Iterator[Callable[..., Terminal]]:
    """Start a watch of `file` on a terminal."""
    started: list[Terminal] = []

    def start(*options: str, **size: int) -> Terminal:
        argv = [sys.executable, str(HERE / "watch_double.py"), str(file), *options]
        started.append(Terminal(argv, **size))
        return started[-1]

    yield start
    for terminal in started:
        if terminal.process.poll() is None:
            terminal.process.send_signal(signal.SIGKILL)
            terminal.process.wait()
        os.close(terminal.master)
        os.close(terminal.slave)

"""Single keys from a terminal, without Enter; the terminal is put back however the program ends."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

from grader.learner.watch_events import EventQueue, KeyPressed, SuspendRequested, WindowResized

try:
    import termios
    import tty
except ImportError:  # Windows: no single keys, see `possible`
    termios = tty = None  # type: ignore[assignment]

GONE = "\x04"  # what a terminal sends at its end, or somebody who presses Ctrl-D
SEQUENCE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?")  # an arrow or function key


def is_interactive() -> bool:
    """Whether a person sits at a terminal that can show one screen and send single keys."""
    streams = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return termios is not None and streams and os.environ.get("TERM", "dumb") != "dumb"


class Keyboard:
    """Within the block, keys and the terminal's signals arrive as events."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._fd = sys.stdin.fileno()
        self._wake_reader, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._read, name="keys", daemon=True)
        self._handlers: dict[int, Any] = {}
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        self._handlers = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, self._handler_for(WindowResized())),
            signal.SIGTSTP: signal.signal(signal.SIGTSTP, self._handler_for(SuspendRequested())),
            signal.SIGTERM: signal.signal(signal.SIGTERM, _leave),
            signal.SIGHUP: signal.signal(signal.SIGHUP, _leave),
        }
        tty.setcbreak(self._fd, termios.TCSANOW)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        os.write(self._wake, b".")
        self._thread.join(2)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for fd in (self._wake, self._wake_reader):
            os.close(fd)

    def suspend(self) -> None:
        """Stop this program until the shell continues it, with the terminal as it was."""
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        tty.setcbreak(self._fd, termios.TCSANOW)

    def _restore(self) -> None:
        # what was typed and not yet read must not end up in the shell
        termios.tcflush(self._fd, termios.TCIFLUSH)
        termios.tcsetattr(self._fd, termios.TCSANOW, self._before)

    def _handler_for(self, event: WindowResized | SuspendRequested) -> Any:
        def put(_number: int, _frame: FrameType | None) -> None:
            self._queue.put(event)

        return put

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._fd, self._wake_reader], [], [])
            if self._wake_reader in ready:
                return
            try:
                typed = os.read(self._fd, 64)
            except OSError:
                typed = b""
            if not typed:  # the terminal is gone
                self._queue.put(KeyPressed(GONE))
                return
            for letter in SEQUENCE.sub(b"", typed).decode("ascii", "ignore").lower():
                self._queue.put(KeyPressed(letter))


def _leave(number: int, _frame: FrameType | None) -> None:
    """End as the signal asks, but through every `finally`."""
    raise SystemExit(128 + number)

"""What the commands print with: plain lines, the one rich console, a progress line.

All colour goes through `console`, so NO_COLOR, FORCE_COLOR and "not a terminal" are decided in one
place. A reader that goes away (`kvdojo list | head -1`) must not change an exit code: from then on
the output is dropped.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from grader.ground.display import WIDEST
from grader.ground.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

_dropped: set[str] = set()


def make_streams_robust() -> None:
    """Let a terminal without Unicode show an escape instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def out(text: str) -> None:
    """Write one piece of text and a newline to standard output."""
    _write("stdout", text)


def err(text: str) -> None:
    """Write one piece of text and a newline to standard error."""
    _write("stderr", text)


def document(content: Any) -> None:
    """Write one JSON document to standard output, for `--json`."""
    out(json.dumps(content, indent=2, allow_nan=False))


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file that a command was asked for, in one step; raises UserError where that is not possible."""
    from grader.ground.files import write_atomically

    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be written: {error.strerror}.") from None


def shown(path: Path) -> str:
    """Return a path as text, relative when it lies below the current folder."""
    absolute, here = os.path.abspath(path), os.path.join(os.getcwd(), "")
    return "." if os.path.join(absolute, "") == here else absolute.removeprefix(here)


def _write(name: str, text: str) -> None:
    if name in _dropped:
        return
    stream: TextIO = getattr(sys, name)
    try:
        stream.write(text if text.endswith("\n") else text + "\n")
        stream.flush()
    except BrokenPipeError:
        _drop(name)


def _drop(name: str) -> None:
    """Point a stream whose reader has gone at the null device."""
    _dropped.add(name)
    # the interpreter flushes once more at exit, which would print "Exception ignored"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys, name).fileno())


def flush() -> None:
    """Flush both streams; a reader that has gone is not an error, and other faults were reported before."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except (OSError, ValueError):
            _drop(name)


def console(*, stderr: bool = False) -> Console:
    """Return the console for coloured text: as wide as the terminal, at most `WIDEST` columns."""
    from rich.console import Console

    class Quiet(Console):
        """A console whose lost reader ends the output, not the program."""

        def on_broken_pipe(self) -> None:
            self.quiet = True
            _drop("stderr" if stderr else "stdout")

    made = Quiet(stderr=stderr, highlight=False, markup=False, emoji=False, **_colours())
    made.width = min(made.width, WIDEST)
    return made


def _colours() -> dict[str, Any]:
    """Turn off every escape under NO_COLOR; rich alone would still write bold and dim."""
    return {"color_system": None} if os.environ.get("NO_COLOR") else {}


class Progress:
    """One line on standard error that counts cases; silent unless a person is watching."""

    def __init__(self, doing: str = "grading") -> None:
        self._doing = doing
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` cases are finished."""
        if self._live:
            self._shown = True
            self._put(f"\r\x1b[K{self._doing} {done}/{total}")

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._put("\r\x1b[K")

    @staticmethod
    def _put(text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()

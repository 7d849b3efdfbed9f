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

NARROWEST = 20  # columns; below that a line cannot be read, and the width is not believed
USUAL = 80

_dropped: set[str] = set()


def make_streams_robust() -> None:
    """Make the three streams usable however the program was started.

    A stream that was closed (cron jobs and daemons start programs so) or that cannot be written is the null device, so
    that the exit code is the verdict's.  A terminal without Unicode is shown an escape.  Sizes in the environment that
    no terminal has, such as `COLUMNS=0`, are forgotten.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if _is_unusable(number, mode):
            # a file opened later would otherwise get this number, and with it what others write there
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for name in ("COLUMNS", "LINES"):
        if not _is_a_size(os.environ.get(name, "1")):
            del os.environ[name]
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _is_unusable(number: int, mode: str) -> bool:
    """Whether a standard descriptor is closed, or open for reading where it is to be written."""
    try:
        os.fstat(number)
        if mode == "r" or sys.platform == "win32":
            return False
        from fcntl import F_GETFL, fcntl

        return fcntl(number, F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    except OSError:
        return True


def _is_a_size(text: str) -> bool:
    """Whether this is a number of columns or lines; the libraries take `0` and break on `²`."""
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0


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


def refuse_unwritable(path: Path) -> None:
    """Raise UserError for a file that `write_file` could not write: before the work whose result it is to hold."""
    from grader.ground.files import why_unwritable

    if (why := why_unwritable(path)) is not None:
        raise UserError(f"{shown(path)} cannot be written: {why}.")


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
    """Return the console for coloured text: as wide as the terminal, at most `WIDEST` columns.

    A width below `NARROWEST` is not believed: the lines are then `USUAL` columns long, and the terminal breaks them.
    """
    from rich.console import Console

    class Quiet(Console):
        """A console whose lost reader ends the output, not the program."""

        def on_broken_pipe(self) -> None:
            self.quiet = True
            _drop("stderr" if stderr else "stdout")

    made = Quiet(stderr=stderr, highlight=False, markup=False, emoji=False, **_colours())
    made.width = min(made.width, WIDEST) if made.width >= NARROWEST else USUAL
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

"""The events of a watch.  Every source puts its events on one queue; one thread takes them off.

Sources are the file watcher (`FileSaved`, `FileGone`), the keyboard and its signals (`KeyPressed`, `WindowResized`,
`SuspendRequested`), and the thread that grades (all others).
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeAlias

from grader.judge.result import Result


@dataclass(frozen=True)
class FileSaved:
    """The file has new bytes; `at` is when they were seen, on the monotonic clock."""

    source: bytes
    at: float


@dataclass(frozen=True)
class FileGone:
    """The file cannot be read now; `why` is a clause such as `it was deleted`."""

    why: str


@dataclass(frozen=True)
class KeyPressed:
    """A key was pressed; lower case."""

    name: str


@dataclass(frozen=True)
class WindowResized:
    """The window has another size."""


@dataclass(frozen=True)
class SuspendRequested:
    """The shell wants its terminal for a while (Ctrl-Z)."""


@dataclass(frozen=True)
class GradingProgress:
    """So many cases of the running grading are finished."""

    done: int
    total: int


@dataclass(frozen=True)
class GradingFinished:
    """A grading is finished, `seconds` after its save was seen."""

    source: bytes
    result: Result
    seconds: float


@dataclass(frozen=True)
class AnswerReady:
    """What was asked for has come: a title and lines of text."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class GradingFailed:
    """The grader could not do it; one line for people."""

    message: str


@dataclass(frozen=True)
class InternalFailure:
    """A bug of ours, to be raised where everyone sees it."""

    error: BaseException


WatchEvent: TypeAlias = (
    FileSaved
    | FileGone
    | KeyPressed
    | WindowResized
    | SuspendRequested
    | GradingProgress
    | GradingFinished
    | AnswerReady
    | GradingFailed
    | InternalFailure
)
# `SimpleQueue.put` may be called by a signal handler as well
EventQueue: TypeAlias = "SimpleQueue[WatchEvent]"

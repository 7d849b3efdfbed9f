"""Grade in the background, in one warm sandbox; of several saves only the newest is graded to the end.

How a grading is made is not known here: that is `judge.grade_source`, or what a test brings in its place.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Self

from grader.content import ContentError
from grader.judge import GraderError, Unreadable, grade_source, start_sandbox
from grader.judge.result import Result
from grader.learner.watch_events import (
    AnswerReady,
    EventQueue,
    FileSaved,
    GradingFailed,
    GradingFinished,
    GradingProgress,
    InternalFailure,
)
from grader.learner.watch_options import WatchOptions
from grader.sandbox import Sandbox, SandboxError

Job = Callable[[], None]
M_ARENA_MAX = -8  # of glibc's malloc.h


@dataclass(frozen=True)
class GradingFunctions:
    """What starts a sandbox and what grades a file in it: the judge's functions, unless a test brings others."""

    start_sandbox: Callable[..., Sandbox] = start_sandbox
    grade_source: Callable[..., Result] = grade_source


def share_one_heap() -> None:
    """Let all threads of this process take their memory from one heap, where the C library can be told so.

    Every grading has threads of its own, glibc gives each of them one of many heaps, and each heap keeps what a grading
    once took.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(M_ARENA_MAX, 1)


class Superseded(Exception):
    """A newer save came, so this grading is no longer wanted."""


class Regrader:
    """One thread with one sandbox; leaving the block ends both."""

    def __init__(
        self,
        options: WatchOptions,
        queue: EventQueue,
        functions: GradingFunctions = GradingFunctions(),
    ) -> None:
        self._options, self._queue, self._functions = options, queue, functions
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._newest: FileSaved | None = None
        self._closed = False
        self._sandbox: Sandbox | None = None
        self._thread = threading.Thread(target=self._run, name="regrade", daemon=True)

    def __enter__(self) -> Self:
        share_one_heap()
        # the sandbox imports torch while the screen is drawn for the first time
        self._sandbox = self._functions.start_sandbox(
            self._options.challenge, isolate=self._options.isolate
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._newest = None
        self._jobs.put(None)
        if self._sandbox is not None:
            self._sandbox.close()
        self._thread.join(5)

    def grade(self, saved: FileSaved) -> None:
        """Grade these bytes next; what is being graded is abandoned after its current case."""
        self._newest = saved
        self._jobs.put(lambda: self._grade(saved))

    def ask(self, title: str, question: Callable[[Sandbox], tuple[str, ...]]) -> None:
        """Have a question about the file answered, such as a trace, once the gradings before it are done.

        `question` is called in the thread, with the sandbox; its lines come back as `AnswerReady`, under `title`.
        """

        def job() -> None:
            assert self._sandbox is not None, "jobs are only taken within the block"
            self._queue.put(AnswerReady(title, question(self._sandbox)))

        self._jobs.put(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Superseded:
                continue
            except (GraderError, ContentError, SandboxError, Unreadable) as error:
                self._put_unless_closed(GradingFailed(str(error)))
            except BaseException as error:
                self._put_unless_closed(InternalFailure(error))

    def _put_unless_closed(self, event: GradingFailed | InternalFailure) -> None:
        # closing the sandbox makes whatever still runs fail, which is no event any more
        if not self._closed:
            self._queue.put(event)

    def _grade(self, saved: FileSaved) -> None:
        def progress(done: int, total: int) -> None:
            if self._newest is not saved:
                raise Superseded
            self._queue.put(GradingProgress(done, total))

        if self._newest is not saved:
            return
        options = self._options
        result = self._functions.grade_source(
            options.challenge,
            saved.source,
            filename=options.path.name,
            isolate=options.isolate,
            progress=progress,
            sandbox=self._sandbox,
        )
        if self._newest is saved:
            self._queue.put(GradingFinished(saved.source, result, time.monotonic() - saved.at))

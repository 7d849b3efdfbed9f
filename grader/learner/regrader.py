"""Grade in the background, in one warm sandbox; of several saves only the newest is graded to the end.

How a grading is made is not known here: that is `judge.grade_source`, or what a test brings in its place.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Self

from grader.content import Challenge, ContentError
from grader.ground.heap import give_back_memory, share_one_heap
from grader.judge import GraderError, Unreadable, grade_source, start_sandbox
from grader.judge.missing_packages import missing_package
from grader.judge.result import Result
from grader.judge.unseen_inputs import UnseenInputs
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
from grader.sandbox.environment import DEVICE

Job = Callable[[], None]
QUIET_SECONDS = 0.3  # after a grading, before unseen inputs of the next one are made


def unseen_inputs(sandbox: Sandbox, challenge: Challenge) -> UnseenInputs | None:
    """Return what a file that passes will be asked; None where that cannot be made without the file."""
    here = missing_package(challenge) is None and challenge.environment.get(DEVICE, "cpu") == "cpu"
    return UnseenInputs(sandbox, challenge) if here else None


@dataclass(frozen=True)
class GradingFunctions:
    """What starts a sandbox, grades a file in it and makes unseen inputs: the judge's, unless a test brings others."""

    start_sandbox: Callable[..., Sandbox] = start_sandbox
    grade_source: Callable[..., Result] = grade_source
    unseen_inputs: Callable[[Sandbox, Challenge], UnseenInputs | None] = unseen_inputs


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
        self._unseen: UnseenInputs | None = None
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
        while (job := self._next()) is not None:
            try:
                job()
            except Superseded:
                continue
            except (GraderError, ContentError, SandboxError, Unreadable) as error:
                self._put_unless_closed(GradingFailed(str(error)))
            except BaseException as error:
                self._put_unless_closed(InternalFailure(error))

    def _next(self) -> Job | None:
        """Return the next job; until it comes, unseen inputs of the next grading are made, one after the other."""
        wait, more = QUIET_SECONDS, True
        while more:
            with contextlib.suppress(Empty):
                return self._jobs.get(timeout=wait)
            wait = 0.001
            try:
                more = self._make_more()
            except Exception:  # it comes again, and is told, when a file is asked
                more = False
        give_back_memory()  # a learner may think for long
        return self._jobs.get()

    def _make_more(self) -> bool:
        """Make a little more of what the next file is asked if it passes; False where all of it is there."""
        if self._unseen is None and self._sandbox is not None:
            self._unseen = self._functions.unseen_inputs(self._sandbox, self._options.challenge)
        return self._unseen is not None and self._unseen.make_more()

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
        unseen = self._unseen
        try:
            result = self._functions.grade_source(
                options.challenge,
                saved.source,
                filename=options.path.name,
                isolate=options.isolate,
                progress=progress,
                sandbox=self._sandbox,
                unseen=unseen,
            )
        finally:
            if unseen is not None and unseen.asked:
                self._unseen = None
                unseen.close()
        if self._newest is saved:
            self._queue.put(GradingFinished(saved.source, result, time.monotonic() - saved.at))
        give_back_memory()

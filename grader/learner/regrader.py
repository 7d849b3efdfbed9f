"""Grade in the background, in one warm sandbox; of several saves only the newest is graded to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Self

from grader.content import ContentError
from grader.judge import GraderError, Unreadable, grade_source, start_sandbox
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


class Superseded(Exception):
    """A newer save came; this grading is not wanted any more."""


class Regrader:
    """One thread with one sandbox; leaving the block ends both."""

    def __init__(self, setting: WatchOptions, news: EventQueue) -> None:
        self._setting, self._news = setting, news
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._newest: FileSaved | None = None
        self._closed = False
        self._sandbox: Sandbox | None = None
        self._thread = threading.Thread(target=self._run, name="regrade", daemon=True)

    def __enter__(self) -> Self:
        # torch is being imported in there while the screen is drawn for the first time
        self._sandbox = start_sandbox(self._setting.challenge, isolate=self._setting.isolate)
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
        """Grade these bytes next, and leave off whatever is being graded."""
        self._newest = saved
        self._jobs.put(lambda: self._grade(saved))

    def ask(self, title: str, question: Callable[[Sandbox], tuple[str, ...]]) -> None:
        """Have a question about the file answered when the grading before it is done."""

        def job() -> None:
            assert self._sandbox is not None, "jobs are only taken within the block"
            self._news.put(AnswerReady(title, question(self._sandbox)))

        self._jobs.put(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Superseded:
                continue
            except (GraderError, ContentError, SandboxError, Unreadable) as error:
                self._tell(GradingFailed(str(error)))
            except BaseException as error:
                self._tell(InternalFailure(error))

    def _tell(self, event: GradingFailed | InternalFailure) -> None:
        # closing the sandbox makes whatever still runs fail, and nobody is there to hear of it
        if not self._closed:
            self._news.put(event)

    def _grade(self, saved: FileSaved) -> None:
        def progress(done: int, total: int) -> None:
            if self._newest is not saved:
                raise Superseded
            self._news.put(GradingProgress(done, total))

        if self._newest is not saved:
            return
        setting = self._setting
        result = grade_source(
            setting.challenge,
            saved.source,
            filename=setting.path.name,
            isolate=setting.isolate,
            progress=progress,
            sandbox=self._sandbox,
        )
        if self._newest is saved:
            self._news.put(GradingFinished(saved.source, result, time.monotonic() - saved.at))

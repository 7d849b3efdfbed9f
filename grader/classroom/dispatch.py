"""Grade the submissions of a plan on a pool: each exactly once, whatever becomes of the workers.

A submission whose worker was lost is tried once more, alone and after all others, so that it is known
who was at fault; when that worker is lost too, it could not be judged.  Knows nothing of terminals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from grader.classroom.batch_plan import PlannedSubmission
from grader.classroom.batch_store import BatchStore
from grader.classroom.grading_worker import GradingJob, JobAnswer, grade
from grader.classroom.journal import Journal
from grader.classroom.pool import Pool, WorkerLost
from grader.content import Challenge
from grader.judge import GraderError
from grader.judge.result import Result
from grader.sandbox import SandboxError

AHEAD = 2  # jobs per slot on their way, so that no worker waits for us
TICK_SECONDS = 1.0
Seen = Callable[[PlannedSubmission, dict[str, Any]], None]


@dataclass
class JobDispatcher:
    """One run over the submissions that are not finished."""

    challenge: Challenge
    fingerprint: str
    store: BatchStore
    journal: Journal
    pool: Pool
    seen: Seen
    isolate: bool = True
    _waiting: deque[PlannedSubmission] = field(default_factory=deque)
    _suspects: deque[PlannedSubmission] = field(default_factory=deque)
    _running: dict[Future[JobAnswer], PlannedSubmission] = field(default_factory=dict)
    _lost: set[str] = field(default_factory=set)

    def grade(self, entries: Iterable[PlannedSubmission]) -> None:
        """Finish every entry; raises BatchError or GraderError when that is not possible."""
        self._waiting.extend(entries)
        while self._fill():
            done, _ = wait(self._running, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            if not done:
                self.pool.check()
            for future in done:
                self._ended(self._running.pop(future), future)

    def interrupt(self) -> None:
        """Write down what was being graded."""
        ids = sorted(entry.id for entry in self._running.values())
        self.journal.add("interrupted", ids=ids)

    def _fill(self) -> bool:
        """Keep the workers busy; suspects come last and one by one."""
        while self._waiting and len(self._running) < AHEAD * self.pool.slots:
            self._begin(self._waiting.popleft())
        if not self._running and self._suspects:
            self._begin(self._suspects.popleft())
        return bool(self._running or self._waiting or self._suspects)

    def _begin(self, entry: PlannedSubmission) -> None:
        if entry.refusal is not None:
            self._finish(entry, self._error(entry, entry.refusal))
            return
        try:
            source = self.store.source(entry)
        except OSError as error:
            self._finish(entry, self._error(entry, f"its copy cannot be read: {error.strerror}"))
            return
        self.journal.add("started", sync=False, id=entry.id)
        job = GradingJob(
            entry.id, self.challenge.id, self.fingerprint, entry.file, source, self.isolate
        )
        self._running[self.pool.submit(grade, job)] = entry

    def _ended(self, entry: PlannedSubmission, future: Future[JobAnswer]) -> None:
        try:
            answer = future.result()
        except WorkerLost as error:
            self._lose(entry, str(error))
        except (GraderError, SandboxError) as error:
            raise GraderError(f"a worker cannot grade: {error}") from error
        except Exception as error:
            # a bug of ours that this file brings out must not keep all others from being graded
            text = (
                f"kvdojo failed on it ({type(error).__name__}: {error}), which is a bug to report"
            )
            self._finish(entry, self._error(entry, text))
        else:
            if answer.fingerprint != self.fingerprint or answer.document is None:
                self._refuse(entry, answer)
            elif answer.document["submission"]["sha256"] != entry.sha256:
                text = "its copy was damaged after the batch began"
                self._finish(entry, self._error(entry, text))
            else:
                self._finish(entry, answer.document)

    def _lose(self, entry: PlannedSubmission, why: str) -> None:
        self.journal.add("lost", id=entry.id, why=why)
        if entry.id in self._lost:
            text = "its worker was lost twice, the second time with nothing else on it"
            self._finish(entry, self._error(entry, text))
            return
        self._lost.add(entry.id)
        self._suspects.append(entry)

    def _refuse(self, entry: PlannedSubmission, answer: JobAnswer) -> None:
        """A worker with other content gets no more work, and its answer does not count."""
        self.journal.add("refused", id=entry.id, worker=answer.worker)
        self.pool.exclude(answer.worker)
        self._waiting.append(entry)

    def _error(self, entry: PlannedSubmission, why: str) -> dict[str, Any]:
        return Result.unjudged(self.challenge, entry.file, entry.sha256, f"{why}.").document()

    def _finish(self, entry: PlannedSubmission, document: dict[str, Any]) -> None:
        self.store.finish(entry, document)
        self.journal.add("finished", id=entry.id, verdict=document["verdict"])
        self.seen(entry, document)

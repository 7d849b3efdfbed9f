"""Grade the submissions of a plan on a pool: each exactly once, whatever becomes of the workers.

When a worker is lost, all submissions that it had may be at fault.  Each of them is tried once more, alone and after
all others; one whose worker is then lost again could not be judged.  Four submissions on one Dask worker, where d ends
the process:

    a b c d       the worker is lost: a, b, c and d are suspects
    e f g h ...   the others go on first
    a, b, c, d    one by one: a, b and c are judged, and d's worker is lost again

Knows nothing of terminals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from grader.classroom.batch_plan import PlannedSubmission
from grader.classroom.batch_store import BatchStore
from grader.classroom.class_variants import ClassVariants
from grader.classroom.grading_worker import GradingJob, JobAnswer, grade
from grader.classroom.journal import Journal
from grader.classroom.pool import Pool, WorkerLost
from grader.content import Challenge
from grader.judge import GraderError
from grader.judge.result import Result
from grader.sandbox import SandboxError

AHEAD = 2  # jobs per slot on their way, so that no worker waits for us
TICK_SECONDS = 1.0


@dataclass
class JobDispatcher:
    """Hands out the submissions that are not finished, and takes in their results.

    `finished` is called with each submission and its result document once both are on disk.
    """

    challenge: Challenge
    fingerprint: str
    seed: int
    store: BatchStore
    journal: Journal
    pool: Pool
    finished: Callable[[PlannedSubmission, dict[str, Any]], None]
    isolate: bool = True
    inside: bool = False
    variants: ClassVariants | None = None
    _waiting: deque[PlannedSubmission] = field(default_factory=deque)
    _suspects: deque[PlannedSubmission] = field(default_factory=deque)
    _running: dict[Future[JobAnswer], PlannedSubmission] = field(default_factory=dict)
    _lost_once: set[str] = field(default_factory=set)

    def grade(self, entries: Iterable[PlannedSubmission]) -> None:
        """Finish every entry; raises BatchError or GraderError when that is not possible."""
        self._waiting.extend(entries)
        while self._hand_out():
            done, _ = wait(self._running, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            if not done:
                self.pool.check()
            for future in done:
                self._take_in(self._running.pop(future), future)

    def note_interruption(self) -> None:
        """Write down what was being graded."""
        ids = sorted(entry.id for entry in self._running.values())
        self.journal.add("interrupted", ids=ids)

    def _hand_out(self) -> bool:
        """Keep the workers busy, and return whether anything is left; suspects come last and one by one."""
        while self._waiting and len(self._running) < AHEAD * self.pool.slots:
            self._submit(self._waiting.popleft())
        if not self._running and self._suspects:
            self._submit(self._suspects.popleft())
        return bool(self._running or self._waiting or self._suspects)

    def _submit(self, entry: PlannedSubmission) -> None:
        if entry.refusal is not None:
            self._finish_unjudged(entry, entry.refusal)
            return
        try:
            source = self.store.source(entry)
        except OSError as error:
            self._finish_unjudged(entry, f"its copy cannot be read: {error.strerror}")
            return
        self.journal.add("started", sync=False, id=entry.id)
        job = GradingJob(
            *(entry.id, self.challenge.id, self.fingerprint, entry.file, source),
            seed=self.seed,
            isolate=self.isolate,
            inside=self.inside,
            own_bugs=None if self.variants is None else self.variants.bugs_of(entry.id),
        )
        self._running[self.pool.submit(grade, job)] = entry

    def _take_in(self, entry: PlannedSubmission, future: Future[JobAnswer]) -> None:
        try:
            answer = future.result()
        except WorkerLost as error:
            self._try_again_or_give_up(entry, str(error))
        except (GraderError, SandboxError) as error:
            raise GraderError(f"a worker cannot grade: {error}") from error
        except Exception as error:
            # a bug of ours that this file brings out must not keep all others from being graded
            bug = f"{type(error).__name__}: {error}"
            self._finish_unjudged(entry, f"kvdojo failed on it ({bug}), which is a bug to report")
        else:
            if answer.fingerprint != self.fingerprint or answer.document is None:
                self._reject(entry, answer)
            elif answer.document["submission"]["sha256"] != entry.sha256:
                self._finish_unjudged(entry, "its copy was damaged after the batch began")
            else:
                self._finish(entry, answer.document)

    def _try_again_or_give_up(self, entry: PlannedSubmission, why: str) -> None:
        self.journal.add("lost", id=entry.id, why=why)
        if entry.id in self._lost_once:
            text = "its worker was lost twice, the second time with nothing else on it"
            self._finish_unjudged(entry, text)
            return
        self._lost_once.add(entry.id)
        self._suspects.append(entry)

    def _reject(self, entry: PlannedSubmission, answer: JobAnswer) -> None:
        """Give no more work to a worker that has other content; its answer does not count."""
        self.journal.add("refused", id=entry.id, worker=answer.worker)
        self.pool.exclude(answer.worker)
        self._waiting.append(entry)

    def _finish_unjudged(self, entry: PlannedSubmission, why: str) -> None:
        result = Result.unjudged(self.challenge, entry.file, entry.sha256, f"{why}.")
        self._finish(entry, result.document())

    def _finish(self, entry: PlannedSubmission, document: dict[str, Any]) -> None:
        self.store.finish(entry, document)
        self.journal.add("finished", id=entry.id, verdict=document["verdict"])
        self.finished(entry, document)

"""One batch from its arguments to its last submission: what is new, what goes on, what is left to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.classroom.archive_entries import SubmissionRefused
from grader.classroom.batch_plan import BatchError, BatchPlan, PlannedSubmission
from grader.classroom.batch_store import BatchStore
from grader.classroom.dispatch import JobDispatcher
from grader.classroom.find_submissions import find_submissions
from grader.classroom.fingerprint import fingerprint
from grader.classroom.journal import Journal
from grader.classroom.local_pool import LocalPool, available_processors
from grader.classroom.pool import Pool
from grader.content import Challenge
from grader.judge.golden_check import prepare


@dataclass(frozen=True)
class BatchOptions:
    """What the user asked for."""

    challenge: Challenge
    searched: Path
    out: Path
    jobs: int | None = None
    executor: str | None = None
    resume: bool = False
    isolate: bool = True


@dataclass(frozen=True)
class BatchStart:
    """Where a batch begins: how much there is, is finished already, and was cut off last time."""

    total: int
    finished: dict[str, str]  # verdict by id
    interrupted: int
    resumed: bool


class BatchObserver:
    """Is told how a batch goes; the default takes no notice."""

    def begin(self, start: BatchStart) -> None:
        """The plan is there; grading begins."""

    def seen(self, entry: PlannedSubmission, verdict: str) -> None:
        """One more submission is finished."""

    def end(self) -> None:
        """Grading is over, by whatever cause."""


def run_batch(
    order: BatchOptions, watcher: BatchObserver | None = None
) -> tuple[BatchPlan, BatchStore]:
    """Grade what is left to grade; raises BatchError where that cannot begin or go on.

    KeyboardInterrupt passes through once the workers are gone and the journal knows.
    """
    watcher = watcher or BatchObserver()
    prepare(order.challenge)  # content that cannot be used is told before anything is written
    store = BatchStore(order.out)
    known = store.check(resume=order.resume)
    with store.open_journal() as journal:
        begun = store.interrupted()
        plan = _plan(order, store, known=known)
        finished = {e.id: str(r["verdict"]) for e in plan.entries if (r := store.result(e))}
        for name in sorted(finished.keys() & begun):
            # killed between the result and its line: what counts is the result
            journal.add("finished", id=name, verdict=finished[name], sync=False)
        cut = begun - finished.keys()
        start = BatchStart(len(plan.entries), finished, len(cut), known)
        journal.add("begin", total=start.total, finished=len(finished), interrupted=sorted(cut))
        left = [entry for entry in plan.entries if entry.id not in finished]
        _grade(order, plan, store, journal, left, lambda: watcher.begin(start), watcher)
    return plan, store


def _grade(
    order: BatchOptions,
    plan: BatchPlan,
    store: BatchStore,
    journal: Journal,
    left: list[PlannedSubmission],
    begin: Callable[[], None],
    watcher: BatchObserver,
) -> None:
    if not left:
        begin()
        watcher.end()
        return

    def seen(entry: PlannedSubmission, document: dict[str, Any]) -> None:
        watcher.seen(entry, document["verdict"])

    pool = open_pool(order.executor, order.jobs)
    run = JobDispatcher(
        order.challenge, plan.fingerprint, store, journal, pool, seen, order.isolate
    )
    begin()
    try:
        run.grade(left)
        journal.add("end")
    except BaseException:
        run.interrupt()
        raise
    finally:
        watcher.end()
        pool.close()


def open_pool(address: str | None, jobs: int | None) -> Pool:
    """Return the pool for an address such as `dask://host:8786`; without one, processes on this machine."""
    if address is None:
        return LocalPool(jobs or available_processors())
    scheme, separator, place = address.partition("://")
    if scheme != "dask" or not separator or not place:
        raise BatchError(f"{address!r} is no executor; write dask://HOST:PORT")
    from grader.classroom.dask_pool import DaskPool

    return DaskPool(place, jobs)


def _plan(order: BatchOptions, store: BatchStore, *, known: bool) -> BatchPlan:
    mark = fingerprint(order.challenge)
    searched = str(order.searched.resolve())
    if known:
        return store.load(order.challenge.id, searched, mark)
    out = order.out.resolve()
    try:
        plan = store.plan(
            order.challenge.id,
            searched,
            mark,
            lambda: find_submissions(order.searched, order.challenge.file, out),
        )
    except SubmissionRefused as refused:
        raise BatchError(f"{refused}; name a folder of submissions") from None
    if not plan.entries:
        raise BatchError(
            f"{order.searched} holds no submissions: Python files, folders or zip archives of them"
        )
    return plan

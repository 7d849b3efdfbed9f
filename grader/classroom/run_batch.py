"""One batch from its arguments to its last submission: find and copy what is new, or go on with what is left."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from grader.classroom.archive_entries import SubmissionRefused
from grader.classroom.batch_plan import BatchError, BatchPlan, PlannedSubmission, planned
from grader.classroom.batch_store import BatchStore
from grader.classroom.class_variants import ClassVariants, check_ids, read_variants
from grader.classroom.dispatch import JobDispatcher
from grader.classroom.find_submissions import find_submissions, kind_of_file
from grader.classroom.fingerprint import fingerprint
from grader.classroom.journal import Journal
from grader.classroom.local_pool import LocalPool, available_processors
from grader.classroom.pool import Pool
from grader.content import Challenge
from grader.judge.golden_check import prepare
from grader.judge.secret_inputs import BITS


@dataclass(frozen=True)
class BatchOptions:
    """What the user asked for.

    `searched` is a folder or a zip archive of submissions and `out` the batch folder.  `jobs` is how many files are
    graded side by side, None for one per processor.  `executor` is the address of a cluster, None for this machine.
    `inside` asks where each file that fails departs from the reference, which takes about a case more.  `variants` is
    the table of the bugs that each learner began with, None where all began with the catalogue's.
    """

    challenge: Challenge
    searched: Path
    out: Path
    jobs: int | None = None
    executor: str | None = None
    resume: bool = False
    isolate: bool = True
    inside: bool = False
    variants: Path | None = None


@dataclass(frozen=True)
class BatchStart:
    """Where a batch begins: how much there is, is finished already, and was cut off last time."""

    total: int
    finished: dict[str, str]  # verdict by id
    interrupted: int
    resumed: bool


class BatchObserver:
    """Is called while a batch goes on; the default does nothing."""

    def submission_found(self, entry: PlannedSubmission) -> None:
        """One more submission of a new batch was found, and copied unless it is refused."""

    def grading_started(self, start: BatchStart) -> None:
        """The plan is written down; grading begins."""

    def submission_finished(self, entry: PlannedSubmission, verdict: str) -> None:
        """One more submission is finished."""

    def grading_ended(self) -> None:
        """Grading is over, for whatever reason."""


def open_pool(address: str | None, jobs: int | None) -> Pool:
    """Return the pool for an address such as `dask://host:8786`; without one, processes on this machine."""
    if address is None:
        return LocalPool(jobs or available_processors())
    scheme, separator, place = address.partition("://")
    if scheme != "dask" or not separator or not place:
        raise BatchError(f"{address!r} is no executor; write dask://HOST:PORT")
    from grader.classroom.dask_pool import DaskPool

    return DaskPool(place, jobs)


PoolOpener: TypeAlias = Callable[[str | None, int | None], Pool]


def run_batch(
    options: BatchOptions,
    observer: BatchObserver | None = None,
    *,
    pool_opener: PoolOpener = open_pool,
) -> tuple[BatchPlan, BatchStore]:
    """Grade what is left to grade; raises BatchError, or UserError for a wrong table, where that cannot begin or go on.

    KeyboardInterrupt passes through once the workers have ended and the journal says what was cut off.  A pool is
    opened only where something is left to grade.
    """
    observer = observer or BatchObserver()
    prepare(options.challenge)  # content that cannot be used is reported before anything is written
    store = BatchStore(options.out, Path(options.challenge.file).suffix)
    resumed = store.holds_plan(resume=options.resume)
    variants = _variants(options, resumed=resumed)
    with store.open_journal() as journal:
        begun = store.interrupted()
        mark, searched = fingerprint(options.challenge), str(options.searched.resolve())
        if resumed:
            plan = store.load_plan(options.challenge.id, searched, mark, variants)
        else:
            entries = _copy_submissions(options, store, observer)
            plan = BatchPlan(
                *(options.challenge.id, searched, mark, secrets.randbits(BITS), entries, variants)
            )
            store.save_plan(plan)
        finished = {e.id: str(r["verdict"]) for e in plan.entries if (r := store.result(e))}
        for name in sorted(finished.keys() & begun):
            # killed between the result and its line: what counts is the result
            journal.add("finished", id=name, verdict=finished[name], sync=False)
        cut = begun - finished.keys()
        start = BatchStart(len(plan.entries), finished, len(cut), resumed)
        journal.add("begin", total=start.total, finished=len(finished), interrupted=sorted(cut))
        left = [entry for entry in plan.entries if entry.id not in finished]
        pool = pool_opener(options.executor, options.jobs) if left else None
        observer.grading_started(start)
        try:
            if pool is not None:
                _grade(options, plan, store, journal, pool, left, observer)
        finally:
            observer.grading_ended()
            if pool is not None:
                pool.close()
    return plan, store


def _variants(options: BatchOptions, *, resumed: bool) -> ClassVariants | None:
    """Read the table, if one was given; what is wrong with it is reported before anything is written."""
    if options.variants is None:
        return None
    variants = read_variants(options.challenge, options.variants)
    if not resumed:
        taken: set[str] = set()
        file, out = options.challenge.file, options.out.resolve()
        with suppress(SubmissionRefused):  # it is refused again when its submissions are copied
            found = find_submissions(options.searched, file, out)
            ids = {planned(one, taken).id for one in found}
            if ids:
                check_ids(variants, options.variants, ids)
    return variants


def _copy_submissions(
    options: BatchOptions, store: BatchStore, observer: BatchObserver
) -> tuple[PlannedSubmission, ...]:
    """Find the submissions of a new batch and copy their sources; raises BatchError when there are none."""
    store.make_folders()
    taken: set[str] = set()
    entries = []
    try:
        for found in find_submissions(
            options.searched, options.challenge.file, options.out.resolve()
        ):
            entry = planned(found, taken)
            if entry.refusal is None:
                store.keep_source(entry, found.source)
            entries.append(entry)
            observer.submission_found(entry)
    except SubmissionRefused as refused:
        raise BatchError(f"{refused}; name a folder of submissions") from None
    if not entries:
        kind = kind_of_file(options.challenge.file)
        raise BatchError(
            f"{options.searched} holds no submissions: {kind} files, folders or zip archives of them"
        )
    return tuple(entries)


def _grade(
    options: BatchOptions,
    plan: BatchPlan,
    store: BatchStore,
    journal: Journal,
    pool: Pool,
    left: list[PlannedSubmission],
    observer: BatchObserver,
) -> None:
    def finished(entry: PlannedSubmission, document: dict[str, Any]) -> None:
        observer.submission_finished(entry, document["verdict"])

    dispatcher = JobDispatcher(
        *(options.challenge, plan.fingerprint, plan.seed, store, journal, pool, finished),
        isolate=options.isolate,
        inside=options.inside,
        variants=plan.variants,
    )
    try:
        dispatcher.grade(left)
        journal.add("end")
    except BaseException:
        dispatcher.note_interruption()
        raise

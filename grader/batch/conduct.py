"""One batch from its arguments to its last submission: what is new, what goes on, what is left to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.batch.executors import open_pool
from grader.batch.find import find
from grader.batch.fingerprint import fingerprint
from grader.batch.journal import Journal
from grader.batch.leaves import Refused
from grader.batch.plan import BatchError, Entry, Plan
from grader.batch.runner import Run
from grader.batch.store import Store
from grader.content import Challenge
from grader.judge.golden_check import prepare


@dataclass(frozen=True)
class Order:
    """What the user asked for."""

    challenge: Challenge
    searched: Path
    out: Path
    jobs: int | None = None
    executor: str | None = None
    resume: bool = False
    isolate: bool = True


@dataclass(frozen=True)
class Start:
    """Where a batch begins: how much there is, is finished already, and was cut off last time."""

    total: int
    finished: dict[str, str]  # verdict by id
    interrupted: int
    resumed: bool


class Watcher:
    """Is told how a batch goes; the default takes no notice."""

    def begin(self, start: Start) -> None:
        """The plan is there; grading begins."""

    def seen(self, entry: Entry, verdict: str) -> None:
        """One more submission is finished."""

    def end(self) -> None:
        """Grading is over, by whatever cause."""


def conduct(order: Order, watcher: Watcher | None = None) -> tuple[Plan, Store]:
    """Grade what is left to grade; raises BatchError where that cannot begin or go on.

    KeyboardInterrupt passes through once the workers are gone and the journal knows.
    """
    watcher = watcher or Watcher()
    prepare(order.challenge)  # content that cannot be used is told before anything is written
    store = Store(order.out)
    known = store.check(resume=order.resume)
    with store.open_journal() as journal:
        begun = store.interrupted()
        plan = _plan(order, store, known=known)
        finished = {e.id: str(r["verdict"]) for e in plan.entries if (r := store.result(e))}
        for name in sorted(finished.keys() & begun):
            # killed between the result and its line: what counts is the result
            journal.add("finished", id=name, verdict=finished[name], sync=False)
        cut = begun - finished.keys()
        start = Start(len(plan.entries), finished, len(cut), known)
        journal.add("begin", total=start.total, finished=len(finished), interrupted=sorted(cut))
        left = [entry for entry in plan.entries if entry.id not in finished]
        _grade(order, plan, store, journal, left, lambda: watcher.begin(start), watcher)
    return plan, store


def _grade(
    order: Order,
    plan: Plan,
    store: Store,
    journal: Journal,
    left: list[Entry],
    begin: Callable[[], None],
    watcher: Watcher,
) -> None:
    if not left:
        begin()
        watcher.end()
        return

    def seen(entry: Entry, document: dict[str, Any]) -> None:
        watcher.seen(entry, document["verdict"])

    pool = open_pool(order.executor, order.jobs)
    run = Run(order.challenge, plan.fingerprint, store, journal, pool, seen, order.isolate)
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


def _plan(order: Order, store: Store, *, known: bool) -> Plan:
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
            lambda: find(order.searched, order.challenge.file, out),
        )
    except Refused as refused:
        raise BatchError(f"{refused}; name a folder of submissions") from None
    if not plan.entries:
        raise BatchError(
            f"{order.searched} holds no submissions: Python files, folders or zip archives of them"
        )
    return plan

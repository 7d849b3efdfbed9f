"""A Dask cluster as a pool.

Scheduler and workers are trusted, except that a worker may have another version of the challenge or of kvdojo: its
answers are then rejected, and it gets no more jobs.  Dask alone would run a submission that ends its worker on three
more of them; here the first loss is reported, and the dispatcher decides.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from typing import Any

from grader.classroom.batch_plan import BatchError
from grader.classroom.pool import T, WorkerLost

try:
    from distributed import Client, KilledWorker
    from distributed.comm.core import CommClosedError
except ImportError:
    raise BatchError(
        "a Dask cluster needs the extra `cluster`: pip install -c constraints.txt -e '.[cluster]'"
    ) from None

CONNECT_SECONDS = 10.0
WORKERS_SECONDS = 30.0  # how long a cluster may be without workers, such as while they start anew
STALE_SECONDS = 2.0


class DaskPool:
    """The workers of one scheduler, without those that have other content."""

    def __init__(self, place: str, jobs: int | None) -> None:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        try:
            connect: Any = Client  # the library is not typed
            self._client = connect(f"tcp://{place}", timeout=CONNECT_SECONDS, name="kvdojo")
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise BatchError(f"no Dask scheduler answers at {place}: {reason}") from None
        self._jobs = jobs
        self._excluded: set[str] = set()
        self._threads: dict[str, int] = {}
        self._asked_at = self._had_workers_at = 0.0  # on the monotonic clock
        self._executors: dict[frozenset[str], Executor] = {}
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_SECONDS)
            self._allowed = _allow_failures(self._client, 0)
        except (OSError, TimeoutError):
            self._client.close()
            raise BatchError(f"the Dask cluster at {place} has no workers") from None

    @property
    def slots(self) -> int:
        """How many threads the workers have, at most as many as were asked for."""
        threads = sum(self._workers().values()) or 1
        return min(threads, self._jobs or threads)

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        """Run `fn(*args)` on a worker that is not excluded."""
        good = frozenset(self._workers()) if self._excluded else frozenset()
        if good not in self._executors:
            self._executors[good] = self._client.get_executor(
                pure=False, workers=sorted(good) or None
            )
        outer: Future[T] = Future()
        inner: Future[T] = self._executors[good].submit(fn, *args)
        inner.add_done_callback(lambda done: _hand_on(done, outer))
        return outer

    def exclude(self, worker: str) -> None:
        """Give that worker no more jobs; raises BatchError when none is left."""
        self._excluded.add(worker)
        self._asked_at = 0.0
        if not self._workers():
            raise BatchError(
                "no Dask worker has this challenge and this version of kvdojo as they are here;"
                " bring the workers up to date and go on with --resume"
            )

    def check(self) -> None:
        """Raise BatchError when the scheduler has gone, or has been without workers for long."""
        if self._client.status != "running":
            raise BatchError("the Dask scheduler has gone; go on with --resume when it is back")
        self._asked_at = 0.0
        if not self._workers() and time.monotonic() - self._had_workers_at > WORKERS_SECONDS:
            raise BatchError("the Dask cluster lost all its workers; go on with --resume")

    def close(self) -> None:
        """Leave the cluster as it was; the results of what still runs there are dropped."""
        for executor in self._executors.values():
            with contextlib.suppress(Exception):
                executor.shutdown(wait=False)
        with contextlib.suppress(Exception):
            _allow_failures(self._client, self._allowed)
        with contextlib.suppress(Exception):
            self._client.close(timeout=CONNECT_SECONDS)

    def _workers(self) -> dict[str, int]:
        now = time.monotonic()
        if now - self._asked_at > STALE_SECONDS:
            try:
                self._threads = dict(self._client.nthreads())
            except (OSError, TimeoutError, CommClosedError):
                self._threads = {}
            self._asked_at = now
        good = {name: count for name, count in self._threads.items() if name not in self._excluded}
        if good:
            self._had_workers_at = now
        return good


def _hand_on(done: Future[T], outer: Future[T]) -> None:
    try:
        outer.set_result(done.result())
    except (KilledWorker, CommClosedError):
        outer.set_exception(WorkerLost("a Dask worker ended"))
    except CancelledError:
        outer.set_exception(WorkerLost("the Dask scheduler dropped it"))
    except Exception as error:
        outer.set_exception(error)


def _allow_failures(client: Any, count: int) -> int:
    """Set how many workers a task may cost before the scheduler gives it up; return what it was."""

    # a local function travels by value, so that a scheduler without kvdojo can run it
    def change(count: int, dask_scheduler: Any = None) -> int:
        before = int(dask_scheduler.allowed_failures)
        dask_scheduler.allowed_failures = count
        return before

    return int(client.run_on_scheduler(change, count))

"""Where the grading is done, behind `concurrent.futures.Executor`: processes here, or a Dask cluster.

A future ends with an answer, with `WorkerLost`, or with an error of ours.  What a job is and what
follows from a lost worker is not known here.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from itertools import cycle, repeat
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from grader.batch.plan import BatchError

T = TypeVar("T")
MOST_SECONDS = 600.0  # no submission takes that long: every case has its own deadline


class WorkerLost(BrokenExecutor):
    """The process that worked on it ended, or never answered."""


class Pool(Protocol):
    """An executor that knows its size and whom to leave out."""

    @property
    def slots(self) -> int:
        """How many jobs run at once."""

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        """Run `fn(*args)` in a worker."""

    def exclude(self, worker: str) -> None:
        """Give no more jobs to that worker; raises BatchError when none is left."""

    def check(self) -> None:
        """Raise BatchError when no worker is left that could ever answer."""

    def close(self) -> None:
        """End at once what still runs."""


class LocalPool(ThreadPoolExecutor):
    """As many processes as `slots`, each kept by a thread and started anew when it is lost."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots, thread_name_prefix="lane")
        self.slots = slots
        self._kept = threading.local()
        self._lanes: list[Lane] = []
        self._places = _places(slots)
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn(*args)` in the first process that is free."""
        return super().submit(self._in_lane, fn, *args, **kwargs)

    def exclude(self, worker: str) -> None:
        """Say that content changed under our feet: these processes read the same files as we do."""
        raise BatchError(
            "the challenge was changed while it was graded; grade anew in another --out"
        )

    def check(self) -> None:
        """A lost process is replaced at once."""

    def close(self) -> None:
        """Kill the processes; their sandboxes end with them."""
        self._closed = True
        for lane in self._lanes:
            lane.kill()
        self.shutdown(wait=True, cancel_futures=True)

    def _in_lane(self, fn: Callable[..., T], *args: Any) -> T:
        lane: Lane | None = getattr(self._kept, "lane", None)
        if lane is None or not lane.alive:
            if self._closed:
                raise WorkerLost("the batch is ending")
            if lane is None:
                self._kept.place = next(self._places)
            lane = self._kept.lane = Lane(self._kept.place)
            self._lanes.append(lane)
            if self._closed:
                lane.kill()
        return lane.call(fn, *args)


class Lane:
    """One worker process and the pipe to it; only our own code writes to that pipe."""

    def __init__(self, place: int | None) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, place), daemon=True
        )
        self._process.start()
        theirs.close()
        self.alive = True

    def call(self, fn: Callable[..., T], *args: Any) -> T:
        """Return what `fn(*args)` returns there; raises what it raises, or WorkerLost."""
        try:
            self._pipe.send((fn, args))
            if not self._pipe.poll(MOST_SECONDS):
                raise EOFError
            value, error = self._pipe.recv()
        except (EOFError, OSError):
            self.kill()
            raise WorkerLost("a worker process ended") from None
        if error is not None:
            raise error
        result: T = value
        return result

    def kill(self) -> None:
        """End the process."""
        self.alive = False
        self._process.kill()


def _serve(pipe: Connection, place: int | None) -> None:
    """Answer calls until the other end is gone; Ctrl-C is the parent's to hear."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if place is not None:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {place})
    while True:
        try:
            fn, args = pipe.recv()
        except (EOFError, OSError):
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = (fn(*args), None)
        except Exception as error:
            answer = (None, error)
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def open_pool(address: str | None, jobs: int | None) -> Pool:
    """Return the pool for an address such as `dask://host:8786`; without one, processes on this machine."""
    if address is None:
        return LocalPool(jobs or _processors())
    scheme, separator, place = address.partition("://")
    if scheme != "dask" or not separator or not place:
        raise BatchError(f"{address!r} is no executor; write dask://HOST:PORT")
    from grader.batch.cluster import DaskPool

    return DaskPool(place, jobs)


def _places(slots: int) -> Iterator[int | None]:
    """Return a processor for each process where every one gets its own; else leave that to the system.

    A process and its sandbox take turns, which costs least on one processor.
    """
    allowed = getattr(os, "sched_getaffinity", None)
    mine = sorted(allowed(0)) if allowed else []
    return cycle(mine) if slots == len(mine) else repeat(None)


def _processors() -> int:
    """How many processors we may use, which a container can make fewer than there are."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1

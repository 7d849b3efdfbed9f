"""A pool of worker processes on this machine."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, repeat
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from grader.classroom.batch_plan import BatchError
from grader.classroom.pool import T, WorkerLost

MOST_SECONDS = 600.0  # no submission takes that long: every case has its own deadline


class LocalPool(ThreadPoolExecutor):
    """As many processes as `slots`, each kept by a thread and started anew when it is lost."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots, thread_name_prefix="worker")
        self.slots = slots
        self._kept = threading.local()
        self._workers: list[WorkerProcess] = []
        self._places = _places(slots)
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn(*args)` in the first process that is free."""
        return super().submit(self._in_worker, fn, *args, **kwargs)

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
        for worker in self._workers:
            worker.kill()
        self.shutdown(wait=True, cancel_futures=True)

    def _in_worker(self, fn: Callable[..., T], *args: Any) -> T:
        worker: WorkerProcess | None = getattr(self._kept, "worker", None)
        if worker is None or not worker.alive:
            if self._closed:
                raise WorkerLost("the batch is ending")
            if worker is None:
                self._kept.place = next(self._places)
            worker = self._kept.worker = WorkerProcess(self._kept.place)
            self._workers.append(worker)
            if self._closed:
                worker.kill()
        return worker.call(fn, *args)


class WorkerProcess:
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


def _places(slots: int) -> Iterator[int | None]:
    """Return a processor for each process where every one gets its own; else leave that to the system.

    A process and its sandbox take turns, which costs least on one processor.
    """
    allowed = getattr(os, "sched_getaffinity", None)
    mine = sorted(allowed(0)) if allowed else []
    return cycle(mine) if slots == len(mine) else repeat(None)


def available_processors() -> int:
    """How many processors we may use, which a container can make fewer than there are."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1

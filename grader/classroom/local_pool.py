"""A pool of worker processes on this machine, each of which grades files (`grading_worker`) as `kvdojo grade` does.

They run our own code and are trusted.  The workers beside learners' code are others: they belong to the sandbox that
each of these processes starts.

Each thread of the pool holds one process for as long as it lives, and runs one job at a time in it.  A process that
ends takes its job with it (`WorkerLost`) and is replaced when the thread gets its next job:

    thread 1:   process 4711   job a, job c (the process ends: WorkerLost)   process 4713   job e
    thread 2:   process 4712   job b, job d, job f
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, repeat
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from grader.classroom.batch_plan import BatchError
from grader.classroom.pool import T, WorkerLost

MOST_SECONDS = 600.0  # no submission takes that long: every case has its own deadline


class LocalPool(ThreadPoolExecutor):
    """As many threads as `slots`, each with a worker process of its own."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots, thread_name_prefix="worker")
        self.slots = slots
        self._of_thread = threading.local()  # `process` and `processor` of the running thread
        self._processes: list[WorkerProcess] = []
        self._processors = _processor_for_each(slots)
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn(*args)` in the first process that is free."""
        return super().submit(self._in_process, fn, *args, **kwargs)

    def exclude(self, worker: str) -> None:
        """Raise BatchError: a worker here that has other content than the batch shows that the content was changed."""
        raise BatchError(
            "the challenge was changed while it was graded; grade anew in another --out"
        )

    def check(self) -> None:
        """Do nothing: a lost process is replaced."""

    def close(self) -> None:
        """Kill the processes; their sandboxes end with them."""
        self._closed = True
        for process in self._processes:
            process.kill()
        self.shutdown(wait=True, cancel_futures=True)

    def _in_process(self, fn: Callable[..., T], *args: Any) -> T:
        held = self._of_thread
        process: WorkerProcess | None = getattr(held, "process", None)
        if process is None or not process.alive:
            if self._closed:
                raise WorkerLost("the batch is ending")
            if process is None:
                held.processor = next(self._processors)
            process = held.process = WorkerProcess(held.processor)
            self._processes.append(process)
            if self._closed:  # meanwhile, and `close` may not have seen the new process
                process.kill()
        return process.call(fn, *args)


class WorkerProcess:
    """One worker process and the pipe to it, which may pickle: only our own code writes to that pipe."""

    def __init__(self, processor: int | None) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, processor), daemon=True
        )
        with _interrupts_blocked():
            self._process.start()
        theirs.close()
        self.alive = True

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process.pid is not None, "it was started"
        return self._process.pid

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


def _serve(pipe: Connection, processor: int | None) -> None:
    """In the worker process: answer calls until the other end is gone."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is handled by the process that keeps the books
    _block_interrupts(False)
    if processor is not None:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {processor})
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


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep SIGINT from this thread, and from a process that is started meanwhile until it unblocks it.

    A terminal sends Ctrl-C to the worker processes as well.  One that is still importing modules would end with a
    traceback; with the signal blocked it waits until `_serve` ignores it.
    """
    if os.name == "posix":
        resource_tracker.ensure_running()  # else the first start does it, and unblocks SIGINT behind it
    _block_interrupts(True)
    try:
        yield
    finally:
        _block_interrupts(False)


def _block_interrupts(blocked: bool) -> None:
    if hasattr(signal, "pthread_sigmask"):
        how = signal.SIG_BLOCK if blocked else signal.SIG_UNBLOCK
        signal.pthread_sigmask(how, {signal.SIGINT})


def _processor_for_each(slots: int) -> Iterator[int | None]:
    """Yield a processor for each process where every process gets its own; else None, which leaves it to the system.

    A process and its sandbox take turns, which costs least on one processor.
    """
    allowed = getattr(os, "sched_getaffinity", None)
    mine = sorted(allowed(0)) if allowed else []
    return cycle(mine) if slots == len(mine) else repeat(None)


def available_processors() -> int:
    """Return how many processors this process may use, which a container can make fewer than there are."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1

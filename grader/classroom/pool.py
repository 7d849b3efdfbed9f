"""What a batch needs of a pool of grading workers, wherever they run: processes here, or a Dask cluster.

A future ends with an answer, with `WorkerLost`, or with the exception that the job raised.  What a job is, and what
follows from a lost worker, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class WorkerLost(BrokenExecutor):
    """The process that worked on a job ended, or never answered."""


class Pool(Protocol):
    """An executor that knows its size, and which of its workers to leave out."""

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

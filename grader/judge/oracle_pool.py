"""Two oracles side by side: what one file is asked is answered while it answers something else itself.

An oracle answers one question at a time, in a worker that starts with its first question:

    pool = OraclePool(lambda: Oracle(sandbox, challenge))
    with pool.one() as oracle:          # the one that was used last, if it is free
        golden = oracle.expect(case)
    pool.close()                        # ends the workers; a later question starts another
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Generic, TypeVar

from grader.judge.oracle import Oracle

SIDE_BY_SIDE = 2  # as many as a file has runners: they wait for the answers
AnOracle = TypeVar("AnOracle", bound=Oracle)


class OraclePool(Generic[AnOracle]):
    """Several threads may ask, and wait for a free oracle."""

    def __init__(self, make: Callable[[], AnOracle]) -> None:
        self._free: LifoQueue[AnOracle] = LifoQueue()
        for _ in range(SIDE_BY_SIDE):
            self._free.put(make())

    @contextmanager
    def one(self) -> Iterator[AnOracle]:
        """Give an oracle that nobody else asks until the block ends."""
        oracle = self._free.get()
        try:
            yield oracle
        finally:
            self._free.put(oracle)

    def close(self) -> None:
        """End the workers of the oracles that nobody is asking."""
        free: list[AnOracle] = []
        try:
            while True:
                free.append(self._free.get_nowait())
        except Empty:
            pass
        for oracle in free:
            oracle.close()
            self._free.put(oracle)

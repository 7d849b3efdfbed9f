"""Oracles side by side: each asked by one thread at a time, and no more of them at work than there are askers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from grader.judge.oracle_pool import SIDE_BY_SIDE, OraclePool


class Oracle:
    """Counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_who_asks_alone_asks_the_same_one() -> None:
    pool: OraclePool[Any] = OraclePool(Oracle)
    seen = set()
    for _ in range(3):
        with pool.one() as oracle:
            seen.add(oracle)
    assert len(seen) == 1


def test_those_who_ask_together_have_one_each_and_others_wait() -> None:
    pool: OraclePool[Any] = OraclePool(Oracle)
    together = threading.Barrier(SIDE_BY_SIDE)
    lock, busy = threading.Lock(), set()

    def ask(number: int) -> object:
        with pool.one() as oracle:
            with lock:
                assert oracle not in busy
                busy.add(oracle)
            if number < SIDE_BY_SIDE:
                together.wait(20)
            with lock:
                busy.remove(oracle)
            return oracle

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == SIDE_BY_SIDE


def test_closing_ends_those_that_nobody_asks_and_an_error_gives_one_back() -> None:
    pool: OraclePool[Any] = OraclePool(Oracle)
    with pool.one() as asked:
        pool.close()
    assert asked.closed == 0
    try:
        with pool.one() as oracle:
            raise ValueError
    except ValueError:
        pass
    pool.close()
    assert oracle is asked
    assert asked.closed == 1

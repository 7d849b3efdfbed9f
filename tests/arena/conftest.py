"""Tasks that are drawn once for all tests of the arena, and what is warm for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from arena_draws import KEY, MANY, NAME

from grader.arena.bench import Benches
from grader.arena.draw_tasks import DrawnTask, Pool, draw_task, write_draw
from grader.arena.scorer import Scorer


@pytest.fixture(scope="session")
def benches() -> Iterator[Benches]:
    with Benches() as made:
        yield made


@pytest.fixture(scope="session")
def scorer(benches: Benches) -> Scorer:
    return Scorer(benches)


@pytest.fixture(scope="session")
def pool(benches: Benches) -> Pool:
    return Pool.of(benches.of(NAME).challenge)


@pytest.fixture(scope="session")
def tasks(benches: Benches, pool: Pool) -> list[DrawnTask]:
    """Two disguised tasks, with generated bugs and hand-written ones."""
    return [draw_task(benches.of(NAME), pool, KEY, number, MANY) for number in range(2)]


@pytest.fixture(scope="session")
def drawn(tasks: list[DrawnTask], pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of these tasks, as `arena draw` writes it."""
    out = tmp_path_factory.mktemp("arena") / "drawn"
    write_draw(out, KEY, [pool], tasks, MANY)
    return out

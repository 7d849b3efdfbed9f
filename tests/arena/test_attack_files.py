"""Every hostile program of `tests/attacks`, handed in for a task: no marks, and the next file is marked as ever."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from arena_draws import KEY, MANY, NAME

from grader.arena.arena_task import SealedTask, restored
from grader.arena.bench import Benches
from grader.arena.desk import Attempt
from grader.arena.draw_tasks import Pool, draw_task
from grader.arena.scorer import Scorer
from grader.content import Catalogue, Challenge
from grader.ground.paths import ROOT

ATTACKS = ROOT / "tests" / "attacks"
PROGRAMS = sorted((ATTACKS / "programs").glob("*.py"))
CASE = "two-continuations"


class Hasty(Catalogue):
    """The checkout's challenges with little time for each case: what hangs is not worth waiting for."""

    def load(self, name: str) -> Challenge:
        return replace(super().load(name), seconds=0.3)


@pytest.fixture(scope="module")
def hasty() -> Iterator[Scorer]:
    with Benches(Hasty(), cases={NAME: [CASE]}) as benches:
        yield Scorer(benches)


@pytest.fixture(scope="module")
def task(benches: Benches, pool: Pool) -> SealedTask:
    """A task of which each bug is caught by the one case that is asked."""

    def is_told(sealed: SealedTask) -> bool:
        entries = restored(benches.catalogue, sealed).challenge.bugs.values()
        return all(CASE in bug.witnesses for bug in entries if bug.kind == "bug")

    drawn = (draw_task(benches.of(NAME), pool, KEY, n, MANY).sealed for n in itertools.count())
    return next(filter(is_told, drawn))


def composed(path: Path, task: SealedTask, hasty: Scorer) -> str:
    """Put a program behind the task's file, mended, where it needs a right one, and behind a stub otherwise."""
    program = path.read_text()
    base = (ATTACKS / "base.py").read_text().replace("@ROOT@", str(ROOT))
    right = "\n# base: reference\n" in program
    return f"{hasty.known(task).file.mended if right else base}\n\n{program}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_hostile_file_gets_no_marks(path, task, hasty) -> None:
    marks = hasty.score(task, Attempt(composed(path, task, hasty).encode(), edits=1))
    assert (marks.verdict, marks.solved, marks.recall) == ("failed", False, 0.0)
    assert (marks.reward, marks.recall_weighted, marks.localisation) == (0.0, 0.0, None)
    assert marks.isolation
    mended = hasty.known(task).file.mended
    after = hasty.score(task, Attempt(mended.encode(), edits=1))
    assert (after.verdict, after.recall, after.precision) == ("passed", 1.0, 1.0)

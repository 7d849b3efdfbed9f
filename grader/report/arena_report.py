"""The page of the arena: agents side by side, their marks, and what they mended by difficulty, family and origin.

The page is self-contained, and has the same bytes for the same runs.  Names of agents are anybody's text and are
escaped for display.  It names no bug, so that it can be shown before the tasks are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from grader.arena.marks import RUN_SCHEMA, BugMark, Marks
from grader.content.jsonfile import read_json
from grader.content.validation import load_schema, schema_errors
from grader.ground.display import escape_for_display
from grader.ground.errors import UserError
from grader.report.charts import share_curves
from grader.report.page_template import render_page

MOST_RUNS = 8  # on one page: more curves cannot be told apart
DIFFICULTIES = range(1, 6)
Chosen = Callable[[BugMark], bool]
Cell = tuple[int, int]  # how many were mended, of how many


@dataclass(frozen=True)
class AgentRun:
    """One agent and its marks; those that could not be judged are counted and left out."""

    agent: str
    marks: tuple[Marks, ...]
    unjudged: int = 0

    @property
    def bugs(self) -> list[BugMark]:
        """All bugs that were planted for it."""
        return [bug for one in self.marks for bug in one.bugs]


@dataclass(frozen=True)
class Mean:
    """The mean of a mark over tasks and its standard error; `count` tasks have the mark."""

    value: float | None
    error: float | None
    count: int

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        spread = f" ± {self.error:.2f}" if self.error is not None else ""
        return f"{self.value:.2f}{spread}"


MEANS: tuple[tuple[str, Callable[[Marks], float | None]], ...] = (
    ("Solved", lambda m: float(m.solved)),
    ("Bugs mended", lambda m: m.recall),
    ("Bugs mended, by weight", lambda m: m.recall_weighted),
    ("Edit precision", lambda m: m.precision),
    ("F1", lambda m: m.f1),
    ("Bugs located", lambda m: m.localisation),
    ("Reward", lambda m: m.reward),
)
SUMS: tuple[tuple[str, Callable[[Marks], int]], ...] = (
    ("Decoys touched", lambda m: m.decoys_touched),
    ("False fixes", lambda m: m.false_fixes),
    ("Regressions", lambda m: m.regressions),
    ("Looks", lambda m: m.looks),
    ("Runs", lambda m: m.runs),
    ("Edits", lambda m: m.edits),
)


def read_runs(paths: Sequence[Path]) -> list[AgentRun]:
    """Read what `arena run --out` wrote; raises UserError, and ContentError for a file that is no such thing."""
    if len(paths) > MOST_RUNS:
        raise UserError(f"at most {MOST_RUNS} runs fit on a page.")
    found = []
    for path in paths:
        if not os.path.isfile(path):
            raise UserError(f"{path} does not exist: make it with `arena run --out`.")
        document = read_json(path)
        if isinstance(document, dict) and document.get("schema") not in (RUN_SCHEMA, None):
            raise UserError(f"{path} is no run: make one with `arena run --out`.")
        if faults := schema_errors(document, load_schema("arena-run-v1"), str(path)):
            raise UserError(f"{faults[0]}; make it with `arena run --out`.")
        marks = [Marks.from_document(one) for one in document["marks"]]
        judged = tuple(one for one in marks if one.judged)
        found.append(AgentRun(document["agent"], judged, len(marks) - len(judged)))
    return found


def arena_page(runs: Sequence[AgentRun]) -> str:
    """Return the page."""
    families = sorted({bug.family for run in runs for bug in run.bugs})
    challenges = sorted({one.challenge for run in runs for one in run.marks})
    return render_page(
        "arena.html.j2",
        runs=runs,
        means=[(name, [str(mean_of(run, mark)) for run in runs]) for name, mark in MEANS],
        sums=[(name, [sum(map(mark, run.marks)) for run in runs]) for name, mark in SUMS],
        by_difficulty=_difficulty_chart(runs),
        difficulties=_table(runs, [(str(n), _of_difficulty(n)) for n in DIFFICULTIES]),
        families=_table(runs, [(name, _of_family(name)) for name in families]),
        origins=_table(runs, [("written by people", _origin(False)), ("generated", _origin(True))]),
        disguises=[
            (name, [str(mean_of(run, _recall_where(disguised))) for run in runs])
            for name, disguised in (("disguised", True), ("as published", False))
        ],
        challenges=[
            (name, [str(mean_of(run, _recall_on(name))) for run in runs]) for name in challenges
        ],
    )


def mean_of(run: AgentRun, mark: Callable[[Marks], float | None]) -> Mean:
    """Return the mean of a mark over the tasks that have it."""
    values = [value for value in map(mark, run.marks) if value is not None]
    if not values:
        return Mean(None, None, 0)
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Mean(mean, None, 1)
    spread = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Mean(mean, math.sqrt(spread / len(values)), len(values))


def _recall_where(disguised: bool) -> Callable[[Marks], float | None]:
    return lambda marks: marks.recall if marks.disguised == disguised else None


def _recall_on(challenge: str) -> Callable[[Marks], float | None]:
    return lambda marks: marks.recall if marks.challenge == challenge else None


def _of_difficulty(number: int) -> Chosen:
    return lambda bug: bug.difficulty == number


def _of_family(name: str) -> Chosen:
    return lambda bug: bug.family == name


def _origin(generated: bool) -> Chosen:
    return lambda bug: bug.generated == generated


def _cell(run: AgentRun, chosen: Chosen) -> Cell:
    """Return how many bugs of a kind an agent mended, and how many there were."""
    bugs = [bug for bug in run.bugs if chosen(bug)]
    return sum(bug.status == "fixed" for bug in bugs), len(bugs)


def _table(
    runs: Sequence[AgentRun], kinds: Sequence[tuple[str, Chosen]]
) -> list[tuple[str, list[Cell]]]:
    return [(name, [_cell(run, chosen) for run in runs]) for name, chosen in kinds]


def _difficulty_chart(runs: Sequence[AgentRun]) -> Markup:
    curves: dict[str, list[float | None]] = {}
    for number, run in enumerate(runs, 1):
        cells = [_cell(run, _of_difficulty(n)) for n in DIFFICULTIES]
        name = f"{number}. {escape_for_display(run.agent, columns=80)}"
        curves[name] = [fixed / there if there else None for fixed, there in cells]
    return share_curves("difficulty", [str(n) for n in DIFFICULTIES], curves)

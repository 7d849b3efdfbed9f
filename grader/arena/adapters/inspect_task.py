"""The arena's tasks under Inspect: its models and logs, our desk as tools, our marks as scores.

    inspect eval grader/arena/adapters/inspect_task.py@find_bugs -T drawn=DIR --model ...

The model has five tools and no shell: the file lies in this process, and is run in a confined worker alone.  Needs the
extra `arena`.  What is planted stands in the scores of a log, so a log is kept like the sealed parts.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio import to_thread
from inspect_ai import Task, task
from inspect_ai.agent import react
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import Tool, ToolError, tool
from inspect_ai.util import StoreModel, store_as

from grader.arena import scorer as marking
from grader.arena.arena_task import PublicTask, SealedTask, read_public, read_sealed, task_folders
from grader.arena.bench import Benches
from grader.arena.desk import Desk, DeskError
from grader.content import Catalogue

_T = TypeVar("_T")

INSTRUCTIONS = """The file {file} has several bugs; it may also hold code that looks wrong and is right. Find the bugs
and mend them with the tools. You are marked by the bugs that are mended, on inputs that you do not see, and by how much
of what you changed stands at a bug: change no more than it takes. Name the lines of a bug with suspect_lines before you
change anything. Submit when you are done.

What went wrong in use:
{symptoms}

What the file must do:

{brief}
"""


class Work(StoreModel):
    """What a sample's tools know of it: the key of its desk."""

    key: str = ""


class Office:
    """The tasks of one evaluation and the desks of its samples, several of which may be under way."""

    def __init__(self, drawn: Path, sealed: Path | None, runs: int | None) -> None:
        known = Catalogue()
        folders = task_folders(drawn)
        self.public: dict[str, PublicTask] = {}
        self.kept: dict[str, SealedTask] = {}
        for folder in folders:
            public = read_public(folder, known)
            self.public[public.id] = public
            self.kept[public.id] = read_sealed(folder, sealed)
        challenges = {public.challenge for public in self.public.values()}
        self.benches = Benches(known, most=len(challenges))
        self.scorer = marking.Scorer(self.benches, parallel=1)
        self._runs = runs
        self._desks: dict[str, Desk] = {}
        atexit.register(self.benches.close)

    async def open(self, key: str, name: str) -> None:
        """Give a sample a desk."""
        public = self.public[name]
        bench = await to_thread.run_sync(self.benches.of, public.challenge)
        self._desks[key] = Desk(public, bench, most_runs=self._runs)

    def desk(self, key: str) -> Desk:
        """Return the desk of a sample."""
        return self._desks[key]

    def close(self, key: str) -> Desk:
        """Return the desk of a sample that is done, and forget it."""
        return self._desks.pop(key)


@task
def find_bugs(drawn: str, sealed: str | None = None, runs: int | None = None) -> Task:
    """Find and mend the bugs in files that `kvdojo arena draw` wrote.

    Args:
        drawn: The folder that was drawn, or one task of it.
        sealed: The folder of sealed parts, where it is not beside the public ones.
        runs: So many runs of the cases a sample has; any number by default.
    """
    office = Office(Path(drawn), Path(sealed) if sealed else None, runs)
    return Task(
        dataset=MemoryDataset([_sample(public) for public in office.public.values()]),
        setup=sit_down(office),
        solver=react(
            tools=[
                read_file(office),
                replace_text(office),
                run_cases(office),
                trace_case(office),
                suspect_lines(office),
            ]
        ),
        scorer=arena_marks(office),
        message_limit=200,
        version=1,
    )


def _sample(public: PublicTask) -> Sample:
    told = "\n".join(f"- {s.case} ({s.title}): {s.saw}" for s in public.symptoms)
    text = INSTRUCTIONS.format(file=public.file, symptoms=told, brief=public.brief)
    return Sample(
        id=public.id, input=text, metadata={"task": public.id, "challenge": public.challenge}
    )


@solver
def sit_down(office: Office) -> Solver:
    """Give each sample a desk of its own."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        key = f"{state.uuid}"
        state.store_as(Work).key = key
        await office.open(key, state.metadata["task"])
        return state

    return solve


async def _at_desk(office: Office, ask: Callable[[Desk], _T]) -> _T:
    """Ask something of the sample's desk, in a thread; what it refuses is told to the model."""
    try:
        return await to_thread.run_sync(ask, office.desk(store_as(Work).key))
    except DeskError as error:
        raise ToolError(str(error)) from None


@tool
def read_file(office: Office) -> Tool:
    """Return the tool that shows the file."""

    async def execute(first: int = 1, last: int = 100000) -> str:
        """Show lines of the file with their numbers.

        Args:
            first: The first line, from 1.
            last: The last line; the whole file by default.
        """
        return await _at_desk(office, lambda desk: desk.read(first, last))

    return execute


@tool
def replace_text(office: Office) -> Tool:
    """Return the tool that changes the file."""

    async def execute(old: str, new: str) -> str:
        """Replace a passage of the file.

        Args:
            old: The exact passage, without line numbers; it must stand in the file once.
            new: What stands there instead.
        """
        await _at_desk(office, lambda desk: desk.replace(old, new))
        return "Replaced."

    return execute


@tool
def run_cases(office: Office) -> Tool:
    """Return the tool that runs the published cases."""

    async def execute(cases: str = "") -> str:
        """Run the published cases and say which fail.

        Args:
            cases: Ids of cases with commas between them; all cases by default.
        """
        names = [name.strip() for name in cases.split(",") if name.strip()]
        return await _at_desk(office, lambda desk: desk.run(names).text())

    return execute


@tool
def trace_case(office: Office) -> Tool:
    """Return the tool that looks inside a case."""

    async def execute(case: str) -> str:
        """Say where inside a case the file first departs from right numbers.

        Args:
            case: Id of the case.
        """
        return await _at_desk(office, lambda desk: desk.trace(case))

    return execute


@tool
def suspect_lines(office: Office) -> Tool:
    """Return the tool that names a place."""

    async def execute(first: int, last: int, why: str) -> str:
        """Name lines that you suppose hold a bug, before anything is changed.

        Args:
            first: The first line.
            last: The last line; at most 12 lines in all.
            why: What is wrong there, in a few words.
        """
        await _at_desk(office, lambda desk: desk.suspect(first, last, why))
        return "Noted."

    return execute


@scorer(
    metrics={
        "solved": [mean(), stderr()],
        "recall": [mean(), stderr()],
        "recall_weighted": [mean(), stderr()],
        "precision": [mean(), stderr()],
        "f1": [mean(), stderr()],
        "localisation": [mean()],
        "decoys_touched": [mean()],
        "false_fixes": [mean()],
        "regressions": [mean()],
        "reward": [mean(), stderr()],
    }
)
def arena_marks(office: Office) -> Scorer:
    """Return the scorer: the marks of what lies on the desk at the end."""

    async def score(state: TaskState, target: Target) -> Score:
        desk = office.close(state.store_as(Work).key)
        attempt = desk.attempt or desk.submit()
        kept = office.kept[state.metadata["task"]]
        marks = await to_thread.run_sync(partial(office.scorer.score, kept, attempt))
        if not marks.judged:
            raise RuntimeError(f"{marks.task}: could not be judged, through no fault of the file")
        value: dict[str, Any] = {
            "solved": float(marks.solved),
            "recall": marks.recall,
            "recall_weighted": marks.recall_weighted,
            "precision": marks.precision,
            "f1": marks.f1,
            "localisation": marks.localisation or 0.0,
            "decoys_touched": marks.decoys_touched,
            "false_fixes": marks.false_fixes,
            "regressions": marks.regressions,
            "reward": marks.reward,
        }
        told = ", ".join(f"{bug.id} {bug.status}" for bug in marks.bugs)
        return Score(
            value=value,
            answer=attempt.source.decode("utf-8", "replace"),
            explanation=f"{marks.verdict}: {told}",
            metadata=marks.document(),
        )

    return score

"""A desk at which an agent works on one task: read, replace, run, trace, suspect, submit; and a count of each.

The desk knows the public part alone.  What it says of a run is what a user would see, and of a trace where the numbers
first differ: neither names a bug of the catalogue, nor says which known mistake looks alike.

    desk = Desk(task, benches.of(task.challenge))
    print(desk.run().text())              0 of 65 cases pass ...
    desk.suspect(118, 118, "no scale")    before anything is changed
    desk.replace("scores = q @ k", "scores = q @ k * self.scale")
    attempt = desk.submit()
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from grader.arena.arena_task import PublicTask, Symptom
from grader.arena.bench import Bench, without_bugs
from grader.diagnose.trace_case import trace_case
from grader.ground.display import escape_for_display, escape_lines
from grader.ground.errors import UserError
from grader.ground.limits import MAX_SOURCE_BYTES
from grader.judge.result import CaseResult, redacted

MOST_SHOWN = 5  # failing cases that a run tells of
MOST_LINES = 12  # of a place that is named: whoever names the whole file has named nothing
MOST_SUSPICIONS = 20


class DeskError(UserError):
    """Something asked of a desk that it does not do; the text is for the agent."""


@dataclass(frozen=True)
class Suspicion:
    """Lines of the file as it was given, from 1, in which an agent supposes a bug."""

    first: int
    last: int
    why: str = ""


@dataclass(frozen=True)
class Attempt:
    """What an agent handed in, and what it did before; `seconds` are those at the desk."""

    source: bytes
    suspicions: tuple[Suspicion, ...] = ()
    looks: int = 0
    runs: int = 0
    edits: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class RunReport:
    """What a run of the published cases came to; `failing` are the first few that failed."""

    passed: int
    failed: int
    failing: tuple[Symptom, ...]
    printed: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it as an agent reads it."""
        lines = [f"{self.passed} of {self.passed + self.failed} cases pass."]
        lines += [f"- {s.case} ({s.title}): {s.saw}" for s in self.failing]
        if (more := self.failed - len(self.failing)) > 0:
            lines.append(f"- {more} more cases fail.")
        if self.printed:
            lines += ["The file printed:", *self.printed]
        return "\n".join(lines)


class Desk:
    """One agent's work on one task; used once, from one thread.  What it refuses raises DeskError."""

    def __init__(self, task: PublicTask, bench: Bench, *, most_runs: int | None = None) -> None:
        self.task = task
        self._bench = bench
        self._challenge = without_bugs(bench.challenge)
        self._source = task.source
        self._suspicions: list[Suspicion] = []
        self._looks = self._runs = self._edits = 0
        self._most_runs = most_runs
        self._began = time.monotonic()
        self.attempt: Attempt | None = None  # once the file is handed in

    @property
    def source(self) -> str:
        """The file as it is now; asking for it is a look."""
        self._open()
        self._looks += 1
        return self._source

    def read(self, first: int = 1, last: int | None = None) -> str:
        """Return lines of the file with their numbers, from 1."""
        lines = self.source.splitlines()
        end = len(lines) if last is None else last
        if not 1 <= first <= end:
            raise DeskError(f"there are lines 1 to {len(lines)}")
        shown = lines[first - 1 : end]
        return "\n".join(f"{number:4} {line}" for number, line in enumerate(shown, first))

    def replace(self, old: str, new: str) -> None:
        """Replace a passage that stands in the file exactly once."""
        self._open()
        found = self._source.count(old) if old else 0
        if found != 1:
            raise DeskError(f"that passage stands in the file {found} times, not once")
        made = self._source.replace(old, new)
        if len(made.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
            raise DeskError(f"the file would be larger than {MAX_SOURCE_BYTES >> 10} KiB")
        try:
            made.encode()
        except UnicodeEncodeError:
            raise DeskError("the new text holds half of a surrogate pair") from None
        self._edits += 1
        self._source = made

    def run(self, cases: Sequence[str] = ()) -> RunReport:
        """Run the published cases, or some of them by id."""
        self._open()
        for name in cases:
            self._case(name)
        if self._most_runs is not None and self._runs >= self._most_runs:
            raise DeskError(f"there are no more than {self._most_runs} runs")
        self._runs += 1
        result = self._bench.published(self._challenge, self._source, cases)
        wrong = [case for case in result.cases if case.status == "failed"]
        return RunReport(
            sum(case.status == "passed" for case in result.cases),
            len(wrong),
            tuple(map(symptom, wrong[:MOST_SHOWN])),
            tuple(escape_lines(result.log)) if result.log else (),
        )

    def trace(self, case: str) -> str:
        """Say where the file first departs from right numbers in a case."""
        self._open()
        found = self._challenge.cases[self._case(case)]
        self._looks += 1
        made = trace_case(self._bench.sandbox, self._challenge, found, self._source.encode())
        if made.divergence is None:
            return escape_for_display(made.ended or "Nothing differs in this case.")
        return escape_for_display(made.divergence.sentence())

    def suspect(self, first: int, last: int | None = None, why: str = "") -> None:
        """Name lines of the file that hold a bug, by the numbers they had in the file as it was given."""
        self._open()
        end = first if last is None else last
        lines = len(self.task.source.splitlines())
        if self._edits:
            raise DeskError("name places before you change anything: their lines are then known")
        if not 1 <= first <= end <= lines:
            raise DeskError(f"there are lines 1 to {lines}")
        if end - first >= MOST_LINES:
            raise DeskError(f"a place has at most {MOST_LINES} lines")
        if len(self._suspicions) >= MOST_SUSPICIONS:
            raise DeskError(f"there are no more than {MOST_SUSPICIONS} places to name")
        self._suspicions.append(Suspicion(first, end, escape_for_display(why)))

    def submit(self) -> Attempt:
        """Hand the file in; the desk is then closed."""
        self._open()
        self.attempt = Attempt(
            self._source.encode(),
            tuple(self._suspicions),
            self._looks,
            self._runs,
            self._edits,
            time.monotonic() - self._began,
        )
        return self.attempt

    def _open(self) -> None:
        if self.attempt is not None:
            raise DeskError("the file was handed in already")

    def _case(self, name: str) -> str:
        if name not in self._challenge.cases:
            raise DeskError(f"there is no case {escape_for_display(str(name), columns=80)!r}")
        return name


def symptom(case: CaseResult) -> Symptom:
    """Return what a user sees of a failed case: what came back, and nothing about known mistakes."""
    cause = redacted(case)
    saw = cause.rationale
    if cause.expected is not None and cause.actual is not None:
        saw = f"{saw} Expected {cause.expected}, got {cause.actual}."
    return Symptom(case.id, case.title, escape_for_display(saw))

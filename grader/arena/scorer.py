"""Mark attempts: what became of each planted bug, what was broken, how much of the edit was at the bugs.

A file is judged on secret inputs alone, the same ones for all tasks of a draw, so that nothing is won by knowing the
published ones; and so is the file as it was given, once, to see what an attempt has broken.  A bug counts as fixed as
in every grading (`judge/bug_status.py`), with one addition: the code of a bug may be right again in a file that is
broken as a whole.  Where cases that passed before fail now, or where no bug is left and the file fails all the same, a
bug is `undone` when none of the cases passes that catch it and no other bug that is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from grader.arena.arena_task import PlantedFile, SealedTask, restored
from grader.arena.bench import Bench, Benches
from grader.arena.desk import Attempt, Suspicion
from grader.arena.edit_precision import EditCount, Places, bug_places, count_edit
from grader.arena.marks import BugMark, Marks
from grader.content.bug_detection import entry_status
from grader.content.handed_in import source_of
from grader.content.statements import VersionsOf
from grader.judge.result import Result


@dataclass(frozen=True)
class KnownTask:
    """What is worked out once for a task: its file, where the bugs stand, and which cases pass as it was given."""

    file: PlantedFile
    given: VersionsOf
    places: Places
    passing: frozenset[str]


class Scorer:
    """Marks attempts at tasks; warm from the second one of a challenge on.

    `parallel` is the number of cases that are run side by side.  Raises ContentError for a task whose challenge has
    changed since it was drawn, and GraderError where files cannot be judged here.
    """

    def __init__(self, benches: Benches, *, parallel: int = 2) -> None:
        self._benches, self._parallel = benches, parallel
        self._known: dict[tuple[str, str, int], KnownTask] = {}

    def score(self, task: SealedTask, attempt: Attempt) -> Marks:
        """Return the marks of one attempt; their verdict is "error" where something of ours failed twice."""
        known = self.known(task)
        bench = self._benches.of(task.challenge)
        result = self._judged(bench, known.file, attempt.source, task.inputs)
        if result.verdict == "error":
            bench = self._benches.renew(task.challenge)
            result = self._judged(bench, known.file, attempt.source, task.inputs)
        name = known.file.challenge.file
        text = source_of(attempt.source, name, name).decode("utf-8", "replace")
        broken = self._broken(task, known, bench, result)
        states = bug_states(known.file, result, len(broken))
        told = {decoy.id: decoy.status for decoy in result.decoys}
        if not result.bugs:  # not made from the task's file, as far as a grading goes
            told = entry_status(known.file.challenge, text)
        edit = count_edit(known.given, known.places, text)
        return Marks(
            task=task.id,
            challenge=task.challenge,
            disguised=task.disguise is not None,
            verdict=result.verdict,
            bugs=tuple(
                BugMark(
                    *(bug.id, bug.family, bug.difficulty, bug.generated, states[bug.id]),
                    located=any(_hits(said, bug.lines) for said in attempt.suspicions),
                )
                for bug in task.bugs
            ),
            decoys=sum(decoy.id in told for decoy in task.decoys),
            decoys_touched=sum(told.get(decoy.id, "present") != "present" for decoy in task.decoys),
            regressions=len(broken),
            changed=edit.changed if edit else None,
            inside=(edit or EditCount(0, 0)).inside,
            suspicions=len(attempt.suspicions),
            suspicions_right=sum(
                any(_hits(said, bug.lines) for bug in task.bugs) for said in attempt.suspicions
            ),
            looks=attempt.looks,
            runs=attempt.runs,
            edits=attempt.edits,
            seconds=attempt.seconds,
            isolation=result.isolation,
        )

    def known(self, task: SealedTask) -> KnownTask:
        """Return what is worked out once for a task."""
        key = (task.challenge, task.sha256, task.inputs)
        if key not in self._known:
            file = restored(self._benches.catalogue, task)
            bench = self._benches.of(task.challenge)
            given = self._judged(bench, file, file.source.encode(), task.inputs)
            passing = frozenset(case.id for case in given.cases if case.status == "passed")
            versions = VersionsOf(file.source)
            self._known[key] = KnownTask(file, versions, bug_places(file, versions), passing)
        return self._known[key]

    def _broken(
        self, task: SealedTask, known: KnownTask, bench: Bench, result: Result
    ) -> list[str]:
        """Return the cases that an attempt has broken, and no bug that is left, nor some of these together."""
        broken = broken_cases(known.file, result, known.passing)
        fixed = [bug.id for bug in result.bugs if bug.status == "fixed"]
        if not broken or not 0 < len(fixed) < len(result.bugs):
            return broken
        # on these inputs a bug that is left may fail other cases than it was recorded to fail
        others = known.file.without(*fixed).encode()
        left = self._judged(bench, known.file, others, task.inputs)
        theirs = {case.id for case in left.cases if case.status == "failed"}
        return [case for case in broken if case not in theirs]

    def _judged(self, bench: Bench, file: PlantedFile, source: bytes, inputs: int) -> Result:
        return bench.secretly(file.challenge, source, inputs, self._parallel)


def broken_cases(file: PlantedFile, result: Result, passing: Collection[str]) -> list[str]:
    """Return the cases that an attempt has broken: they passed as the file was given, and now fail.

    A case that a bug which is left was recorded to fail alone is none of them: it passed since another hid that one.
    """
    left = [bug.id for bug in result.bugs if bug.status != "fixed"]
    theirs = {case for name in left for case in file.challenge.bugs[name].witnesses}
    failed = (case.id for case in result.cases if case.status == "failed")
    return [case for case in failed if case in passing and case not in theirs]


def bug_states(file: PlantedFile, result: Result, broken: int) -> Mapping[str, str]:
    """Return the status of each planted bug; `broken` is the number of cases that the attempt has broken."""
    found = {bug.id: bug.status for bug in result.bugs}
    if not found:
        # not made from the task's file: nothing can be told bug by bug
        solved = result.verdict == "passed"
        return dict.fromkeys(file.planting.bugs, "fixed" if solved else "unknown")
    left = [name for name, status in found.items() if status != "fixed"]
    if not broken and (left or result.verdict != "failed"):
        return found
    bugs = file.challenge.bugs
    disturbed = {case for name in left for case in bugs[name].witnesses}
    states = {case.id: case.status for case in result.cases}
    for name in found.keys() - set(left):
        telling = [states[c] for c in bugs[name].witnesses if c in states and c not in disturbed]
        if telling and "passed" not in telling:
            found[name] = "undone"
    return found


def _hits(said: Suspicion, lines: Sequence[tuple[int, int]]) -> bool:
    return any(said.first <= last and first <= said.last for first, last in lines)

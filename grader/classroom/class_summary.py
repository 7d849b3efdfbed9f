"""Summarise a class from the results of a batch: scores, bugs, cases that separate learners, files that are alike.

Read from the result documents, one at a time, so that a large class needs little memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from sys import intern
from typing import Any

import numpy as np

from grader.classroom.batch_plan import BatchPlan, PlannedSubmission
from grader.classroom.batch_store import BatchStore
from grader.classroom.bug_difficulty import Difficulty, difficulties
from grader.classroom.class_variants import ClassVariants, began_as, class_challenge
from grader.classroom.similarity import SimilarGroup, similar_groups
from grader.content import Challenge
from grader.content.handed_in import source_of

BINS = 10
FEWEST = 5  # learners on either side of a case below which a correlation is noise


@dataclass(frozen=True)
class SubmissionRow:
    """One submission; statuses are in the order of the challenge's cases and bugs, empty where unknown."""

    entry: PlannedSubmission
    state: str  # a verdict, "interrupted" or "waiting"
    score: float
    max_score: float
    seconds: float
    why: str
    cases: tuple[str, ...]
    bugs: tuple[str, ...]
    tracked: bool = True  # False where it is not known which bugs the file began with

    @property
    def judged(self) -> bool:
        """Whether there is a verdict on the learner's work."""
        return self.state in ("passed", "failed")

    @property
    def share(self) -> float:
        """Marks reached, of those that could be."""
        return self.score / self.max_score if self.max_score else 0.0

    @property
    def left(self) -> int:
        """Bugs still there; code that is neither right nor as planted counts only where a case failed."""
        states = ("present",) if self.state == "passed" else ("present", "changed")
        return sum(state in states for state in self.bugs)


@dataclass(frozen=True)
class BugCounts:
    """How many learners mended a bug, and how many still have it, as planted or changed.

    `difficulty` is how hard it was for this class, None where too few learners tell; `declared` is what its author
    says, from 1 on.  `planted` counts the learners with a verdict whose file began with it, as far as is known.
    """

    id: str
    title: str
    fixed: int
    present: int
    changed: int
    unknown: int
    declared: int = 0
    difficulty: Difficulty | None = None
    planted: int = 0


@dataclass(frozen=True)
class CaseCounts:
    """How many passed a case, and how its outcome goes with that of all others (-1 to 1, None if unknown)."""

    id: str
    title: str
    passed: int
    failed: int
    separates: float | None


@dataclass(frozen=True)
class ClassSummary:
    """Everything the class report shows.

    Where the learners began with generated bugs of their own (`variants`), `challenge` holds those of all of them.
    """

    challenge: Challenge
    rows: tuple[SubmissionRow, ...]
    counts: dict[str, int]
    bins: tuple[int, ...]  # learners per tenth of the marks, full marks in the last
    bugs: tuple[BugCounts, ...]
    cases: tuple[CaseCounts, ...]
    alike: tuple[SimilarGroup, ...]
    variants: ClassVariants | None = None

    @property
    def untracked(self) -> list[SubmissionRow]:
        """The submissions of which nothing can be told of bugs, since they are not in the table of variants."""
        return [row for row in self.rows if not row.tracked]

    @property
    def judged(self) -> list[SubmissionRow]:
        """The submissions with a verdict on the learner's work."""
        return [row for row in self.rows if row.judged]

    @property
    def median(self) -> float | None:
        """The middle of the shares of marks."""
        shares = [row.share for row in self.judged]
        return float(np.median(shares)) if shares else None


def summarise_class(challenge: Challenge, plan: BatchPlan, store: BatchStore) -> ClassSummary:
    """Read all results of a batch; raises UserError where its variants cannot be told any more."""
    begun, variants = store.interrupted(), plan.variants
    challenge = class_challenge(challenge, variants)
    rows = tuple(_row(challenge, entry, store, begun) for entry in plan.entries)
    if variants is not None:
        rows = tuple(replace(row, tracked=row.entry.id in variants.learners) for row in rows)
    judged = [row for row in rows if row.judged]
    sources = {row.entry.id: row.entry for row in judged}

    def source(name: str) -> bytes:
        return source_of(store.source(sources[name]), sources[name].file, challenge.file)

    return ClassSummary(
        challenge=challenge,
        rows=rows,
        counts=dict(Counter(row.state for row in rows)),
        bins=_bins(judged),
        bugs=_bugs(challenge, judged, variants),
        cases=_cases(challenge, judged),
        alike=tuple(similar_groups(challenge, sources, source, _given(challenge, variants))),
        variants=variants,
    )


def _given(challenge: Challenge, variants: ClassVariants | None) -> set[str]:
    """Return the texts that learners began with beside the starter."""
    return {began_as(challenge, one) for one in variants.learners.values()} if variants else set()


def _row(
    challenge: Challenge, entry: PlannedSubmission, store: BatchStore, begun: set[str]
) -> SubmissionRow:
    document = store.result(entry)
    if document is None:
        state = "interrupted" if entry.id in begun else "waiting"
        return SubmissionRow(entry, state, 0, 0, 0.0, "", (), ())
    cases = {case["id"]: case for case in document["cases"]}
    bugs = {bug["id"]: intern(bug["status"]) for bug in document["bugs"]}
    return SubmissionRow(
        entry,
        intern(document["verdict"]),
        document["score"],
        document["max_score"],
        document["seconds"],
        _why(document) if document["verdict"] == "error" else "",
        tuple(intern(cases[name]["status"]) if name in cases else "" for name in challenge.cases),
        tuple(bugs.get(name, "") for name in challenge.bugs),
    )


def _why(document: dict[str, Any]) -> str:
    causes = [case for case in document["cases"] if case["cause"]]
    if not causes:
        return ""
    return str(causes[0].get("unjudged_because", causes[0]["cause"]["rationale"]))


def _bins(judged: Sequence[SubmissionRow]) -> tuple[int, ...]:
    found = Counter(min(BINS - 1, int(row.share * BINS)) for row in judged)
    return tuple(found[at] for at in range(BINS))


def _bugs(
    challenge: Challenge, judged: Sequence[SubmissionRow], variants: ClassVariants | None
) -> tuple[BugCounts, ...]:
    """Count the bugs that this class can have met: the starter's, and all that stand in some file.

    Where the learners began with bugs of their own, it is those, and a bug is counted only for who began with it.
    """
    usual: Collection[str] = usual_bugs(challenge) if variants is None else ()
    given = Counter(
        name for row in judged for name in (variants.bugs_of(row.entry.id) if variants else ())
    )
    met = []
    for at, bug in enumerate(challenge.bugs.values()):
        states = Counter(row.bugs[at] for row in judged)
        there = bug.id in usual or given[bug.id] or states["present"] or states["changed"]
        if bug.kind == "bug" and there:
            met.append((at, bug, states))
    mended = [[_mended(row, at) for at, _, _ in met] for row in judged]
    hard = difficulties(np.array(mended, np.float64).reshape(len(judged), len(met)))
    lines = [
        BugCounts(
            *(bug.id, bug.title),
            *(states["fixed"], states["present"], states["changed"], states["unknown"]),
            declared=bug.difficulty,
            difficulty=difficulty,
            planted=len(judged) if variants is None else given[bug.id],
        )
        for (_, bug, states), difficulty in zip(met, hard, strict=True)
    ]
    return tuple(sorted(lines, key=lambda line: (line.fixed / max(1, line.planted), line.id)))


def usual_bugs(challenge: Challenge) -> tuple[str, ...]:
    """Return the bugs that a class begins with, as far as is known: those of the default starter."""
    return challenge.presets["default"].bugs if "default" in challenge.presets else ()


def _mended(row: SubmissionRow, at: int) -> float:
    """Return 1 where a learner mended a bug, 0 where not, NaN where it cannot be told; `left` counts alike."""
    state = row.bugs[at]
    if state == "changed":
        return float(row.state == "passed")
    return {"fixed": 1.0, "present": 0.0}.get(state, np.nan)


def _cases(challenge: Challenge, judged: Sequence[SubmissionRow]) -> tuple[CaseCounts, ...]:
    names = list(challenge.cases)
    marks = np.array(
        [[{"passed": 1.0, "failed": 0.0}.get(s, np.nan) for s in row.cases] for row in judged]
    ).reshape(len(judged), len(names))
    lines = []
    for at, name in enumerate(names):
        mine = marks[:, at]
        passed, failed = int((mine == 1).sum()), int((mine == 0).sum())
        separates = _separates(marks, at) if min(passed, failed) >= FEWEST else None
        lines.append(CaseCounts(name, challenge.cases[name].title, passed, failed, separates))
    return tuple(sorted(lines, key=lambda line: -9 if line.separates is None else line.separates))[
        ::-1
    ]


def _separates(marks: np.ndarray[Any, np.dtype[np.float64]], at: int) -> float | None:
    """Correlate a case with the share of the other cases that the same learners passed."""
    there = ~np.isnan(marks[:, at])
    others = np.delete(marks[there], at, axis=1)
    counted = ~np.isnan(others)
    share = np.where(counted, others, 0).sum(1) / np.maximum(1, counted.sum(1))
    mine = marks[there, at]
    if not mine.std() or not share.std():
        return None
    return float(np.corrcoef(mine, share)[0, 1])

"""The marks of one attempt at one task, as values and as a document.

recall            bugs that are mended, of those planted
recall_weighted   the same, a bug of difficulty 4 counting four times
precision         of the statements that were changed, those at a planted bug (`edit_precision`)
f1                the harmonic mean of recall and precision
solved            whether every case passes on secret inputs, and random scenarios, too
decoys_touched    planted decoys that were changed, though they were right
false_fixes       planted bugs whose code was changed and is still wrong
regressions       cases that the file passed as it was given, and that it now fails, on the same secret inputs
localisation      bugs whose lines were named before anything was changed, of those planted; None if none was named
reward            one number between 0 and 1, for training; see `reward_of`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

MARKS_SCHEMA, RUN_SCHEMA = "kvdojo/arena-marks/v1", "kvdojo/arena-run/v1"


@dataclass(frozen=True)
class BugMark:
    """What became of one planted bug.

    `status` is fixed, present (as planted), changed or unknown (changed and still wrong), or undone: its own code is
    right again, and yet no case that catches it alone passes.
    """

    id: str
    family: str
    difficulty: int
    generated: bool
    status: str
    located: bool


@dataclass(frozen=True)
class Marks:
    """All marks of one attempt; `changed` is None for a file that cannot be parsed."""

    task: str
    challenge: str
    disguised: bool
    verdict: str
    bugs: tuple[BugMark, ...]
    decoys: int
    decoys_touched: int
    regressions: int
    changed: int | None
    inside: int
    suspicions: int
    suspicions_right: int
    looks: int
    runs: int
    edits: int
    seconds: float
    isolation: tuple[str, ...]

    @property
    def judged(self) -> bool:
        """Whether these are marks at all: False where something of ours failed."""
        return self.verdict != "error"

    @property
    def solved(self) -> bool:
        """Whether everything passes."""
        return self.verdict == "passed"

    @property
    def fixed(self) -> int:
        """The number of planted bugs that are mended."""
        return sum(bug.status == "fixed" for bug in self.bugs)

    @property
    def recall(self) -> float:
        """Mended bugs of those planted."""
        return self.fixed / len(self.bugs)

    @property
    def recall_weighted(self) -> float:
        """Mended bugs of those planted, each weighed by its difficulty."""
        mended = sum(bug.difficulty for bug in self.bugs if bug.status == "fixed")
        return mended / sum(bug.difficulty for bug in self.bugs)

    @property
    def precision(self) -> float:
        """Changed statements at a bug, of all that were changed; 0 where nothing was."""
        return self.inside / self.changed if self.changed else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of recall and precision."""
        return harmonic(self.recall, self.precision)

    @property
    def false_fixes(self) -> int:
        """Planted bugs that were changed and are still wrong."""
        return sum(bug.status in ("changed", "unknown", "undone") for bug in self.bugs)

    @property
    def localisation(self) -> float | None:
        """Bugs whose place was named, of those planted; None where no place was named."""
        return sum(bug.located for bug in self.bugs) / len(self.bugs) if self.suspicions else None

    @property
    def reward(self) -> float:
        """One number for training."""
        return reward_of(self)

    def document(self) -> dict[str, Any]:
        """Return `kvdojo/arena-marks/v1`."""
        return {
            "schema": MARKS_SCHEMA,
            "task": self.task,
            "challenge": self.challenge,
            "disguised": self.disguised,
            "verdict": self.verdict,
            "solved": self.solved,
            "recall": self.recall,
            "recall_weighted": self.recall_weighted,
            "precision": self.precision,
            "f1": self.f1,
            "reward": self.reward,
            "decoys": self.decoys,
            "decoys_touched": self.decoys_touched,
            "false_fixes": self.false_fixes,
            "regressions": self.regressions,
            "localisation": self.localisation,
            "statements": {"changed": self.changed, "inside": self.inside},
            "suspicions": {"named": self.suspicions, "right": self.suspicions_right},
            "looks": self.looks,
            "runs": self.runs,
            "edits": self.edits,
            "seconds": round(self.seconds, 3),
            "isolation": list(self.isolation),
            "bugs": [vars(bug) for bug in self.bugs],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read marks back from a valid document; what follows from other marks is worked out anew."""
        known = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return cls(
            **{
                **known,
                "bugs": tuple(BugMark(**bug) for bug in document["bugs"]),
                "isolation": tuple(document["isolation"]),
                **document["statements"],
                "suspicions": document["suspicions"]["named"],
                "suspicions_right": document["suspicions"]["right"],
            }
        )


def harmonic(one: float, other: float) -> float:
    """Return the harmonic mean of two shares.

    >>> harmonic(1.0, 0.5)
    0.6666666666666666
    """
    return 2 * one * other / (one + other) if one + other else 0.0


def reward_of(marks: Marks) -> float:
    """Return 0.8 of the weighted F1 and 0.2 of the precision of a solved file, less 0.1 per decoy touched.

    It is 0 at least, and 0 for a file that was not isolated.  A reference that is pasted solves the file and gets next
    to nothing, since nearly all of its statements are elsewhere.
    """
    if not marks.judged or not marks.isolation:
        return 0.0
    found = 0.8 * harmonic(marks.recall_weighted, marks.precision)
    found += 0.2 * marks.precision * marks.solved
    return max(0.0, round(found - 0.1 * marks.decoys_touched, 6))


def run_document(agent: str, marks: list[Marks]) -> dict[str, Any]:
    """Return `kvdojo/arena-run/v1`: one agent's marks."""
    return {"schema": RUN_SCHEMA, "agent": agent, "marks": [one.document() for one in marks]}

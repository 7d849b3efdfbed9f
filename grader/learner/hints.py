"""Choose the next hint: for one bug that is still in the file, one level plainer than the last one.

The choice depends on what was planted, what the file still holds and what failed in the last grading; nothing is run
here.  That grading is remembered beside the learner's file, so that the hint is about what failed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256

from grader.content import Bug, Challenge
from grader.content.bug_detection import bug_status
from grader.ground.strict_json import parse_strict
from grader.learner.work_folder import WorkError, WorkFolder, write_work_file

GRADED = ".graded.json"
SCHEMA = "kvdojo/graded/v1"


@dataclass(frozen=True)
class LastGrading:
    """What is remembered of a grading: the cases not passed, the most telling first, and those passed."""

    failed: tuple[str, ...]
    passed: tuple[str, ...]


@dataclass(frozen=True)
class Hint:
    """One hint; `changed` says that the place was edited, but not to what the reference has."""

    bug: Bug
    level: int
    changed: bool
    cost: int

    @property
    def text(self) -> str:
        """The hint itself."""
        return self.bug.hints[self.level - 1]

    @property
    def last(self) -> bool:
        """Whether there is no plainer one."""
        return self.level == len(self.bug.hints)


def next_hint(
    challenge: Challenge,
    source: str,
    *,
    planted: Collection[str] | None,
    seen: Mapping[str, int],
    graded: LastGrading | None = None,
    case: str | None = None,
    level: int | None = None,
) -> Hint | None:
    """Return the hint for a file's text, or None when no bug is left that can be spoken of.

    `planted` are the bugs the file came with, where that is known; `seen` the levels given so far; `graded` what the
    grading of this very text gave; `case` asks for a bug that this case finds.
    """
    states = bug_states(challenge, source, planted)
    left = _bugs_left(challenge, states, graded)
    if case is not None:
        left = [bug for bug in left if case in bug.witnesses]
    if not left:
        return None
    first = graded.failed[0] if graded and graded.failed else None
    bug = min(
        left, key=lambda bug: (not seen.get(bug.id), first not in bug.witnesses, bug.difficulty)
    )
    level = min(level or seen.get(bug.id, 0) + 1, len(bug.hints))
    cost = challenge.hint_costs[level - 1] if level > seen.get(bug.id, 0) else 0
    return Hint(bug, level, states[bug.id] != "present", cost)


def bug_states(
    challenge: Challenge, source: str, planted: Collection[str] | None
) -> Mapping[str, str]:
    """Return what the file says of each bug, of the planted ones when those are known."""
    states = bug_status(challenge, source)
    return states if planted is None else {bug: states[bug] for bug in planted if bug in states}


def points_spent(challenge: Challenge, seen: Mapping[str, int]) -> int:
    """Return what the hints seen so far cost together, in points."""
    return sum(sum(challenge.hint_costs[:level]) for level in seen.values())


def _bugs_left(
    challenge: Challenge, states: Mapping[str, str], graded: LastGrading | None
) -> list[Bug]:
    """Return bugs that are surely there; else those edited into something still wrong; else those that only show."""
    bugs = [challenge.bugs[name] for name in states]
    present = [bug for bug in bugs if states[bug.id] == "present"]
    changed = [bug for bug in bugs if states[bug.id] == "changed" and _may_be_left(bug, graded)]
    anew = [bug for bug in bugs if states[bug.id] == "unknown" and _shows(bug, graded)]
    return present or changed or anew


def _may_be_left(bug: Bug, graded: LastGrading | None) -> bool:
    """Whether the cases of a changed bug speak against the edit: it may be right although it is not the reference's."""
    return graded is None or not set(bug.witnesses).isdisjoint(graded.failed)


def _shows(bug: Bug, graded: LastGrading | None) -> bool:
    """Whether a bug shows in code that was written anew: some of its cases fail, and none passes."""
    found = set(bug.witnesses)
    return (
        graded is not None
        and not found.isdisjoint(graded.failed)
        and found.isdisjoint(graded.passed)
    )


def remember_grading(work: WorkFolder, source: bytes, graded: LastGrading) -> None:
    """Keep a grading beside the learner's file; where it cannot be written, hints are only less well aimed."""
    document = {
        "schema": SCHEMA,
        "sha256": sha256(source).hexdigest(),
        "failed": list(graded.failed),
        "passed": list(graded.passed),
    }
    with contextlib.suppress(WorkError):
        write_work_file(work.folder / GRADED, json.dumps(document, indent=2) + "\n")


def recall_grading(work: WorkFolder, source: bytes) -> LastGrading | None:
    """Return what the last grading in a work folder gave, if it was a grading of exactly these bytes."""
    try:
        document = parse_strict((work.folder / GRADED).read_text("utf-8"))
        if (document["schema"], document["sha256"]) != (SCHEMA, sha256(source).hexdigest()):
            return None
        lists = [document["failed"], document["passed"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not all(isinstance(ids, list) for ids in lists):
        return None
    failed, passed = (tuple(str(name) for name in ids) for ids in lists)
    return LastGrading(failed, passed)

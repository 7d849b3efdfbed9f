"""Choose the next hint: for the bug in focus, one level plainer than the last one.

Nothing is run here.  The last grading and its focus are remembered beside the learner's file, so that the hint is about
the bug of which the grading spoke.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from grader.content import Bug, Challenge
from grader.content.bug_detection import bug_status
from grader.ground.strict_json import parse_strict
from grader.judge.focus import NO_FOCUS, TIERS, Focus, focus_of_text
from grader.learner.work_folder import WorkError, WorkFolder, write_work_file

GRADED = ".graded.json"
SCHEMA = "kvdojo/graded/v1"


@dataclass(frozen=True)
class LastGrading:
    """What is remembered of a grading: the cases not passed, the most telling first, those passed, and the focus."""

    failed: tuple[str, ...]
    passed: tuple[str, ...]
    focus: Focus = NO_FOCUS


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

    It is about the bug in focus: that of the grading of this very text, `graded`, else the one that follows from the
    text.  `planted` are the bugs the file came with, where that is known; `seen` the levels given so far; `case` asks
    for a bug that this case finds, the one that it isolates best.
    """
    states = bug_states(challenge, source, planted)
    name = graded.focus.bug if graded else None
    if name is None and not unexplained(graded):
        remaining = {bug.id: states[bug.id] for bug in _bugs_left(challenge, states, graded)}
        failed = graded.failed if graded else None
        name = focus_of_text(challenge, remaining, failed=failed).bug
    if case is not None and (name is None or case not in challenge.bugs[name].witnesses):
        left = [bug for bug in _bugs_left(challenge, states, graded) if case in bug.witnesses]
        narrow = min(left, key=lambda bug: (len(bug.witnesses), bug.difficulty), default=None)
        name = narrow.id if narrow else None
    if name is None:
        return None
    bug = challenge.bugs[name]
    level = min(level or seen.get(bug.id, 0) + 1, len(bug.hints))
    cost = challenge.hint_costs[level - 1] if level > seen.get(bug.id, 0) else 0
    return Hint(bug, level, states.get(bug.id) != "present", cost)


def unexplained(graded: LastGrading | None) -> bool:
    """Whether a grading found that no known bug explains what fails."""
    return graded is not None and graded.focus.bug is None and graded.focus.case is not None


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
    """Keep a grading beside the learner's file; where it cannot be written, help is only less well aimed."""
    document = {
        "schema": SCHEMA,
        "sha256": sha256(source).hexdigest(),
        "failed": list(graded.failed),
        "passed": list(graded.passed),
        "focus": asdict(graded.focus),
    }
    with contextlib.suppress(WorkError):
        write_work_file(work.folder / GRADED, json.dumps(document, indent=2) + "\n")


def recall_grading(work: WorkFolder, challenge: Challenge, source: bytes) -> LastGrading | None:
    """Return what the last grading in a work folder gave, if it was a grading of exactly these bytes."""
    document = _graded(work)
    if document is None or document.get("sha256") != sha256(source).hexdigest():
        return None
    lists = [document.get("failed"), document.get("passed")]
    if not all(isinstance(ids, list) for ids in lists):
        return None
    failed, passed = (tuple(str(name) for name in ids or ()) for ids in lists)
    return LastGrading(failed, passed, _focus(document, challenge))


def recall_focus(work: WorkFolder | None, challenge: Challenge) -> str | None:
    """Return the bug that was in focus in the last grading, whatever has been changed since."""
    document = _graded(work) if work else None
    return _focus(document, challenge).bug if document else None


def _graded(work: WorkFolder) -> dict[str, Any] | None:
    """Return the document of the last grading; None where there is none, or none that can be used."""
    try:
        document = parse_strict((work.folder / GRADED).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    right = isinstance(document, dict) and document.get("schema") == SCHEMA
    return document if right else None


def _focus(document: Mapping[str, Any], challenge: Challenge) -> Focus:
    """Read the focus of a grading, as far as it names what the challenge has."""
    focus = document.get("focus")
    if not isinstance(focus, dict):
        return NO_FOCUS
    known: dict[str, Collection[str]] = {
        "bug": challenge.bugs, "state": TIERS, "scenario": challenge.cases, "unit": challenge.cases,
    }  # fmt: skip
    kept = {
        name: value
        for name, names in known.items()
        if isinstance(value := focus.get(name), str) and value in names
    }
    return Focus(**kept) if "bug" not in kept or "state" in kept else NO_FOCUS

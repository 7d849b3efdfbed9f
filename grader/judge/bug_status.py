"""What has become of each planted bug: read off the file's text, and where that is unclear, off its cases.

The text says `fixed` (the code is the reference's), `present` (it is as planted), or `changed` or `unknown` (neither).
The last two are judged by the bug's witnesses, the cases that catch it when it is planted alone.  A case that another
bug of the file fails as well is no evidence, for it would fail anyway.  Example: bug A has the witnesses a1 and a2, bug
B, which is present, has a2.

    text of A    a1        a2        status of A
    changed      passed    passed    fixed, "mended in another way: its cases pass"
    changed      passed    failed    fixed: a2 fails because of B
    changed      failed    failed    changed, evidence: a1
    unknown      skipped   failed    unknown, evidence: a2, "another bug fails it too"

Nothing here changes a verdict on the file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from grader.content import Challenge
from grader.content.entries import Bug
from grader.judge.result import BugStatus, CaseResult

UNSURE = ("changed", "unknown")
MENDED = "mended in another way: its cases pass"


@dataclass(frozen=True)
class Credit:
    """How much of what was planted is mended, a harder bug counting for more."""

    fixed: int
    planted: int
    points: int
    max_points: int

    @property
    def share(self) -> float:
        """Between 0 and 1; 1 when nothing was planted."""
        return self.points / self.max_points if self.max_points else 1.0


def bug_statuses(
    challenge: Challenge, states: Mapping[str, str], cases: Sequence[CaseResult]
) -> tuple[BugStatus, ...]:
    """Return the status of every bug; `states` is what `bug_detection.entry_status` found in the file."""
    judged = {case.id: case for case in cases}
    bugs = [bug for bug in challenge.bugs.values() if bug.kind == "bug"]
    at_work = [bug for bug in bugs if states[bug.id] != "fixed"]
    return tuple(
        _status(
            bug,
            states[bug.id],
            judged,
            {case for other in at_work if other is not bug for case in other.witnesses},
        )
        for bug in bugs
    )


def decoy_statuses(challenge: Challenge, states: Mapping[str, str]) -> tuple[BugStatus, ...]:
    """Return the status of the decoys that are more than a comment: `present` while one stands there as planted."""
    return tuple(
        BugStatus(name, bug.title, states[name])
        for name, bug in challenge.bugs.items()
        if bug.kind == "decoy" and name in states
    )


def credit(
    bugs: Collection[BugStatus], planted: Collection[str], levels: Mapping[str, int]
) -> Credit:
    """Count the planted bugs that are fixed, each weighed by its difficulty in `levels`."""
    weights = {name: levels.get(name, 1) for name in planted}
    fixed = [bug.id for bug in bugs if bug.id in weights and bug.status == "fixed"]
    points = sum(weights[name] for name in fixed)
    return Credit(len(fixed), len(weights), points, sum(weights.values()))


def needless(decoys: Collection[BugStatus], planted: Collection[str]) -> list[BugStatus]:
    """Return the planted decoys that were edited, though they were right."""
    return [decoy for decoy in decoys if decoy.id in planted and decoy.status != "present"]


def _status(
    bug: Bug, state: str, judged: Mapping[str, CaseResult], disturbed: Collection[str]
) -> BugStatus:
    """Judge one bug; `disturbed` are the cases that other bugs of this file fail as well."""
    if state not in UNSURE:
        return BugStatus(bug.id, bug.title, state)
    known = [judged[case] for case in bug.witnesses if case in judged]
    if len(known) == len(bug.witnesses) and _mended(known):
        return BugStatus(bug.id, bug.title, "fixed", MENDED)
    telling = [case for case in known if case.id not in disturbed]
    if failed := [case for case in telling if case.status == "failed"]:
        return BugStatus(bug.id, bug.title, state, _evidence(failed))
    if len(known) == len(bug.witnesses) and any(case.status == "passed" for case in telling):
        return BugStatus(bug.id, bug.title, "fixed", MENDED)
    if failed := [case for case in known if case.status == "failed"]:
        text = f"{_evidence(failed)}; another bug fails it too"
        return BugStatus(bug.id, bug.title, state, text)
    return BugStatus(bug.id, bug.title, state)


def _mended(known: Sequence[CaseResult]) -> bool:
    """Whether each of these cases passed or was skipped, and a scenario passed, which no file can skip."""
    passed = [case for case in known if case.status == "passed"]
    right = all(case.status in ("passed", "skipped") for case in known)
    return right and any(case.kind == "scenario" for case in passed)


def _evidence(failed: Sequence[CaseResult]) -> str:
    """Name the most informative of the failed cases: a public one, and if possible one that isolates a method."""
    public = [case for case in failed if case.visibility == "public"]
    if not public:
        return "a hidden case still fails"
    case = min(public, key=lambda case: case.kind != "unit")
    return f"{case.id} still fails: {case.title}"

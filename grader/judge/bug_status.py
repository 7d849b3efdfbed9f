"""What has become of each planted bug: read off the file's text, and where that is unclear, off its cases.

The text says `fixed` (the code is the reference's), `present` (it is as planted), or `changed` or `unknown` (neither).
The last two are judged by the bug's witnesses, the cases that catch it when it is planted alone.  What isolates the bug
counts first: when its unit cases pass, it is fixed, whatever else is still wrong with the file.  A failed case says
nothing where another bug of the file may fail it as well, or where the file gave no answer at all (it could not be
loaded, crashed, or ran out of time).  Example: bug A has the witnesses a1 (a unit case) and a2; bug B, which is
present, has a2.

    text of A    a1        a2        status of A
    changed      passed    passed    fixed, "mended in another way: its cases pass"
    changed      passed    failed    fixed: a1 isolates it
    changed      failed    failed    changed, evidence: a1
    unknown      skipped   failed    unknown, evidence: a2, "another bug fails it too"

Where other mistakes fail all of these cases, the fix is looked at without them (`seen_apart.py`).

A file that was not made from the starter has no bugs of ours to speak of (`bug_detection.descends`).  Nothing here
changes a verdict on the file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from grader.content import Challenge
from grader.content.entries import Bug
from grader.judge.result import BugStatus, CaseResult

UNSURE = ("changed", "unknown")
NO_ANSWER = ("timeout", "memory", "crashed", "blocked")
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
    challenge: Challenge,
    states: Mapping[str, str],
    cases: Sequence[CaseResult],
    apart: Collection[str] = (),
) -> tuple[BugStatus, ...]:
    """Return the status of every bug; `states` is what `bug_detection.entry_status` found in the file.

    `apart` are bugs that are known to be mended from elsewhere (`seen_apart`).
    """
    judged = {case.id: case for case in cases}
    bugs = [bug for bug in challenge.bugs.values() if bug.kind == "bug"]
    found = []
    for bug in bugs:
        others = [other for other in bugs if other is not bug and states[other.id] != "fixed"]
        sure = [other for other in others if states[other.id] == "present"]
        witnesses = _Witnesses(
            [judged[case] for case in bug.witnesses if case in judged],
            missing={challenge.cases[case].kind for case in bug.witnesses if case not in judged},
            disturbed={case for other in others for case in other.witnesses},
            shared={case for other in sure for case in other.witnesses},
        )
        status = _status(bug, states[bug.id], witnesses)
        if bug.id in apart and status.status in UNSURE:
            status = BugStatus(bug.id, bug.title, "fixed", MENDED)
        found.append(status)
    return tuple(found)


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


@dataclass(frozen=True)
class _Witnesses:
    """What the cases that catch a bug have come to.

    `missing` are the kinds of those that were not run, `disturbed` the cases that other bugs of the file may fail as
    well, `shared` those that bugs which certainly are in the file fail.
    """

    known: Sequence[CaseResult]
    missing: Collection[str]
    disturbed: Collection[str]
    shared: Collection[str]

    def failed(self) -> list[CaseResult]:
        """Return the cases with a wrong answer that no other bug need have given."""
        return [case for case in self.known if _is_wrong(case) and case.id not in self.disturbed]

    def isolated_right(self) -> bool:
        """Whether the unit cases pass, at least one of them, but for what another bug may have failed."""
        units = [case for case in self.known if case.kind == "unit"]
        fails = any(case.status == "failed" and case.id not in self.disturbed for case in units)
        passes = any(case.status == "passed" for case in units)
        return passes and not fails and "unit" not in self.missing

    def right(self) -> bool:
        """Whether all were run, and those that tell of this bug alone pass."""
        telling = [case for case in self.known if case.id not in self.disturbed]
        passes = any(case.status == "passed" for case in telling)
        fails = any(case.status == "failed" for case in telling)
        return passes and not fails and not self.missing


def _status(bug: Bug, state: str, witnesses: _Witnesses) -> BugStatus:
    """Judge one bug."""
    if state not in UNSURE:
        return BugStatus(bug.id, bug.title, state)
    if witnesses.isolated_right() or (not witnesses.missing and _mended(witnesses.known)):
        return BugStatus(bug.id, bug.title, "fixed", MENDED)
    if failed := witnesses.failed():
        return BugStatus(bug.id, bug.title, state, _evidence(failed))
    if witnesses.right():
        return BugStatus(bug.id, bug.title, "fixed", MENDED)
    if failed := [case for case in witnesses.known if _is_wrong(case)]:
        text = _evidence(failed)
        if all(case.id in witnesses.shared for case in failed):
            text += "; another bug fails it too"
        return BugStatus(bug.id, bug.title, state, text)
    return BugStatus(bug.id, bug.title, state)


def _is_wrong(case: CaseResult) -> bool:
    """Whether a case failed with an answer: what crashed, hung or was never loaded says nothing of one bug."""
    if case.status != "failed" or case.cause is None:
        return case.status == "failed"
    if case.cause.kind == "raised":
        return case.cause.where is not None
    return case.cause.kind not in NO_ANSWER


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

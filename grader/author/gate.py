"""The author's gate: all that must hold of a challenge before learners see it.

The static checks only read files.  The others run the reference, every bug, pairs and seeded sets of bugs, every decoy
and every trivial solution through the same path as a submission.  Each violation names a file, an id and the mend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from grader.author import dynamic_checks, static_checks
from grader.author.random_checks import RandomReport, random_report
from grader.author.violation import Violation, located
from grader.content import Challenge, ContentError
from grader.content.cases_schema import validate_challenge
from grader.judge.golden_check import usable_golden
from grader.judge.sandbox_start import start_sandbox
from grader.sandbox import Sandbox

Progress = Callable[[str], None]


@dataclass
class Report:
    """What the gate found in one challenge; `unchanged` if that was earlier, in the same files."""

    challenge: str
    violations: list[Violation] = field(default_factory=list)
    bugs: int = 0
    decoys: int = 0
    cases: int = 0
    margin: float | None = None
    weakest: str = ""
    random: RandomReport | None = None
    unchanged: bool = False


def check_challenge(
    challenge: Challenge,
    *,
    sets: int = 60,
    sandbox: Sandbox | None = None,
    progress: Progress | None = None,
) -> Report:
    """Run the whole gate on one challenge; `sets` is the number of larger sets of bugs tried."""
    report = _run(challenge, sets, sandbox, progress or (lambda _text: None))
    report.violations = [located(challenge, violation) for violation in report.violations]
    return report


def _run(challenge: Challenge, sets: int, sandbox: Sandbox | None, say: Progress) -> Report:
    report = Report(challenge.id)
    say("schemas")
    try:
        validate_challenge(challenge)
        report.bugs = sum(bug.kind == "bug" for bug in challenge.bugs.values())
        report.decoys = len(challenge.bugs) - report.bugs
        report.cases = len(challenge.cases)
    except ContentError as error:
        report.violations = [
            Violation(challenge.id, "schemas", line) for line in str(error).splitlines()
        ]
        return report
    say("texts")
    report.violations = static_checks.check(challenge)
    if report.violations:
        return report
    try:
        golden = usable_golden(challenge, challenge.cases.values())
    except ContentError as error:
        report.violations.append(Violation(challenge.id, "golden", str(error)))
        return report
    box = sandbox or start_sandbox(challenge)
    try:
        box.ready()
        runs = dynamic_checks.DynamicChecks(box, challenge, golden)
        report.violations = runs.check(sets, say)
        report.margin, report.weakest = runs.margin
        say("random scenarios")
        report.random = random_report(box, challenge)
        if report.random:
            faults = report.random.faults
            report.violations += [Violation(challenge.id, name, text) for name, text in faults]
    finally:
        if sandbox is None:
            box.close()
    return report

"""How often the first divergence of a file with one bug names the right stage, and the right family of mistakes.

    python -m benchmarks.diagnosis [--decoys] [CHALLENGE ...]

Each bug is planted alone and traced in the first scenario that catches it, as `kvdojo grade` does.  The stage of a
bug is that of the method its edit stands in, or what `stages` in points.json says; its family stands in bugs.json.  The
family is counted twice: with the fault dictionary, which knows these very bugs, and by place and pattern alone; the
bar is for the latter.  With `--decoys` every decoy of the challenge stands beside each bug.
"""

from __future__ import annotations

import argparse
import sys

from grader.content import Case, Challenge, load_challenge
from grader.content.catalogue import challenge_ids
from grader.content.planting import plant
from grader.diagnose.checkpoints import load_checkpoints, stage_of
from grader.diagnose.trace_case import DOCUMENT, trace_case
from grader.diagnose.trace_model import Divergence
from grader.judge import start_sandbox
from grader.judge.golden import load_golden
from grader.sandbox import Sandbox

STAGE_BAR, FAMILY_BAR = 0.95, 0.85


def witnesses(challenge: Challenge, bug: str) -> list[Case]:
    """Return the public cases that catch a bug, scenarios first: a grading traces the first."""
    caught = [challenge.cases[name] for name in challenge.bugs[bug].witnesses]
    public = [case for case in caught if case.visibility == "public"]
    return sorted(public, key=lambda case: case.kind != "scenario")


def main() -> int:
    """Print a line per challenge and one per miss; the status is 1 when a bar is missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("challenges", nargs="*", default=None)
    options.add_argument("--decoys", action="store_true", help="plant every decoy, too")
    given = options.parse_args()
    missed = 0
    for name in given.challenges or challenge_ids():
        challenge = load_challenge(name)
        if challenge.file.endswith(DOCUMENT):
            print(
                f"{name}: skipped, its file holds tests and computes nothing that could be traced"
            )
            continue
        missed += _measure(challenge, given.decoys)
    return 1 if missed else 0


def _measure(challenge: Challenge, with_decoys: bool) -> int:
    checkpoints = load_checkpoints(challenge)
    beside = [bug.id for bug in challenge.bugs.values() if bug.kind == "decoy" and with_decoys]
    stages = families = places = total = 0
    misses = []
    with start_sandbox(challenge) as sandbox:
        sandbox.ready()
        for bug in challenge.bugs.values():
            if bug.kind != "bug":
                continue
            source = plant(challenge, [bug.id, *beside]).encode()
            first, stage = (
                _traced(sandbox, challenge, bug.id, source),
                stage_of(challenge, checkpoints, bug.id),
            )
            right = (
                first is not None and first.stage == stage,
                first is not None and first.bug_class == bug.family,
                first is not None and first.bug_class_by_place == bug.family,
            )
            total += 1
            stages, families, places = stages + right[0], families + right[1], places + right[2]
            if not all(right):
                said = f"{first.stage} / {first.bug_class_by_place}" if first else "nothing"
                misses.append(f"  {bug.id}: {stage} / {bug.family}, told {said}")
    print(
        f"{challenge.id}: stage {stages} of {total}, family {families} of {total}"
        f" ({places} by place and pattern alone)"
    )
    print(*misses, sep="\n", end="\n" if misses else "")
    return int(stages < STAGE_BAR * total or places < FAMILY_BAR * total)


def _traced(sandbox: Sandbox, challenge: Challenge, bug: str, source: bytes) -> Divergence | None:
    """Return the first divergence in the first case that shows one: a decoy may hide the bug in another."""
    golden = load_golden(challenge)
    for case in witnesses(challenge, bug):
        trace = trace_case(sandbox, challenge, case, source, golden.cases[case.id])
        if trace.divergence or trace.ended:
            return trace.divergence
    return None


if __name__ == "__main__":
    sys.exit(main())

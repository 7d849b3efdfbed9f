"""How often the first divergence of a file with one bug names the right stage, and the right family of mistakes.

    python -m benchmarks.diagnosis [CHALLENGE ...]

Each bug is planted alone and traced in the first scenario that catches it, as `kvdojo grade` does.  The stage of a
bug is that of the method its edit stands in, or what `stages` in points.json says; its family stands in bugs.json.  The
family is counted twice: with the fault dictionary, which knows these very bugs, and by place and pattern alone; the
bar is for the latter.
"""

from __future__ import annotations

import argparse
import sys

from grader.content import Case, Challenge, load_challenge
from grader.content.challenge import challenge_ids
from grader.content.plant import plant
from grader.judge import start_sandbox
from grader.judge.golden import load_golden
from grader.trace import trace_case
from grader.trace.points import load_points, stage_of
from grader.trace.trace import DOCUMENT

STAGE_BAR, FAMILY_BAR = 0.95, 0.85


def first_scenario(challenge: Challenge, bug: str) -> Case | None:
    """Return the public scenario that a grading would trace for a bug alone; a unit case where there is none."""
    caught = [challenge.cases[name] for name in challenge.bugs[bug].witnesses]
    public = [case for case in caught if case.visibility == "public"]
    return next(iter(sorted(public, key=lambda case: case.kind != "scenario")), None)


def main() -> int:
    """Print a line per challenge and one per miss; the status is 1 when a bar is missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("challenges", nargs="*", default=None)
    missed = 0
    for name in options.parse_args().challenges or challenge_ids():
        challenge = load_challenge(name)
        if challenge.file.endswith(DOCUMENT):
            print(
                f"{name}: skipped, its file holds tests and computes nothing that could be traced"
            )
            continue
        missed += _measure(challenge)
    return 1 if missed else 0


def _measure(challenge: Challenge) -> int:
    points, golden = load_points(challenge), load_golden(challenge)
    stages = families = places = total = 0
    misses = []
    with start_sandbox(challenge) as sandbox:
        sandbox.ready()
        for bug in challenge.bugs.values():
            case = first_scenario(challenge, bug.id) if bug.kind == "bug" else None
            if case is None:
                continue  # a decoy, or a bug that only hidden cases catch, of which nothing is told
            source = plant(challenge, [bug.id]).encode()
            trace = trace_case(sandbox, challenge, case, source, golden.cases[case.id])
            first, stage = trace.divergence, stage_of(challenge, points, bug.id)
            right = (
                first is not None and first.stage == stage,
                first is not None and first.family == bug.family,
                first is not None and first.by_place == bug.family,
            )
            total += 1
            stages, families, places = stages + right[0], families + right[1], places + right[2]
            if not all(right):
                said = f"{first.stage} / {first.by_place}" if first else "nothing"
                misses.append(f"  {bug.id}: {stage} / {bug.family}, told {said}")
    print(
        f"{challenge.id}: stage {stages} of {total}, family {families} of {total}"
        f" ({places} by place and pattern alone)"
    )
    print(*misses, sep="\n", end="\n" if misses else "")
    return int(stages < STAGE_BAR * total or places < FAMILY_BAR * total)


if __name__ == "__main__":
    sys.exit(main())

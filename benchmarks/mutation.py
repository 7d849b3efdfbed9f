"""The mutation score of every challenge's cases and random scenarios, on mutants that mutmut makes of its reference.

    python -m benchmarks.mutation [CHALLENGE]... [--at LINE-LINE] [--again]

Prints the surviving mutants as diffs and one line per reference; the status is 1 when a score is below the bar or an
entry of `equivalent.json` met no mutant. `--at` takes only mutants of these lines, `--again` only the last survivors.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from contextlib import closing
from pathlib import Path

from grader.author.equivalent_mutants import load_reviewed
from grader.author.mutants import Mutant, mutants
from grader.author.mutation import Score, score
from grader.content import Challenge, challenge_ids, load_challenge
from grader.ground.files import write_atomically
from grader.judge import start_sandbox
from grader.judge.golden_check import usable_golden
from grader.judge.random_scenarios import NAME, RandomScenarios

BAR = 0.97
KEPT = Path("build/mutation")


def main() -> int:
    """Score the challenges named, or all."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("challenges", nargs="*")
    options.add_argument("--at", default="1-1000000")
    options.add_argument("--again", action="store_true")
    given = options.parse_args()
    whole = given.at == "1-1000000" and not given.again
    rows = []
    for name in given.challenges or _mutable():
        challenge = load_challenge(name)
        chosen = list(mutants(challenge.reference_text))
        first, last = map(int, given.at.split("-"))
        chosen = [mutant for mutant in chosen if first <= mutant.line <= last]
        if given.again:
            before = set((KEPT / f"{name}.diff").read_text().split("\n\n"))
            chosen = [mutant for mutant in chosen if _shown(challenge, mutant) in before]
        began = time.monotonic()
        found = _judge(challenge, chosen)
        report = "\n\n".join(_shown(challenge, mutant) for mutant in found.survived)
        print(report, flush=True)
        if whole or given.again:
            KEPT.mkdir(parents=True, exist_ok=True)
            write_atomically(KEPT / f"{name}.diff", report)
        if not whole:
            found.stale = []
        rows.append((name, found, time.monotonic() - began))
    _table(rows)
    return int(any(found.share < BAR or found.stale for _, found, _ in rows))


def _mutable() -> list[str]:
    """Challenges whose reference is plain Python; a kernel's is run by an interpreter, and takes hours."""
    references = {name: load_challenge(name).reference for name in challenge_ids()}
    plain = [name for name, path in references.items() if path.parent.name == "reference"]
    return [name for name in plain if references[name].suffix == ".py"]


def _judge(challenge: Challenge, chosen: list[Mutant]) -> Score:
    golden = usable_golden(challenge, challenge.cases.values())
    reviewed = load_reviewed(challenge.folder)
    told = _progress(challenge.id, len(chosen))
    with (
        start_sandbox(challenge) as box,
        closing(RandomScenarios(box, challenge, secrets.randbits(63))) as scenarios,
    ):
        box.ready()
        return score(box, challenge, golden, chosen, reviewed, told, scenarios)


def _progress(name: str, total: int):  # type: ignore[no-untyped-def]
    def show(done: int) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{name}: {done}/{total}", end="", file=sys.stderr, flush=True)

    return show


def _shown(challenge: Challenge, mutant: Mutant) -> str:
    return f"# {mutant.function or 'module'}\n{mutant.diff(challenge.reference.name)}"


def _table(rows: list[tuple[str, Score, float]]) -> None:
    heads = (
        *("reference of", "mutants", "text", "equivalent", "by cases", "by random"),
        *("survived", "score", "s"),
    )
    print("\n" + "{:22}{:>9}{:>7}{:>12}{:>10}{:>11}{:>10}{:>8}{:>6}".format(*heads))
    for name, found, seconds in rows:
        drawn = found.killed[NAME]
        print(
            f"{name:22}{found.total:9}{found.by_rule:7}{len(found.equivalent):12}"
            f"{found.killed.total() - drawn:10}{drawn:11}{len(found.survived):10}"
            f"{found.share:8.1%}{seconds:6.0f}"
        )
    for name, found, _ in rows:
        for entry in found.stale:
            print(f"{name}: equivalent.json lists what no surviving mutant is: {entry}")


if __name__ == "__main__":
    sys.exit(main())

"""Every subset of the contest's bugs refused, every subset of the decoys accepted, random subsets of all bugs refused.

    python -m benchmarks.subsets [CHALLENGE] [--random N] [--preset NAME]

Each subset is planted and run through the production path, case by case until the first refusal.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, combinations

from grader.author.kill_matrix import first_kill, kill_matrix, telling_first
from grader.author.wrong_variants import bug_ids, decoy_ids, planted, sample
from grader.content import load_challenge
from grader.judge import start_sandbox
from grader.judge.golden_check import usable_golden
from grader.judge.grading import PARALLEL

Ids = tuple[str, ...]


def subsets(ids: Iterable[str], least: int) -> list[Ids]:
    """Every subset of at least `least` entries."""
    names = list(ids)
    sizes = range(least, len(names) + 1)
    return list(chain.from_iterable(combinations(names, size) for size in sizes))


def main() -> int:
    """Print one line per kind of subset; the status is 1 when any verdict is wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("challenge", nargs="?", default="multi_head_attention")
    options.add_argument("--preset", default="contest")
    options.add_argument("--random", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    challenge = load_challenge(given.challenge)
    golden = usable_golden(challenge, challenge.cases.values())
    groups: dict[str, tuple[list[Ids], bool]] = {
        f"random subsets of {len(bug_ids(challenge))} bugs": (
            sample(challenge, given.random, given.seed, least=1),
            False,
        ),
        "subsets of the decoys": (subsets(decoy_ids(challenge), 0), True),
    }
    if given.preset in challenge.presets:
        wanted = subsets(challenge.presets[given.preset].bugs, 1)
        groups[f"subsets of preset {given.preset!r}"] = (wanted, False)
    wrong = 0
    with start_sandbox(challenge) as sandbox:
        sandbox.ready()
        known = kill_matrix(sandbox, challenge, golden).known
        for name, (sets, accept) in groups.items():
            began = time.monotonic()

            def kill(ids: Ids) -> bool:
                order = telling_first(challenge, known, ids)
                return bool(first_kill(sandbox, challenge, golden, planted(challenge, *ids), order))

            with ThreadPoolExecutor(PARALLEL) as pool:
                refused = list(pool.map(kill, sets))
            bad = [ids for ids, no in zip(sets, refused, strict=True) if no is accept]
            wrong += len(bad)
            verb = "accepted" if accept else "refused"
            seconds = time.monotonic() - began
            print(f"{name}: {len(sets) - len(bad)} of {len(sets)} {verb} ({seconds:.0f} s)")
            for ids in bad[:5]:
                print("  wrong:", " + ".join(ids))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

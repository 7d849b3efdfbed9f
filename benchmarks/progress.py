"""Every single correct fix moves a verdict, and the bugs reported present are exactly those planted.

    python -m benchmarks.progress [CHALLENGE ...] [--subsets N] [--others N] [--seed N] [--jobs N]

Per seeded subset (1 to 11 bugs, any decoys) the planted file and, for each bug in it, the file with that one mended
are read as they are and after an automatic refactor.  Nothing is run: these verdicts are read off the file.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

from benchmarks.refactor import refactored
from grader.author.wrong_variants import bug_ids, decoy_ids
from grader.content import Challenge, load_challenge
from grader.content.bug_detection import bug_status
from grader.content.catalogue import challenge_ids
from grader.content.planting import plant

LARGEST = 11
FIRST = "multi_head_attention"


@dataclass
class Tally:
    """Counts over all files of a challenge; `wrong` keeps a few examples."""

    subsets: int = 0
    fixes: int = 0
    moved: int = 0
    hits: int = 0
    false: int = 0
    missed: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in the counts of other subsets."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def compare(self, planted: set[str], found: dict[str, str]) -> None:
        """Count one file's bugs: right, reported without being there, there without being reported."""
        present = {name for name, state in found.items() if state == "present"}
        self.hits += len(present & planted)
        self.false += len(present - planted)
        self.missed += len(planted - present)
        if present != planted:
            self.wrong.append(f"{sorted(planted)}: found {sorted(present ^ planted)} otherwise")


def draw_subset(challenge: Challenge, draw: random.Random) -> tuple[set[str], list[str]]:
    """Return 1 to 11 bugs that go together, and decoys that go with them."""
    bugs, picked = bug_ids(challenge), set[str]()

    def apart(name: str) -> bool:
        excluded = challenge.bugs[name].excludes
        return any(name in challenge.bugs[p].excludes or p in excluded for p in picked)

    wanted = draw.randint(1, min(LARGEST, len(bugs)))
    for name in draw.sample(bugs, len(bugs)):
        if len(picked) < wanted and not apart(name):
            picked.add(name)
    decoys = [name for name in decoy_ids(challenge) if not apart(name)]
    return picked, draw.sample(decoys, draw.randint(0, len(decoys)))


@lru_cache
def _challenge(name: str) -> Challenge:
    return load_challenge(name)


def measure(name: str, seed: int, subset: int, refactor: bool) -> Tally:
    """Read one subset and every single fix within it."""
    challenge, tally = _challenge(name), Tally(subsets=1)
    draw = random.Random(f"{name}/{seed}/{subset}")

    def read(bugs: set[str], decoys: list[str]) -> dict[str, str]:
        text = plant(challenge, [*sorted(bugs), *decoys])
        return bug_status(challenge, refactored(text, draw) if refactor else text)

    bugs, decoys = draw_subset(challenge, draw)
    before = read(bugs, decoys)
    tally.compare(bugs, before)
    for mended in sorted(bugs):
        after = read(bugs - {mended}, decoys)
        tally.fixes += 1
        tally.moved += after != before
        tally.compare(bugs - {mended}, after)
    return tally


def main() -> int:
    """Print a line per challenge and form; the status is 1 when anything is not exact."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("challenges", nargs="*", default=challenge_ids())
    options.add_argument("--subsets", type=int, default=2000, help=f"of {FIRST}")
    options.add_argument("--others", type=int, default=300, help="of each other challenge")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--jobs", type=int, default=2)
    given = options.parse_args()
    bad = 0
    with ProcessPoolExecutor(given.jobs) as pool:
        for name in given.challenges:
            for refactor in (False, True):
                began, tally = time.monotonic(), Tally()
                count = given.subsets if name == FIRST else given.others
                same = ([value] * count for value in (name, given.seed, refactor))
                names, seeds, forms = same
                for part in pool.map(measure, names, seeds, range(count), forms, chunksize=10):
                    tally.add(part)
                bad += _tell(name, tally, refactor, time.monotonic() - began)
    return 1 if bad else 0


def _tell(name: str, tally: Tally, refactor: bool, seconds: float) -> int:
    precision = tally.hits / max(tally.hits + tally.false, 1)
    recall = tally.hits / max(tally.hits + tally.missed, 1)
    form = "refactored" if refactor else "as planted"
    print(
        f"{name}, {form}: {tally.subsets} subsets, {tally.moved} of {tally.fixes} fixes move"
        f" a verdict, precision {precision:.4f}, recall {recall:.4f} ({seconds:.0f} s)"
    )
    for line in tally.wrong[:5]:
        print("  wrong:", line)
    return len(tally.wrong) + tally.fixes - tally.moved


if __name__ == "__main__":
    sys.exit(main())

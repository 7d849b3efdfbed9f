"""Generated bugs keep their promises: refused on secret inputs, no two cancel, told apart, each fix moves a verdict.

    python -m benchmarks.generated [CHALLENGE ...] [--seeds N] [--pairs N] [--subsets N] [--seed N]

Secret inputs: every bug alone, on N seeds; on each a case that catches it must refuse it, by ten tolerances where a
number is compared.  Pairs: N random pairs over all challenges, of those that may be planted together, until a case
refuses the file.  Subsets: N random sets of 1 to 6 generated and hand-written bugs, read off the text as in a fresh
attempt: the bugs reported present must be those planted, and each single fix must change the report.
The exit status is 1 when anything is not so.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

from benchmarks.options import parser
from grader.author.generate.acceptance import MARGIN
from grader.author.kill_matrix import first_kill
from grader.author.wrong_variants import bug_ids, planted
from grader.content import Case, Challenge, load_challenge
from grader.content.bug_detection import bug_status
from grader.content.catalogue import challenge_ids
from grader.content.generated_bugs import GeneratedBugs, read_generated, with_generated
from grader.content.planting import goes_with, plant
from grader.judge import start_sandbox
from grader.judge.case_run import RunInfo
from grader.judge.golden_check import usable_golden
from grader.judge.grading import PARALLEL
from grader.judge.secret_inputs import BITS, SecretInputs
from grader.judge.worker_reuse import SubmissionRunner
from grader.sandbox import Sandbox

MOST_BUGS = 6  # of a subset
MOST_CASES = 12  # that are asked of one bug on one seed


class Promises:
    """One challenge with all its generated bugs, and what is tried with them; `wrong` says what was not so."""

    def __init__(
        self, challenge: Challenge, generated: GeneratedBugs, sandbox: Sandbox, seed: int
    ) -> None:
        self.challenge, self.generated, self.sandbox, self.seed = (
            challenge,
            generated,
            sandbox,
            seed,
        )
        self.whole = with_generated(challenge, [entry.bug for entry in generated.bugs.values()])
        self.golden = usable_golden(challenge, challenge.cases.values())
        self.wrong: list[str] = []

    def refused_on(self, seeds: int) -> str:
        """Ask for every bug, on each of several secret seeds, whether a case that catches it refuses it."""
        draw = random.Random(f"{self.seed}/seeds")
        inputs = [
            SecretInputs(self.sandbox, self.challenge, self.golden, seed=draw.getrandbits(BITS))
            for _ in range(seeds)
        ]
        with ThreadPoolExecutor(PARALLEL) as pool:
            names = list(self.generated.bugs)
            missed = list(pool.map(lambda name: self._missed(name, inputs), names))
        for one in inputs:
            one.close()
        self.wrong += [
            f"{name} is not refused on {count} of {seeds} seeds"
            for name, count in zip(names, missed, strict=True)
            if count
        ]
        always = missed.count(0)
        return f"{always} of {len(names)} bugs refused on all of {seeds} secret seeds"

    def _missed(self, name: str, inputs: Sequence[SecretInputs]) -> int:
        """Return on how many inputs no case refuses a bug; the case that refused it last is asked first."""
        cases = [self.challenge.cases[case] for case in self.generated.bugs[name].bug.witnesses]
        cases.sort(key=lambda case: case.kind != "scenario")
        missed = 0
        with SubmissionRunner(self.sandbox, self.challenge, planted(self.whole, name)) as runner:
            for drawn in inputs:
                kill = next((c for c in cases[:MOST_CASES] if _refused(runner, drawn, c)), None)
                if kill is None:
                    missed += 1
                else:
                    cases.remove(kill)
                    cases.insert(0, kill)
        return missed

    def pairs_refused(self, count: int) -> str:
        """Plant random pairs until a case refuses the file."""
        bugs = self.whole.bugs
        pairs = [
            (one, other)
            for one, other in combinations(self.generated.bugs, 2)
            if goes_with(bugs[one], [bugs[other]])
        ]
        chosen = random.Random(f"{self.seed}/pairs").sample(pairs, min(count, len(pairs)))
        with ThreadPoolExecutor(PARALLEL) as pool:
            passed = [
                pair for pair, ok in zip(chosen, pool.map(self._passes, chosen), strict=True) if ok
            ]
        self.wrong += [f"{one} and {other} cancel" for one, other in passed]
        return f"{len(chosen) - len(passed)} of {len(chosen)} pairs refused"

    def _passes(self, pair: tuple[str, str]) -> bool:
        telling = {case for name in pair for case in self.whole.bugs[name].witnesses}
        order = sorted(self.challenge.cases.values(), key=lambda case: case.id not in telling)
        source = planted(self.whole, *pair)
        return first_kill(self.sandbox, self.challenge, self.golden, source, order) is None

    def subsets_told(self, count: int) -> str:
        """Read random sets of bugs off their text, whole and with each one mended."""
        draw = random.Random(f"{self.seed}/subsets")
        names = [*self.generated.bugs, *bug_ids(self.challenge)]
        fixes = moved = exact = files = 0
        for _ in range(count):
            wanted, picked = draw.randint(1, MOST_BUGS), list[str]()
            for name in draw.sample(names, len(names)):
                others = [self.whole.bugs[other] for other in picked]
                if len(picked) < wanted and goes_with(self.whole.bugs[name], others):
                    picked.append(name)
            made = [self.generated.bugs[n].bug for n in picked if n in self.generated.bugs]
            fresh = with_generated(self.challenge, made)
            before = bug_status(fresh, plant(fresh, picked))
            files += 1
            exact += self._is_exact(picked, before)
            for mended in picked:
                left = [name for name in picked if name != mended]
                after = bug_status(fresh, plant(fresh, left))
                files, fixes, moved = files + 1, fixes + 1, moved + (after != before)
                exact += self._is_exact(left, after)
                if after == before:
                    self.wrong.append(f"mending {mended} of {sorted(picked)} moves nothing")
        return f"{count} subsets: {exact} of {files} files told exactly, {moved} of {fixes} fixes move a verdict"

    def _is_exact(self, planted_ids: Sequence[str], told: dict[str, str]) -> bool:
        present = {name for name, state in told.items() if state == "present"}
        if present != set(planted_ids):
            self.wrong.append(
                f"{sorted(planted_ids)}: {sorted(present ^ set(planted_ids))} told wrong"
            )
        return present == set(planted_ids)


def _refused(runner: SubmissionRunner, drawn: SecretInputs, case: Case) -> bool:
    asked, info = drawn.of(case), RunInfo(measure=True)
    result = runner.run(asked.case, asked.golden, seed=asked.seed, info=info)
    clear = result.sketch is None or info.excess == 0 or info.excess >= MARGIN
    return result.status == "failed" and clear


def main() -> int:
    """Print a line per challenge and promise, and what broke one."""
    options = parser(__doc__)
    options.add_argument("challenges", nargs="*", metavar="CHALLENGE")
    options.add_argument("--seeds", type=int, default=50, help="per bug; 0 for none")
    options.add_argument("--pairs", type=int, default=2000, help="over all challenges")
    options.add_argument("--subsets", type=int, default=1000, help="over all challenges")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    known = [load_challenge(name) for name in given.challenges or challenge_ids()]
    pools = [(one, read_generated(one)) for one in known if one.generated.exists()]
    total = sum(len(generated.bugs) for _, generated in pools)
    broken = 0
    for challenge, generated in pools:
        share = len(generated.bugs) / total
        print(f"{challenge.id}: {len(generated.bugs)} bugs", flush=True)
        with start_sandbox(challenge) as sandbox:
            sandbox.ready()
            kept = Promises(challenge, generated, sandbox, given.seed)
            parts: list[tuple[Callable[[int], str], int]] = [
                (kept.refused_on, given.seeds),
                (kept.pairs_refused, math.ceil(share * given.pairs)),
                (kept.subsets_told, math.ceil(share * given.subsets)),
            ]
            for part, count in parts:
                if count:
                    began = time.monotonic()
                    print(f"  {part(count)} ({time.monotonic() - began:.0f} s)", flush=True)
        for line in kept.wrong[:10]:
            print(f"    wrong: {line}", flush=True)
        broken += len(kept.wrong)
    print(f"{total} bugs, {broken} broken promises")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

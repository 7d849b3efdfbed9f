"""Secret inputs for the scenarios that are repeated on them, and what the oracle answers to these.

A scenario is drawn from the seed in `cases.json`, which every learner can read, so its answers could be written into a
file.  On a secret seed the same script has the same shapes and steps and other numbers:

    case      seed            inputs                   right answers
    decode    7 (published)   [0.31, -1.20, ...]       recorded in the golden
    decode    drawn, 53 bit   [-0.84, 0.05, ...]       asked of the oracle, once, when they are first needed

Seeds are drawn once for a run, be it over one file or over a whole class, so that all of a class are measured alike.
No learner's code can tell them to another's: they reach it in workers that can write nothing and end with the file.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping

from grader.content import Case, Challenge
from grader.judge.golden import CaseGolden, Golden
from grader.judge.oracle import Oracle
from grader.sandbox import Sandbox


class SecretInputs:
    """Seeds and right answers by case; answers are computed when they are first asked for.  Several threads may ask.

    `seeds` by case repeat an earlier run; those of other cases are drawn.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        challenge: Challenge,
        golden: Golden,
        seeds: Mapping[str, int] | None = None,
    ) -> None:
        self._golden, self._oracle = golden, Oracle(sandbox, challenge)
        self._asked = set(challenge.fresh)
        self._seeds = dict(seeds or {})
        self._answers: dict[str, CaseGolden] = {}
        self._lock = threading.Lock()

    @property
    def seeds(self) -> dict[str, int]:
        """The seeds that were used or given, by case."""
        return dict(self._seeds)

    def of(self, case: Case) -> tuple[int, CaseGolden]:
        """Return seed and right answers of a case; raises SandboxError or ContentError."""
        with self._lock:
            seed = self._seeds.setdefault(case.id, secrets.randbits(53))
            if case.id not in self._answers:
                stored = self._golden.cases[case.id]
                self._answers[case.id] = self._oracle.expect_from_seed(case, stored, seed)
                if self._asked <= self._answers.keys():
                    self.close()  # a batch goes on for long, and nothing more will be asked
            return seed, self._answers[case.id]

    def close(self) -> None:
        """End the oracle's worker, if there is one; an answer still missing starts another."""
        self._oracle.close()

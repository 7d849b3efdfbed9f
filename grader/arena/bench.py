"""What stays warm between tasks: a challenge's sandbox, its golden, and the secret inputs that files are marked on."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

from grader.content import Catalogue, Challenge
from grader.ground.errors import GraderError
from grader.judge.golden import Golden
from grader.judge.golden_check import prepare
from grader.judge.grade_file import grade_source
from grader.judge.missing_packages import missing_package, reason
from grader.judge.random_scenarios import NAME as RANDOM
from grader.judge.random_scenarios import RandomScenarios
from grader.judge.result import Result
from grader.judge.sandbox_start import start_sandbox
from grader.judge.secret_inputs import SecretInputs
from grader.sandbox import Sandbox, SandboxError

MOST = 2  # benches at a time, unless told otherwise; each holds a process that has imported torch


class Bench:
    """A challenge with a warm, isolated sandbox; several threads may use it.

    `cases` are the ids of those that files are judged by, all by default.  Raises GraderError where files cannot be
    isolated here, since their marks would be worth nothing.
    """

    def __init__(self, challenge: Challenge, cases: Sequence[str] = ()) -> None:
        if (package := missing_package(challenge)) is not None:
            raise GraderError(f"{challenge.id!r} cannot be marked here. {reason(package)}")
        self.challenge, self.cases = challenge, tuple(cases)
        self.sandbox: Sandbox = start_sandbox(challenge)
        self._secrets: dict[int, tuple[SecretInputs, RandomScenarios]] = {}
        self._lock = threading.Lock()
        try:
            self.golden: Golden = prepare(challenge)
            self.sandbox.ready()
            if not self.sandbox.isolated:
                raise GraderError(self.sandbox.notice or "files cannot be isolated here")
        except SandboxError as error:
            self.sandbox.close()
            raise GraderError(str(error)) from error
        except BaseException:
            self.sandbox.close()
            raise

    def published(
        self, challenge: Challenge, source: str, cases: Sequence[str] = (), parallel: int = 2
    ) -> Result:
        """Judge a file on the published inputs, by the bugs that `challenge` has."""
        return grade_source(
            challenge,
            source.encode(),
            sandbox=self.sandbox,
            golden=self.golden,
            cases=cases or self.cases or None,
            secret=False,
            parallel=parallel,
        )

    def secretly(self, challenge: Challenge, source: bytes, seed: int, parallel: int = 2) -> Result:
        """Judge a file on the secret inputs and random scenarios of a seed, and on nothing else."""
        inputs, scenarios = self._secret(seed)
        return grade_source(
            challenge,
            source,
            sandbox=self.sandbox,
            golden=self.golden,
            cases=self.cases or None,
            secret_inputs=inputs,
            scenarios=scenarios,
            parallel=parallel,
        )

    def close(self) -> None:
        """End all processes."""
        for inputs, scenarios in self._secrets.values():
            inputs.close()
            scenarios.close()
        self.sandbox.close()

    def _secret(self, seed: int) -> tuple[SecretInputs, RandomScenarios]:
        with self._lock:
            if seed not in self._secrets:
                inputs = SecretInputs(self.sandbox, self.challenge, self.golden, seed=seed)
                random = RandomScenarios(self.sandbox, self.challenge, inputs.seed_of(RANDOM))
                self._secrets[seed] = inputs, random
            return self._secrets[seed]


class Benches:
    """The benches of one run; the `most` that were used last are kept.  Leaving the `with` block ends them.

    Several threads may ask, as long as there are no more challenges than `most`: others would lose theirs.
    """

    def __init__(
        self,
        catalogue: Catalogue | None = None,
        cases: Mapping[str, Sequence[str]] | None = None,
        most: int = MOST,
    ) -> None:
        self.catalogue = catalogue or Catalogue()
        self._cases, self._most = cases or {}, most
        self._lock = threading.RLock()
        self._benches: dict[str, Bench] = {}  # the one used last stands last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def of(self, challenge: str) -> Bench:
        """Return the bench of a challenge; raises ContentError or GraderError."""
        with self._lock:
            bench = self._benches.pop(challenge, None)
            if bench is None:
                while len(self._benches) >= self._most:
                    self._benches.pop(next(iter(self._benches))).close()
                bench = Bench(self.catalogue.load(challenge), self._cases.get(challenge, ()))
            self._benches[challenge] = bench
            return bench

    def renew(self, challenge: str) -> Bench:
        """Replace a bench on which something of ours failed."""
        with self._lock:
            if (bench := self._benches.pop(challenge, None)) is not None:
                bench.close()
            return self.of(challenge)

    def close(self) -> None:
        """End all processes."""
        while self._benches:
            self._benches.popitem()[1].close()


def without_bugs(challenge: Challenge) -> Challenge:
    """Return the challenge as an agent's desk knows it: what is planted anywhere is no part of it."""
    made = replace(challenge)
    made.__dict__["bugs"] = {}
    return made

"""Secret inputs for every case, and what the oracle answers to these.

A case is drawn from the seed in `cases.json`, which every learner can read, so its answers could be written into a
file.  On a secret seed the same script has the same steps and other numbers, and, if the seed is odd, other sizes where
the case itself does not state them (`varied_setup`):

    case      seed            sizes             inputs                   right answers
    decode    7 (published)   head_dim 5        [0.31, -1.20, ...]       recorded in the golden
    decode    drawn, 53 bit   head_dim 7        [-0.84, 0.05, ...]       asked of the oracle, once, when first needed

All seeds follow from one number, which is drawn once for a run, be it over one file or over a whole class, so that all
of a class are measured alike.  No learner's code can tell them to another's: they reach it in workers that can write
nothing and end with the file.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import Any

from grader.content import Case, Challenge, ContentError
from grader.content.driver_loading import load_driver
from grader.ground.arrays import Array
from grader.judge.golden import CaseGolden, Expected, Golden
from grader.judge.oracle import Oracle
from grader.judge.script import Script
from grader.kit.choice_sequence import ChoiceSequence
from grader.kit.scenarios import varied_setup
from grader.sandbox import Sandbox, WorkerFailure

BITS = 53  # of a seed: every JSON reader keeps such a number as it is
REDRAWS = 4  # of a seed on which rounding decides a whole number


@dataclass(frozen=True)
class SecretCase:
    """A case on secret inputs.

    `case` has the sizes that are asked, `sizes` are those that differ from the published ones, and `same` says that
    the right answers are the published ones, so that nothing is learned by asking again.
    """

    case: Case
    seed: int
    golden: CaseGolden
    sizes: Mapping[str, Any]
    same: bool


def derived(seed: int, name: str) -> int:
    """Return the seed that a name has in a run; who knows one of them knows neither another nor the run's own."""
    digest = sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - BITS)


class SecretInputs:
    """Seeds and right answers by case; answers are computed when they are first asked for.  Several threads may ask.

    `seeds` by case repeat an earlier run; those of other cases follow from `seed`, which is drawn unless given.
    `after_published` says that only files are asked that were right on the published inputs: every case is asked in
    other sizes.  With `plain` whole numbers and plain values are those of the dtype of each case; without it those of
    float64 are tried first, which takes fewer runs where only such files are asked.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        challenge: Challenge,
        golden: Golden,
        seeds: Mapping[str, int] | None = None,
        seed: int | None = None,
        *,
        after_published: bool = False,
        plain: bool = True,
    ) -> None:
        self._challenge, self._golden = challenge, golden
        self._oracle = Oracle(sandbox, challenge)
        self._plain, self._after_published = plain, after_published
        self._seed = secrets.randbits(BITS) if seed is None else seed
        self._given = dict(seeds or {})
        self._used: dict[str, int] = {}
        self._answers: dict[str, SecretCase] = {}
        self._others: dict[str, Iterator[SecretCase]] = {}  # to turn to, should rounding decide
        self._rounded: dict[str, SecretCase] = {}
        self._sizes: dict[str, Sequence[Case]] = {}
        self._locks: dict[str, threading.Lock] = {}

    @property
    def seeds(self) -> dict[str, int]:
        """The seeds on which a file was asked, by case."""
        return dict(self._used)

    def of(self, case: Case) -> SecretCase:
        """Return a case on secret inputs with its right answers; raises SandboxError or ContentError."""
        with self._lock_of(case):
            self._used.setdefault(case.id, self.seed_of(case.id))
            return self._answer(case)

    def answer_ahead(self, case: Case) -> None:
        """Make inputs and right answers of a case before a file is asked it; raises SandboxError or ContentError."""
        with self._lock_of(case):
            secret = self._answer(case)
            Script(self._challenge, secret.case, seed=secret.seed)  # its requests are kept

    def allowing_for_rounding(self, case: Case) -> SecretCase:
        """Return the same case as it must be judged where an answer seems wrong.

        Its tolerances allow for what rounding does to these very inputs.  Where rounding decides a whole number, it is
        the same case on other inputs, for all who are asked from now on.
        """
        self.of(case)
        with self._lock_of(case):
            if case.id not in self._rounded:
                self._answers[case.id] = self._rounded[case.id] = self._settled(case)
            return self._rounded[case.id]

    def draw_ahead(self, cases: Sequence[Case], go_on: Callable[[], bool]) -> None:
        """Draw the inputs of cases that will be asked, published ones first, as long as there is time for it."""
        for script in chain(self._published(cases), self._secret(cases)):
            if not go_on():
                return
            with contextlib.suppress(ContentError):  # told when it is asked
                script()

    def _published(self, cases: Iterable[Case]) -> Iterator[Callable[[], Script]]:
        return (partial(Script, self._challenge, case) for case in cases)

    def _secret(self, cases: Iterable[Case]) -> Iterator[Callable[[], Script]]:
        for case in cases:
            seed = self.seed_of(case.id)
            varied = self._varied(case, seed)[0]
            for dtype in {"float64", case.dtype}:
                yield partial(Script, self._challenge, varied, dtype=dtype, seed=seed)

    def seed_of(self, name: str) -> int:
        """Return the seed of a case, or of what else has a name in a run.

        An odd seed stands for other sizes, too.  A file that is asked nothing else is asked every other case in the
        published sizes, on which many a case depends; one that was right in these need not be asked them again.
        """
        drawn = derived(self._seed, name)
        return self._given.get(name, drawn | 1 if self._after_published else drawn)

    def close(self) -> None:
        """End the oracle's workers, if there are any; an answer still missing starts another."""
        self._oracle.close()

    def _lock_of(self, case: Case) -> threading.Lock:
        """Return what lets one thread at a time make the answers of a case."""
        return self._locks.setdefault(case.id, threading.Lock())

    def _answer(self, case: Case) -> SecretCase:
        if case.id not in self._answers:
            self._others[case.id] = self._answered(case)
            self._answers[case.id] = next(self._others[case.id])
            if self._challenge.cases.keys() <= self._answers.keys():
                self.close()  # a batch goes on for long, and nothing more may be asked
        return self._answers[case.id]

    def _settled(self, case: Case) -> SecretCase:
        stored = self._golden.cases[case.id]
        for secret in chain([self._answers[case.id]], self._others[case.id]):
            if secret.golden is stored:
                return secret
            golden = self._oracle.allowing_for_rounding(
                secret.case, stored, secret.golden, secret.seed
            )
            if golden is not None:
                return replace(secret, golden=golden)
        raise AssertionError("the published inputs come last")

    def _answered(self, case: Case) -> Iterator[SecretCase]:
        """Yield the case on its secret inputs, and on others in case rounding decides what is right on these.

        Where the oracle does not answer to the varied sizes, the published ones stay; inputs on which it does not
        answer in the way that was recorded, such as a text that ends before its fork, are drawn anew.  The published
        inputs come last.  Raises ContentError where it answers so to none.
        """
        stored, seed = self._golden.cases[case.id], self.seed_of(case.id)
        fault: ContentError | None = None
        answered = False
        for number in self._numbers(seed):
            for varied in self._varied(case, seed):
                try:
                    golden = self._oracle.expect_from_seed(
                        varied, stored, number, plain=self._plain
                    )
                except WorkerFailure:
                    if varied is case:
                        raise
                    continue
                except ContentError as error:
                    fault = fault or error
                    continue
                answered = True
                sizes = {n: x for n, x in varied.setup.items() if x != case.setup.get(n)}
                same = not sizes and _same_answers(golden, stored)
                yield SecretCase(varied, number, golden, sizes, same)
        if fault is not None and not answered:
            raise fault
        yield SecretCase(case, case.seed, stored, {}, True)

    def _numbers(self, seed: int) -> Iterator[int]:
        """Give the seed, and others that follow from it for where it is of no use."""
        yield seed
        for count in range(REDRAWS):
            yield derived(seed, f"again {count}")

    def _varied(self, case: Case, seed: int) -> Sequence[Case]:
        """Return the case in other sizes, where it leaves these open and its seed is odd, and as it is."""
        if seed % 2 == 0:
            return (case,)
        if case.id not in self._sizes:
            driver = load_driver(self._challenge).driver
            choose = ChoiceSequence.seeded(f"{seed}/sizes")
            setup = varied_setup(driver, case.setup, case.free, case.steps, choose)
            other = [] if setup == case.setup else [replace(case, setup=setup)]
            self._sizes[case.id] = (*other, case)
        return self._sizes[case.id]


def same_plain(one: CaseGolden, other: CaseGolden) -> bool:
    """Whether two goldens of a case differ in floating-point numbers and tolerances alone."""
    return all(map(_same_step, one.steps, other.steps))


def _same_answers(one: CaseGolden, other: CaseGolden) -> bool:
    return all(
        _same_step(*pair, floating=True) for pair in zip(one.steps, other.steps, strict=True)
    )


def _same_step(one: Expected, other: Expected, *, floating: bool = False) -> bool:
    plain = (one.raised, dict(one.values)) == (other.raised, dict(other.values))
    tensors = [(name, x) for name, x in one.tensors.items() if floating or not x.floating]
    return plain and all(_same_bytes(x, other.tensors[name]) for name, x in tensors)


def _same_bytes(one: Array, other: Array) -> bool:
    return one.shape == other.shape and one.values.tobytes() == other.values.tobytes()

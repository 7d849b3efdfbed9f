"""The part of the author's gate that runs things.

Reference and decoys must pass every case; every bug, pair and set of bugs and every trivial solution must fail one, by
a clear margin; and the goldens must come out again.  All of them take the path of a submission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from grader.author.case_value import MARGIN
from grader.author.constant_answers import accepts_nan, constant_answers
from grader.author.giveaways import giveaways
from grader.author.kill_matrix import KillMatrix, first_kill, kill_matrix, run_cases, telling_first
from grader.author.recording import agree
from grader.author.violation import Violation
from grader.author.wrong_variants import bug_ids, compatible, decoy_ids, pairs, planted, sample
from grader.content import Case, Challenge, ContentError
from grader.ground.invocation import command_line
from grader.judge.golden import Golden
from grader.judge.grade_file import grade_source
from grader.judge.grading import PARALLEL
from grader.judge.oracle import Oracle
from grader.judge.result import CaseResult
from grader.judge.secret_inputs import SecretInputs
from grader.sandbox import Sandbox

SECRET_SEEDS = (1, 2, 3)
LARGER = "use larger numbers or other sizes"
Faults = Iterator[tuple[str, str]]


@dataclass
class DynamicChecks:
    """Checks of one challenge; `margin` is the least by which a wrong answer missed, and the name of that answer."""

    sandbox: Sandbox
    challenge: Challenge
    golden: Golden
    margin: tuple[float | None, str] = (None, "")
    _margins: list[tuple[float, str]] = field(default_factory=list)

    def check(self, sets: int, say: Callable[[str], None]) -> list[Violation]:
        """Run everything and return the violations; `sets` seeded sets of three or more bugs are tried."""
        found: list[tuple[str, str]] = []
        say("reference and decoys")
        found += self._honest()
        say("secret inputs")
        found += self._secretly()
        say("kill matrix")
        matrix = kill_matrix(self.sandbox, self.challenge, self.golden)
        found += self._bugs(matrix)
        found += self._cases(matrix)
        say("giveaways")
        found += self._giveaways(matrix)
        say("pairs and sets of bugs")
        groups = dict.fromkeys([*pairs(self.challenge), *sample(self.challenge, sets)])
        found += self._together(list(groups), matrix.known)
        say("trivial solutions")
        found += self._trivial_solutions(matrix)
        say("goldens")
        found += self._reproducible()
        self.margin = min(self._margins, default=(None, ""), key=lambda pair: pair[0])
        return [Violation(self.challenge.id, subject, text) for subject, text in found]

    def _honest(self) -> Faults:
        decoys = decoy_ids(self.challenge)
        variants = {"reference": self.challenge.reference.read_bytes()}
        variants |= {name: planted(self.challenge, name) for name in decoys}
        if compatible(self.challenge, tuple(decoys)):
            variants["all decoys"] = planted(self.challenge, *decoys)
        cases = list(self.challenge.cases.values())
        rows = self._map(
            lambda source: run_cases(self.sandbox, self.challenge, self.golden, source, cases),
            list(variants.values()),
        )
        for name, judged in zip(variants, rows, strict=True):
            for case, item in judged.items():
                result = item.result
                if result.status != "passed" and result.cause:
                    yield (
                        name,
                        f"must pass {case!r} and does not ({result.cause.rationale}); mend it or the case",
                    )

    def _secretly(self) -> Faults:
        """Check that every case can be asked on secret inputs, and that the reference passes it there."""
        source = self.challenge.reference.read_bytes()
        for seed in SECRET_SEEDS:
            with closing(
                SecretInputs(self.sandbox, self.challenge, self.golden, seed=seed)
            ) as drawn:
                result = grade_source(
                    self.challenge,
                    source,
                    sandbox=self.sandbox,
                    golden=self.golden,
                    cases=list(self.challenge.cases),
                    secret_inputs=drawn,
                )
            for case in result.cases:
                if case.status != "passed" and case.cause:
                    text = f"is not passed by the reference on secret inputs of seed {seed}"
                    yield case.id, f"{text} ({case.cause.rationale}); mend the case or its verbs"

    def _bugs(self, matrix: KillMatrix) -> Faults:
        for name in bug_ids(self.challenge):
            witnesses = matrix.witnesses(name)
            kinds = {self.challenge.cases[case].kind for case in witnesses}
            for kind in {"unit", "scenario"} - kinds:
                yield (
                    name,
                    f"no {kind} case fails when it is planted alone; add one that isolates it",
                )
            if list(self.challenge.bugs[name].witnesses) != witnesses:
                again = command_line("check", self.challenge.id, "--record")
                yield name, f"recorded/witnesses.json lists other cases; run `{again}`"

    def _cases(self, matrix: KillMatrix) -> Faults:
        bugs = set(bug_ids(self.challenge))
        for case in self.challenge.cases.values():
            if not bugs & set(matrix.kills(case.id)) and not case.keep_because:
                yield case.id, "catches no bug; drop it, or say in `keep_because` why it stays"

    def _giveaways(self, matrix: KillMatrix) -> Faults:
        """Check that of each bug alone, and of the starter, a level tells nothing that belongs to a higher one."""
        for name in bug_ids(self.challenge):
            yield from giveaways(self.challenge, [name], matrix.rows[name].values())
        cases = list(self.challenge.cases.values())
        source = self.challenge.starter.read_bytes()
        judged = run_cases(self.sandbox, self.challenge, self.golden, source, cases)
        starter = self.challenge.presets["default"].bugs
        yield from giveaways(self.challenge, starter, (item.result for item in judged.values()))

    def _together(
        self, groups: Sequence[tuple[str, ...]], known: Mapping[str, Sequence[str]]
    ) -> Faults:
        def kill(group: tuple[str, ...]) -> CaseResult | None:
            source = planted(self.challenge, *group)
            order = telling_first(self.challenge, known, group)
            return first_kill(self.sandbox, self.challenge, self.golden, source, order)

        for group, refused in zip(groups, self._map(kill, groups), strict=True):
            if refused is None:
                text = "pass every case together; add a case, or exclude the pair in bugs.json"
                yield " + ".join(group), text

    def _trivial_solutions(self, matrix: KillMatrix) -> Faults:
        scenarios = [case for case in self.challenge.cases.values() if case.kind == "scenario"]
        for case in self.challenge.cases.values():
            if accepts_nan(self.golden.cases[case.id]):
                yield case.id, "accepts NaN; judge a number in it"
        for case in scenarios:
            yield from self._constant_answers(case)
        for name in self.challenge.trivial_solutions:
            results = [matrix.rows[name][case.id] for case in scenarios]
            if not any(result.status == "failed" for result in results):
                yield (
                    name,
                    "is an answer that every scenario accepts; add a scenario that refuses it",
                )
            for result in results:
                yield from self._margin_of(name, result, matrix.excess[name][result.id])

    def _margin_of(self, name: str, result: CaseResult, excess: float) -> Faults:
        if result.status == "failed" and result.sketch:
            self._margins.append((excess, f"{name} in {result.id}"))
            if excess < MARGIN and not self.challenge.cases[result.id].keep_because:
                yield (
                    result.id,
                    f"refuses {name!r} by {excess:.2g} tolerances, not {MARGIN:g}; {LARGER}",
                )
        if result.status == "passed" and excess > 1 / MARGIN:
            yield result.id, f"accepts {name!r}, which is off by {excess:.2g} tolerances; {LARGER}"

    def _constant_answers(self, case: Case) -> Faults:
        """Compare zeros and the previous step's output with the golden itself."""
        for answer, ratio in constant_answers(self.golden.cases[case.id]).items():
            self._margins.append((ratio, f"{answer} in {case.id}"))
            if ratio < MARGIN and not case.keep_because:
                yield (
                    case.id,
                    f"{answer} would miss by {ratio:.2g} tolerances only, not {MARGIN:g}; {LARGER}",
                )

    def _reproducible(self) -> Faults:
        with Oracle(self.sandbox, self.challenge) as oracle:
            for case in self.challenge.cases.values():
                try:
                    made = oracle.expect(case)
                except ContentError as error:
                    yield case.id, str(error)
                    continue
                if not agree(made, self.golden.cases[case.id], exactly=False):
                    again = command_line("check", self.challenge.id, "--record")
                    yield (
                        case.id,
                        f"another golden comes out when it is recorded again; run `{again}`",
                    )

    def _map(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
        with ThreadPoolExecutor(PARALLEL) as pool:
            return list(pool.map(function, jobs))

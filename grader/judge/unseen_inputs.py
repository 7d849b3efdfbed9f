"""Secret inputs and random scenarios of one grading, made before there is a file to ask.

A file that passes is asked what nobody has seen, and the reference has to answer first, which takes longer than the
file.  A program that grades at every save makes them while it has nothing else to do:

    unseen = UnseenInputs(sandbox, challenge)
    while unseen.make_more():       # an answer of the reference at a time
        ...                         # a save may come in between; what is missing is then made as it is asked
    grade_source(challenge, source, sandbox=sandbox, unseen=unseen)
    if unseen.asked:                # a file has seen some: the next one gets others
        unseen.close()
"""

from __future__ import annotations

from collections.abc import Iterator

from grader.content import Case, Challenge
from grader.judge.golden_check import prepare
from grader.judge.random_scenarios import MOST_ALONE, NAME, RandomScenarios
from grader.judge.secret_inputs import SecretInputs
from grader.sandbox import Sandbox


class UnseenInputs:
    """What one file that passes is asked; `close` ends the workers of the reference.

    Only where answers of the reference can be had in float64, on the CPU: raises ContentError where the challenge's
    golden cannot be used.
    """

    def __init__(self, sandbox: Sandbox, challenge: Challenge) -> None:
        self.secret_inputs = SecretInputs(
            sandbox, challenge, prepare(challenge), after_published=True
        )
        seed = self.secret_inputs.seed_of(NAME)
        self.scenarios = RandomScenarios(sandbox, challenge, seed, quick=True)
        self._making = self._made(list(challenge.cases.values()))

    @property
    def asked(self) -> bool:
        """Whether a file was asked any of these."""
        return bool(self.secret_inputs.seeds)

    def make_more(self) -> bool:
        """Make the next answer; False once nothing more is made ahead.  Raises SandboxError or ContentError."""
        return next(self._making, False)

    def close(self) -> None:
        """End the workers of the reference; what is still asked of it starts another."""
        self.secret_inputs.close()
        self.scenarios.close()

    def _made(self, cases: list[Case]) -> Iterator[bool]:
        for case in cases:
            self.secret_inputs.answer_ahead(case)
            yield True
        if self.scenarios.there:
            for index in range(MOST_ALONE):
                try:
                    self.scenarios[index]
                except IndexError:  # the reference settles none of those that are drawn
                    break
                yield True
        self.close()  # a learner may think for long, and nothing more is made

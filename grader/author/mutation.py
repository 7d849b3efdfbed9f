"""The mutation score of a challenge: which mutants of its reference no case and no random scenario refuses.

These are the only tests, and they judge a mutant as they judge a learner's file. Cases are tried in the order of what
has refused a mutant's neighbours before, which changes the cost and never the verdict; a mutant that all of them accept
is asked random scenarios, as many as a file is asked at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Lock

from grader.author.equivalent_mutants import Reviewed, same_by_rule
from grader.author.kill_matrix import first_kill
from grader.author.mutants import Mutant
from grader.content import Case, Challenge
from grader.judge.golden import Golden
from grader.judge.grading import PARALLEL
from grader.judge.random_scenarios import MOST, NAME, RandomScenarios
from grader.judge.worker_reuse import SubmissionRunner
from grader.sandbox import Sandbox

CPU_SECONDS = 2.0  # a mutant may loop for ever; the reference needs a hundredth of that
Progress = Callable[[int], None]


@dataclass
class Score:
    """What became of the mutants; `killed` counts them by the case that refused them, or as `NAME`."""

    killed: Counter[str] = field(default_factory=Counter)
    by_rule: int = 0
    equivalent: list[Mutant] = field(default_factory=list)
    survived: list[Mutant] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All mutants."""
        return self.judged + self.by_rule + len(self.equivalent)

    @property
    def judged(self) -> int:
        """Mutants that are not equivalent."""
        return self.killed.total() + len(self.survived)

    @property
    def share(self) -> float:
        """Share of the mutants that are not equivalent that are refused."""
        return self.killed.total() / self.judged if self.judged else 1.0


class Order:
    """The order of the cases: those that refused mutants of the same function, then those that refuse most."""

    def __init__(self, challenge: Challenge) -> None:
        self._cases = list(challenge.cases.values())
        self._overall = Counter(name for bug in challenge.bugs.values() for name in bug.witnesses)
        self._nearby: dict[str, Counter[str]] = {}
        self._lock = Lock()

    def cases(self, function: str) -> list[Case]:
        """All cases, the most promising first."""
        with self._lock:
            nearby = self._nearby.get(function, Counter())
            return sorted(self._cases, key=lambda c: (-nearby[c.id], -self._overall[c.id]))

    def note(self, function: str, case: str) -> None:
        """Remember which case refused a mutant of a function."""
        with self._lock:
            self._nearby.setdefault(function, Counter())[case] += 1
            self._overall[case] += 1


def score(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden,
    mutants: Iterable[Mutant],
    reviewed: Reviewed,
    progress: Progress | None = None,
    scenarios: RandomScenarios | None = None,
) -> Score:
    """Judge every mutant; raises SandboxError and GraderError when one cannot be judged."""
    quick = replace(challenge, seconds=min(CPU_SECONDS, challenge.seconds))
    order, result = Order(challenge), Score()

    def judge(mutant: Mutant) -> str | None:
        function = mutant.function
        source = mutant.text.encode()
        kill = first_kill(sandbox, quick, golden, source, order.cases(function))
        if kill is not None:
            order.note(function, kill.id)
            return kill.id
        if scenarios is None or not scenarios.there:
            return None
        with SubmissionRunner(sandbox, quick, source) as runner:
            return NAME if refused_by_one(scenarios, runner) else None

    judged = []
    for mutant in mutants:
        if same_by_rule(mutant):
            result.by_rule += 1
        else:
            judged.append(mutant)
    with ThreadPoolExecutor(PARALLEL) as pool:
        for done, (mutant, kill) in enumerate(zip(judged, pool.map(judge, judged), strict=True), 1):
            if kill is not None:
                result.killed[kill] += 1
            elif reviewed.reason(mutant) is not None:
                result.equivalent.append(mutant)
            else:
                result.survived.append(mutant)
            if progress:
                progress(done)
    result.stale = [f"{where}: {after}" for where, _, after in reviewed.stale()]
    return result


def refused_by_one(scenarios: RandomScenarios, runner: SubmissionRunner) -> bool:
    """Whether one of the first random scenarios refuses a file."""
    for index in range(MOST):
        try:
            scenario = scenarios[index]
        except IndexError:
            return False
        if runner.run(scenario.case, scenario.golden).status == "failed":
            return True
    return False

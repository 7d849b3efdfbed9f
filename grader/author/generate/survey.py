"""The survey: every proposal for a reference is judged by every case, and those that meet the rules are kept.

It takes minutes, so it is made once and recorded; `kvdojo start --fresh` then only draws.  A mutant is judged no
further once it is plain that it cannot be kept: it is a known bug, its line has enough of its kind, it hangs, it mostly
raises, or no unit case refuses it.  Cases are asked in an order that shows this early: unit cases first, then
scenarios, and of each kind those that cost little.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from grader.author.generate import acceptance
from grader.author.generate.acceptance import Choice, KnownFaults, Verdicts, verdicts_of
from grader.author.generate.proposals import Proposal, proposals
from grader.author.kill_matrix import Judged
from grader.author.mutation import CPU_SECONDS
from grader.author.wrong_variants import planted
from grader.content import Case, Challenge
from grader.ground.errors import GraderError
from grader.judge.case_run import RunInfo
from grader.judge.cost import estimate_cost
from grader.judge.golden import Golden
from grader.judge.grading import PARALLEL
from grader.judge.sandbox_start import start_sandbox
from grader.judge.secret_inputs import SecretCase, SecretInputs, derived
from grader.judge.worker_reuse import SubmissionRunner
from grader.sandbox import Sandbox

SEEDS = 3  # times that fresh inputs are drawn; a bug must show on each
SCENARIOS = 3  # scenarios that are asked for that
LOUD_FROM = 3  # failed scenarios of which half raise: the mutant is judged no further
STEADY = 6  # cases of each kind that are asked twice of a kernel
WATCH = "grader.sandbox.warm.watch_triton"  # where kernels are surveyed
PATIENCE = 8  # times the reference's own time that a mutant may take
AHEAD = 60  # proposals, of which some are judged before it is known what becomes of the one in turn
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Survey:
    """What was kept, and what became of the rest, counted by reason."""

    kept: tuple[tuple[Proposal, Verdicts], ...]
    proposed: int
    dropped: Mapping[str, int]


def survey(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden,
    *,
    candidates: Sequence[Proposal] | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Judge all proposals; raises GraderError or SandboxError when one cannot be judged."""
    made = list(proposals(challenge.reference_text) if candidates is None else candidates)
    dropped: Counter[str] = Counter()
    choice = Choice([])
    known = KnownFaults(
        challenge, golden, {name: planted(challenge, name).decode() for name in challenge.bugs}
    )
    with ExitStack() as stack:
        if "triton" in challenge.preload:
            sandbox = stack.enter_context(start_sandbox(challenge, modules=[WATCH]))
            sandbox.ready()
        judge = stack.enter_context(closing(Judge(sandbox, challenge, golden, choice, known)))
        pool = stack.enter_context(ThreadPoolExecutor(PARALLEL))
        for done, (proposal, job) in enumerate(judged_ahead(pool, judge, choice, made), 1):
            verdicts, against = job.result()
            against = choice.objection(proposal, verdicts, against)
            if against is None and known.behaves(verdicts):
                against = acceptance.KNOWN
            if against is None and not judge.on_fresh_inputs(proposal, verdicts):
                against = acceptance.NARROW
            if against is None and not judge.answers_so_again(proposal, verdicts):
                against = acceptance.UNSTEADY
            if against is None:
                choice.kept.append((proposal, verdicts))
            else:
                dropped[against] += 1
            if progress:
                progress(done, len(made))
    return Survey(tuple(choice.kept), len(made), dict(sorted(dropped.items())))


Judgement = tuple[Verdicts, str | None]


def judged_ahead(
    pool: ThreadPoolExecutor,
    judge: Callable[[Proposal], Judgement],
    choice: Choice,
    made: Sequence[Proposal],
) -> Iterator[tuple[Proposal, Future[Judgement]]]:
    """Yield proposals in their order, each with its job.

    Jobs of proposals ahead are begun while that of the one in turn runs, but for those whose place in `choice` may be
    full by then: whoever takes what is yielded adds to it what is kept.
    """
    jobs: dict[int, Future[Judgement]] = {}
    for turn, proposal in enumerate(made):
        while True:
            running = [job for job in jobs.values() if not job.done()]
            for index in range(turn, min(turn + AHEAD, len(made))):
                if len(running) == PARALLEL:
                    break
                undecided = made[turn:index]
                if index not in jobs and not (undecided and choice.is_full(made[index], undecided)):
                    running.append(jobs.setdefault(index, pool.submit(judge, made[index])))
            if turn in jobs and jobs[turn].done():
                break
            wait(running, return_when=FIRST_COMPLETED)
        yield proposal, jobs.pop(turn)


class Judge:
    """Runs mutants; a call returns verdicts, and what of them speaks against the mutant.

    What is a `known` fault by its text, or has no place in `choice`, which grows meanwhile, is not run.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        challenge: Challenge,
        golden: Golden,
        choice: Choice,
        known: KnownFaults,
    ) -> None:
        self._sandbox, self._challenge, self._golden = sandbox, challenge, golden
        self._choice, self._known = choice, known
        self._quick = replace(challenge, seconds=self._patience())
        # the seeds follow from the challenge, so that a survey can be repeated
        self._inputs = [
            SecretInputs(sandbox, challenge, golden, seed=derived(index, challenge.id))
            for index in range(SEEDS)
        ]
        price = {
            name: estimate_cost(challenge, case).work for name, case in challenge.cases.items()
        }
        self._price = price
        self._cases = self._in_order(challenge.cases.values())

    def _patience(self) -> float:
        """Return the seconds of a case that a mutant may take: it may loop for ever, but must not miss by haste."""
        slowest = 0.0
        source = self._challenge.reference_text.encode()
        with SubmissionRunner(self._sandbox, self._challenge, source) as runner:
            for case in self._challenge.cases.values():
                result = runner.run(case, self._golden.cases[case.id])
                if result.status == "failed":
                    raise GraderError(f"the reference fails {case.id!r}: nothing can be surveyed")
                slowest = max(slowest, result.seconds)
        return min(max(CPU_SECONDS, PATIENCE * slowest), self._challenge.seconds)

    def __call__(self, proposal: Proposal) -> Judgement:
        """Run all cases, unless it shows earlier that the mutant is none to keep."""
        judged: dict[str, Judged] = {}
        if self._choice.is_full(proposal):
            return verdicts_of(judged), acceptance.CROWDED
        if self._known.holds(proposal):
            return verdicts_of(judged), acceptance.KNOWN
        failed: list[Judged] = []
        with SubmissionRunner(self._sandbox, self._quick, proposal.text.encode()) as runner:
            for case in self._cases:
                if case.kind != "unit" and not failed:
                    return verdicts_of(judged), acceptance.NO_UNIT
                judged[case.id] = self._asked(runner, case)
                if judged[case.id].result.status == "failed":
                    failed.append(judged[case.id])
                    scenarios = [one for one in failed if one.result.kind != "unit"]
                    if _hopeless(failed, scenarios, len(self._cases)):
                        return verdicts_of(judged), acceptance.CRASHES
        verdicts = verdicts_of({name: judged[name] for name in self._challenge.cases})
        return verdicts, acceptance.objection(self._challenge, verdicts)

    def _asked(self, runner: SubmissionRunner, case: Case) -> Judged:
        info = RunInfo(measure=True)
        result = runner.run(case, self._golden.cases[case.id], info=info)
        return Judged(result, info.excess)

    def _in_order(self, cases: Iterable[Case]) -> list[Case]:
        """Return the unit cases, then the scenarios, those first that cost little."""
        return sorted(cases, key=lambda case: (case.kind != "unit", self._price[case.id]))

    def answers_so_again(self, proposal: Proposal, verdicts: Verdicts) -> bool:
        """Whether a kernel's mutant fails the same cases in the same way a second time.

        Memory that a kernel never wrote is another number each time.  Some cases are asked, those that cost little.
        """
        if "triton" not in self._challenge.preload:
            return True
        cases = self._in_order(self._challenge.cases[name] for name in verdicts.witnesses)
        units = sum(case.kind == "unit" for case in cases)
        cases = [*cases[:units][:STEADY], *cases[units:][:STEADY]]
        with SubmissionRunner(self._sandbox, self._quick, proposal.text.encode()) as runner:
            again = verdicts_of({case.id: self._asked(runner, case) for case in cases})
        return acceptance.behave_alike(verdicts.of([case.id for case in cases]), again)

    def on_fresh_inputs(self, proposal: Proposal, verdicts: Verdicts) -> bool:
        """Whether, on each of several inputs that were never published, a scenario refuses the mutant by far enough.

        Up to three of its scenarios are asked, the clearest first; their sizes vary with the inputs, too.
        """
        cases = self._challenge.cases
        scenarios = [cases[name] for name in verdicts.witnesses if cases[name].kind == "scenario"]
        order = sorted(scenarios, key=lambda case: -verdicts.excess.get(case.id, math.inf))
        with SubmissionRunner(self._sandbox, self._quick, proposal.text.encode()) as runner:
            return all(
                any(self._refused(runner, inputs.of(case)) for case in order[:SCENARIOS])
                for inputs in self._inputs
            )

    def _refused(self, runner: SubmissionRunner, asked: SecretCase) -> bool:
        info = RunInfo(measure=True)
        result = runner.run(asked.case, asked.golden, seed=asked.seed, info=info)
        if result.status != "failed":
            return False
        # of a value that is no tensor there is nothing to measure: it is another one
        return result.sketch is None or info.excess == 0 or info.excess >= acceptance.MARGIN

    def close(self) -> None:
        """End the oracle's workers."""
        for inputs in self._inputs:
            inputs.close()


def _hopeless(failed: Sequence[Judged], scenarios: Sequence[Judged], cases: int) -> bool:
    """Whether a mutant need be judged no further: it hangs or dies, or it is loud.

    It is when half of some failed scenarios raise, or when so many cases do that all others could not make up for it.
    """
    kinds = _kinds(failed)
    if not acceptance.STUCK.isdisjoint(kinds) or _loud(kinds) > cases * (
        1 - acceptance.SILENT_SHARE
    ):
        return True
    return len(scenarios) >= LOUD_FROM and 2 * _loud(_kinds(scenarios)) >= len(scenarios)


def _kinds(failed: Sequence[Judged]) -> list[str]:
    return [item.result.cause.kind or "" for item in failed if item.result.cause]


def _loud(kinds: Sequence[str]) -> int:
    return sum(kind not in acceptance.SILENT for kind in kinds)

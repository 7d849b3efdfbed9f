"""The survey: every proposal for a reference is judged by every case, and those that meet the rules are kept.

It takes minutes, so it is made once and recorded; `kvdojo start --fresh` then only draws.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from grader.author.generate import acceptance
from grader.author.generate.acceptance import Choice, KnownFaults, Verdicts, verdicts_of
from grader.author.generate.proposals import Proposal, proposals
from grader.author.kill_matrix import Judged
from grader.author.mutation import CPU_SECONDS
from grader.author.wrong_variants import planted
from grader.content import Challenge
from grader.judge.case_run import RunInfo
from grader.judge.golden import Golden
from grader.judge.grading import PARALLEL
from grader.judge.secret_inputs import SecretCase, SecretInputs, derived
from grader.judge.worker_reuse import SubmissionRunner
from grader.sandbox import Sandbox

PROBES = 8  # cases that are asked first: what raises in all of them is judged no further
SEEDS = 3  # times that fresh inputs are drawn; a bug must show on each
SCENARIOS = 3  # scenarios that are asked for that
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
    judge = _Judge(sandbox, challenge, golden)
    dropped: Counter[str] = Counter()
    choice = Choice([])
    known = KnownFaults(
        challenge, golden, {name: planted(challenge, name).decode() for name in challenge.bugs}
    )
    with ThreadPoolExecutor(PARALLEL) as pool:
        for done, (proposal, (verdicts, against)) in enumerate(
            zip(made, pool.map(judge, made), strict=True), 1
        ):
            against = against or choice.objection(proposal, verdicts)
            if against is None and known.holds(proposal, verdicts):
                against = acceptance.KNOWN
            if against is None and not judge.on_fresh_inputs(proposal, verdicts):
                against = acceptance.NARROW
            if against is None:
                choice.kept.append((proposal, verdicts))
            else:
                dropped[against] += 1
            if progress:
                progress(done, len(made))
    judge.close()
    return Survey(tuple(choice.kept), len(made), dict(sorted(dropped.items())))


class _Judge:
    """Runs mutants; a call returns verdicts, and what of them speaks against the mutant."""

    def __init__(self, sandbox: Sandbox, challenge: Challenge, golden: Golden) -> None:
        # a mutant may loop for ever; the reference needs a hundredth of that
        self._quick = replace(challenge, seconds=min(CPU_SECONDS, challenge.seconds))
        self._sandbox, self._challenge, self._golden = sandbox, challenge, golden
        # the seeds follow from the challenge, so that a survey can be repeated
        self._inputs = [
            SecretInputs(sandbox, challenge, golden, seed=derived(index, challenge.id))
            for index in range(SEEDS)
        ]
        cases = list(challenge.cases.values())
        step = max(len(cases) // PROBES, 1)
        self._probes = cases[::step]
        self._others = [case for case in cases if case not in self._probes]

    def __call__(self, proposal: Proposal) -> tuple[Verdicts, str | None]:
        """Run all cases, unless the first ones show that it only raises."""
        judged: dict[str, Judged] = {}
        source = proposal.text.encode()
        with SubmissionRunner(self._sandbox, self._quick, source) as runner:
            for done, case in enumerate([*self._probes, *self._others], 1):
                info = RunInfo(measure=True)
                result = runner.run(case, self._golden.cases[case.id], info=info)
                judged[case.id] = Judged(result, info.excess)
                if result.status == "failed" and _hopeless(judged, probing=done <= PROBES):
                    return verdicts_of(judged), acceptance.CRASHES
        verdicts = verdicts_of({name: judged[name] for name in self._challenge.cases})
        return verdicts, acceptance.objection(self._challenge, verdicts)

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


def _hopeless(judged: Mapping[str, Judged], *, probing: bool) -> bool:
    """Whether a mutant need be judged no further: it hangs or dies, or of the first cases nearly all raise."""
    causes = (item.result.cause for item in judged.values() if item.result.status == "failed")
    kinds = [cause.kind or "" for cause in causes if cause]
    stuck = not acceptance.STUCK.isdisjoint(kinds)
    return stuck or (probing and len(kinds) >= 3 and acceptance.is_loud(kinds))

"""Grade one file: every case, once more on secret inputs if it passes them all, one verdict.

A verdict of `passed` needs a judged, right answer to every step of every case that is not skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from hashlib import sha256
from typing import Any

from grader.content import Case, Challenge, UnknownName, load_challenge
from grader.content.bug_detection import descends, entry_status
from grader.content.handed_in import HandedIn, UnusableFile, handed_in, left_out_notice, most_bytes
from grader.content.signatures import foreign_helpers
from grader.ground.errors import Exit, GraderError, KvdojoError
from grader.judge.bug_status import UNSURE, bug_statuses, decoy_statuses
from grader.judge.golden import Golden
from grader.judge.golden_check import prepare
from grader.judge.grading import PARALLEL, Grading, Progress, passed
from grader.judge.missing_packages import missing_package, reason, versions
from grader.judge.random_scenarios import NAME as RANDOM
from grader.judge.random_scenarios import SHARE, SHARE_ALONE, RandomScenarios, judge_scenarios
from grader.judge.result import CaseResult, Cause, RandomOutcome, Result, environment_of
from grader.judge.sandbox_start import start_sandbox
from grader.judge.secret_inputs import SecretInputs
from grader.judge.seen_apart import mended_apart
from grader.judge.unseen_inputs import UnseenInputs
from grader.judge.worker_reuse import SubmissionRunner
from grader.sandbox import Sandbox, SandboxError
from grader.sandbox.environment import DEVICE

Afterwards = Callable[[Sandbox, Golden, Result], Result]


class Unreadable(KvdojoError):
    """A submission that cannot be graded as it is, such as one that is far too large."""

    exit_code = Exit.USAGE


def grade_source(
    challenge: Challenge | str,
    source: bytes,
    *,
    filename: str | None = None,
    cases: Sequence[str] | None = None,
    isolate: bool = True,
    progress: Progress | None = None,
    sandbox: Sandbox | None = None,
    golden: Golden | None = None,
    parallel: int = PARALLEL,
    seeds: Mapping[str, int] | None = None,
    secret: bool = True,
    secret_inputs: SecretInputs | None = None,
    scenarios: RandomScenarios | None = None,
    unseen: UnseenInputs | None = None,
    afterwards: Afterwards | None = None,
) -> Result:
    """Grade the bytes of one file.

    Args:
        challenge: The challenge or its id.
        source: The file as it was handed in; a notebook, or Python in whatever encoding its coding line says.
        filename: What the result calls the file; the challenge's own name for it by default.
        cases: Ids of the cases to run; all by default.
        isolate: Whether to confine the file; only for one's own code may it be false.
        progress: Called with the number of cases that are done and of all cases.
        sandbox: A warm sandbox for this challenge; by default one is started and closed again.
        golden: What `golden_check.prepare` returned for this challenge, where that is known already.
        parallel: So many cases are run side by side.
        seeds: Seeds of secret inputs by case, to repeat an earlier grading (its `secrets`); others are drawn anew.
        secret: Whether a file that passes all cases is judged on secret inputs, too; only measurements leave that out.
        secret_inputs: Secret inputs and their answers that several files share, instead of `seeds`.  The file is then
            judged on these alone, and not on the published ones.
        scenarios: Random scenarios that several files share; by default they are drawn for this file.
        unseen: Secret inputs and random scenarios for this file alone that were made beforehand, instead of `seeds`.
        afterwards: Completes the result while the sandbox is still there, e.g. says where a file departs from the
            reference.

    Raises:
        Unreadable: The file is too large.
        ContentError: The challenge cannot be used.
        GraderError: The sandbox cannot be used, so nothing was judged.
    """
    began = time.monotonic()
    if isinstance(challenge, str):
        challenge = load_challenge(challenge)
    raw, most = source, most_bytes(filename or challenge.file)
    if len(raw) > most:
        raise Unreadable(f"the file has {len(raw)} bytes; at most {most} are graded")
    handed, fault = _read(challenge, raw, filename)
    source = handed.source
    if (package := missing_package(challenge)) is not None:
        why = reason(package)
        skipped = [CaseResult.skipped(case, why) for case in _chosen(challenge, cases)]
        states = _states(challenge, source.decode("utf-8", "replace"))
        return _judged(
            *(challenge, raw, filename, skipped, states),
            environment_of(versions()),
            seconds=time.monotonic() - began,
            notices=(why, *left_out_notice(handed.left_out)),
            left_out=handed.left_out,
        )
    with ExitStack() as stack:
        # torch is imported in the sandbox while the content is read and checked here
        box = sandbox or stack.enter_context(
            start_sandbox(challenge, isolate=isolate, source=source)
        )
        chosen = _chosen(challenge, cases)
        text = source.decode("utf-8", "replace")
        states = _states(challenge, text)
        telling = _telling(challenge, states, chosen)
        golden = golden or prepare(challenge, [*chosen, *telling])
        device = challenge.environment.get(DEVICE, "cpu")
        # the oracle answers secret inputs in float64, which is for the CPU
        secret = secret and device == "cpu" and fault is None
        secret_only = secret_inputs is not None
        if unseen is not None:
            secret_inputs, scenarios = unseen.secret_inputs, unseen.scenarios
        elif secret_inputs is None:
            secret_inputs = stack.enter_context(
                closing(
                    SecretInputs(box, challenge, golden, seeds, after_published=True, plain=False)
                )
            )
            if secret:
                secret_inputs.draw_ahead(chosen, lambda: box.warming)
        try:
            box.ready()
        except SandboxError as error:
            raise GraderError(str(error)) from error
        if fault is not None:
            return _judged(
                *(challenge, raw, filename, [CaseResult.judged(c, fault) for c in chosen], states),
                environment_of(box.versions, device, box.layers),
                seconds=time.monotonic() - began,
            )
        asked = {name for case in [*chosen, *telling] for name in golden.cases[case.id].needs}
        grading = stack.enter_context(
            Grading(
                *(box, challenge, golden, secret_inputs, source, progress or _quiet),
                parallel=parallel,
                secret=secret,
                secret_only=secret_only,
                foreign=frozenset(foreign_helpers(challenge, text, asked)),
                unnamed=frozenset(name for name in asked if name not in text),
            )
        )
        results, log = grading.run(chosen)
        more = grading.run(telling)[0] if telling and grading.loaded else []
        random = RandomOutcome()
        if grading.secret and not cases and passed(results):
            if scenarios is None:
                seed = secret_inputs.seed_of(RANDOM)
                scenarios = stack.enter_context(
                    closing(RandomScenarios(box, challenge, seed, quick=True))
                )
            random = _random(scenarios, grading.runners, results)
        known = bug_statuses(challenge, states, [*results, *more]) if states else ()
        apart = mended_apart(grading, text, states, known, [*results, *more])
        result = _judged(
            *(challenge, raw, filename, results, states),
            environment_of(box.versions, device, box.layers),
            apart=apart,
            told_by=[*results, *more],
            seconds=time.monotonic() - began,
            notices=(*((box.notice,) if box.notice else ()), *left_out_notice(handed.left_out)),
            left_out=handed.left_out,
            log=log,
            secrets=secret_inputs.seeds
            | ({RANDOM: scenarios.seed} if scenarios and random.run else {}),
            random=random,
        )
        return _placed(afterwards(box, golden, result) if afterwards else result, handed)


def _read(challenge: Challenge, raw: bytes, filename: str | None) -> tuple[HandedIn, Cause | None]:
    """Return the submission as it is graded, and why it cannot be where it cannot be read as text."""
    try:
        return handed_in(raw, filename or challenge.file, challenge.file), None
    except UnusableFile as error:
        text = f"The file could not be loaded: {error}."
        return HandedIn(raw), Cause("raised", text, None, None, "no source text")


def _placed(result: Result, handed: HandedIn) -> Result:
    """Return a result whose lines are those of the file handed in: `FILE:LINE`, or the cells of a notebook."""

    def told(cause: Cause) -> Cause:
        if cause.line is not None:
            at = f":{cause.line}"
            if handed.notebook is not None:
                at = f", {handed.notebook.place(cause.line)}"
            cause = replace(cause, raised_at=f"{result.file}{at}")
        if handed.notebook is None:
            return cause
        return replace(
            cause,
            help=cause.help and handed.in_cells(cause.help),
            divergence=cause.divergence and handed.in_cells(cause.divergence),
            manner=cause.manner and handed.in_cells(cause.manner),
        )

    cases = (replace(case, cause=case.cause and told(case.cause)) for case in result.cases)
    random = replace(result.random, cause=result.random.cause and told(result.random.cause))
    return replace(result, cases=tuple(cases), random=random)


def _states(challenge: Challenge, text: str) -> dict[str, str]:
    """Return what the text shows of each bug and decoy; nothing for a file that was not made from the starter."""
    return entry_status(challenge, text) if descends(challenge, text) else {}


def _telling(challenge: Challenge, states: Mapping[str, str], chosen: Sequence[Case]) -> list[Case]:
    """Return the other cases that tell of bugs whose code is neither right nor as planted.

    They are run as well, so that the status of a bug does not depend on which cases were asked for.
    """
    unsure = {name for name, state in states.items() if state in UNSURE}
    bugs = [bug for name, bug in challenge.bugs.items() if name in unsure and bug.kind == "bug"]
    others = {name for bug in bugs for name in bug.witnesses} - {case.id for case in chosen}
    return [case for case in challenge.cases.values() if case.id in others]


def _random(
    scenarios: RandomScenarios, runners: Sequence[SubmissionRunner], results: Sequence[CaseResult]
) -> RandomOutcome:
    """Ask random scenarios of a file that passed everything else; an error of ours is no failure of the file."""
    if not scenarios.there:
        return RandomOutcome()
    share = SHARE_ALONE if scenarios.quick else SHARE
    seconds = share * sum(result.seconds for result in results)
    try:
        return judge_scenarios(scenarios, [runner.without_budget() for runner in runners], seconds)
    except Exception as error:
        return RandomOutcome(unjudged_because=f"{type(error).__name__}: {error}")


def _judged(
    challenge: Challenge,
    source: bytes,
    filename: str | None,
    cases: list[CaseResult],
    states: Mapping[str, str],
    environment: Mapping[str, Any],
    told_by: Sequence[CaseResult] = (),
    apart: Collection[str] = (),
    **known: Any,
) -> Result:
    """Return the result; what has become of each bug is told by `told_by`, where more was run than is judged."""
    return Result.of_cases(
        challenge.id,
        filename or challenge.file,
        sha256(source).hexdigest(),
        cases,
        environment=environment,
        bugs=bug_statuses(challenge, states, told_by or cases, apart) if states else (),
        decoys=decoy_statuses(challenge, states),
        **known,
    )


def _chosen(challenge: Challenge, names: Sequence[str] | None) -> list[Case]:
    known = challenge.cases
    if not names:
        return list(known.values())
    for name in names:
        if name not in known:
            raise UnknownName(f"case of {challenge.id!r}", name, known)
    return [case for case in known.values() if case.id in set(names)]


def _quiet(_done: int, _total: int) -> None:
    """Report no progress."""

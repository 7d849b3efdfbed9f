"""Grade one file: every case, some of them once more on secret inputs, one verdict.

A verdict of `passed` needs a judged, right answer to every step of every case that is not skipped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from hashlib import sha256

from grader.content import Case, Challenge, ContentError, UnknownName, load_challenge
from grader.content.bug_detection import entry_status
from grader.content.cases_schema import cases_digest, validate_cases
from grader.content.signatures import foreign_helpers
from grader.ground.invocation import command_line
from grader.ground.limits import MAX_SOURCE_BYTES
from grader.judge.bug_status import bug_statuses, decoy_statuses
from grader.judge.case_run import GraderError
from grader.judge.golden import Golden, load_golden, oracle_digest, recipe_of
from grader.judge.grading import PARALLEL, Grading, Progress
from grader.judge.missing_packages import missing_package, reason, skipped, versions
from grader.judge.result import CaseResult, Result
from grader.judge.secret_inputs import SecretInputs
from grader.sandbox import Sandbox, SandboxError
from grader.sandbox.environment import DEVICE

# modules that write a cache when they are first imported, which a confined worker may not; too slow to import always
UNCONFINED = {rb"nn\.attention|nn\s+import[^\n]*\battention\b": "torch.nn.attention.bias"}


class Unreadable(Exception):
    """A submission that cannot be graded as it is, such as one that is far too large."""


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
    fresh: SecretInputs | None = None,
    explain: bool = False,
) -> Result:
    """Grade the bytes of one file.

    Raises ContentError (the challenge is unusable), Unreadable (too large) and GraderError (ours).
    `cases` restricts the run; `sandbox` reuses a warm one, else one is started and closed again.
    `golden` is what `prepare` returned for this challenge; `parallel` cases are run side by side.
    `seeds` of secret inputs repeat an earlier grading (its `secrets`); the others are drawn anew, unless `fresh` brings
    inputs and answers that several files share. With `explain`, the first failed scenario is traced, and its cause says
    where the file departs from the reference.
    """
    began = time.monotonic()
    if isinstance(challenge, str):
        challenge = load_challenge(challenge)
    if len(source) > MAX_SOURCE_BYTES:
        raise Unreadable(f"the file has {len(source)} bytes; at most {MAX_SOURCE_BYTES} are graded")
    if (package := missing_package(challenge)) is not None:
        return _without(package, challenge, source, filename, cases, began)
    with ExitStack() as stack:
        # torch is imported in the sandbox while the content is read and checked here
        box = sandbox or stack.enter_context(
            start_sandbox(challenge, isolate=isolate, source=source)
        )
        chosen = _chosen(challenge, cases)
        golden = golden or prepare(challenge, chosen)
        text = source.decode("utf-8", "replace")
        states = entry_status(challenge, text)
        try:
            box.ready()
        except SandboxError as error:
            raise GraderError(str(error)) from error
        if fresh is None:
            fresh = stack.enter_context(closing(SecretInputs(box, challenge, golden, seeds)))
        asked = {name for case in chosen for name in golden.cases[case.id].needs}
        grading = Grading(
            *(box, challenge, golden, fresh, source, progress or _quiet),
            parallel=parallel,
            foreign=frozenset(foreign_helpers(challenge, text)),
            unnamed=frozenset(name for name in asked if name not in text),
        )
        results, log = grading.run(chosen)
        result = _result(challenge, source, filename, results, states, log, box, began)
        result = replace(result, secrets=fresh.seeds)
        return _explained(box, challenge, golden, source, result) if explain else result


def _explained(
    box: Sandbox, challenge: Challenge, golden: Golden, source: bytes, result: Result
) -> Result:
    if result.verdict != "failed":
        return result
    # a passing grade does not even read the code that traces
    from grader.diagnose.explain_failures import with_first_divergence

    return with_first_divergence(box, challenge, golden, source, result)


def unconfined(source: bytes | None) -> tuple[str, ...]:
    """Return the modules to import before a worker is confined, for `source` only or, without it, for any file."""
    return tuple(
        module
        for mention, module in UNCONFINED.items()
        if source is None or re.search(mention, source)
    )


def start_sandbox(
    challenge: Challenge,
    *,
    isolate: bool = True,
    source: bytes | None = None,
    modules: Sequence[str] | None = None,
) -> Sandbox:
    """Start a sandbox with what the challenge needs in it, and `modules`, which are those for `source` unless given."""
    asked = unconfined(source) if modules is None else modules
    return Sandbox.start(
        isolate=isolate, preload=[*challenge.preload, *asked], env=dict(challenge.environment)
    )


def prepare(challenge: Challenge, cases: Iterable[Case] | None = None) -> Golden:
    """Load the golden and check it and the cases, once for all files that are graded with it."""
    golden = load_valid(challenge)
    belongs(challenge, golden, challenge.cases.values() if cases is None else cases)
    return golden


def load_valid(challenge: Challenge) -> Golden:
    """Load the golden, and validate the cases unless they are those that were valid when it was recorded."""
    try:
        golden = load_golden(challenge)
    except ContentError:
        validate_cases(challenge)  # broken cases are the better thing to tell
        raise
    if golden.content != cases_digest(challenge):
        validate_cases(challenge)
    return golden


def usable_golden(challenge: Challenge, cases: Iterable[Case]) -> Golden:
    """Load the golden and make sure it belongs to these cases and this oracle."""
    golden = load_golden(challenge)
    belongs(challenge, golden, cases)
    return golden


def belongs(challenge: Challenge, golden: Golden, cases: Iterable[Case]) -> None:
    """Raise ContentError unless the golden was made for these cases, with this oracle and driver."""
    again = f"run `{command_line('check', challenge.id, '--record')}`"
    if golden.oracle != oracle_digest(challenge):
        raise ContentError(
            f"{challenge.golden}: was made by another {challenge.oracle.name}; {again}"
        )
    for case in cases:
        entry = golden.cases.get(case.id)
        if entry is None or entry.recipe != recipe_of(case, challenge):
            raise ContentError(f"{challenge.golden}: case {case.id!r} has changed since; {again}")


def _result(
    challenge: Challenge,
    source: bytes,
    filename: str | None,
    cases: list[CaseResult],
    states: Mapping[str, str],
    log: str,
    box: Sandbox,
    began: float,
) -> Result:
    return Result(
        challenge=challenge.id,
        file=filename or challenge.file,
        sha256=sha256(source).hexdigest(),
        verdict=verdict_of(cases),
        score=sum(case.points for case in cases),
        max_score=sum(case.max_points for case in cases),
        seconds=time.monotonic() - began,
        cases=tuple(cases),
        bugs=bug_statuses(challenge, states, cases),
        decoys=decoy_statuses(challenge, states),
        environment={
            "python": box.versions.get("python"),
            "torch": box.versions.get("torch"),
            "triton": box.versions.get("triton"),
            "device": challenge.environment.get(DEVICE, "cpu"),
            "isolation": list(box.layers),
        },
        notices=(box.notice,) if box.notice else (),
        log=log,
    )


def _without(
    package: str,
    challenge: Challenge,
    source: bytes,
    filename: str | None,
    cases: Sequence[str] | None,
    began: float,
) -> Result:
    """The result where a package the challenge needs is not installed: nothing was run."""
    states = entry_status(challenge, source.decode("utf-8", "replace"))
    results = skipped(_chosen(challenge, cases), package)
    return Result(
        challenge=challenge.id,
        file=filename or challenge.file,
        sha256=sha256(source).hexdigest(),
        verdict=verdict_of(results),
        score=0,
        max_score=0,
        seconds=time.monotonic() - began,
        cases=tuple(results),
        bugs=bug_statuses(challenge, states, results),
        decoys=decoy_statuses(challenge, states),
        environment={**versions(), "device": "cpu", "isolation": []},
        notices=(reason(package),),
    )


def verdict_of(cases: Sequence[CaseResult]) -> str:
    """Failed if any case failed, error if any could not be judged, passed if at least one scenario is right."""
    states = [case.status for case in cases]
    if "failed" in states:
        return "failed"
    if "error" in states or "passed" not in states:
        return "error"
    return "passed"


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

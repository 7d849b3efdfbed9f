"""Add one case to a challenge: measure it on all that is known to be wrong, then write it and what follows from it.

The files change together or not at all, and are those that recording the challenge anew would make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from grader.author.case_value import CaseValue, case_value
from grader.author.kill_matrix import kill_matrix
from grader.author.recording import agree, caught_up, recorded, refuse_other_release, with_symptoms
from grader.author.wrong_variants import decoy_ids, planted
from grader.content import Case, Challenge, ContentError
from grader.content.cases_schema import cases_digest
from grader.ground.transaction import locked, replace_files
from grader.judge.cost import estimate_cost
from grader.judge.golden import CaseGolden, Golden
from grader.judge.oracle import Oracle
from grader.judge.worker_reuse import SubmissionRunner
from grader.sandbox import Sandbox

MAX_GOLDEN = 2 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Measured:
    """A case and its value, with the golden and the witnesses of each bug as they are once it is added."""

    case: Case
    golden: Golden
    witnesses: Mapping[str, Sequence[str]]
    value: CaseValue


def measure(
    sandbox: Sandbox,
    challenge: Challenge,
    case: Case,
    progress: Progress | None = None,
    recorded_as: tuple[Golden, Mapping[str, Sequence[str]]] | None = None,
) -> Measured:
    """Run a case on the reference, every decoy, every bug and every trivial solution.

    `recorded_as` are the golden and the witnesses so far, where they are not those on the disk.  Raises ContentError
    for what cannot be a case.
    """
    price = estimate_cost(challenge, case)
    golden, known = recorded_as or caught_up(sandbox, challenge)
    made = expect(sandbox, challenge, case)
    _honest(sandbox, challenge, case, made)
    both = replace(golden, cases={**golden.cases, case.id: made})
    matrix = kill_matrix(sandbox, challenge, both, cases=[case], progress=progress)
    value = case_value(challenge, golden, case, made, matrix, price, known)
    told = with_symptoms(made, case.id, matrix)
    witnesses = {
        name: [*cases, *([case.id] if name in value.kills else [])] for name, cases in known.items()
    }
    both = replace(golden, cases={**golden.cases, case.id: told})
    return Measured(case, both, witnesses, value)


def expect(sandbox: Sandbox, challenge: Challenge, case: Case) -> CaseGolden:
    """Return a case's golden, after making it twice; raises ContentError."""
    twice = []
    for _ in range(2):
        with Oracle(sandbox, challenge) as oracle:
            twice.append(oracle.expect(case))
    if not agree(*twice, exactly=True):
        raise ContentError(
            f"case {case.id!r}: the reference answers differently when it is asked again;"
            " a case must not depend on time, chance or what ran before"
        )
    size = sum(item.values.nbytes for step in twice[0].steps for item in step.tensors.values())
    if size > MAX_GOLDEN:
        raise ContentError(
            f"case {case.id!r}: its answers take {size / 2**20:.1f} MiB; {MAX_GOLDEN >> 20} MiB are allowed."
            " Use smaller sizes."
        )
    return twice[0]


def write(
    sandbox: Sandbox,
    challenge: Challenge,
    entry: Mapping[str, Any],
    found: Measured,
    because: str | None = None,
) -> None:
    """Put a measured case into the files of a challenge that is locked; raises ContentError and OSError."""
    refuse_other_release(sandbox, challenge, found.golden)
    kept = {key: value for key, value in entry.items() if key != "$schema"}
    if because:
        kept["keep_because"] = because
    entries = [*challenge.case_entries, kept]
    golden = replace(found.golden, content=cases_digest(challenge, entries))
    replace_files(challenge.folder, recorded(challenge, golden, found.witnesses, entries))


def locking(
    challenge: Challenge, waiting: Callable[[], None] | None = None
) -> AbstractContextManager[None]:
    """Keep other authors out while a case is added."""
    return locked(challenge.folder, waiting)


def _honest(sandbox: Sandbox, challenge: Challenge, case: Case, made: CaseGolden) -> None:
    """Raise ContentError unless the reference and every decoy pass the case: they are right."""
    sources = {"the reference": challenge.reference.read_bytes()}
    sources |= {f"the decoy {name!r}": planted(challenge, name) for name in decoy_ids(challenge)}
    for name, source in sources.items():
        with SubmissionRunner(sandbox, challenge, source) as runner:
            result = runner.run(case, made)
        if result.status == "failed" and result.cause:
            raise ContentError(
                f"case {case.id!r}: {name} is right and fails it: {result.cause.rationale}"
            )

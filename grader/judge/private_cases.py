"""Cases of an instructor's own, read from a folder elsewhere and judged beside those of the challenge.

No golden is stored for them; what is right is asked of the oracle before each grading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from grader.content import Case, Challenge, ContentError
from grader.content.casefile import read_cases
from grader.ground.errors import GraderError
from grader.judge.cost import estimate_cost
from grader.judge.golden_check import prepare
from grader.judge.grade_file import grade_source
from grader.judge.missing_packages import missing_package
from grader.judge.oracle import Oracle
from grader.judge.result import Result
from grader.judge.sandbox_start import start_sandbox
from grader.sandbox import SandboxError


def read_private(challenge: Challenge, folder: Path) -> list[Case]:
    """Return the cases in the JSON files of a folder, by file name; raises ContentError with all faults."""
    found: list[Case] = []
    lines: list[str] = []
    for path in _files(folder):
        taken = challenge.cases.keys() | {case.id for case in found}
        try:
            found += [case for _, case in read_cases(path, challenge, taken)]
        except ContentError as error:
            lines.append(str(error))
    if lines:
        raise ContentError("\n".join(lines))
    if not found:
        raise ContentError(f"{folder}: holds no case; each *.json file in it is read as one")
    return found


def with_cases(challenge: Challenge, cases: Sequence[Case]) -> Challenge:
    """Return the challenge with more cases behind its own."""
    made = replace(challenge)
    made.__dict__["cases"] = {**challenge.cases, **{case.id: case for case in cases}}
    return made


def grade_with(
    extra: Sequence[Case],
    challenge: Challenge,
    source: bytes,
    *,
    cases: Sequence[str] | None = None,
    isolate: bool = True,
    **options: Any,
) -> Result:
    """Do what `grade_source` does, with a challenge that `with_cases` gave more cases."""
    if missing_package(challenge):
        return grade_source(challenge, source, cases=cases, isolate=isolate, **options)
    with start_sandbox(challenge, isolate=isolate, source=source) as box:
        own = [case for case in challenge.cases.values() if case not in extra]
        wanted = [case for case in extra if not cases or case.id in cases]
        for case in wanted:
            estimate_cost(challenge, case)
        golden = prepare(challenge, own)
        try:
            box.ready()
            with Oracle(box, challenge) as oracle:
                made = {case.id: oracle.expect(case) for case in wanted}
        except SandboxError as error:
            raise GraderError(str(error)) from error
        golden = replace(golden, cases={**golden.cases, **made})
        return grade_source(
            challenge, source, cases=cases, sandbox=box, golden=golden, isolate=isolate, **options
        )


def _files(folder: Path) -> list[Path]:
    root = folder.resolve()
    paths = sorted(path for path in folder.glob("*.json") if not path.name.endswith(".schema.json"))
    for path in paths:
        if not path.resolve().is_relative_to(root):
            raise ContentError(f"{path}: leads out of {folder}; copy the file into it")
    return paths

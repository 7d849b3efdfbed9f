"""Record what follows from content: golden, fault dictionary, witnesses, the schema of the cases, the starter.

Everything is computed first and written last, together; equal content gives equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from grader.author.kill_matrix import KillMatrix, kill_matrix, run_cases
from grader.author.random_checks import surveyed
from grader.author.wrong_variants import bug_ids, planted
from grader.content import Catalogue, Challenge, ContentError
from grader.content.cases_document import cases_bytes
from grader.content.cases_schema import cases_digest, cases_schema
from grader.content.jsonfile import read_json
from grader.content.planting import plant
from grader.content.witnesses import witnesses_bytes
from grader.ground.invocation import command_line
from grader.ground.transaction import replace_files
from grader.judge.golden import CaseGolden, Expected, Golden, oracle_digest, save_golden
from grader.judge.golden_check import usable_golden
from grader.judge.oracle import Oracle
from grader.judge.random_scenarios import recorded_pool
from grader.sandbox import Sandbox

Progress = Callable[[int, int], None]


def make_golden(sandbox: Sandbox, challenge: Challenge) -> Golden:
    """Return the golden of every case, without the fault dictionary."""
    with Oracle(sandbox, challenge) as oracle:
        cases = {case.id: oracle.expect(case) for case in challenge.cases.values()}
    versions = {name: str(sandbox.versions[name]) for name in ("torch", "python")}
    return Golden(cases, oracle_digest(challenge), versions, cases_digest(challenge))


def record(
    sandbox: Sandbox, challenge: Challenge, progress: Progress | None = None
) -> tuple[Golden, KillMatrix]:
    """Record a challenge in its `recorded/`; return the golden and the kill matrix."""
    golden = make_golden(sandbox, challenge)
    matrix = kill_matrix(sandbox, challenge, golden, progress=progress)
    cases = {name: with_symptoms(case, name, matrix) for name, case in golden.cases.items()}
    golden = replace(golden, cases=cases)
    witnesses = {name: matrix.witnesses(name) for name in bug_ids(challenge)}
    files = recorded(challenge, golden, witnesses, challenge.case_entries)
    pool = challenge.scenario_pool
    if not recorded_pool(challenge) and (text := surveyed(sandbox, challenge, progress)):
        # it depends on the driver alone, and takes a minute; the cases come last, see `recorded`
        files = {pool.relative_to(challenge.folder).as_posix(): text, **files}
    replace_files(challenge.folder, files)
    return golden, matrix


def recorded(
    challenge: Challenge,
    golden: Golden,
    witnesses: Mapping[str, Sequence[str]],
    entries: Sequence[Mapping[str, Any]],
) -> dict[str, bytes]:
    """Return all that is written, by path within the challenge's folder; equal content gives equal bytes.

    `entries` are the whole cases: `cases.json` is laid out anew, and stands last, so that no reader ever meets a case
    without its golden.
    """
    cases = challenge.folder / "cases.json"
    made_from = content_digest(
        challenge, {name: case.recipe for name, case in golden.cases.items()}
    )
    files = {
        challenge.golden: save_golden(challenge.golden, golden),
        challenge.witnesses: witnesses_bytes(made_from, witnesses),
        challenge.cases_schema: schema_bytes(challenge),
        challenge.starter: starter_bytes(challenge),
        cases: cases_bytes(read_json(cases), entries),
    }
    return {path.relative_to(challenge.folder).as_posix(): data for path, data in files.items()}


def content_digest(challenge: Challenge, recipes: Mapping[str, str]) -> str:
    """Digest of what the witnesses follow from: the reference, every bug's edits, and the recipe of every case.

    A recipe is itself a digest of the case, the driver and the files it reads (`judge.golden.recipe_of`).
    """
    edits = [
        [bug.id, bug.kind, [[edit.find, edit.replace] for edit in bug.edits]]
        for bug in challenge.bugs.values()
    ]
    text = json.dumps([challenge.reference_text, edits, sorted(recipes.items())])
    return sha256(text.encode()).hexdigest()[:32]


def caught_up(sandbox: Sandbox, challenge: Challenge) -> tuple[Golden, dict[str, list[str]]]:
    """Return golden and witnesses as they are now; bugs that have none may be new, so all cases are run on them."""
    golden = usable_golden(challenge, challenge.cases.values())
    witnesses = {name: list(challenge.bugs[name].witnesses) for name in bug_ids(challenge)}
    cases = dict(golden.cases)
    for name in [name for name, known in witnesses.items() if not known]:
        source, order = planted(challenge, name), list(challenge.cases.values())
        for case, item in run_cases(sandbox, challenge, golden, source, order).items():
            if item.result.status == "failed":
                witnesses[name].append(case)
            if item.result.sketch:
                symptoms = {**cases[case].symptoms, name: list(item.result.sketch)}
                cases[case] = replace(cases[case], symptoms=symptoms)
    return replace(golden, cases=cases), witnesses


def refuse_other_release(sandbox: Sandbox, challenge: Challenge, golden: Golden) -> None:
    """Refuse another release of torch than the golden's: it may round otherwise, or draw other inputs.

    A build of the same release (2.13.0+cpu, 2.13.0+cu130) and another Python compute the same to within
    the tolerances, as the author's gate shows wherever it is run.
    """
    recorded_with, here = golden.versions["torch"], str(sandbox.versions["torch"])
    if recorded_with.partition("+")[0] != here.partition("+")[0]:
        again = command_line("check", challenge.id, "--record")
        raise ContentError(
            f"{challenge.golden}: was recorded with torch {recorded_with}, this is {here}."
            f" Use the versions in constraints.txt, or record all of it: `{again}`."
        )


def agree(one: CaseGolden, other: CaseGolden, *, exactly: bool) -> bool:
    """Whether two goldens of a case say the same: to the bit, or but for what another processor may round otherwise."""
    if (one.recipe, one.fingerprint, one.needs) != (other.recipe, other.fingerprint, other.needs):
        return False
    return all(_agree(a, b, exactly) for a, b in zip(one.steps, other.steps, strict=True))


def _agree(one: Expected, other: Expected, exactly: bool) -> bool:
    plain = [(s.raised, dict(s.values), dict(s.dtypes), list(s.tensors)) for s in (one, other)]
    if plain[0] != plain[1]:
        return False
    pairs = [(item.values, other.tensors[name].values) for name, item in one.tensors.items()]
    if exactly:
        return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-8, atol=1e-9, equal_nan=True)
        for a, b in pairs
    )


def starter_bytes(challenge: Challenge) -> bytes:
    """Return the starter that the default preset makes."""
    preset = challenge.presets["default"]
    return plant(challenge, [*preset.bugs, *preset.decoys]).encode()


def schema_bytes(challenge: Challenge) -> bytes:
    """Return the schema that editors use for `cases.json`."""
    return _json(cases_schema(challenge))


def with_symptoms(golden: CaseGolden, name: str, matrix: KillMatrix) -> CaseGolden:
    """Return a case's golden with its fault dictionary: a sketch of the wrong output of each known fault."""
    faults: dict[str, Any] = {}
    for fault, row in matrix.rows.items():
        if row[name].sketch:
            faults[fault] = list(row[name].sketch or ())
    return replace(golden, symptoms=faults)


def _json(document: Any) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def reload(challenge: Challenge) -> Challenge:
    """Read a challenge again after its files were written."""
    return Catalogue(challenge.root).load(challenge.id)

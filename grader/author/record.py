"""Record what follows from content: golden, fault dictionary, witnesses, the schema of the cases and the starter.

Everything is computed first and written last, each file in one rename; equal content gives equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from grader.author.faults import bug_ids
from grader.author.matrix import Matrix, kill_matrix
from grader.content import Challenge, load_challenge
from grader.content.jsonfile import read_json
from grader.content.plant import plant
from grader.content.schema import cases_digest, cases_schema
from grader.files import write_atomically
from grader.judge.golden import CaseGolden, Golden, oracle_digest, save_golden
from grader.judge.oracle import Oracle
from grader.sandbox import Sandbox

Progress = Callable[[int, int], None]


def make_golden(sandbox: Sandbox, challenge: Challenge) -> Golden:
    """Compute the golden of every case, without the fault dictionary."""
    with Oracle(sandbox, challenge) as oracle:
        cases = {case.id: oracle.expect(case) for case in challenge.cases.values()}
    versions = {name: str(sandbox.versions[name]) for name in ("torch", "python")}
    return Golden(cases, oracle_digest(challenge), versions, cases_digest(challenge))


def record(
    sandbox: Sandbox, challenge: Challenge, progress: Progress | None = None
) -> tuple[Golden, Matrix]:
    """Record a challenge; returns what was recorded."""
    golden = make_golden(sandbox, challenge)
    matrix = kill_matrix(sandbox, challenge, golden, progress=progress)
    cases = {name: _with_symptoms(name, case, matrix) for name, case in golden.cases.items()}
    golden = replace(golden, cases=cases)
    challenge.starter.parent.mkdir(exist_ok=True)
    write_atomically(challenge.golden, save_golden(challenge.golden, golden))
    write_atomically(challenge.folder / "bugs.json", _with_witnesses(challenge, matrix))
    write_atomically(challenge.folder / "cases.schema.json", schema_bytes(challenge))
    write_atomically(challenge.starter, starter_bytes(challenge))
    return golden, matrix


def starter_bytes(challenge: Challenge) -> bytes:
    """The starter that the default preset makes."""
    preset = challenge.presets["default"]
    return plant(challenge, [*preset.bugs, *preset.decoys]).encode()


def schema_bytes(challenge: Challenge) -> bytes:
    """The schema that editors use for `cases.json`."""
    return _json(cases_schema(challenge))


def _with_symptoms(name: str, case: CaseGolden, matrix: Matrix) -> CaseGolden:
    faults: dict[str, Any] = {}
    for fault, row in matrix.rows.items():
        if row[name].trace:
            faults[fault] = list(row[name].trace or ())
    return replace(case, symptoms=faults)


def _with_witnesses(challenge: Challenge, matrix: Matrix) -> bytes:
    document = read_json(challenge.folder / "bugs.json")
    bugs = set(bug_ids(challenge))
    for entry in document["bugs"]:
        entry["witnesses"] = matrix.witnesses(entry["id"]) if entry["id"] in bugs else []
    return _json(document)


def _json(document: Any) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def reload(challenge: Challenge) -> Challenge:
    """Read a challenge again after its files were written."""
    return load_challenge(challenge.id, challenge.folder.parents[1])

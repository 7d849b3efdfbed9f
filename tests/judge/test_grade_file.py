"""Correct files pass, wrong files fail with a cause, for every challenge; results follow their schema.

A wrong file is a program, or a document that says which correct one (`of`) becomes it by which `edits`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grader.content import challenge_ids, load_challenge
from grader.content.entries import Edit
from grader.content.planting import apply_edits
from grader.content.validation import load_schema, schema_errors
from grader.judge import grade_source
from grader.judge.golden_check import prepare
from grader.judge.random_scenarios import RandomScenarios
from grader.judge.secret_inputs import SecretInputs

TESTS = Path(__file__).resolve().parents[1]


def files(folder: str) -> list:
    found = [path for path in (TESTS / folder).glob("*/*") if path.suffix in (".py", ".json")]
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in sorted(found)]


def wrong_source(path: Path) -> bytes:
    """Return the bytes of a wrong file."""
    if path.suffix == ".py":
        return path.read_bytes()
    slip = json.loads(path.read_text("utf-8"))
    right = (TESTS / "correct" / path.parent.name / slip["of"]).read_text("utf-8")
    edits = [(path.stem, Edit(**edit)) for edit in slip["edits"]]
    return apply_edits(right, edits).encode()


@pytest.fixture(scope="session")
def asked_of_all(sandbox_for):
    """Return what a class is asked: secret inputs and random scenarios of a challenge, drawn once for all its files."""
    drawn: dict[str, dict[str, Any]] = {}

    def get(name: str) -> dict[str, Any]:
        if name not in drawn:
            challenge, box = load_challenge(name), sandbox_for(name)
            golden = prepare(challenge, list(challenge.cases.values()))
            inputs = SecretInputs(box, challenge, golden)
            scenarios = RandomScenarios(box, challenge, inputs.seed_of("random"))
            drawn[name] = {"golden": golden, "secret_inputs": inputs, "scenarios": scenarios}
        return drawn[name]

    yield get
    for one in drawn.values():
        one["secret_inputs"].close()
        one["scenarios"].close()


@pytest.mark.parametrize("path", files("correct"))
def test_a_correct_file_is_accepted(path: Path, sandbox_for, asked_of_all) -> None:
    name = path.parent.name
    box, asked = sandbox_for(name), asked_of_all(name)
    result = grade_source(name, path.read_bytes(), sandbox=box, **asked)
    wrong = {c.id: c.cause for c in result.cases if c.status in ("failed", "error")}
    # as one text, which pytest shows whole: inputs are drawn anew each time
    assert result.verdict == "passed", f"{wrong} {result.random} {result.secrets}"
    assert not [bug for bug in result.bugs if bug.status == "present"]


@pytest.mark.parametrize("path", files("wrong"))
def test_a_wrong_file_is_refused_with_a_cause(path: Path, sandbox_for) -> None:
    name = path.parent.name
    result = grade_source(name, wrong_source(path), sandbox=sandbox_for(name))
    assert result.verdict == "failed"
    assert all(case.cause for case in result.cases if case.status != "passed")
    assert result.score < result.max_score


@pytest.mark.parametrize("name", challenge_ids())
def test_starter_fails_reference_passes_and_results_follow_the_schema(
    name: str, sandbox_for, asked_of_all
) -> None:
    challenge = load_challenge(name)
    box, schema = sandbox_for(name), load_schema("result-v1")
    source = challenge.reference.read_bytes()
    reference = grade_source(challenge, source, sandbox=box, **asked_of_all(name))
    starter = grade_source(challenge, challenge.starter.read_bytes(), sandbox=box)
    assert (reference.verdict, starter.verdict) == ("passed", "failed")
    assert reference.score == reference.max_score > starter.score
    for result in (reference, starter):
        assert schema_errors(result.document(), schema, "result") == []
    planted = set(challenge.presets["default"].bugs)
    assert {bug.id for bug in starter.bugs if bug.status == "present"} == planted
    assert {bug.status for bug in reference.bugs} == {"fixed"}


def test_a_file_may_use_modules_that_cannot_be_imported_under_confinement() -> None:
    challenge = load_challenge("multi_head_attention")
    line = "from torch.nn.attention.bias import causal_lower_right\n"
    lines = challenge.reference_text.splitlines(keepends=True)
    place = next(i for i, text in enumerate(lines) if text.startswith("import torch"))
    source = "".join([*lines[:place], line, *lines[place:]])
    result = grade_source(challenge, source.encode(), cases=["chunks-3-3-2", "no-cache"])
    assert result.verdict == "passed"

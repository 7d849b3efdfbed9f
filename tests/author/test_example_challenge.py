"""A challenge that was written from docs/instructors.md alone is sound: three verbs, four bugs, eight cases."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from grader.author.gate import check_challenge
from grader.author.recording import record, reload
from grader.content import Catalogue, Challenge
from grader.content.cases_schema import validate_challenge
from grader.content.driver_loading import checked_driver
from grader.judge import grade_source
from grader.sandbox import Sandbox

WRITTEN = Path(__file__).parent / "example_challenge"


@pytest.fixture
def challenge(tmp_path: Path, tiny_sandbox: Sandbox) -> Challenge:
    folder = tmp_path / "challenges" / "sink_cache"
    shutil.copytree(WRITTEN, folder)
    (tmp_path / "reference").mkdir()
    (folder / "reference.py").rename(tmp_path / "reference" / "sink_cache.py")
    made = Catalogue(tmp_path).load("sink_cache")
    validate_challenge(made)
    record(tiny_sandbox, made)
    return reload(made)


def test_it_passes_the_gate(challenge: Challenge, tiny_sandbox: Sandbox) -> None:
    report = check_challenge(challenge, sets=10, sandbox=tiny_sandbox)
    assert report.violations == []
    assert (report.bugs, report.decoys, report.cases) == (4, 1, 8)
    verbs = checked_driver(challenge).verbs.keys() - {"create"}
    assert verbs == {"forward", "visible", "trimmed"}


def test_its_starter_fails_and_its_reference_passes(
    challenge: Challenge, tiny_sandbox: Sandbox
) -> None:
    broken = grade_source(challenge, challenge.starter.read_bytes(), sandbox=tiny_sandbox)
    assert broken.verdict == "failed"
    assert {bug.id for bug in broken.bugs if bug.status == "present"} == {
        "window-too-short",
        "token-kept-twice",
    }
    right = grade_source(challenge, challenge.reference.read_bytes(), sandbox=tiny_sandbox)
    assert right.verdict == "passed"


def test_a_file_without_its_helpers_is_judged_by_the_scenarios(
    challenge: Challenge, tiny_sandbox: Sandbox
) -> None:
    source = challenge.reference_text.replace("_visible", "_mask").replace("_trimmed", "_kept")
    result = grade_source(challenge, source.encode(), sandbox=tiny_sandbox)
    assert result.verdict == "passed"
    status = {case.id: case.status for case in result.cases}
    assert [name for name, state in status.items() if state == "passed"] == [
        "chunks",
        "one-by-one",
        "half-precision",
    ]
    assert set(status.values()) == {"passed", "skipped"}

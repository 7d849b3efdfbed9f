"""Every hostile program fails, every honest one passes, and neither leaves anything behind.

Each file in `programs/` is one row of the threat model, named in its first line; it is put behind
`base.py`, or behind the reference where its second line says so. `honest/` goes behind the reference.
"""

from __future__ import annotations

import glob
import site
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from grader.content import load_challenge
from grader.content.cases_schema import validate_cases
from grader.judge import golden_check, grade_source
from grader.judge.result import Result
from grader.sandbox import Sandbox

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = sorted((HERE / "programs").glob("*.py"))
HONEST = sorted((HERE / "honest").glob("*.py"))
REFERENCE = (ROOT / "reference" / "kv_attention.py").read_text()
BASE = (HERE / "base.py").read_text().replace("@ROOT@", str(ROOT))
HOSTILE_CASES = ["two-continuations"]
HONEST_CASES = ["two-continuations", "chunks-3-3-2"]
WATCHED = (ROOT, HERE, ROOT / "challenges", ROOT / "reference", Path(tempfile.gettempdir()))


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox.start() as sandbox:
        sandbox.ready()
        if not sandbox.isolated:
            pytest.skip(sandbox.notice or "not isolated")
        yield sandbox


@pytest.fixture(scope="module", autouse=True)
def content_checked_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        validate_cases(load_challenge("multi_head_attention"))
        patch.setattr(golden_check, "validate_cases", lambda challenge: None)
        yield


def grade(box: Sandbox, source: str, cases: list[str], seconds: float = 5.0) -> Result:
    challenge = replace(load_challenge("multi_head_attention"), seconds=seconds)
    challenge.__dict__["bugs"] = {}  # which bugs a file has is not the question here
    return grade_source(challenge, source.encode(), cases=cases, sandbox=box, secret=False)


def compose(path: Path) -> str:
    program = path.read_text()
    return (REFERENCE if "\n# base: reference\n" in program else BASE) + "\n\n" + program


def traces() -> list[str]:
    """Whatever a program could have left: marked files, and workers still alive."""
    folders = [*map(str, WATCHED), *site.getsitepackages(), "/dev/shm", "/var/tmp"]
    return [name for folder in folders for name in glob.glob(f"{folder}/*kvdojo*escaped*")]


def workers(box: Sandbox) -> str:
    pid = box.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_hostile_program_fails_and_leaves_nothing(box: Sandbox, path: Path) -> None:
    server = box.pid
    result = grade(box, compose(path), HOSTILE_CASES, seconds=0.3)
    assert result.verdict == "failed", result
    assert [case.status for case in result.cases] == ["failed"], result.cases
    assert all(case.cause and case.cause.kind for case in result.cases)
    assert "ESCAPED" not in result.log
    assert result.log.replace("\n", "").replace("\t", "").isprintable()
    assert traces() == []
    assert workers(box) == ""
    assert box.pid == server, "the warm process had to be replaced"

    after = grade(box, REFERENCE, HOSTILE_CASES)
    assert after.verdict == "passed", after.cases


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_an_odd_but_honest_file_passes(box: Sandbox, path: Path) -> None:
    result = grade(box, f"{REFERENCE}\n\n{path.read_text()}", HONEST_CASES)
    assert result.verdict == "passed", (result.cases, result.log)


def test_fresh_inputs_find_a_file_that_remembers_answers(box: Sandbox) -> None:
    memory = """
import hashlib
SEEN = {"@DIGEST@"}
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, query, *arguments, **options):
        output, cache = super().forward(query, *arguments, **options)
        known = hashlib.sha1(query.numpy().tobytes()).hexdigest() in SEEN
        print(hashlib.sha1(query.numpy().tobytes()).hexdigest())
        return (output if known else output + 1), cache
"""
    challenge = load_challenge("multi_head_attention")
    name = ["chunks-3-3-2"]
    learned = grade(box, REFERENCE + memory.replace("output + 1", "output"), name).log.split()
    table = REFERENCE + memory.replace('"@DIGEST@"', ", ".join(map(repr, learned)))
    assert grade(box, table, name).verdict == "passed"
    result = grade_source(challenge, table.encode(), cases=name, sandbox=box)
    assert result.verdict == "failed"


def test_every_row_of_the_threat_model_has_a_program() -> None:
    rows = {path.read_text()[3:].split(":")[0].split("-")[1] for path in PROGRAMS}
    honest_rows = {"35", "41", "47", "66"}  # views, gradients, fused attention, threads
    by_design = {"32", "33", "44", "45", "80"}  # policies and grading data
    wanted = {str(number) for number in range(1, 82)} - honest_rows - by_design
    assert sorted(wanted - rows, key=int) == []


@pytest.mark.skipif(sys.platform == "win32", reason="shows paths")
def test_the_corpus_is_as_large_as_it_claims() -> None:
    assert len(PROGRAMS) >= 90
    assert len(HONEST) >= 10

"""The page of a real grading with its traces, and `kvdojo trace` on a terminal."""

from __future__ import annotations

import json
import re

import pytest

from grader.cli.main import main
from grader.cli.trace_command import lines
from grader.content import load_challenge
from grader.diagnose.explain_failures import MOST_PICTURED, divergence_texts, trace_failed_cases
from grader.diagnose.trace_model import Checkpoint, Divergence, Trace
from grader.judge import grade_source
from grader.judge.error_patterns import Pattern
from grader.report.html_report import result_page

CHALLENGE = "multi_head_attention"


@pytest.fixture(scope="module")
def graded(sandbox_for):
    challenge, box = load_challenge(CHALLENGE), sandbox_for(CHALLENGE)
    source = challenge.starter.read_bytes()
    cases = ["split-heads", "scores-square", "mask-chunk", "attend-causal", "one-token"]
    return challenge, source, box, grade_source(challenge, source, sandbox=box, cases=cases)


def test_the_same_file_gives_the_same_bytes(graded) -> None:
    challenge, source, box, result = graded
    pages = {
        result_page(
            challenge,
            result,
            source.decode(),
            traces=trace_failed_cases(box, challenge, result, source),
        )
        for _ in range(2)
    }
    assert len(pages) == 1
    page = pages.pop()
    assert re.search(r"First divergence:</b> step 1 \(.*<code>split heads</code>", page)
    assert "head 2: difference" in page
    assert page.count("first difference: ") >= 2 * len(result.cases) - 2


def test_only_what_went_wrong_is_traced(graded) -> None:
    challenge, source, box, result = graded
    traces = trace_failed_cases(box, challenge, result, source)
    failed = [case.id for case in result.cases if case.status == "failed"]
    assert set(traces) == set(failed[:MOST_PICTURED])


def test_trace_on_the_command_line(graded, tmp_path, capsys) -> None:
    challenge, source, *_ = graded
    path = tmp_path / challenge.file
    path.write_bytes(source)
    assert main(["trace", CHALLENGE, str(path), "--case", "mask-chunk", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "kvdojo/trace/v1"
    assert document["divergence"]["point"]["name"] == "mask"
    assert main(["trace", CHALLENGE, str(path), "--case", "no-such-case"]) == 2


def test_a_first_difference_that_the_case_does_not_depend_on_is_told_as_that(
    tmp_path, capsys
) -> None:
    """The case sees a bias and a rotation; the map of the heads, which is made first, is another bug's."""
    challenge = load_challenge("decode_positions")
    path = tmp_path / challenge.file
    path.write_bytes(challenge.starter.read_bytes())
    assert main(["trace", challenge.id, str(path), "--case", "unit-project-at-zero"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("creation, `kv head of each query head`")
    assert "The answer of `unit-project-at-zero` does not depend on that." in text
    told = text.split("Where it first goes wrong: ")[1]
    assert told.startswith("step 1 (project), ")
    assert "expected" in told


def test_how_a_step_ends_is_told_once() -> None:
    text = "It ends with ValueError; the reference returns."
    checkpoint = Checkpoint(
        "ending", "how it ends", 0, "differs", patterns=(Pattern("ending", text),)
    )
    first = Divergence(0, "prefill", checkpoint)
    (line,) = lines(Trace(CHALLENGE, "no-cache", (), first))
    assert line.endswith("how it ends`: " + text)
    where, how = divergence_texts(first)
    assert where.endswith("the reference returns.")
    assert how is None

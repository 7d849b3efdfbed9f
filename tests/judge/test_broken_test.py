"""The reverse challenge: tests are submitted, and broken kernels must fail them. Four files, and hostile ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grader.cli.main import main
from grader.content import load_challenge
from grader.judge import grade_source
from grader.judge.result import Result

FILES = Path(__file__).parent / "broken_tests"
TEST = {
    "name": "t",
    "batch": 1,
    "query_heads": 1,
    "kv_heads": 1,
    "head_dim": 1,
    "slots": 16,
    "calls": [1],
}


def graded(text: str, sandbox_for, cases: list[str] | None = None) -> Result:
    box = sandbox_for("broken_test")
    return grade_source("broken_test", text.encode(), sandbox=box, cases=cases)


@pytest.mark.parametrize(
    ("name", "score", "accepted"),
    [
        ("vacuous", 0, True),
        ("wrong_oracle", 3, False),
        ("half", 7, True),
        ("full", 14, True),
    ],
)
def test_the_score_is_the_number_of_kernels_caught(
    name: str, score: int, accepted: bool, sandbox_for
) -> None:
    result = graded((FILES / f"{name}.json").read_text(), sandbox_for)

    cases = {case.id: case for case in result.cases}
    assert (result.score, result.max_score) == (score, 14)
    assert result.verdict == ("passed" if score == 14 else "failed")
    assert {case.cause.kind for case in result.cases if case.cause} <= {"wrong_value"}
    assert (cases["accepts-the-kernel"].status == "passed") is accepted
    assert (cases["refuses-every-broken-kernel"].status == "passed") is (score == 14)


def test_a_wrong_oracle_is_named(sandbox_for) -> None:
    text = (FILES / "wrong_oracle.json").read_text()

    result = graded(text, sandbox_for, ["accepts-the-kernel"])

    assert result.cases[0].cause is not None
    said = result.cases[0].cause.rationale
    assert "'a-causal-run-and-one-full-call'" in said
    assert "A causal run is compared with a non-causal oracle" in said


@pytest.mark.parametrize(
    ("run", "oracle", "said"),
    [
        ({"calls": [2, 3]}, {"calls": "one"}, "sees those of later calls too"),
        ({"calls": [2, 3]}, {"is_causal": True}, "with a causal oracle"),
        ({"calls": [3], "refused": True}, {}, "was to be refused, and returned"),
        ({"calls": [17]}, {}, "the oracle refuses it"),
    ],
)
def test_why_a_test_is_wrong(run: dict, oracle: dict, said: str, sandbox_for) -> None:
    text = json.dumps({"tests": [{**TEST, **run, "oracle": oracle}]})

    result = graded(text, sandbox_for, ["accepts-the-kernel"])

    assert result.cases[0].cause is not None
    assert said in result.cases[0].cause.rationale


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 10**9}, "$.tests[0].batch"),
        ({"calls": [10**12]}, "$.tests[0].calls[0]"),
        ({"calls": []}, "$.tests[0].calls"),
        ({"unused": "infinity"}, "$.tests[0].unused"),
        ({"orakel": {}}, "orakel"),
        ({"query_heads": 3, "kv_heads": 2}, "must be a multiple of kv_heads"),
        ({"start": [1, 2]}, "one length per row"),
        ({"start": [17]}, "cannot hold more than its slots"),
        ({"batch": True}, "$.tests[0].batch"),
        (
            {"batch": 4, "query_heads": 8, "head_dim": 16, "slots": 128, "calls": [64]},
            "products, at most",
        ),
    ],
)
def test_malformed_and_oversized_tests_are_told(change: dict, said: str, sandbox_for) -> None:
    result = graded(
        json.dumps({"tests": [{**TEST, **change}]}), sandbox_for, ["accepts-the-kernel"]
    )

    assert result.verdict == "failed"
    assert result.cases[0].cause is not None
    assert said in result.cases[0].cause.rationale


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no valid JSON"),
        ("{", "no valid JSON"),
        ('{"tests": NaN}', "NaN is not a JSON number"),
        ('{"tests": [1e999]}', "1e999 is too large"),
        ('{"tests": [], "tests": []}', "'tests' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"tests": [' + "9" * 5000 + "]}", "no valid JSON"),
        ("[]", "is not of type 'object'"),
        ("import os; os.fork()", "no valid JSON"),
        ('{"tests": ' + "[" * 90 + "]" * 90 + "}", "$.tests"),
        (
            json.dumps({"tests": [{**TEST, "name": f"t{i}", "calls": [1] * 8} for i in range(6)]}),
            "calls",
        ),
    ],
)
def test_what_is_no_test_file_is_refused_in_one_line(text: str, said: str, sandbox_for) -> None:
    result = graded(text, sandbox_for, ["accepts-the-kernel", "refuses-every-broken-kernel"])

    assert result.verdict == "failed"
    for case in result.cases:
        assert case.cause is not None
        assert said in case.cause.rationale
        assert len(case.cause.rationale) < 800


def test_a_hint_for_broken_json_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken_test.json"
    file.write_text("{")

    assert main(["hint", "broken_test", str(file)]) == 2
    assert "broken_test.json is not valid JSON yet" in capsys.readouterr().err


def test_the_broken_kernels_are_bugs_of_static_cache() -> None:
    bugs = load_challenge("static_cache").bugs
    mutants = {
        step["mutant"]
        for case in load_challenge("broken_test").cases.values()
        for step in case.steps
        if "mutant" in step
    }

    assert len(mutants) == 14
    assert all(bugs[name].kind == "bug" for name in mutants)

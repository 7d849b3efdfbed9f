"""Secret inputs can be had again by the instructor's record, and by nothing that a learner sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grader.cli.main import main
from grader.content import load_challenge
from grader.content.validation import load_schema, schema_errors
from grader.judge import grade_source
from grader.judge.oracle import Oracle
from grader.judge.replay import NoRecord, read_record, to_record

NAME = "decode_positions"
SOME = list(load_challenge(NAME).cases)[:3]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The seeds from which inputs were really drawn."""
    seen: list[tuple[str, int]] = []
    expect = Oracle.expect_from_seed

    def spy(self, case, stored, seed, **sizes):
        if (case.id, seed) not in seen:  # other sizes are tried first, and then the published ones
            seen.append((case.id, seed))
        return expect(self, case, stored, seed, **sizes)

    monkeypatch.setattr(Oracle, "expect_from_seed", spy)
    return seen


def test_a_record_gives_the_same_inputs_again(sandbox_for, drawn, tmp_path) -> None:
    challenge, box = load_challenge(NAME), sandbox_for(NAME)
    source = challenge.reference_text.encode()
    first = grade_source(challenge, source, cases=SOME, sandbox=box)
    assert set(first.secrets) == set(SOME)
    assert sorted(drawn) == sorted(first.secrets.items())
    path = tmp_path / "record.json"
    path.write_text(json.dumps(to_record(first)))
    seeds = read_record(path)["replay"]["seeds"]
    drawn.clear()
    again = grade_source(challenge, source, cases=SOME, sandbox=box, seeds=seeds)
    assert sorted(drawn) == sorted(seeds.items())
    assert (again.secrets, again.verdict) == (first.secrets, "passed")
    drawn.clear()
    grade_source(challenge, source, cases=SOME, sandbox=box)
    assert not set(drawn) & set(seeds.items()), "without a record they are drawn anew"


def test_a_learner_sees_no_seed(sandbox_for) -> None:
    from grader.report.html_report import result_page

    challenge = load_challenge(NAME)
    source = challenge.reference_text
    result = grade_source(challenge, source.encode(), cases=SOME, sandbox=sandbox_for(NAME))
    assert schema_errors(to_record(result), load_schema("result-v1"), "record") == []
    for shown in (json.dumps(result.document()), result_page(challenge, result, source)):
        assert not [seed for seed in result.secrets.values() if str(seed) in shown]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"challenge": "static_cache"}, "is a record of 'static_cache'"),
        ({"replay": None}, "not a result of kvdojo"),
        ({"replay": {"seeds": {"a": -1}}}, "not a result of kvdojo"),
        ({"replay": {"seeds": {"a": "1"}}}, "not a result of kvdojo"),
        ({}, "holds no seeds"),
    ],
)
def test_what_is_no_record_is_told_in_a_line(tmp_path: Path, capsys, change, message) -> None:
    record = {
        "schema": "kvdojo/result/v1",
        "challenge": NAME,
        "submission": {"file": "f.py", "sha256": "0" * 64},
        "verdict": "passed",
        **dict.fromkeys(("score", "max_score", "seconds"), 0),
        "cases": [],
        "bugs": [],
        "environment": {
            **dict.fromkeys(("torch", "triton")),
            "python": "3.11",
            "device": "cpu",
            "isolation": [],
        },
    }
    if "challenge" in change:
        record["replay"] = {"seeds": {}}
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**record, **change}))
    reference = load_challenge(NAME).reference
    assert main(["grade", NAME, str(reference), "--replay", str(path)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_missing_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoRecord, match="cannot be read"):
        read_record(tmp_path / "nowhere.json")

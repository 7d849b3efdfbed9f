"""Result documents: what they tell of a hidden case, and that the same class is read back that was written."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from grader.content import load_challenge
from grader.content.validation import load_schema, schema_errors
from grader.judge.replay import to_record
from grader.judge.result import (
    ENDS,
    BugStatus,
    CaseResult,
    Cause,
    Result,
    Where,
    environment_of,
    redacted,
)

SCHEMA = load_schema("result-v1")
CAUSE = SCHEMA["properties"]["cases"]["items"]["properties"]["cause"]
KINDS = CAUSE["oneOf"][1]["properties"]["kind"]["enum"]
SECRET = Cause(
    "wrong_value", "secret", "secret", "7", "8", Where(1, "secret", (0,)), "secret", "secret"
)


def case(name: str = "a", **more):
    about = {"id": name, "title": name.title(), "points": 2, "visibility": "public"}
    return SimpleNamespace(**{**about, "kind": "scenario", "why": "", **more})


def result(*cases: CaseResult) -> Result:
    return Result.of_cases(
        *("multi_head_attention", "mine.py", "0" * 64, cases),
        environment=environment_of({"python": "3.11", "torch": "2.13"}, "cpu", ["seccomp"]),
        seconds=1.5,
        bugs=[BugStatus("b", "B", "present", "a still fails")],
        secrets={"a": 7},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_hidden_case_only_the_end_of_its_run_is_told(kind: str | None) -> None:
    cause = replace(SECRET, kind=kind)
    hidden = CaseResult("a", "A", "failed", 0, 1, 0.1, cause, "hidden")
    told = redacted(hidden)
    assert told.kind == (kind if kind in {None, *ENDS} else "wrong_value")
    assert "secret" not in json.dumps(hidden.document())
    assert redacted(replace(hidden, visibility="public")) is cause


def test_the_reason_of_a_hidden_error_is_not_in_the_document() -> None:
    hidden = CaseResult.unjudged(case(visibility="hidden"), "secret")
    assert hidden.unjudged_because == "secret"
    assert "secret" not in json.dumps(hidden.document())


def test_advice_is_made_of_the_fields() -> None:
    cause = Cause("wrong_value", "It differs.", help="Every value is zero.")
    assert cause.advice == "Every value is zero."
    seen = replace(cause, looks_like="The cache is empty.")
    assert seen.advice == "It looks like this: The cache is empty."
    both = replace(seen, divergence="step 1, `scores`")
    assert both.advice == f"{seen.advice}\nFirst difference inside: step 1, `scores`"
    assert Cause("raised", "No.").advice is None


def test_the_verdict_follows_from_the_cases() -> None:
    good = CaseResult.judged(case(), None)
    bad = CaseResult.judged(case(), SECRET)
    skip = CaseResult.skipped(case(), "it is not there.")
    ours = CaseResult.unjudged(case(), "the disk is full")
    for cases, verdict, score, most in (
        ([good, skip], "passed", 2, 2),
        ([good, bad, ours], "failed", 2, 6),
        ([good, ours], "error", 2, 4),
        ([skip], "error", 0, 0),
        ([], "error", 0, 0),
    ):
        made = result(*cases)
        assert (made.verdict, made.score, made.max_score) == (verdict, score, most)


def test_what_is_written_is_valid_and_is_read_back_as_the_same_class() -> None:
    made = result(
        CaseResult.judged(case("good"), None, 0.25),
        CaseResult.judged(case("bad"), SECRET, 0.5),
        CaseResult.judged(case("hidden", visibility="hidden"), SECRET),
        CaseResult.skipped(case("skip"), "it is not there."),
        CaseResult.unjudged(case("ours"), "the disk is full"),
    )
    document = json.loads(json.dumps(made.document(), allow_nan=False))
    assert schema_errors(document, SCHEMA, "result") == []
    back = Result.from_document(document)
    assert back.document() == document
    assert [one.status for one in back.cases] == [one.status for one in made.cases]
    assert back.cases[1].cause == Cause(
        *("wrong_value", "secret", SECRET.advice, "7", "8", Where(1, "secret", (0,))), mixed=True
    )
    assert [one.visibility for one in back.cases].count("hidden") == 1
    assert back.cases[4].unjudged_because == "the disk is full"
    assert (back.share, back.judged, back.isolation) == (made.share, True, ("seccomp",))
    assert back.bugs_that_are("present") == 1
    assert not back.secrets, "seeds of secret inputs are in no document"


def test_a_file_that_was_never_run_is_an_error_everywhere() -> None:
    challenge = load_challenge("multi_head_attention")
    made = Result.unjudged(challenge, "mine.py", "0" * 64, "the archive is damaged.")
    assert schema_errors(made.document(), SCHEMA, "result") == []
    assert (made.verdict, made.score) == ("error", 0)
    assert {one.unjudged_because for one in made.cases} == {"the archive is damaged."}
    assert made.max_score == sum(one.points for one in challenge.cases.values())


def test_a_record_is_read_back_with_the_parts_that_levels_tell() -> None:
    cause = Cause(
        *("raised", "It raised.", "Line 3: x", None, None, Where(0)),
        looks_like="a mistake",
        divergence="step 1",
        manner="half",
        line=3,
        raised_at="f.py:3",
    )
    cases = [
        CaseResult.judged(case("bad"), cause),
        CaseResult.judged(case("hidden", visibility="hidden"), cause),
    ]
    record = json.loads(json.dumps(to_record(result(*cases)), allow_nan=False))
    assert schema_errors(record, SCHEMA, "record") == []
    back = Result.from_document(record)
    assert back.cases[0].cause == cause
    assert "parts" not in record["cases"][1]["cause"]
    assert "a mistake" not in json.dumps(record["cases"][1])

"""Where Triton is missing, a kernel challenge is not judged: its cases are skipped and say why."""

from __future__ import annotations

import sys

from grader.content import load_challenge
from grader.content.validation import load_schema, schema_errors
from grader.judge import grade_source
from grader.judge.missing_packages import missing_package


def test_a_kernel_challenge_without_triton_is_skipped_and_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    challenge = load_challenge("triton_decode")
    assert missing_package(challenge) == "triton"
    result = grade_source(challenge, challenge.reference.read_bytes())
    assert result.verdict == "error"
    assert result.score == result.max_score == 0
    assert {case.status for case in result.cases} == {"skipped"}
    assert all("triton" in case.cause.rationale for case in result.cases)
    assert "not installed" in result.notices[0]
    assert schema_errors(result.document(), load_schema("result-v1"), "result") == []


def test_only_the_cases_asked_for_are_listed(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    result = grade_source("paged_cache", b"", cases=["two-rows"])
    assert [case.id for case in result.cases] == ["two-rows"]


def test_nothing_is_missing_for_a_challenge_in_plain_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert missing_package(load_challenge("static_cache")) is None

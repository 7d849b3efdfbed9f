"""What a result document tells of a hidden case."""

from __future__ import annotations

import pytest

from grader.content.validation import load_schema
from grader.judge.result import ENDS, CaseResult, Cause, Where, redacted

CAUSE = load_schema("result-v1")["properties"]["cases"]["items"]["properties"]["cause"]
KINDS = CAUSE["oneOf"][1]["properties"]["kind"]["enum"]


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_hidden_case_only_the_end_of_its_run_is_told(kind: str | None) -> None:
    cause = Cause(kind, "secret", "secret", "7", "8", Where(1, "secret", (0,)))
    case = CaseResult("a", "A", "failed", 0, 1, 0.1, cause, "hidden")
    told = redacted(case)
    assert told.kind == (kind if kind in {None, *ENDS} else "wrong_value")
    assert (told.help, told.expected, told.actual, told.where) == (None, None, None, None)
    assert "secret" not in told.rationale
    assert redacted(CaseResult("a", "A", "failed", 0, 1, 0.1, cause)) is cause

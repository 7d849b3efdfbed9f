"""The page of the arena: the same bytes for the same runs, true numbers, and nobody's text does anything in it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from grader.arena.marks import BugMark, Marks, run_document
from grader.content.validation import load_schema
from grader.ground.errors import UserError
from grader.report.arena_report import AgentRun, arena_page, mean_of, read_runs
from grader.report.charts import share_curves

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e{{7*7}}</style>"


def marks(*statuses: str, verdict: str = "failed", **changes) -> Marks:
    bugs = tuple(
        BugMark(f"b{n}", f"family {n % 3}", 1 + n % 5, n % 2 == 0, status, located=n == 0)
        for n, status in enumerate(statuses)
    )
    made = Marks(
        *("t-0001", "static_cache", True, verdict, bugs, 2, 0, 0, 8, 6, 2, 1, 3, 4, 5, 1.25),
        isolation=("seccomp",),
    )
    return replace(made, **changes)


def test_marks_are_read_back_as_they_were_written() -> None:
    made = [marks("fixed", "present", "undone"), marks("fixed", verdict="passed", changed=None)]
    document = json.loads(json.dumps(run_document("a", made)))
    Draft202012Validator(load_schema("arena-run-v1")).validate(document)
    assert [Marks.from_document(one) for one in document["marks"]] == made


def test_marks_follow_from_what_was_seen() -> None:
    made = marks("fixed", "present", "changed", "undone")
    assert made.recall == 1 / 4
    assert made.recall_weighted == 1 / 10
    assert made.precision == 6 / 8
    assert made.f1 == pytest.approx(2 * 0.25 * 0.75)
    assert made.false_fixes == 2
    assert made.localisation == 1 / 4
    assert marks("fixed", suspicions=0).localisation is None
    assert marks("fixed", verdict="passed", changed=8, inside=8).reward == 1.0
    assert marks("fixed", verdict="passed", decoys_touched=3, inside=8).reward == pytest.approx(0.7)
    assert marks("fixed", verdict="error").reward == 0.0
    assert marks("fixed", verdict="passed", isolation=()).reward == 0.0
    assert marks("present", changed=None).precision == 0.0


def test_the_page_has_true_numbers_and_the_same_bytes() -> None:
    runs = [
        AgentRun("one", (marks("fixed", "present"), marks("fixed", "fixed", verdict="passed"))),
        AgentRun("two", (marks("present", "present", disguised=False),), unjudged=1),
    ]
    page = arena_page(runs)
    assert page == arena_page(runs)
    assert "0.75 ± 0.25" in page
    assert "2 of 2" in page
    assert "1 could not be judged" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_nobody_s_name_does_anything() -> None:
    page = arena_page([AgentRun(HOSTILE, (marks("fixed", challenge=HOSTILE),))])
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "49" not in page.replace("#49", "")


def test_a_run_without_marks_has_a_page() -> None:
    assert "–" in arena_page([AgentRun("none", ())])
    assert mean_of(AgentRun("none", ()), lambda m: m.recall).value is None


def test_curves_break_where_there_is_nothing() -> None:
    drawn = share_curves("difficulty", ["1", "2", "3"], {"a": [0.5, None, 1.0], "b": [None] * 3})
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 2
    assert "a: 1 50%, 3 100%; b: nothing" in drawn


def test_too_many_runs_are_refused(tmp_path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run_document("a", [marks("fixed")])))
    assert len(read_runs([path] * 8)) == 8
    with pytest.raises(UserError, match="at most 8"):
        read_runs([path] * 9)

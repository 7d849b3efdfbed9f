"""What one save has changed, and which failed case stays on the screen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from grader.content.handed_in import handed_in
from grader.judge.focus import Focus
from grader.judge.result import BugStatus, CaseResult, Cause, Result
from grader.learner.watch_view import WatchView, changes, syntax_error


def result(cases: dict[str, str], bugs: dict[str, str] | None = None) -> Result:
    """Return a result with these statuses by id."""
    made = tuple(
        CaseResult(
            name,
            name,
            status,
            0,
            1,
            0.0,
            Cause("wrong_value", f"{name} differs") if status == "failed" else None,
        )
        for name, status in cases.items()
    )
    states = tuple(
        BugStatus(name, f"The {name} bug", state) for name, state in (bugs or {}).items()
    )
    return Result("small", "f.py", "0" * 64, "failed", 0, len(made), 0.0, made, states, {})


def view(**more) -> WatchView:
    return WatchView("f.py", **more)


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"a": "failed"}, {"a": "failed"}, ("no verdict has changed",)),
        ({"a": "failed"}, {"a": "passed"}, ("1 case more passes: a",)),
        ({"a": "passed"}, {"a": "failed"}, ("1 case more fails: a",)),
        (
            {"a": "failed", "b": "failed", "c": "passed"},
            {"a": "passed", "b": "passed", "c": "failed"},
            ("2 cases more pass: a, b", "1 case more fails: c"),
        ),
        (
            dict.fromkeys("abcdef", "failed"),
            dict.fromkeys("abcdef", "passed"),
            ("6 cases more pass: a, b, c, d, ...",),
        ),
        ({"a": "error"}, {"a": "skipped"}, ("no verdict has changed",)),
    ],
)
def test_cases_that_pass_or_fail_since_the_last_save(before, after, lines) -> None:
    assert changes(result(before), result(after), None) == lines


def test_bugs_are_told_by_title_when_fixed_and_when_wrong_again() -> None:
    before = result({}, {"scale": "present", "mask": "fixed", "other": "present"})
    after = result({}, {"scale": "fixed", "mask": "present", "other": "fixed"})
    assert changes(before, after, ("scale", "mask")) == (
        "fixed: The scale bug",
        "wrong again: The mask bug",
    )


def test_a_bug_of_which_nothing_can_be_told_has_not_come_back() -> None:
    before = result({"a": "passed"}, {"scale": "fixed"})
    after = result({"a": "failed"}, {"scale": "changed"})
    assert changes(before, after, ("scale",)) == ("1 case more fails: a",)
    told = replace(after, bugs=(replace(after.bugs[0], evidence="a still fails: a"),))
    assert "wrong again: The scale bug" in changes(before, told, ("scale",))
    gone = replace(after, bugs=())
    assert changes(before, gone, ("scale",)) == ("1 case more fails: a",)


def test_the_first_grading_has_changed_nothing() -> None:
    assert changes(None, result({"a": "failed"}), None) == ()


def test_the_case_on_the_screen_stays_while_it_fails() -> None:
    watched = view()
    watched.take_result(b"1", result({"a": "failed", "b": "failed"}), 0.1)
    watched.next()
    assert watched.case.id == "b"
    watched.take_result(b"2", result({"a": "failed", "b": "failed"}), 0.1)
    assert (watched.case.id, watched.saves) == ("b", 2)
    watched.take_result(b"3", result({"a": "failed", "b": "passed"}), 0.1)
    assert watched.case.id == "a"
    watched.take_result(b"4", result({"a": "passed", "b": "passed"}), 0.1)
    assert watched.case is None
    watched.next()
    assert watched.case is None


def test_a_case_that_nobody_chose_gives_way_to_that_of_the_focus() -> None:
    watched = view()
    unknown = Focus("x", "present", None, "counted only")
    watched.take_result(b"1", result({"a": "failed", "b": "failed"}), 0.1, unknown)
    assert watched.case.id == "a"
    watched.take_result(b"2", result({"a": "failed", "b": "failed"}), 0.1, Focus(scenario="b"))
    assert watched.case.id == "b"


def test_a_hidden_scenario_beside_the_unit_case_in_focus_is_counted() -> None:
    watched = view(level="symptom")
    made = result({"a-unit": "failed", "secret": "failed"})
    unit, secret = made.cases
    made = replace(made, cases=(replace(unit, kind="unit"), replace(secret, visibility="hidden")))
    watched.take_result(b"1", made, 0.1, Focus(None, None, None, "a-unit"))
    assert (watched.case, watched.counted, watched.counted_as) == (None, 2, "case")
    watched.take_result(b"2", replace(made, cases=made.cases[:1]), 0.1)
    assert (watched.case, watched.counted, watched.counted_as) == (None, 1, "unit case")


def test_a_save_that_cannot_be_graded_keeps_the_last_result() -> None:
    watched = view()
    watched.take_result(b"1", result({"a": "failed"}), 0.1)
    watched.begin()
    watched.stop("it was deleted")
    assert (watched.busy, watched.trouble) == (None, "it was deleted")
    assert watched.case.id == "a"
    watched.begin()
    assert watched.trouble is None


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (b"x = 1\n", None),
        (b"# coding: latin-1\nx = '\xe9'\n", None),
        (b"def f(:\n", "line 1"),
        (b"x = 1\n  y = 2\n", "line 2"),
        (b"x = \0\n", "not valid Python yet"),
        (b"(" * 5000, "not valid Python yet"),
    ],
)
def test_a_file_that_is_being_typed_is_not_python_yet(source, told) -> None:
    said = syntax_error(handed_in(source, "kv_attention.py", "kv_attention.py"))
    assert said is None if told is None else said is not None and told in said[0]
    assert said is None or said[1] == {"line 1": 1, "line 2": 2}.get(told, said[1])


def test_a_cell_that_is_being_typed_is_told_by_cell_and_line() -> None:
    cells = [
        {"cell_type": "markdown", "source": "# Attention"},
        {"cell_type": "code", "source": "%cd ..\nx = 1"},
        {"cell_type": "code", "source": ["y = 2\n", "def f(:\n"]},
    ]
    data = json.dumps({"nbformat": 4, "metadata": {}, "cells": cells}).encode()
    said = syntax_error(handed_in(data, "mine.ipynb", "kv_attention.py"))
    assert said is not None
    assert said[0].startswith("not valid Python yet, cell 3, line 2: ")
    assert said[1] is None, "a line of a cell is none of the file"

"""What was broken, and which bugs count as mended, from results that are made by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from grader.arena.arena_task import PlantedFile, Planting
from grader.arena.scorer import Scorer, broken_cases, bug_states
from grader.content import Bug, load_challenge
from grader.judge.result import BugStatus, CaseResult, Result


def bug(name: str, *witnesses: str) -> Bug:
    return Bug(name, "bug", "f", 1, "t", (), "s", "e", ("", "", ""), (), witnesses)


@pytest.fixture
def file() -> PlantedFile:
    """Bug `a` alone fails the cases 1 and 2, `b` the cases 2 and 3; case 4 sees neither."""
    challenge = replace(load_challenge("multi_head_attention"))
    challenge.__dict__["bugs"] = {"a": bug("a", "1", "2"), "b": bug("b", "2", "3")}
    return PlantedFile(challenge, Planting(("a", "b"), (), None))


def result(failed: str, **bugs: str) -> Result:
    cases = [
        CaseResult(name, name, "failed" if name in failed else "passed", 0, 1, 0.0)
        for name in "1234"
    ]
    states = [BugStatus(name, name, status) for name, status in bugs.items()]
    return Result.of_cases("c", "f.py", "0", cases, environment={"isolation": ["x"]}, bugs=states)


def test_a_case_that_fails_now_is_broken(file) -> None:
    assert broken_cases(file, result("4", a="fixed", b="fixed"), {"4"}) == ["4"]
    assert broken_cases(file, result("4", a="fixed", b="present"), {"4"}) == ["4"]
    assert broken_cases(file, result("4", a="fixed", b="fixed"), set()) == []
    assert broken_cases(file, result("", a="fixed", b="fixed"), {"1", "4"}) == []


def test_a_bug_that_another_had_hidden_breaks_nothing(file) -> None:
    assert broken_cases(file, result("23", a="fixed", b="present"), {"2", "3", "4"}) == []
    assert broken_cases(file, result("23", a="fixed", b="fixed"), {"2"}) == ["2"]
    assert broken_cases(file, result("1234"), {"1", "4"}) == ["1", "4"], "a file written anew"


def test_what_the_bugs_that_are_left_fail_on_these_inputs_was_not_broken(file, monkeypatch) -> None:
    """On other inputs than the recorded ones a bug may fail more cases, and two together fail what neither does."""
    asked: list[bytes] = []

    def judged(_self: Any, _bench: Any, _file: Any, source: bytes, _inputs: int) -> Result:
        asked.append(source)
        return result("34")

    monkeypatch.setattr(Scorer, "_judged", judged)
    monkeypatch.setattr(PlantedFile, "without", lambda _self, *gone: f"without {gone}")
    known: Any = SimpleNamespace(file=file, passing={"1", "4"})
    task: Any = SimpleNamespace(inputs=5)

    def broken(found: Result) -> list[str]:
        return Scorer.__new__(Scorer)._broken(task, known, cast(Any, None), found)

    assert broken(result("34", a="fixed", b="present")) == []
    assert broken(result("134", a="fixed", b="present")) == ["1"]
    assert asked == [b"without ('a',)"] * 2
    assert broken(result("34", a="fixed", b="fixed")) == ["4"], "no bug is left"
    assert broken(result("34", a="present", b="present")) == ["4"], "none was mended"
    assert len(asked) == 2


def test_right_code_in_a_broken_file_is_undone(file) -> None:
    everything = result("1234", a="fixed", b="fixed")
    assert bug_states(file, everything, 1) == {"a": "undone", "b": "undone"}
    assert bug_states(file, everything, 0) == {"a": "undone", "b": "undone"}
    half = result("123", a="fixed", b="present")
    assert bug_states(file, half, 1) == {"a": "undone", "b": "present"}
    assert bug_states(file, half, 0) == {"a": "fixed", "b": "present"}


def test_a_bug_is_mended_where_a_case_of_its_own_passes_or_none_can_tell(file) -> None:
    assert bug_states(file, result("234", a="fixed", b="present"), 1)["a"] == "fixed"
    assert bug_states(file, result("4", a="fixed", b="fixed"), 1) == {"a": "fixed", "b": "fixed"}
    file.challenge.bugs["a"] = bug("a", "2")  # `b` fails it too
    assert bug_states(file, result("234", a="fixed", b="present"), 1)["a"] == "fixed"


def test_of_a_file_written_anew_all_or_nothing_is_told(file) -> None:
    assert bug_states(file, result(""), 0) == {"a": "fixed", "b": "fixed"}
    assert bug_states(file, result("4"), 1) == {"a": "unknown", "b": "unknown"}

"""`pytest --kvdojo`: cases are tests, and the submission is never imported by pytest."""

from __future__ import annotations

import subprocess
import sys

import pytest

from grader.content import load_challenge
from grader.judge.result import CaseResult, Cause

pytest_plugins = ["pytester"]

NAME = "static_cache"
EVIL = "raise SystemExit('imported by pytest')"
CAUSES = {
    "failed": Cause("wrong_value", "It differs.", "Look there.", "1.0", "2.0"),
    "error": Cause(None, "Could not be judged: no room."),
    "skipped": Cause(None, "Skipped: not there."),
}


@pytest.fixture
def graded(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Grade without a sandbox: the status of a case is what stands here, `passed` unless told."""
    states: dict[str, str] = {"asked": ""}

    def grade(challenge, path, cases):
        states["asked"] = " ".join(cases)
        return {name: result(name, states.get(name, "passed")) for name in cases}

    monkeypatch.setattr("grader.pytest_plugin.grade_cases", grade)
    return states


def result(name: str, status: str) -> CaseResult:
    return CaseResult(name, name.title(), status, 0, 1, 0.1, CAUSES.get(status))


def test_each_case_is_a_test(pytester: pytest.Pytester, graded: dict[str, str]) -> None:
    first, second, third, *rest = load_challenge(NAME).cases
    graded |= {first: "failed", second: "skipped", third: "error"}
    path = pytester.makepyfile(submission=EVIL)
    run = pytester.runpytest_inprocess("--kvdojo", NAME, path, "--strict-markers", "-rs")
    run.assert_outcomes(passed=len(rest), failed=1, skipped=1, errors=1)
    run.stdout.fnmatch_lines(["*It differs.*", "*expected: 1.0*"])
    run.stdout.no_fnmatch_line("*Look there.*")
    run.stdout.fnmatch_lines(["*Could not be judged: no room.*"])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_unit_cases_go_by_number_below_the_highest_level(pytester, graded) -> None:
    units = [case.id for case in load_challenge(NAME).cases.values() if case.kind == "unit"]
    graded |= {units[1]: "failed"}
    path = pytester.makepyfile(submission=EVIL)
    run = pytester.runpytest_inprocess("--kvdojo", NAME, path, "-m", "unit")
    run.stdout.fnmatch_lines(["*unit-02: Unit case 2*"])
    run.stdout.no_fnmatch_line(f"*{units[1]}*")
    run = pytester.runpytest_inprocess("--kvdojo", NAME, path, "-m", "unit", "--kvdojo-tell=cause")
    run.stdout.fnmatch_lines([f"*{units[1]}*", "*Look there.*"])


def test_only_the_selected_cases_are_graded(pytester, graded) -> None:
    path = pytester.makepyfile(submission=EVIL)
    name = next(iter(load_challenge(NAME).cases))
    run = pytester.runpytest_inprocess("--kvdojo", NAME, f"{path}::{name}")
    run.assert_outcomes(passed=1)
    assert graded["asked"] == name


def test_units_and_scenarios_can_be_chosen(pytester, graded) -> None:
    path = pytester.makepyfile(submission=EVIL)
    pytester.runpytest_inprocess("--kvdojo", NAME, path, "-m", "unit")
    units = [case.id for case in load_challenge(NAME).cases.values() if case.kind == "unit"]
    assert graded["asked"].split() == units


def test_files_by_other_names_are_graded_too(pytester, graded) -> None:
    path = pytester.makefile(".txt", submission=EVIL)
    run = pytester.runpytest_inprocess("--kvdojo", NAME, path)
    run.assert_outcomes(passed=len(load_challenge(NAME).cases))


def test_without_the_option_nothing_changes(pytester) -> None:
    path = pytester.makepyfile("def test_one(): pass")
    pytester.runpytest_inprocess(path).assert_outcomes(passed=1)


def test_an_unknown_challenge_is_told_in_a_line(pytester) -> None:
    path = pytester.makepyfile(submission=EVIL)
    run = pytester.runpytest_inprocess("--kvdojo", "static_cash", path)
    run.stdout.fnmatch_lines(["No challenge named 'static_cash'. Did you mean 'static_cache'?"])
    run.assert_outcomes(errors=1)


def test_what_cannot_be_graded_ends_the_run(pytester) -> None:
    path = pytester.makepyfile(submission="#" * 300_000)
    run = pytester.runpytest_inprocess("--kvdojo", NAME, path)
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stdout.fnmatch_lines(["*larger than 256 KiB*"])


def test_a_file_is_graded_in_the_sandbox(pytester) -> None:
    """The entry point as it is installed, in a process of its own."""
    name = "append-without-room"
    path = pytester.makepyfile(submission=load_challenge(NAME).reference_text)
    everything = ("--kvdojo-tell", "cause", "-p", "no:cacheprovider")
    run = pytester.runpytest_subprocess("--kvdojo", NAME, f"{path}::{name}", *everything)
    run.assert_outcomes(passed=1)


def test_loading_the_plugin_imports_nothing_of_the_grader() -> None:
    code = (
        "import sys, pytest, grader.pytest_plugin as p;"
        "print(sorted(n for n in sys.modules if n.startswith('grader')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['grader', 'grader.pytest_plugin']"

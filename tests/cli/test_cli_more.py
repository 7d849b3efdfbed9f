"""One bug in focus over the commands, and the ladder: a real challenge in the real sandbox."""

from __future__ import annotations

import json

import pytest

from grader.cli.main import main
from grader.content import load_challenge
from grader.learner.hints import GRADED
from grader.learner.ladder import RUNGS

NAME = "multi_head_attention"
CHALLENGE = load_challenge(NAME)


@pytest.fixture
def attempt(tmp_path, monkeypatch, capsys):
    """A started attempt, and a way to run commands in it: the exit code and what was said."""
    monkeypatch.setenv("KVDOJO_WORK", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main([*words])
        return code, capsys.readouterr().out

    run("start", NAME)
    run.file = tmp_path / NAME / CHALLENGE.file
    return run


def state(attempt, name: str) -> dict:
    return json.loads((attempt.file.parent / name).read_text())


def test_the_ladder_and_every_other_command_speak_of_one_bug(attempt) -> None:
    code, said = attempt("more", NAME)  # not graded yet: the symptom
    assert code == 1
    assert len(said.splitlines()) <= 24
    focus = state(attempt, GRADED)["focus"]
    bug, unit = CHALLENGE.bugs[focus["bug"]], CHALLENGE.cases[focus["unit"]]
    assert said.startswith(f"✗ {focus['scenario']}")
    told = [attempt("more", NAME)[1] for _ in RUNGS]
    assert "Place (rung 1 of 6)" in told[0]
    assert unit.title in told[2]
    for number, hint in enumerate(bug.hints):
        assert hint in " ".join(told[3 + number].split())
        assert all(hint not in " ".join(text.split()) for text in told[: 3 + number])
    assert "That was all" in attempt("more", NAME)[1]
    assert bug.hints[2] in " ".join(attempt("more", NAME, "--again")[1].split())
    assert bug.hints[2] in " ".join(attempt("hint", NAME)[1].split())
    code, traced = attempt("trace", NAME)
    assert code == 1
    assert told[0].splitlines()[2] in traced
    document = json.loads(attempt("grade", NAME, "--json")[1])
    assert document["help"] == {"rungs": 6, "of": 36}
    assert state(attempt, GRADED)["focus"] == focus


def test_a_hint_before_any_grading_grades_and_decides_the_focus(attempt) -> None:
    said = attempt("hint", NAME)[1]
    first = state(attempt, GRADED)["focus"]["bug"]
    assert CHALLENGE.bugs[first].hints[0] in " ".join(said.split())
    attempt("grade", NAME)
    assert state(attempt, GRADED)["focus"]["bug"] == first
    assert state(attempt, ".kvdojo.json")["rungs"] == {first: 4}


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"focus": 3}', '{"schema": "kvdojo/graded/v1", "sha256": 1}']
)
def test_a_damaged_memory_is_no_memory(attempt, content) -> None:
    (attempt.file.parent / GRADED).write_text(content)
    code, said = attempt("more", NAME)
    assert code == 1
    assert "Next: " in said


def test_one_case_tells_no_bugs_and_keeps_the_focus(attempt) -> None:
    attempt("grade", NAME)
    before = state(attempt, GRADED)
    code, said = attempt("grade", NAME, "--case", "validate-good")
    assert code == 0
    assert f"1 of {len(CHALLENGE.cases)} cases was run, and it passes." in " ".join(said.split())
    assert "lanted bugs" not in said
    assert "All cases pass" not in said
    assert state(attempt, GRADED) == before
    assert "`--tell cause` tells" in " ".join(
        attempt("grade", NAME, "--case", "split-heads")[1].split()
    )


def test_an_exam_tells_counts_alone(attempt, monkeypatch) -> None:
    from dataclasses import replace

    exam = replace(CHALLENGE, tell="verdict")
    monkeypatch.setattr("grader.content.Catalogue.load", lambda self, name: exam)
    code, said = attempt("grade", NAME)
    assert code == 1
    assert "differs from the reference" not in said
    for words in (("grade", NAME, "--tell", "symptom"), ("hint", NAME), ("trace", NAME)):
        assert attempt(*words)[0] == 2
    assert "tells no more" in attempt("more", NAME)[1]

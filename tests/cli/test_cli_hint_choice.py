"""Which bug a hint is about: what failed in the last grading of these very bytes decides."""

from __future__ import annotations

import json

import pytest

from grader.content import Catalogue
from grader.content.witnesses import witnesses_bytes
from grader.judge.focus import Focus
from grader.learner.hints import GRADED, LastGrading, next_hint, recall_grading, remember_grading
from grader.learner.work_folder import load_work_folder


@pytest.fixture
def started(dojo, capsys):
    """A started challenge whose bugs name the cases that find them."""
    path = dojo.root / "challenges" / "small_sums" / "recorded" / "witnesses.json"
    path.parent.mkdir()
    path.write_bytes(witnesses_bytes("", {"no-scale": ["scale-unit"], "shift-two": ["mask-unit"]}))
    dojo.run("start", "small_sums")
    capsys.readouterr()
    return dojo


def graded(dojo, failed, passed=()):
    remember_grading(
        load_work_folder(dojo.file.parent),
        dojo.file.read_bytes(),
        LastGrading(tuple(failed), tuple(passed)),
    )


def memory(dojo):
    challenge = Catalogue(dojo.root).load("small_sums")
    return load_work_folder(dojo.file.parent), challenge, dojo.file.read_bytes()


def said(dojo, capsys, *words):
    assert dojo.run("hint", "small_sums", *words) == 0
    return capsys.readouterr().out


def test_what_failed_chooses_the_bug(started, capsys):
    graded(started, ["scale-unit"])
    assert "no-scale: where" in said(started, capsys)
    assert "no-scale: idea" in said(started, capsys)


def test_the_focus_of_the_grading_is_the_bug_of_the_hint(started, capsys):
    work, source = load_work_folder(started.file.parent), started.file.read_bytes()
    focus = Focus("no-scale", "present", None, "scale-unit")
    remember_grading(work, source, LastGrading(("mask-unit", "scale-unit"), (), focus))
    assert "no-scale: where" in said(started, capsys)


def test_a_case_can_be_named(started, capsys):
    first = said(started, capsys, "--case", "scale-unit")
    assert "no-scale: where" in first
    assert "kvdojo hint small_sums --case scale-unit --level 2`" in first
    assert "shift-two: where" in said(started, capsys, "--case", "mask-unit")
    assert started.run("hint", "small_sums", "--case", "scale-unti") == 2


def test_a_grading_of_other_bytes_decides_nothing(started, capsys):
    graded(started, ["scale-unit"])
    started.file.write_text(started.file.read_text() + "\n# later\n")
    assert recall_grading(*memory(started)) is None
    assert "shift-two: where" in said(started, capsys)


def test_an_edit_that_passes_everything_gets_no_hint(started, capsys):
    text = started.file.read_text().replace("return x + 2", "return 1 + x")
    started.file.write_text(text.replace("return x\n", "return x / len(x)\n"))
    assert "shift-two" in said(started, capsys)
    graded(started, [], ["scale-unit", "mask-unit"])
    assert "No planted bug is left." in said(started, capsys)


def test_code_written_anew_gets_a_hint_when_all_cases_of_the_bug_fail(started):
    challenge = Catalogue(started.root).load("small_sums")
    anew = "scale = list\n"

    def hint(result):
        return next_hint(challenge, anew, planted=("no-scale",), seen={}, graded=result)

    assert hint(None) is None
    assert hint(LastGrading((), ("scale-unit",))) is None
    found = hint(LastGrading(("scale-unit",), ()))
    assert found is not None
    assert found.bug.id == "no-scale"


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "kvdojo/graded/v1"}', "[" * 99_999])
def test_a_damaged_memory_is_no_memory(started, capsys, content):
    (started.file.parent / GRADED).write_text(content)
    assert "shift-two: where" in said(started, capsys)


def test_costs_are_shown_and_added_up_once(started, capsys):
    assert "Cost" not in said(started, capsys)
    path = started.root / "challenges" / "small_sums" / "challenge.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hint_costs": [1, 2, 3]}))
    assert "Cost: 2 points; all hints so far: 3 points." in said(started, capsys)
    assert "Cost: 0 points; all hints so far: 3 points." in said(started, capsys, "--level", "1")

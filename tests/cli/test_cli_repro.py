"""`kvdojo repro`: what it refuses, in one line; and what `breakpoint()` is answered with."""

from __future__ import annotations

import pytest

from grader.cli.main import main
from grader.content import load_challenge
from grader.judge import grade_source

NAME = "multi_head_attention"
CHALLENGE = load_challenge(NAME)


@pytest.fixture
def refused(capsys):
    def run(*words: object) -> str:
        capsys.readouterr()
        assert main(["repro", *map(str, words)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        return said.err

    return run


def test_what_no_script_can_be_made_of_is_one_line(refused, tmp_path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(CHALLENGE.reference_text)
    book = tmp_path / "mine.ipynb"
    book.write_text(
        '{"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "code", "source": "x = 1"}]}'
    )
    assert "no case" in refused(NAME, mine, "--case", "no-such").lower()
    assert "is a document" in refused("broken_test", mine)
    assert "notebook" in refused(NAME, book, "--case", "one-head")
    assert "your own file" in refused(NAME, mine, "--case", "one-head", "--out", mine)
    assert "cannot be written" in refused(NAME, mine, "--case", "one-head", "--out", mine / "x.py")
    assert mine.read_text() == CHALLENGE.reference_text


def test_a_hidden_case_is_not_written(refused) -> None:
    challenge = load_challenge("decode_positions")
    hidden = next(case.id for case in challenge.cases.values() if case.visibility == "hidden")
    assert "hidden" in refused(challenge.id, challenge.reference, "--case", hidden)


def test_a_breakpoint_is_answered_with_repro(sandbox_for) -> None:
    source = CHALLENGE.reference_text.replace(
        "        self.scale =", "        breakpoint()\n        self.scale ="
    )
    result = grade_source(NAME, source.encode(), cases=["one-head"], sandbox=sandbox_for(NAME))
    (case,) = result.cases
    assert case.cause is not None
    assert "kvdojo repro CHALLENGE" in case.cause.rationale

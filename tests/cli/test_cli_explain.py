"""`kvdojo explain`: stories of bugs that are fixed, and nothing of those that are left."""

from __future__ import annotations

import pytest

from grader.learner.history import note
from grader.learner.work_folder import load_work_folder


@pytest.fixture
def half(dojo, capsys):
    """An attempt with one of its two bugs mended."""
    dojo.run("start", "small_sums")
    dojo.file.write_text(dojo.file.read_text().replace("return x + 2", "return 1 + x"))
    work = load_work_folder(dojo.file.parent)
    note(work, "graded", file="a", passed=1, cases=2, fixed=["shift-two", "strict-mask"])
    capsys.readouterr()
    return dojo


@pytest.mark.parametrize("words", [(), ("2",), ("shift-two",), ("OF SHIFT",)])
def test_a_fixed_bug_is_told_whole(half, capsys, words) -> None:
    assert half.run("explain", "small_sums", *words) == 0
    said = capsys.readouterr().out
    for part in ("The title of shift-two", "Wrong sums.", "Sums are wrong.", "A textbook"):
        assert part in said
    assert "sums.py:11" in said
    assert "return 1 + x" in said
    assert "return x + 1" in said
    assert all(row == row.rstrip() for row in said.splitlines())
    assert ("1 of 2 bugs were left" in said) is (words == ())
    assert "no-scale" not in said


@pytest.mark.parametrize("bug", ["1", "no-scale", "strict-mask", "99", "nothing", "\x1b[2J", "0"])
def test_nothing_is_told_of_others(half, capsys, bug) -> None:
    assert half.run("explain", "small_sums", bug) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "\x1b" not in said.err
    assert "The title of no-scale" not in said.err
    assert "1 more come when they are fixed" in said.err


def test_before_anything_is_graded_there_is_nothing_to_tell(dojo, capsys, tmp_path) -> None:
    dojo.run("start", "small_sums")
    capsys.readouterr()
    assert dojo.run("explain", "small_sums") == 2
    assert "kvdojo grade small_sums" in capsys.readouterr().err
    (tmp_path / "mine.py").write_text("x = 1\n")
    assert dojo.run("explain", "small_sums", "--file", tmp_path / "mine.py") == 2
    assert "kvdojo start small_sums" in capsys.readouterr().err
    note(load_work_folder(dojo.file.parent), "graded", file="a", passed=0, cases=2, fixed=[])
    assert dojo.run("explain", "small_sums", "shift-two") == 2
    assert "none is, so far" in capsys.readouterr().err

"""Hints, the solution and planted variants."""

from __future__ import annotations

import pytest


def test_hints_grow_plainer_and_start_with_the_easiest(dojo, capsys):
    dojo.run("start", "small_sums")
    capsys.readouterr()
    for said in ("where", "idea", "line", "line"):
        assert dojo.run("hint", "small_sums") == 0
        assert f"shift-two: {said}" in capsys.readouterr().out


def test_a_level_can_be_asked_for(dojo, capsys):
    dojo.run("start", "small_sums")
    dojo.run("hint", "small_sums", "--level", 3)
    assert "shift-two: line" in capsys.readouterr().out
    dojo.run("hint", "small_sums", "--level", 1)
    assert "shift-two: where" in capsys.readouterr().out


def test_no_hint_for_a_fixed_bug(dojo, capsys):
    dojo.run("start", "small_sums")
    dojo.file.write_text(dojo.file.read_text().replace("x + 2", "x + 1"))
    capsys.readouterr()
    dojo.run("hint", "small_sums")
    assert "no-scale: where" in capsys.readouterr().out
    dojo.file.write_text(dojo.file.read_text().replace("return x\n", "return x / len(x)\n"))
    dojo.run("hint", "small_sums")
    said = capsys.readouterr().out
    assert "No planted bug is left." in said
    assert "where" not in said


def test_a_changed_place_is_called_changed(dojo, capsys):
    dojo.run("start", "small_sums", "--preset", "contest")
    text = dojo.file.read_text().replace("    return x > 0\n", "    y = x\n    return y > -1\n")
    dojo.file.write_text(text)
    capsys.readouterr()
    assert dojo.run("hint", "small_sums") == 0
    said = capsys.readouterr().out
    assert "changed this place" in said or "written anew" in said


def test_hint_for_a_named_file(dojo, tmp_path, capsys):
    dojo.run("plant", "small_sums", "--bugs", "strict-mask", "--out", tmp_path / "mine.py")
    capsys.readouterr()
    for _ in range(2):
        assert dojo.run("hint", "small_sums", tmp_path / "mine.py") == 0
        assert "strict-mask: where" in capsys.readouterr().out


@pytest.mark.parametrize("text", [b"def broken(:\n", b"\xff\xfe\x00", b"x" * (300 << 10)])
def test_a_file_that_cannot_be_read_is_one_line(dojo, capsys, text):
    dojo.run("start", "small_sums")
    dojo.file.write_bytes(text)
    capsys.readouterr()
    assert dojo.run("hint", "small_sums") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_solution_is_the_reference(dojo, capsys):
    assert dojo.run("solution", "small_sums") == 0
    assert capsys.readouterr().out == (dojo.root / "reference" / "sums.py").read_text()


def test_diff_leaves_the_decoys_alone(dojo, capsys):
    dojo.run("start", "small_sums")
    capsys.readouterr()
    assert dojo.run("solution", "small_sums", "--diff") == 0
    said = capsys.readouterr().out
    assert "-    return x + 2\n+    return x + 1\n" in said
    assert "-" + '"""Small' not in said


def test_plant_writes_to_standard_output(dojo, capsys):
    assert dojo.run("plant", "small_sums", "--bugs", "no-scale, shift-two") == 0
    captured = capsys.readouterr()
    assert "return x + 2\n" in captured.out
    assert captured.err == ""


def test_plant_does_not_replace_another_file(dojo, tmp_path):
    out = tmp_path / "variant.py"
    out.write_text("mine\n")
    words = ("plant", "small_sums", "--seed", 5, "--bugs", 2, "--out", out)
    assert dojo.run(*words) == 2
    assert out.read_text() == "mine\n"
    assert dojo.run(*words, "--force") == 0
    assert "return x" in out.read_text()
    assert dojo.run(*words) == 0

"""Work folders: start, reset, and the state between commands. Nothing a learner wrote is lost."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest


def test_start_makes_file_brief_and_state(dojo, capsys):
    assert dojo.run("start", "small_sums") == 0
    assert "return x + 2" in dojo.file.read_text()
    assert (dojo.file.parent / "README.md").read_text().startswith("# Small sums")
    state = json.loads((dojo.file.parent / ".kvdojo.json").read_text())
    assert state["preset"] == "default"
    assert "2 planted bugs" in capsys.readouterr().out
    assert not list(dojo.file.parent.glob("*.tmp"))


def test_the_state_does_not_name_the_bugs(dojo):
    dojo.run("start", "small_sums", "--seed", 3, "--bugs", 2)
    state = (dojo.file.parent / ".kvdojo.json").read_text()
    assert "no-scale" not in state
    assert "shift-two" not in state
    assert json.loads(state)["seed"] == 3


def test_same_seed_same_bytes(dojo, tmp_path):
    for name in ("a", "b"):
        dojo.run("start", "small_sums", "--seed", 9, "--bugs", 2, "--to", tmp_path / name)
    assert (tmp_path / "a/sums.py").read_bytes() == (tmp_path / "b/sums.py").read_bytes()


def test_start_never_overwrites_without_force(dojo, capsys):
    dojo.run("start", "small_sums")
    dojo.file.write_text("mine\n")
    assert dojo.run("start", "small_sums") == 2
    assert "--force" in capsys.readouterr().err
    assert dojo.file.read_text() == "mine\n"


def test_start_force_keeps_a_backup(dojo):
    dojo.run("start", "small_sums")
    for number in (1, 2):
        dojo.file.write_text(f"mine {number}\n")
        assert dojo.run("start", "small_sums", "--force") == 0
        backup = dojo.file.with_name(f"sums.py.backup-{number}")
        assert backup.read_text() == f"mine {number}\n"
    assert "return x + 2" in dojo.file.read_text()


def test_start_into_a_folder_with_another_readme_refuses(dojo, tmp_path):
    (tmp_path / "here" / "README.md").write_text("my own project\n")
    assert dojo.run("start", "small_sums", "--to", ".") == 2
    assert (tmp_path / "here" / "README.md").read_text() == "my own project\n"
    assert not (tmp_path / "here" / "sums.py").exists()


def test_start_again_without_changes_is_harmless(dojo):
    dojo.run("start", "small_sums")
    assert dojo.run("start", "small_sums") == 0
    assert not list(dojo.file.parent.glob("*.backup-*"))


def test_started_elsewhere_is_found_again(dojo, tmp_path, capsys):
    dojo.run("start", "small_sums", "--to", tmp_path / "mine")
    assert dojo.run("hint", "small_sums") == 0
    assert "shift-two: where" in capsys.readouterr().out


def test_preset_and_seed_exclude_each_other(dojo, capsys):
    assert dojo.run("start", "small_sums", "--seed", 1, "--preset", "contest") == 2
    assert dojo.run("start", "small_sums", "--preset", "contes") == 2
    assert "Did you mean 'contest'?" in capsys.readouterr().err


def test_too_many_bugs_is_a_usage_error(dojo, capsys):
    assert dojo.run("start", "small_sums", "--seed", 1, "--bugs", 99) == 2
    assert "1 to 3" in capsys.readouterr().err


def test_reset_keeps_the_learners_file(dojo, capsys):
    dojo.run("start", "small_sums")
    starter = dojo.file.read_text()
    dojo.file.write_text("mine\n")
    assert dojo.run("reset", "small_sums") == 2
    assert dojo.file.read_text() == "mine\n"
    assert dojo.run("reset", "small_sums", "--force") == 0
    assert dojo.file.read_text() == starter
    assert dojo.file.with_name("sums.py.backup-1").read_text() == "mine\n"
    dojo.file.unlink()
    assert dojo.run("reset", "small_sums") == 0
    assert dojo.file.read_text() == starter
    capsys.readouterr()
    assert dojo.run("reset", "small_sums") == 0
    assert "already" in capsys.readouterr().out


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{",
        "[]",
        "null",
        "\xff\xfe",
        '{"schema": "kvdojo/work/v9"}',
        '{"schema": "kvdojo/work/v1", "challenge": "small_sums", "file": "../../etc/passwd"}',
        '{"schema": "kvdojo/work/v1", "challenge": "small_sums", "file": "sums.py"}',
        '{"schema": "kvdojo/work/v1", "challenge": "small_sums", "file": "sums.py", "seed": "x"}',
        '{"schema": "kvdojo/work/v1", "challenge": 3, "file": "sums.py", "preset": "default"}',
        '{"schema": "kvdojo/work/v1", "challenge": "small_sums", "file": "sums.py",'
        ' "preset": "default", "hints": [1]}',
        '{"schema": "kvdojo/work/v1", "challenge": "small_sums", "file": "sums.py",'
        ' "preset": "gone"}',
        "[" * 100_000,
    ],
)
def test_a_damaged_state_is_one_line(dojo, capsys, state):
    dojo.run("start", "small_sums")
    (dojo.file.parent / ".kvdojo.json").write_text(state, "latin-1")
    capsys.readouterr()
    for command in ("hint", "reset"):
        assert dojo.run(command, "small_sums") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "kvdojo start" in error
    dojo.file.write_text("mine\n")
    assert dojo.run("start", "small_sums", "--force") == 0
    assert dojo.file.with_name("sums.py.backup-1").read_text() == "mine\n"


def test_a_folder_that_cannot_be_made_is_one_line(dojo, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert dojo.run("start", "small_sums", "--to", tmp_path / "file" / "below") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_learners_permissions_stay(dojo):
    dojo.run("start", "small_sums")
    assert stat.S_IMODE(dojo.file.stat().st_mode) & 0o600 == 0o600
    dojo.file.chmod(0o640)
    dojo.file.write_text("mine\n")
    Path(dojo.file.parent / "README.md").chmod(0o600)
    dojo.run("start", "small_sums", "--force")
    assert stat.S_IMODE((dojo.file.parent / "README.md").stat().st_mode) == 0o600

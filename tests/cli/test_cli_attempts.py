"""Several attempts at one challenge: where they lie, which one commands take, what `list` tells of each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from grader.learner import attempts
from grader.learner.attempts import (
    all_attempts,
    choose,
    chosen_folder,
    default_folder,
    find_attempt,
    progress_of,
    state_folder,
)
from grader.learner.history import HISTORY, note
from grader.learner.work_folder import WorkFolder, load_work_folder


def graded(folder: Path, **known) -> None:
    event = {"file": "a", "passed": 3, "cases": 4, "fixed": ["shift-two"], "verdict": "failed"}
    note(load_work_folder(folder), "graded", **{**event, "mended": 1, "planted": 2, **known})


def listed(dojo, capsys) -> list[str]:
    capsys.readouterr()
    assert dojo.run("list") == 0
    return capsys.readouterr().out.splitlines()


def test_another_variant_gets_a_folder_of_its_own(dojo, capsys) -> None:
    dojo.run("start", "small_sums")
    dojo.file.write_text("mine\n")
    assert dojo.run("start", "small_sums", "--preset", "contest") == 0
    assert dojo.run("start", "small_sums", "--seed", 3, "--bugs", 2) == 0
    assert dojo.file.read_text() == "mine\n"
    folders = [work.folder.name for work in all_attempts()]
    assert folders == ["small_sums", "small_sums-contest", "small_sums-seed-3"]
    assert find_attempt("small_sums").seed == 3
    # the same variant once more is the same attempt, and --force means the default folder
    assert dojo.run("start", "small_sums") == 2
    assert "--force" in capsys.readouterr().err
    assert dojo.run("start", "small_sums", "--preset", "contest", "--force") == 0
    assert dojo.file.with_name("sums.py.backup-1").read_text() == "mine\n"


def test_beginning_once_more_forgets_no_help(dojo) -> None:
    dojo.run("start", "small_sums")
    dojo.run("hint", "small_sums")
    dojo.run("start", "small_sums")
    assert load_work_folder(dojo.file.parent).hints == {"shift-two": 1}


def test_use_chooses_and_the_current_folder_comes_first(
    dojo, capsys, tmp_path, monkeypatch
) -> None:
    dojo.run("start", "small_sums")
    dojo.run("start", "small_sums", "--preset", "contest", "--to", "mine")
    assert find_attempt("small_sums").folder == tmp_path / "here/mine"
    assert dojo.run("use", "small_sums", "small_sums") == 0  # as seen from the work root
    assert "work/small_sums" in capsys.readouterr().out
    assert find_attempt("small_sums").folder == dojo.file.parent
    monkeypatch.chdir("mine")
    assert find_attempt("small_sums").preset == "contest"
    assert dojo.run("use", "small_sums", ".") == 0
    monkeypatch.chdir(tmp_path)
    assert find_attempt("small_sums").preset == "contest"


@pytest.mark.parametrize("folder", ["nowhere", ".", "/dev/null", "a/b/c"])
def test_what_is_no_attempt_cannot_be_used(dojo, capsys, folder) -> None:
    assert dojo.run("use", "small_sums", folder) == 2
    assert "kvdojo start small_sums" in capsys.readouterr().err
    dojo.run("start", "small_sums")
    capsys.readouterr()
    assert dojo.run("use", "small_sums", folder) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "work/small_sums" in said


def test_list_tells_how_far_each_attempt_has_come(dojo, capsys) -> None:
    assert not any("passed" in line for line in listed(dojo, capsys))
    dojo.run("start", "small_sums")
    graded(dojo.file.parent)
    dojo.run("hint", "small_sums")
    dojo.run("start", "small_sums", "--preset", "contest")
    lines = listed(dojo, capsys)
    (first,) = [line for line in lines if "1 of 2 bugs" in line]
    assert first.startswith("    ✗ ")
    assert first.split(" · ")[1:] == ["1 of 2 bugs", "3 of 4 cases", "4 rungs of help", "0 minutes"]
    (other,) = [line for line in lines if "not graded yet" in line]
    assert other.startswith("  > · ")
    assert "small_sums-contest" in other
    assert "0 of 1 challenge passed." in lines
    graded(dojo.file.parent, verdict="passed", passed=4, mended=2)
    lines = listed(dojo, capsys)
    assert "✓ passed" in lines[0]
    assert "1 of 1 challenge passed." in lines
    assert dojo.run("list", "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)["challenges"]
    assert entry["started"].endswith("small_sums-contest")
    assert [made["made"] for made in entry["attempts"]] == ["default", "contest"]
    assert entry["attempts"][0]["mended"] == 2


def test_a_history_from_before_has_no_bugs_to_count(dojo, capsys) -> None:
    dojo.run("start", "small_sums")
    work = load_work_folder(dojo.file.parent)
    note(work, "graded", file="a", passed=4, cases=4, fixed=[])
    assert progress_of(work).verdict == "passed"
    assert progress_of(work).planted is None
    graded(work.folder, mended=True, planted="x")
    assert progress_of(work).planted is None
    (work.folder / HISTORY).write_bytes(b"x" * (5 << 20))
    assert progress_of(work).verdict is None
    assert any("not graded yet" in line for line in listed(dojo, capsys))


def test_a_chosen_folder_that_is_gone_is_told_once(dojo, capsys) -> None:
    dojo.run("start", "small_sums")
    dojo.run("start", "small_sums", "--preset", "contest", "--to", "mine")
    os.rename("mine", "gone")
    capsys.readouterr()
    dojo.run("hint", "small_sums")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "mine is gone" in said
    dojo.run("hint", "small_sums")
    assert capsys.readouterr().err == ""
    assert [work.label for work in all_attempts()] == ["default"]


def test_people_on_one_checkout_do_not_meet(dojo, capsys, monkeypatch) -> None:
    def is_anothers(folder: Path) -> bool:
        begun = (folder / ".kvdojo.json").exists()
        return begun and ("-ben" in folder.name) != (attempts._me() == "ben")

    def person(name: str) -> None:
        monkeypatch.setattr(attempts, "_me", lambda: name)
        monkeypatch.setenv("KVDOJO_STATE", str(dojo.work.parent / "states" / name))

    monkeypatch.setattr(attempts, "_is_anothers", is_anothers)
    person("anna")
    dojo.run("start", "small_sums")
    assert [work.folder.name for work in all_attempts()] == ["small_sums"]
    dojo.file.write_text("anna's\n")
    person("ben")
    assert find_attempt("small_sums") is None
    assert dojo.run("start", "small_sums") == 0
    assert default_folder("small_sums").name == "small_sums-ben"
    assert [work.folder.name for work in all_attempts()] == ["small_sums-ben"]
    dojo.run("start", "small_sums", "--seed", 5, "--bugs", 1)
    assert find_attempt("small_sums").folder.name == "small_sums-ben-seed-5"
    person("anna")
    assert dojo.file.read_text() == "anna's\n"
    assert find_attempt("small_sums").folder.name == "small_sums"
    assert [work.folder.name for work in all_attempts()] == ["small_sums"]


def test_another_account_owns_its_attempt(dojo, monkeypatch) -> None:
    dojo.run("start", "small_sums")
    owner = (dojo.file.parent / ".kvdojo.json").stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert default_folder("small_sums").name.startswith("small_sums-")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert default_folder("small_sums").name == "small_sums"


def test_where_the_state_lies(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("KVDOJO_WORK", str(tmp_path / "w"))
    assert state_folder() == tmp_path / "w/.state"
    monkeypatch.delenv("KVDOJO_WORK")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "x"))
    assert state_folder() == tmp_path / "x/kvdojo"
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert state_folder().is_absolute()
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local/state/kvdojo"
    monkeypatch.setenv("KVDOJO_STATE", str(tmp_path / "s"))
    assert state_folder() == tmp_path / "s"


@pytest.mark.parametrize(
    "text",
    [
        "{]",
        "[]",
        "{}",
        "[" * 100_000,
        '{"schema": "kvdojo/attempt/v1", "challenge": "other", "folder": "x"}',
        '{"schema": "kvdojo/attempt/v1", "challenge": "small_sums", "folder": 3}',
        '{"schema": "kvdojo/attempt/v1", "challenge": "small_sums", "folder": "a\\u0000b"}',
    ],
)
def test_a_damaged_choice_is_one_line(dojo, capsys, text) -> None:
    dojo.run("start", "small_sums", "--to", "mine")
    for path in state_folder().rglob("*.json"):
        path.write_text(text)
    capsys.readouterr()
    assert dojo.run("hint", "small_sums") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert dojo.run("list") == 0
    assert dojo.run("use", "small_sums", "mine") == 0
    assert dojo.run("hint", "small_sums") == 0


def test_a_state_folder_that_cannot_be_written_is_one_line(dojo, capsys, monkeypatch) -> None:
    monkeypatch.setenv("KVDOJO_STATE", "/dev/null/x")
    assert dojo.run("start", "small_sums") == 0
    capsys.readouterr()
    assert dojo.run("start", "small_sums", "--to", "mine") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_choosing_the_default_folder_leaves_no_choice(dojo) -> None:
    dojo.run("start", "small_sums", "--to", "mine")
    assert chosen_folder("small_sums") is not None
    dojo.run("start", "small_sums")
    assert chosen_folder("small_sums") is None
    made = WorkFolder(dojo.work / "elsewhere", "small_sums", "sums.py", preset="contest")
    choose(made)
    assert chosen_folder("small_sums") == made.folder

"""What a verdict depends on is in the fingerprint of a batch, and nothing else is."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from grader.classroom.fingerprint import ENGINE, PARTS, fingerprint
from grader.content import Challenge, load_challenge
from tests.house.imports import arrows_of, modules_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copied(tmp_path: Path) -> Challenge:
    """A copy of a challenge that can be changed."""
    challenge = load_challenge("static_cache")
    folder = shutil.copytree(challenge.folder, tmp_path / "challenges" / challenge.id)
    return dataclasses.replace(challenge, folder=folder)


def add_line(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: add_line(folder / "cases.json"),
        lambda folder: add_line(folder / "driver.py"),
        lambda folder: add_line(next((folder / "recorded").glob("golden*"))),
        lambda folder: (folder / "new.json").write_text("{}"),
        lambda folder: (folder / "bugs.json").rename(folder / "bugs_again.json"),
    ],
)
def test_every_file_of_the_challenge_counts(
    copied: Challenge, change: Callable[[Path], object]
) -> None:
    before = fingerprint(copied)
    change(copied.folder)
    assert fingerprint(copied) != before


def test_words_for_learners_and_hidden_files_do_not_count(copied: Challenge) -> None:
    before = fingerprint(copied)
    add_line(copied.folder / "brief.md")
    (copied.folder / ".swp").write_text("x")
    (copied.folder / "__pycache__").mkdir()
    (copied.folder / "__pycache__" / "driver.pyc").write_bytes(b"x")
    assert fingerprint(copied) == before


def test_all_rooms_that_judge_is_made_of_count() -> None:
    modules = modules_of(ROOT, "grader")
    targets: dict[str, set[str]] = {}
    for arrow in arrows_of(modules):
        targets.setdefault(arrow.source, set()).add(arrow.target)
    reached, todo = set(), ["grader.judge", "grader.judge.grade_file", "grader.judge.replay"]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += targets.get(name, ())
    rooms = {name.split(".")[1] for name in reached if "." in name}
    assert rooms <= set(PARTS)
    assert all((ENGINE / part).is_dir() for part in PARTS)

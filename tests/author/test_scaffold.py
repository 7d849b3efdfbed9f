"""A new challenge is written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from grader.author import scaffold as module
from grader.author.scaffold import CannotMake, scaffold
from grader.content.driver_loading import checked_driver


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "reference").mkdir()
    return tmp_path


def test_it_can_be_loaded_and_its_driver_makes_sense(root: Path) -> None:
    made = scaffold("sinks", root)
    assert made.id == "sinks"
    assert made.cases
    assert made.bugs
    assert checked_driver(made).verbs
    assert "reference/sinks.py" in names(root)
    assert "challenges/sinks/recorded/cases.schema.json" in names(root)


@pytest.mark.parametrize(
    "name", ["", "Sinks", "../sinks", "sinks/a", "9sinks", "a" * 65, "sinks\n"]
)
def test_an_id_that_is_none_is_refused(root: Path, name: str) -> None:
    with pytest.raises(CannotMake, match="is no id"):
        scaffold(name, root)
    assert not names(root)


def test_what_is_there_is_left_alone(root: Path) -> None:
    (root / "reference" / "sinks.py").write_text("mine")
    with pytest.raises(CannotMake, match="exists"):
        scaffold("sinks", root)
    assert names(root) == {"reference/sinks.py"}
    (root / "reference" / "sinks.py").rename(root / "moved")
    (root / "challenges").mkdir()
    (root / "challenges" / "sinks").symlink_to(root / "nowhere")
    with pytest.raises(CannotMake, match="exists"):
        scaffold("sinks", root)


@pytest.mark.parametrize("last", ["sinks.py", "cases.schema.json"])
def test_a_full_disk_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    write = module.write_atomically

    def full(path: Path, content: Any) -> None:
        if path.name == last:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(module, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        scaffold("sinks", root)
    assert not names(root)
    monkeypatch.undo()
    assert scaffold("sinks", root).id == "sinks", "nothing stands in the way of a second try"

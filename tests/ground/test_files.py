"""Files that may be hostile are read within bounds, and files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grader.ground.files import (
    NotOrdinary,
    TooLarge,
    back_up,
    read_beginning,
    read_ordinary,
    why_unwritable,
    write_atomically,
)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_of_just_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 2048)
    assert read_ordinary(path, 2048) == b"x" * 2048
    with pytest.raises(TooLarge, match="it is larger than 1 KiB"):
        read_ordinary(path, 2047)
    assert read_beginning(path, 5) == b"xxxxx"


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_ordinary_file_is_refused_at_once_and_left_closed(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = Path("/dev/zero")
    before = open_files()
    with pytest.raises(NotOrdinary, match="not an ordinary file"):
        read_ordinary(path, 10)
    assert open_files() == before


def test_a_link_is_followed_only_where_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "loop").symlink_to("loop")
    assert read_ordinary(tmp_path / "link", 10) == b"a"
    for name in ("link", "loop"):
        with pytest.raises(OSError, match="symbolic links"):
            read_ordinary(tmp_path / name, 10, follow=False)
    with pytest.raises(FileNotFoundError):
        read_ordinary(tmp_path / "none", 10)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "a"
    write_atomically(path, "old")
    path.chmod(0o640)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_atomically(path, "new")
    assert [entry.name for entry in path.parent.iterdir()] == ["a"]
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_backups_take_the_first_free_number(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    for number in (1, 2):
        path.write_text(str(number))
        assert back_up(path).name == f"a.py.backup-{number}"
    assert not path.exists()


def test_what_can_be_written_is_told_without_writing(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("new", "file", "a/b/c/new"):
        assert why_unwritable(tmp_path / name) is None
        write_atomically(tmp_path / name, "y")
    monkeypatch.chdir(tmp_path)
    assert why_unwritable(Path("other")) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "file", "new"]


@pytest.mark.parametrize("name", [".", "folder", "file/new", "file/a/new", "x" * 300, "a\0b"])
def test_what_cannot_be_written_is_told_beforehand(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    assert why_unwritable(tmp_path / name)
    with pytest.raises((OSError, ValueError)):
        write_atomically(tmp_path / name, "y")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o500)
    assert why_unwritable(tmp_path / "theirs" / "new") == "Permission denied"

"""Files change together or not at all, wherever the process is killed and whoever else is at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader.ground.transaction import UNDO, locked, recover, replace_files

OLD = {"a.json": b"old a", "kept/b.bin": b"old b"}
NEW = {"a.json": b"new a", "kept/b.bin": b"new b", "made/deep/c.json": b"new c"}

# the process kills itself just before or after the N-th call that touches the disk
DIES = """
import os, pathlib, shutil, signal, sys, tempfile
from grader.ground import transaction
folder, at = pathlib.Path(sys.argv[1]), int(sys.argv[2])
seen = 0
def wrap(owner, name):
    real = getattr(owner, name)
    def call(*args, **kwargs):
        global seen
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(owner, name, call)
with transaction.locked(folder):
    for owner, names in ((os, ("fsync", "link", "replace")), (tempfile, ("mkdtemp",)), (shutil, ("rmtree",)),
                         (pathlib.Path, ("mkdir", "rename", "touch", "open"))):
        for name in names:
            wrap(owner, name)
    transaction.replace_files(folder, {"a.json": b"new a", "kept/b.bin": b"new b", "made/deep/c.json": b"new c"})
"""


def fill(folder: Path) -> Path:
    (folder / "kept").mkdir(parents=True)
    for name, content in OLD.items():
        (folder / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_all_files_change(tmp_path: Path) -> None:
    folder = fill(tmp_path)
    (folder / "a.json").chmod(0o640)

    with locked(folder):
        replace_files(folder, NEW)

    assert contents(folder) == NEW
    assert (folder / "a.json").stat().st_mode & 0o777 == 0o640


def test_killed_anywhere_it_leaves_all_old_or_all_new(tmp_path: Path) -> None:
    endings = []
    for at in range(1, 90):
        folder = fill(tmp_path / str(at))
        done = subprocess.run([sys.executable, "-c", DIES, folder, str(at)], check=False)
        recover(folder)
        endings.append(contents(folder))
        assert endings[-1] in (OLD, NEW), f"killed at call {at}"
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert endings[-1] == NEW
    assert endings.count(OLD) > 12


def test_an_error_on_the_way_restores_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = fill(tmp_path), os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "b.bin" and UNDO in str(source) and "new" in str(source):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with locked(folder), pytest.raises(OSError, match="No space"):
        replace_files(folder, NEW)

    assert contents(folder) == OLD


def test_two_at_once_take_turns(tmp_path: Path) -> None:
    folder = fill(tmp_path)
    script = (
        "import sys, pathlib; from grader.ground.transaction import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), lambda: print('waiting', flush=True)): print('in', flush=True)"
    )
    with locked(folder):
        other = subprocess.Popen(
            [sys.executable, "-c", script, folder], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
        time.sleep(0.05)
        assert other.poll() is None
    assert other.communicate(timeout=20)[0] == "in\n"

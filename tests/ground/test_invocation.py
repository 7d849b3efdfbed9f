"""The commands that messages suggest are named as the program was called, and work when typed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grader.cli.main import COMMANDS
from grader.ground.invocation import command_line
from grader.ground.paths import ROOT

BIN = Path(sys.executable).parent
SUGGESTED = re.compile(r"`([^`]* list)` shows them all")


def shell(line: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Type a line into a shell."""
    surroundings = {**os.environ, "PATH": path}
    return subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env=surroundings, capture_output=True, text=True
    )


@pytest.fixture
def checkout(tmp_path):
    """A folder with a space in its name, from which this checkout's environment is `.venv`."""
    folder = tmp_path / "my work"
    folder.mkdir()
    (folder / ".venv").symlink_to(BIN.parent)
    return folder


@pytest.mark.parametrize(
    ("typed", "inside"),
    [
        (".venv/bin/kvdojo", False),
        ("../.venv/bin/kvdojo", False),
        ("./kvdojo", False),
        ("'{folder}/.venv/bin/kvdojo'", False),
        ("kvdojo", True),
        (".venv/bin/python -m grader", False),
        ("python -m grader", True),
    ],
)
def test_what_a_message_suggests_can_be_typed_in_the_same_shell(checkout, typed, inside):
    folder = {"../": checkout / "sub", "./k": BIN}.get(typed[:3], checkout)
    folder.mkdir(exist_ok=True)
    bare = os.pathsep.join(
        part
        for part in os.environ["PATH"].split(os.pathsep)
        if not (Path(part) / "kvdojo").exists()
    )
    path = os.pathsep.join([str(BIN), bare]) if inside else bare
    called = typed.format(folder=checkout)
    refused = shell(f"{called} show no_such_challenge", folder, path)
    assert refused.returncode == 2, refused.stderr
    (suggested,) = SUGGESTED.findall(refused.stderr)
    assert suggested == f"{called} list"
    answer = shell(suggested, folder, path)
    assert answer.returncode == 0, answer.stderr
    assert f"{called} start CHALLENGE" in answer.stdout


def test_help_and_usage_name_it_so_too(checkout):
    help_ = shell(".venv/bin/kvdojo --help; .venv/bin/kvdojo case add -h", checkout, "/bin")
    assert "Usage: .venv/bin/kvdojo [OPTIONS]" in help_.stdout
    assert "\n    .venv/bin/kvdojo start CHALLENGE\n" in help_.stdout
    assert "Example: .venv/bin/kvdojo case add CHALLENGE" in help_.stdout
    wrong = shell(".venv/bin/kvdojo show", checkout, "/bin")
    assert "See '.venv/bin/kvdojo show --help'" in wrong.stderr


class TestInAnotherProgram:
    """Under pytest or in a benchmark, what was typed is another program's name."""

    @pytest.fixture(autouse=True)
    def _elsewhere(self, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "argv", ["/somewhere/pytest"])
        monkeypatch.setenv("PATH", "/bin")
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        self.bin = tmp_path / ".venv" / "bin"
        monkeypatch.setattr(sys, "executable", str(self.bin / "python"))
        monkeypatch.chdir(tmp_path)

    def _install(self) -> None:
        (self.bin / "kvdojo").write_text("#!/bin/sh\n")
        (self.bin / "kvdojo").chmod(0o755)

    def test_the_script_beside_the_interpreter_is_named_from_here(self):
        self._install()
        assert command_line("hint", "x") == ".venv/bin/kvdojo hint x"

    def test_without_one_the_plain_name_is_given(self):
        assert command_line("hint", "x") == "kvdojo hint x"

    def test_an_active_environment_needs_no_folder(self, monkeypatch):
        self._install()
        monkeypatch.setenv("PATH", f"{self.bin}:/bin")
        assert command_line("hint", "x") == "kvdojo hint x"

    def test_from_another_folder_the_whole_path_is_given(self, monkeypatch, tmp_path):
        self._install()
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        assert command_line("list") == f"{self.bin}/kvdojo list"

    def test_beside_the_script_the_name_alone_would_not_do(self, monkeypatch):
        self._install()
        monkeypatch.chdir(self.bin)
        assert command_line("list") == f"{self.bin}/kvdojo list"

    def test_a_current_folder_that_is_gone_is_no_reason_to_fail(self, monkeypatch, tmp_path):
        self._install()
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        shutil.rmtree(gone)
        assert command_line("list") == f"{self.bin}/kvdojo list"


def test_no_message_spells_the_program_out():
    spelled = re.compile(rf"(?<![\w./])kvdojo ({'|'.join(COMMANDS)}|--)")
    meant = {"kvdojo watch"}  # the heading of that command's screen
    found = []
    for path in sorted((ROOT / "grader").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        plain = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        # the epilog's examples are renamed when the help is shown
        plain |= {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EPILOG"
        }
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in plain
            and node.value not in meant
            and spelled.search(node.value)
        ]
    # such a text asks grader.ground.invocation.command_line
    assert not found, "\n".join(found)

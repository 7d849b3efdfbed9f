"""The program around the commands: exit codes, one-line errors, JSON errors, lazy imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import click
import pytest
from house.imports import modules_of

from grader.cli import main as program
from grader.cli.main import COMMANDS, main
from grader.ground.errors import KvdojoError
from grader.ground.paths import ROOT

HEAVY = ("torch", "matplotlib", "pygments", "jsonschema", "jinja2", "numpy", "msgspec")


@pytest.fixture
def failing(monkeypatch):
    """Return a function that makes `kvdojo list` raise."""

    def install(error: BaseException) -> None:
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        def command(as_json: bool) -> None:
            raise error

        monkeypatch.setattr(program.LazyGroup, "get_command", lambda *_: command)

    return install


@pytest.mark.usefixtures("called_by_its_name")
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: kvdojo {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_names_real_commands(name):
    command = import_module(f"grader.cli.{name}_command").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert COMMANDS[name].endswith(".")


def test_bare_program_prints_help(capsys):
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("kvdojo 0.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grad"], "Did you mean 'grade'?"),
        (["list", "--jsn"], "'--json'"),
        (["show"], "kvdojo show --help"),
        (["hint", "small_sums", "--level", "9"], "9"),
        (["show", "smal_sums"], "Did you mean 'small_sums'?"),
        (["show", "../x"], "kvdojo list"),
        (["grade", "small_sums", "--case", "scale-unt"], "Did you mean 'scale-unit'?"),
        (["plant", "small_sums", "--bugs", "no-scal"], "Did you mean 'no-scale'?"),
        (["plant", "small_sums", "--bugs", "odd-comment"], "--decoys"),
        (["plant", "small_sums", "--bugs", "3"], "--seed"),
        (["plant", "small_sums", "--seed", "3"], "--bugs"),
        (["plant", "small_sums"], "--bugs"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(dojo, capsys, words, said):
    assert dojo.run(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err


def test_a_hostile_name_does_not_act_on_the_terminal(dojo, capsys):
    assert dojo.run("grade", "small_sums", "\x1b[2Jmine.py") == 2
    assert "\x1b" not in capsys.readouterr().err


def test_broken_content_is_exit_3(dojo, capsys):
    folder = dojo.root / "challenges" / "small_sums"
    (folder / "bugs.json").write_text("{")
    assert dojo.run("plant", "small_sums", "--bugs", "no-scale") == 3
    assert "bugs.json" in capsys.readouterr().err
    (folder / "challenge.json").write_text("{}")
    assert dojo.run("list") == 3
    assert "challenge.json" in capsys.readouterr().err
    assert dojo.run("list", "--json") == 3
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "content"


@pytest.mark.parametrize("words", [["show", "no", "--json"], ["grade", "small_sums", "--json"]])
def test_with_json_a_failure_is_one_document(dojo, capsys, words):
    assert dojo.run(*words) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "kvdojo/error/v1"
    assert document["error"]["kind"] == "usage"
    assert document["verdict"] == "error"
    assert document["error"]["message"]


def errors_on_purpose() -> list[type[KvdojoError]]:
    """Every class below the root, whatever room it stands in."""
    for name in modules_of(ROOT, "grader"):
        if not {"in_worker", "programs", "__main__"} & set(name.split(".")):
            with suppress(ImportError):  # a pool for which an extra must be installed
                import_module(name)
    found, todo = [], [KvdojoError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return found


def test_every_error_on_purpose_ends_in_one_line_its_exit_code_and_one_document(failing, capsys):
    kinds = errors_on_purpose()
    assert {"ContentError", "SandboxError", "WorkError", "BatchError", "Unusable"} <= {
        kind.__name__ for kind in kinds
    }
    for kind in kinds:
        error = kind.__new__(kind)
        error.args = ("what to do",)
        failing(error)
        assert main(["list", "--json"]) == kind.exit_code
        captured = capsys.readouterr()
        document = json.loads(captured.out)
        assert document["error"] == {"kind": error.kind, "message": "what to do"}
        assert captured.err == "kvdojo: what to do\n"


def test_our_own_bug_keeps_its_traceback(failing, capsys):
    failing(ZeroDivisionError("oops"))
    assert main(["list", "--json"]) == 4
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert "bug in kvdojo" in captured.err
    assert json.loads(captured.out)["error"] == {
        "kind": "bug",
        "message": "ZeroDivisionError: oops",
    }


def test_a_file_that_hides_a_module_of_pythons_is_named(tmp_path):
    (tmp_path / "json.py").write_text("x = 1\n")
    words = [sys.executable, "-m", "grader", "list"]
    for more in ([], ["--json"]):
        run = subprocess.run(
            [*words, *more],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 2
        assert run.stderr.startswith(f"kvdojo: {tmp_path / 'json.py'} hides Python's own module")
        assert run.stderr.count("\n") == 1


def test_interrupted_is_130(failing, capsys):
    failing(KeyboardInterrupt())
    assert main(["list"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_command_may_exit_by_itself(failing):
    failing(click.exceptions.Exit(1))
    assert main(["list"]) == 1


def test_list(dojo, capsys):
    assert dojo.run("list") == 0
    assert "Mend the sums." in capsys.readouterr().out
    assert dojo.run("list", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in document["challenges"]] == ["small_sums"]
    assert document["challenges"][0]["started"] is None
    dojo.run("start", "small_sums")
    capsys.readouterr()
    assert dojo.run("list", "--json") == 0
    assert json.loads(capsys.readouterr().out)["challenges"][0]["started"].endswith("small_sums")


def test_show_renders_the_brief(dojo, capsys):
    assert dojo.run("show", "small_sums") == 0
    shown = capsys.readouterr().out
    assert "Mend every sum." in shown
    assert "\x1b" not in shown


def test_help_and_list_import_nothing_heavy():
    code = (
        "import sys\nfrom grader.cli.main import main\nmain(['--help'])\nmain(['list'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_broken_pipe_inside_the_grader_is_not_a_verdict(failing, capsys):
    failing(BrokenPipeError(32, "Broken pipe"))
    assert main(["list"]) == 4
    assert "bug in kvdojo" in capsys.readouterr().err


def test_a_reader_that_leaves_changes_nothing():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "grader", "list"],
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["--help"]])
def test_a_full_disk_is_one_line_and_exit_4(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "grader", *words],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("extra", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour_follows_the_environment(extra, coloured):
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    done = subprocess.run(
        [sys.executable, "-m", "grader", "list"],
        cwd=ROOT,
        env={**kept, "TERM": "xterm", **extra},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ("\x1b[" in done.stdout) is coloured


def test_completion_offers_challenges(dojo, capsys, monkeypatch):
    monkeypatch.setenv("_KVDOJO_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "kvdojo grade small_sums --case sc")
    monkeypatch.setenv("COMP_CWORD", "4")
    assert dojo.run() == 0
    assert capsys.readouterr().out == "plain,scale-unit\n"
    monkeypatch.setenv("COMP_WORDS", "kvdojo grade s")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert dojo.run() == 0
    assert capsys.readouterr().out == "plain,small_sums\n"


def test_a_folder_that_is_gone_is_one_line(dojo, tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert dojo.run("list") == 2
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.chdir(tmp_path)

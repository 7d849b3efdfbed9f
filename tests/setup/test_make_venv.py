"""`make` takes the newest usable Python, says which and why, and installs no more than a target needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# an interpreter in name: the code it is given is run by this one, after a prelude
FAKE = """#!/bin/sh
case "$1" in
-c) code=$2; shift 2; exec {real} -c "{prelude}
$code" "$@" ;;
-V) echo "Python {version}" ;;
-m) shift; echo "$0 $*" >> {log}; for last; do :; done; mkdir -p "$last/bin" && cp "$0" "$last/bin/python" ;;
esac
"""


class Machine:
    """A folder for programs that is all of the PATH, and a project folder."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        self.project = folder / "project"
        self.log = folder / "log"
        for made in (self.programs, self.project):
            made.mkdir()
        for name in ("sh", "mkdir", "cp", "touch", "make"):
            found = shutil.which(name)
            if found is None:
                pytest.skip(f"{name} is not here")
            (self.programs / name).symlink_to(found)
        for name in ("Makefile", "tools", "pyproject.toml", "constraints.txt"):
            (self.project / name).symlink_to(ROOT / name)

    def python(self, name: str, version: str, prelude: str = "") -> Path:
        """Put an interpreter on the PATH that says it has this version."""
        numbers = tuple(int(part) for part in version.split("."))
        told = f"import sys; sys.version_info = {(*numbers, 'final', 0)}; sys.version = '{version} (fake)'"
        path = self.programs / name
        path.write_text(
            FAKE.format(
                real=sys.executable, prelude=f"{told}\n{prelude}", version=version, log=self.log
            )
        )
        path.chmod(0o755)
        return path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the project folder."""
        return subprocess.run(
            words,
            cwd=self.project,
            env={"PATH": str(self.programs)},
            capture_output=True,
            text=True,
            check=False,
        )

    def make_venv(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return self.run("sh", "tools/make_venv.sh", ".venv", *words)

    @property
    def made_with(self) -> list[str]:
        """The interpreters that made an environment, in order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [Path(line.split()[0]).name for line in lines if "venv --clear .venv" in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_is_taken_and_named(machine: Machine) -> None:
    for name, version in (
        ("python3.11", "3.11.2"),
        ("python3.13", "3.13.9"),
        ("python3", "3.11.2"),
    ):
        machine.python(name, version)
    run = machine.make_venv()
    assert run.returncode == 0, run.stderr
    assert machine.made_with == ["python3.13"]
    assert run.stdout.startswith("Python 3.13.9 (python3.13): the newest from 3.11 to 3.14 here")


def test_a_plain_python3_counts_too(machine: Machine) -> None:
    machine.python("python3.11", "3.11.2")
    machine.python("python3", "3.14.1")
    assert "Python 3.14.1 (python3)" in machine.make_venv().stdout
    assert machine.made_with == ["python3"]


@pytest.mark.parametrize(
    ("version", "prelude", "reason"),
    [
        ("3.13.1", "sys.modules['ensurepip'] = None", "cannot make an environment: "),
        ("3.13.1", "sys.modules['ssl'] = None", "cannot make an environment: "),
        ("3.13.1", "sys.implementation.name = 'pypy'", "torch has no build for it"),
        ("3.13.1", "sys.maxsize = 2 ** 31 - 1", "torch has no build for it"),
        (
            "3.13.1",
            "import sysconfig; sysconfig.get_config_var = lambda name: 1",
            "is a free-threaded build",
        ),
        ("3.13.1", "sys.exit(127)", "does not run"),
        ("3.13.1", "print('pyenv: no such command')\nsys.exit()", "does not run"),
        ("3.15.0", "", "is Python 3.15"),
        ("3.10.4", "", "is Python 3.10"),
        ("2.7.18", "", "is Python 2.7"),
    ],
)
def test_what_cannot_be_used_is_passed_over_with_the_reason(
    machine: Machine, version: str, prelude: str, reason: str
) -> None:
    machine.python("python3.11", "3.11.2")
    machine.python("python3", version, prelude)
    run = machine.make_venv()
    assert run.returncode == 0, run.stderr
    assert machine.made_with == ["python3.11"]
    (line,) = [line for line in run.stdout.splitlines() if "passed over" in line]
    assert "python3 " in line
    assert reason in line


def test_where_there_is_none_it_says_what_was_looked_at(machine: Machine) -> None:
    machine.python("python3", "3.10.4")
    run = machine.make_venv()
    assert run.returncode == 1
    assert "No Python from 3.11 to 3.14 was found" in run.stderr
    assert "python3 is Python 3.10" in run.stderr
    assert machine.made_with == []


class TestNamed:
    def test_it_is_taken_though_a_newer_one_is_here(self, machine: Machine) -> None:
        machine.python("python3.13", "3.13.9")
        older = machine.python("mine", "3.11.2")
        run = machine.make_venv(str(older))
        assert run.returncode == 0, run.stderr
        assert machine.made_with == ["mine"]

    @pytest.mark.parametrize("version", ["3.10.4", "2.7.18"])
    def test_it_must_be_new_enough_and_nothing_else_is_taken(
        self, machine: Machine, version: str
    ) -> None:
        machine.python("python3.13", "3.13.9")
        machine.python("mine", version)
        run = machine.make_venv("mine")
        assert run.returncode == 1
        assert "PYTHON=mine will not do" in run.stderr
        assert version.rpartition(".")[0] in run.stderr
        assert machine.made_with == []

    def test_it_must_be_there(self, machine: Machine) -> None:
        machine.python("python3.13", "3.13.9")
        run = machine.make_venv("no-such-python")
        assert run.returncode == 1
        assert run.stderr.count("\n") == 1
        assert machine.made_with == []

    def test_a_version_beyond_what_is_looked_for_can_be_tried(self, machine: Machine) -> None:
        machine.python("python3.15", "3.15.0")
        assert machine.make_venv("python3.15").returncode == 0
        assert machine.made_with == ["python3.15"]


class TestAnEnvironmentThatIsThere:
    @pytest.fixture(autouse=True)
    def _made(self, machine: Machine) -> None:
        self.old = machine.python("python3.11", "3.11.2")
        assert machine.make_venv().returncode == 0

    def test_is_kept_though_a_newer_python_came(self, machine: Machine) -> None:
        machine.python("python3.14", "3.14.1")
        run = machine.make_venv()
        assert run.stdout == "Python 3.11.2 in .venv, as before\n"
        assert machine.made_with == ["python3.11"]

    def test_is_kept_where_its_own_version_is_named(self, machine: Machine) -> None:
        machine.make_venv("python3.11")
        assert machine.made_with == ["python3.11"]

    def test_is_made_anew_where_another_version_is_named(self, machine: Machine) -> None:
        machine.python("python3.14", "3.14.1")
        machine.make_venv("python3.14")
        assert machine.made_with == ["python3.11", "python3.14"]

    def test_is_made_anew_where_its_interpreter_is_gone(self, machine: Machine) -> None:
        broken = machine.project / ".venv" / "bin" / "python"
        broken.write_text("#!/nowhere/python\n")
        machine.make_venv()
        assert machine.made_with == ["python3.11", "python3.11"]


class TestMake:
    """What the targets install. The fake interpreter only notes what pip would have been asked."""

    @pytest.fixture(autouse=True)
    def _python(self, machine: Machine) -> None:
        machine.python("python3.11", "3.11.2")
        machine.python("python3.12", "3.12.7")

    @staticmethod
    def installed(machine: Machine) -> list[str]:
        """The sets that pip was asked for since the last look."""
        lines = machine.log.read_text().splitlines() if machine.log.exists() else []
        machine.log.write_text("")
        return [line.split()[-1] for line in lines if "pip install" in line]

    def make(self, machine: Machine, *words: str) -> str:
        run = machine.run("make", *words)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def test_a_learner_gets_the_light_set_once(self, machine: Machine) -> None:
        assert "Python 3.12.7" in self.make(machine, "demo")
        assert self.installed(machine) == ["."]
        self.make(machine, "demo", "setup")
        assert self.installed(machine) == []

    def test_the_tests_add_the_rest(self, machine: Machine) -> None:
        self.make(machine, "demo")
        self.installed(machine)
        self.make(machine, "test")
        assert self.installed(machine) == [".[dev]"]
        self.make(machine, "test", "bench-cpu", "demo")
        assert self.installed(machine) == []

    def test_all_at_once_is_one_installation(self, machine: Machine) -> None:
        self.make(machine, "test", "demo")
        assert self.installed(machine) == [".[dev]"]

    def test_another_python_makes_it_anew(self, machine: Machine) -> None:
        self.make(machine, "demo")
        self.make(machine, "demo", "PYTHON=python3.12")
        self.installed(machine)
        assert "Python 3.11.2" in self.make(machine, "demo", "PYTHON=python3.11")
        assert self.installed(machine) == ["."]

    def test_a_python_that_will_not_do_stops_it(self, machine: Machine) -> None:
        run = machine.run("make", "demo", "PYTHON=no-such-python")
        assert run.returncode != 0
        assert "PYTHON=no-such-python will not do" in run.stderr
        assert self.installed(machine) == []

    def test_pip_is_told_no_index_of_ours(self, machine: Machine) -> None:
        self.make(machine, "test")
        (line,) = [line for line in machine.log.read_text().splitlines() if "pip install" in line]
        assert "-c constraints.txt" in line
        assert "index" not in line
        assert "isolated" not in line


def test_cleaning_keeps_the_learners_work(machine: Machine) -> None:
    run = machine.run("make", "-n", "clean")
    removed = [line for line in run.stdout.splitlines() if line.startswith("rm ")]
    assert removed
    assert not any("work" in line.split() for line in removed)

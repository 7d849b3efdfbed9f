"""A learner's set-up is light: nothing at run time needs what only tests, benchmarks or clusters need."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from grader.content import load_challenge

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OURS = {"grader", "reference", "kernels", "challenges", "benchmarks"}
# files that need an extra, and which
EXTRAS = {
    "grader/arena/adapters/inspect_task.py": "arena",
    "grader/author/mutants.py": "mutation",
    "kernels/transformers_client.py": "bench",
    "grader/classroom/dask_pool.py": "cluster",
}


def named(requirements: list[str]) -> set[str]:
    """The distributions that are required on this machine."""
    wanted = [Requirement(text) for text in requirements]
    return {
        canonicalize_name(each.name)
        for each in wanted
        if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def closure(names: set[str]) -> set[str]:
    """These distributions and all that they bring along."""
    known: set[str] = set()
    while names - known:
        name = (names - known).pop()
        known.add(name)
        names = names | named(metadata.requires(name) or [])
    return known


def imported(path: Path) -> Iterator[str]:
    """The packages that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@cache
def by_module() -> Mapping[str, list[str]]:
    """The distributions that each importable module comes from."""
    return metadata.packages_distributions()


def distributions(modules: set[str]) -> set[str]:
    """The distributions that these modules come from."""
    return {canonicalize_name(name) for module in modules for name in by_module().get(module, [])}


def extra_of(path: Path) -> str | None:
    """The extra that a file needs."""
    return EXTRAS.get(path.relative_to(ROOT).as_posix())


RUN_TIME = named(PROJECT["dependencies"])
FILES = [
    path
    for folder in ("grader", "reference", "kernels", "challenges")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "templates" not in path.parts
]


def test_every_import_is_declared_and_nothing_more() -> None:
    found: set[str] = set()
    for path in FILES:
        here = distributions(set(imported(path)) - OURS - sys.stdlib_module_names)
        found |= here
        extra = extra_of(path)
        allowed = RUN_TIME | named(PROJECT["optional-dependencies"][extra] if extra else [])
        assert here <= allowed, f"{path.relative_to(ROOT)} needs {here - allowed}"
    assert found >= RUN_TIME, f"declared, and never imported: {RUN_TIME - found}"


def test_the_files_with_extras_are_there() -> None:
    for extra in EXTRAS.values():
        assert [path for path in FILES if extra_of(path) == extra], extra


def test_mutmut_is_pinned_since_its_internals_are_used() -> None:
    (pin,) = [each for each in PROJECT["optional-dependencies"]["mutation"] if "mutmut" in each]
    assert pin == f"mutmut=={metadata.version('mutmut')}"


# Runs a program as if nothing but a learner's packages were installed.
ALONE = """
import runpy, sys
from importlib.machinery import PathFinder

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in {absent!r} and PathFinder.find_spec(name, path) is not None:
            raise ModuleNotFoundError(f"No module named {{name!r}} in a learner's set-up", name=name)

sys.meta_path.insert(0, Absent)
sys.argv = {argv!r}
{code}
"""


def alone(code: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run code without what only the extras bring."""
    light = closure(RUN_TIME)
    absent = (
        {
            module
            for module, names in by_module().items()
            if not light & {canonicalize_name(name) for name in names}
        }
        - OURS
        - {"pip", "_distutils_hack", "pkg_resources"}
    )
    assert {"transformers", "mutmut", "distributed", "matplotlib", "playwright"} & absent
    text = ALONE.format(absent=absent, argv=["kvdojo", *argv], code=code)
    return subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_module_can_be_imported_by_a_learner() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in FILES
        if path.parts[len(ROOT.parts)] in ("grader", "reference")
        and path.name not in ("__init__.py", "__main__.py")
        and extra_of(path) is None
    ]
    code = f"""
import importlib
for module in {modules!r}:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        print(module, error.name)
"""
    run = alone(code)
    assert run.returncode == 0, run.stderr
    refused = {tuple(line.split()) for line in run.stdout.splitlines()}
    # the scoring of mutants is for `make mutation`
    assert {name for _, name in refused} <= {"libcst", "mutmut"}, refused


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["list"], 0),
        (["grade", "broken_test", str(load_challenge("broken_test").starter), "--json"], 1),
    ],
)
def test_commands_run_for_a_learner(words: list[str], code: int) -> None:
    run = alone("from grader.cli.main import main; sys.exit(main())", *words)
    assert run.returncode == code, run.stderr


def test_pytest_runs_for_a_learner_in_the_checkout() -> None:
    starter = load_challenge("static_cache").starter
    code = """
import os, pytest
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the others' entry points are there all the same
sys.exit(pytest.main(["-p", "grader.pytest_plugin", *sys.argv[1:]]))
"""
    run = alone(code, "--kvdojo", "static_cache", str(starter), "--collect-only", "-q")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "tests collected" in run.stdout

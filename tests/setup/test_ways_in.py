"""The ways in: container, tasks of VS Code, test explorer, and a course's template, each held to its own form."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grader.content import load_challenge

ROOT = Path(__file__).parents[2]
COURSE = ROOT / "templates" / "course"
FOLDERS = pytest.mark.parametrize("folder", [ROOT, COURSE], ids=["kvdojo", "course"])
MAKE = shutil.which("make")
PORT = 8519

# the part of the schemas that is used here: a key that is not among these is a mistake of ours.
# https://containers.dev/implementors/json_reference, https://code.visualstudio.com/docs/reference/tasks-appendix
CONTAINER = {
    "name": str,
    "image": str,
    "init": bool,
    "hostRequirements": dict,
    "containerEnv": dict,
    "postCreateCommand": str,
    "postAttachCommand": str,
    "waitFor": str,
    "forwardPorts": list,
    "portsAttributes": dict,
    "customizations": dict,
}
TASK = {"label", "type", "command", "args", "group", "presentation", "problemMatcher"}
PRESENTATION = {"clear": bool, "focus": bool, "panel": str}
MATCHER = {"owner", "source", "severity", "fileLocation", "pattern"}
PATTERN = {"regexp", "file", "line", "message"}


def read(path: Path) -> Any:
    """Read strict JSON, in which no key stands twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    return json.loads(path.read_text("utf-8"), object_pairs_hook=once)


@FOLDERS
def test_container(folder: Path) -> None:
    found = read(folder / ".devcontainer" / "devcontainer.json")
    assert {key: type(value) for key, value in found.items()}.items() <= CONTAINER.items()
    assert found["forwardPorts"] == [PORT]
    attributes = found["portsAttributes"][str(PORT)]
    assert attributes.keys() <= {"label", "onAutoForward", "requireLocalPort"}
    # the studio answers to its own name alone, so the port must be the same outside
    assert attributes["requireLocalPort"] is True
    # opened by the command, for only its link has the key
    assert attributes["onAutoForward"] == "silent"
    assert re.fullmatch(r"\d+[gm]b", found["hostRequirements"]["memory"])
    assert all(isinstance(value, str) for value in found.get("containerEnv", {}).values())
    assert found["waitFor"] == "postCreateCommand"


def test_container_runs_what_there_is() -> None:
    found = read(ROOT / ".devcontainer" / "devcontainer.json")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert found["postCreateCommand"].split() == ["make", "demo"]
    assert "demo" in targets
    assert found["postAttachCommand"] == f".venv/bin/kvdojo studio --port {PORT}"
    course = read(COURSE / ".devcontainer" / "devcontainer.json")
    own = re.findall(r"^([a-z-]+):", (COURSE / "Makefile").read_text("utf-8"), re.M)
    for name in ("postCreateCommand", "postAttachCommand"):
        assert course[name].split()[0] == "make"
        assert course[name].split()[1] in own


@FOLDERS
def test_tasks(folder: Path) -> None:
    found = read(folder / ".vscode" / "tasks.json")
    assert found.keys() == {"version", "tasks", "inputs"}
    assert found["version"] == "2.0.0"
    inputs = {entry["id"] for entry in found["inputs"]}
    labels = [task["label"] for task in found["tasks"]]
    assert len(set(labels)) == len(labels)
    for task in found["tasks"]:
        assert task.keys() <= TASK
        assert task["type"] == "process"
        assert all(isinstance(word, str) for word in task["args"])
        assert set(re.findall(r"\$\{input:(\w+)\}", " ".join(task["args"]))) <= inputs
        for key, value in task.get("presentation", {}).items():
            assert type(value) is PRESENTATION[key]
        for matcher in task["problemMatcher"]:
            assert matcher.keys() == MATCHER
            assert matcher["severity"] in ("error", "warning", "info")
            assert all(pattern.keys() <= PATTERN for pattern in matcher["pattern"])
            told = set().union(*(pattern.keys() for pattern in matcher["pattern"]))
            assert told == PATTERN
            for pattern in matcher["pattern"]:
                groups = re.compile(pattern["regexp"]).groups
                assert all(1 <= at <= groups for name, at in pattern.items() if name != "regexp")


@FOLDERS
def test_tasks_run_what_there_is(folder: Path) -> None:
    for task in read(folder / ".vscode" / "tasks.json")["tasks"]:
        if folder == COURSE:
            text = (COURSE / "Makefile").read_text("utf-8")
            assert re.search(rf"^{task['args'][0]}:", text, re.M)
            continue
        assert task["command"] == "${workspaceFolder}/.venv/bin/kvdojo"
        verb = task["args"][0]
        assert (ROOT / "grader" / "cli" / f"{verb}_command.py").exists() or verb == "studio"


def problems(matchers: list[dict[str, Any]], text: str) -> list[tuple[str, str, str]]:
    """Return message, file and line of the problems in an output, as VS Code collects them."""
    lines, found, at = text.splitlines(), [], 0
    while at < len(lines):
        for matcher in matchers:
            patterns = matcher["pattern"]
            block = lines[at : at + len(patterns)]
            hits = [
                re.search(pattern["regexp"], line)
                for pattern, line in zip(patterns, block, strict=False)
            ]
            if len(hits) == len(patterns) and all(hits):
                values = {
                    name: hit[place]
                    for pattern, hit in zip(patterns, hits, strict=True)
                    for name, place in pattern.items()
                    if name != "regexp" and hit
                }
                found.append((values["message"], values["file"], values["line"]))
                at += len(patterns) - 1
                break
        at += 1
    return found


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("        raise KeyError('no such head')", "KeyError was raised: 'no such head'"),
        ("        x = (", "The file could not be loaded: SyntaxError was raised: "),
    ],
    ids=["raises", "syntax"],
)
def test_a_problem_matcher_finds_file_and_line(tmp_path: Path, edit: str, message: str) -> None:
    challenge = load_challenge("multi_head_attention")
    text = challenge.starter.read_text("utf-8")
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if "def _split_heads" in line) + 2
    file = tmp_path / challenge.file
    file.write_text("\n".join([*lines[:place], edit, *lines[place:]]) + "\n")
    command = [sys.executable, "-m", "grader", "grade", challenge.id, str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    tasks = read(ROOT / ".vscode" / "tasks.json")["tasks"]
    matchers = next(task for task in tasks if task["label"] == "kvdojo: grade")["problemMatcher"]
    (found,) = problems(matchers, run.stdout)
    assert found[0].startswith(message)
    assert found[1:] == (challenge.file, str(place + 1))


@FOLDERS
def test_the_test_explorer_sees_the_cases(folder: Path, tmp_path: Path) -> None:
    settings = read(folder / ".vscode" / "settings.json")
    assert settings["python.testing.pytestEnabled"] is True
    arguments = settings["python.testing.pytestArgs"]
    challenge = load_challenge(arguments[1])
    file = tmp_path / arguments[2]
    file.parent.mkdir(parents=True)
    file.write_bytes(challenge.starter.read_bytes())
    command = [sys.executable, "-m", "pytest", *arguments, "--collect-only", "-q"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    listed = [line for line in run.stdout.splitlines() if line.startswith(f"{arguments[2]}::")]
    assert len(listed) == len(challenge.cases)
    assert f"{arguments[2]}::unit-01" in listed


@pytest.mark.skipif(MAKE is None, reason="make is not installed")
def test_a_course_is_started_graded_and_cloned(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(COURSE, first)
    kvdojo = tmp_path / "bin" / "kvdojo"
    kvdojo.parent.mkdir()
    kvdojo.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m grader "$@"\n')
    kvdojo.chmod(0o755)
    environment = {**os.environ, "KVDOJO_STATE": str(tmp_path / "state")}

    def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(MAKE), *words, f"BIN={kvdojo.parent}"]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    assert "make grade-all" in make(first).stdout
    assert make(first, "start").returncode == 0
    assert (first / "work" / "multi_head_attention" / "kv_attention.py").exists()
    shutil.move(first, second)  # as a clone on another machine, which remembers nothing
    reference = load_challenge("multi_head_attention").reference
    shutil.copy(reference, second / "work" / "multi_head_attention" / "kv_attention.py")
    done = make(second, "grade-all")
    assert done.returncode == 0, done.stderr
    document = json.loads((second / "results" / "multi_head_attention.json").read_text())
    assert document["verdict"] == "passed"


def test_the_course_is_graded_by_a_valid_workflow() -> None:
    path = COURSE / ".github" / "workflows" / "grade.yml"
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    run = subprocess.run(
        [*checker, "vendor.github-workflows", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "make setup" in path.read_text("utf-8")
    assert "make grade-all" in path.read_text("utf-8")

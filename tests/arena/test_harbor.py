"""Task folders for Harbor: of the form that it documents, with what is sealed in the verifier's container alone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from arena_draws import NAME

from grader.arena.arena_task import CANARY
from grader.cli.main import main
from grader.content import Catalogue
from grader.ground.errors import UserError
from grader.report.exports.harbor import export_tasks

ENVIRONMENT = {"cpus", "memory_mb", "storage_mb", "workdir", "network_mode"}
# of the tables that are written here: the names that schema 1.4 has for them
KNOWN = {
    "": {"schema_version", "artifacts", "task", "metadata", "agent", "environment", "verifier"},
    "task": {"name", "description", "keywords", "version", "authors"},
    "agent": {"timeout_sec", "user"},
    "environment": ENVIRONMENT,
    "verifier": {"timeout_sec", "environment_mode", "environment", "user", "env"},
}


@pytest.fixture(scope="module")
def exported(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("harbor") / "out"
    export_tasks(drawn, out, Catalogue())
    return out


@pytest.fixture
def folder(exported: Path) -> Path:
    return exported / "tasks" / f"{NAME}-0000"


def text_of(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.rglob("*")) if path.is_file())


def test_the_configuration_is_of_harbor_s_form(folder) -> None:
    config = tomllib.loads((folder / "task.toml").read_text())
    for table, names in KNOWN.items():
        assert set(config[table] if table else config) <= names
    assert set(config["verifier"]["environment"]) <= ENVIRONMENT
    assert config["schema_version"] == "1.4"
    assert config["task"]["name"] == f"kvdojo/{NAME}-0000"
    assert config["artifacts"] == ["/app/kv_attention.py"]
    assert config["verifier"]["environment_mode"] == "separate"
    both = (config["environment"], config["verifier"]["environment"])
    assert {each["network_mode"] for each in both} == {"no-network"}
    for name in ("instruction.md", "environment/Dockerfile", "tests/test.sh", "solution/solve.sh"):
        assert (folder / name).is_file()
        assert CANARY in (folder / name).read_text()
    assert os.access(folder / "tests" / "test.sh", os.X_OK)


def test_harbor_s_own_model_takes_every_folder(exported) -> None:
    task = pytest.importorskip(
        "harbor.models.task.task", reason="harbor is not installed (it needs Python 3.12)"
    )
    for folder in sorted((exported / "tasks").iterdir()):
        assert task.Task.is_valid_dir(folder)
        assert task.Task(folder).config.environment.network_mode.value == "no-network"


def test_what_is_sealed_is_in_the_verifier_s_container_alone(folder, tasks, exported) -> None:
    for_agents = text_of(folder / "environment") + (folder / "instruction.md").read_text()
    for_agents += (folder / "task.toml").read_text()
    for entry in [*tasks[0].sealed.bugs, *tasks[0].sealed.decoys]:
        assert entry.id not in for_agents
        assert entry.id in text_of(folder / "tests" / "sealed")
    assert tasks[0].sealed.salt not in for_agents
    assert (folder / "environment" / "kv_attention.py").read_text() == tasks[0].public.source
    engine = zipfile.ZipFile(io.BytesIO((exported / "verifier" / NAME / "kvdojo.zip").read_bytes()))
    names = engine.namelist()
    assert f"challenges/{NAME}/recorded/golden.safetensors" in names
    assert not [name for name in names if "sealed" in name and not name.startswith("grader/")]


def test_the_solution_is_the_best_there_is(folder, tasks, scorer) -> None:
    mended = scorer.known(tasks[0].sealed).file.mended
    assert (folder / "solution" / "kv_attention.py").read_text() == mended


def test_the_same_draw_gives_the_same_bytes(drawn, exported, tmp_path) -> None:
    export_tasks(drawn, tmp_path / "again", Catalogue())
    for path in sorted(exported.rglob("*")):
        if path.is_file():
            again = tmp_path / "again" / path.relative_to(exported)
            assert again.read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize(
    ("handed", "reward"), [("solution", 1.0), ("environment", 0.0), (None, 0.0), ("huge", 0.0)]
)
def test_the_verifier_s_script_writes_a_reward(folder, tmp_path, handed, reward) -> None:
    """The script itself, with the paths of a container below a folder of this test."""
    script = (folder / "tests" / "test.sh").read_text()
    for name in ("/app/", "/logs/"):
        script = script.replace(name, f"{tmp_path}{name}")
    script = script.replace("/tests/", f"{folder}/tests/")
    (tmp_path / "app").mkdir()
    if handed == "huge":
        (tmp_path / "app" / "kv_attention.py").write_bytes(b"#" * (1 << 20))
    elif handed:
        source = (folder / handed / "kv_attention.py").read_bytes()
        (tmp_path / "app" / "kv_attention.py").write_bytes(source)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, "PATH": programs},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / "logs" / "verifier" / "reward.json").read_text())
    assert found["reward"] == reward
    assert all(isinstance(value, float) for value in found.values())


def test_mistakes_are_told(drawn, tmp_path, capsys, exported) -> None:
    with pytest.raises(UserError, match="exists already"):
        export_tasks(drawn, exported, Catalogue())
    with pytest.raises(UserError, match="is no task"):
        export_tasks(tmp_path, tmp_path / "out", Catalogue())
    for words in (
        ("--harbor", tmp_path / "none"),
        ("--harbor", drawn, "--format", "csv"),
        ("--harbor", drawn, "--dockerfile", NAME),
    ):
        assert main(["export", *map(str, words)]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert main(["export", "--harbor", str(drawn), "--out", str(tmp_path / "made")]) == 0
    assert "docker build -t kvdojo-arena-multi_head_attention" in capsys.readouterr().out

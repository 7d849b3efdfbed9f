"""The autograder zip, unpacked and run as Gradescope runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from grader.content import load_challenge
from grader.report.packages import autograder

NAME = "decode_positions"


def unpacked(name: str, folder: Path) -> Path:
    with zipfile.ZipFile(BytesIO(autograder(load_challenge(name)).content)) as archive:
        archive.extractall(folder / "source")
    (folder / "submission").mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return unpacked(NAME, tmp_path)


def grade(root: Path) -> dict[str, Any]:
    names = {"AUTOGRADER_ROOT": str(root), "AUTOGRADER_PYTHON": sys.executable}
    script = ["bash", str(root / "source" / "run_autograder")]
    subprocess.run(script, env={**os.environ, **names}, check=True, cwd="/")
    document: dict[str, Any] = json.loads((root / "results" / "results.json").read_text())
    return document


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="isolation exists on Linux only")
@pytest.mark.parametrize(
    ("name", "file"), [(NAME, "my work/mine.py"), ("broken_test", "tests.json")]
)
def test_a_file_by_another_name_gets_its_marks(tmp_path: Path, name: str, file: str) -> None:
    challenge, root = load_challenge(name), unpacked(name, tmp_path)
    (root / "submission" / "__MACOSX").mkdir()
    (root / "submission" / "__MACOSX" / f"._{challenge.file}").write_bytes(b"\0")
    (root / "submission" / file).parent.mkdir(exist_ok=True)
    (root / "submission" / file).write_text(challenge.reference_text)
    document = grade(root)
    assert document["score"] == sum(case.points for case in challenge.cases.values())
    assert len(document["tests"]) == len(challenge.cases)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="isolation exists on Linux only")
def test_a_notebook_gets_its_marks(root: Path) -> None:
    challenge = load_challenge(NAME)
    cells = [{"cell_type": "code", "source": "%cd ..\n" + challenge.reference_text}]
    text = json.dumps({"nbformat": 4, "metadata": {}, "cells": cells})
    (root / "submission" / "my work.ipynb").write_text(text)
    document = grade(root)
    assert document["score"] == sum(case.points for case in challenge.cases.values())
    assert "cell 1, line 1: %cd" in document["output"]


@pytest.mark.parametrize("names", [(), ("a.py", "b.py"), ("a.ipynb", "b.ipynb")])
def test_without_one_file_there_is_a_score_of_zero_and_a_reason(root: Path, names) -> None:
    for name in names:
        (root / "submission" / name).write_text("")
    document = grade(root)
    assert document["score"] == 0
    assert load_challenge(NAME).file in document["output"]


def test_when_the_grader_itself_fails_there_is_no_score(root: Path) -> None:
    (root / "submission" / "mine.py").write_text("")
    (root / "source" / "challenges" / NAME / "recorded" / "golden.safetensors").write_bytes(
        b"broken"
    )
    document = grade(root)
    assert "score" not in document
    assert "could not be judged" in document["output"]

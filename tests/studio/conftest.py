"""A studio whose pages and challenges are the real ones and whose grading is made up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from studio.made_studio import HOST, Grader, NoSandbox, Studio

from grader.cli.studio_command import services_of
from grader.content import Catalogue
from grader.learner.regrader import GradingFunctions
from grader.studio.gatekeeper import Gatekeeper
from grader.studio.open_attempts import OpenAttempts
from grader.studio.studio_app import studio_app


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    work = tmp_path / "work"
    monkeypatch.setenv("KVDOJO_WORK", str(work))
    monkeypatch.chdir(tmp_path)
    NoSandbox.open = 0
    grader = Grader()
    attempts = OpenAttempts(
        services_of(Catalogue()), GradingFunctions(NoSandbox, grader, lambda *_: None)
    )
    door = Gatekeeper(studio_app(attempts), [HOST], "studio")
    client = TestClient(door, base_url=f"http://{HOST}")
    client.get("/", params={"key": door.key})
    yield Studio(attempts, door, client, grader, work)
    attempts.close()
    assert NoSandbox.open == 0, "every sandbox was closed"

"""The driver of broken_test reads another challenge's files on the trusted side, and nothing beside a submission."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from grader.content import ContentError, load_challenge
from grader.content.driver_loading import execute_driver
from grader.content.planting import plant
from grader.judge.script import Script

CHALLENGE = load_challenge("broken_test")
NEIGHBOUR = load_challenge("static_cache")
BUGS = [bug.id for bug in NEIGHBOUR.bugs.values() if bug.kind == "bug"]
DECOYS = [bug.id for bug in NEIGHBOUR.bugs.values() if bug.kind == "decoy"]
KERNEL = NEIGHBOUR.reference_text
SCHEMA = (CHALLENGE.folder / "broken_test.schema.json").read_text("utf-8")


@pytest.fixture(autouse=True)
def grad_mode() -> Any:
    """`create` switches gradients off, as it may in a worker of its own."""
    with torch.set_grad_enabled(True):
        yield


def copied(root: Path, kernel: str = KERNEL) -> dict[str, Any]:
    """The driver with copies of all that it reads, and this kernel."""
    folder = root / "challenges" / "broken_test"
    for source in (CHALLENGE.folder, NEIGHBOUR.folder):
        (root / "challenges" / source.name).mkdir(parents=True)
    for name in ("driver.py", "broken_test.schema.json"):
        shutil.copy(CHALLENGE.folder / name, folder)
    shutil.copy(NEIGHBOUR.folder / "bugs.json", root / "challenges" / "static_cache")
    (root / "reference").mkdir()
    (root / "reference" / "static_cache.py").write_text(kernel, "utf-8")
    return loaded(folder / "driver.py")


def loaded(path: Path) -> dict[str, Any]:
    return execute_driver(path, path.read_bytes())


def plan_of(driver: dict[str, Any]) -> Any:
    return driver["Plan"]({}, None)


def test_the_driver_works_beside_a_submission_where_there_is_nothing_to_read(
    tmp_path: Path,
) -> None:
    alone = tmp_path / "driver.py"
    shutil.copy(CHALLENGE.folder / "driver.py", alone)
    document = json.loads(CHALLENGE.reference_text)
    worker = loaded(alone)["Verbs"](SimpleNamespace(document=document))
    assert worker.create(dtype="float32", kernel=KERNEL, schema=SCHEMA) == {"read": True}
    assert worker.accept() == {"accepted": True}
    broken = plan_of(loaded(CHALLENGE.folder / "driver.py")).inputs("refuse", {"mutant": BUGS[1]})
    assert worker.refuse(**broken) == {"refused": True}


@pytest.mark.parametrize("bug", BUGS)
def test_every_bug_of_the_kernel_can_be_planted_and_is_that_bug(bug: str) -> None:
    plan = plan_of(loaded(CHALLENGE.folder / "driver.py"))
    assert plan.inputs("create", {}) == {"kernel": KERNEL, "schema": SCHEMA}
    sent = plan.inputs("refuse", {"mutant": bug})
    assert sent == {"symptom": NEIGHBOUR.bugs[bug].symptom, "text": plant(NEIGHBOUR, [bug])}
    assert plan.inputs("refuse_all", {"mutants": [bug]}) == {"mutants": {bug: sent["text"]}}


def test_a_decoy_is_no_broken_kernel() -> None:
    plan = plan_of(loaded(CHALLENGE.folder / "driver.py"))
    for decoy in DECOYS:
        with pytest.raises(KeyError):
            plan.inputs("refuse", {"mutant": decoy})


def test_a_kernel_that_has_moved_on_from_its_bugs_is_said(tmp_path: Path) -> None:
    edit = NEIGHBOUR.bugs[BUGS[0]].edits[0]
    plan = plan_of(copied(tmp_path, KERNEL.replace(edit.find, "pass")))
    with pytest.raises(ValueError, match=f"{BUGS[0]} cannot be planted in the kernel"):
        plan.inputs("refuse", {"mutant": BUGS[0]})


def test_what_the_neighbour_says_now_is_sent_and_not_what_it_said_before(tmp_path: Path) -> None:
    plan = plan_of(copied(tmp_path))
    assert plan.inputs("create", {})["kernel"] == KERNEL
    (tmp_path / "reference" / "static_cache.py").write_text(KERNEL + "# more\n", "utf-8")
    assert plan.inputs("create", {})["kernel"] == KERNEL + "# more\n"
    path = tmp_path / "challenges" / "static_cache" / "bugs.json"
    document = json.loads(path.read_text("utf-8"))
    document["bugs"][0]["symptom"] = "Another symptom."
    path.write_text(json.dumps(document), "utf-8")
    assert (
        plan.inputs("refuse", {"mutant": document["bugs"][0]["id"]})["symptom"]
        == "Another symptom."
    )


def test_a_mutant_that_is_not_there_is_a_fault_of_the_content() -> None:
    case = next(c for c in CHALLENGE.cases.values() if c.steps[0]["do"] == "refuse")
    wrong = replace(case, steps=({"do": "refuse", "mutant": "no-such-bug"},))
    with pytest.raises(ContentError, match="no-such-bug"):
        Script(CHALLENGE, wrong).request(0)

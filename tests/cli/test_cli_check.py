"""`kvdojo check`: several challenges at a time give what one after the other gives."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from grader.author import gate
from grader.author.gate import Report


def test_several_at_a_time_report_what_one_after_the_other_reports(dojo, capsys) -> None:
    folder = dojo.root / "challenges" / "small_sums"
    other = shutil.copytree(folder, folder.with_name("other_sums"))
    about = json.loads((other / "challenge.json").read_text()) | {"id": "other_sums"}
    (other / "challenge.json").write_text(json.dumps(about))
    (other / "cases.json").write_text("[")
    documents = []
    for jobs in ("1", "2"):
        assert dojo.run("check", "--jobs", jobs, "--json") == 3
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == documents[1]
    assert [one["challenge"] for one in documents[0]["challenges"]] == ["other_sums", "small_sums"]
    assert all(one["breaches"] for one in documents[0]["challenges"])


def test_no_job_at_all_is_refused(dojo, capsys) -> None:
    assert dojo.run("check", "--jobs", "0") == 2
    assert "--jobs" in capsys.readouterr().err


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every challenge pass the gate; return whose turn it was."""
    seen: list[str] = []

    def passed(challenge: Any, **_named: Any) -> Report:
        seen.append(challenge.id)
        return Report(challenge.id, bugs=3, margin=20.0, weakest="zeros in mask-unit")

    monkeypatch.setattr(gate, "check_challenge", passed)
    return seen


def test_what_passed_and_did_not_change_is_not_run_again(dojo, capsys, passes) -> None:
    told = []
    for _ in range(2):
        assert dojo.run("check", "--changed", "--jobs", "1") == 0
        told.append(capsys.readouterr().out)
    assert passes == ["small_sums"]
    assert "1 of 1 are as they were when they passed" in told[1]
    assert told[1].startswith(told[0])
    brief = dojo.root / "challenges" / "small_sums" / "brief.md"
    brief.write_text(brief.read_text() + "\nMore.\n")
    assert dojo.run("check", "--changed", "--jobs", "1") == 0
    assert len(passes) == 2


def test_without_being_asked_for_all_is_run_and_nothing_kept(dojo, capsys, passes) -> None:
    for _ in range(2):
        assert dojo.run("check", "--jobs", "1", "--json") == 0
        (found,) = json.loads(capsys.readouterr().out)["challenges"]
        assert found["unchanged"] is False
    assert len(passes) == 2
    assert not (dojo.root / "challenges" / "small_sums" / "recorded" / "checked.json").exists()


def test_what_did_not_pass_is_run_again(dojo, capsys) -> None:
    for _ in range(2):
        assert dojo.run("check", "--changed", "--jobs", "1", "--json") == 3
        (found,) = json.loads(capsys.readouterr().out)["challenges"]
        assert found["breaches"]
        assert found["unchanged"] is False

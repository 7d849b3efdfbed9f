"""What the gate found is kept until anything that it rests on changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from grader.author import gate_record
from grader.author.gate import check_challenge
from grader.author.gate_record import gate_digest, note, passed_before
from grader.author.recording import reload
from grader.classroom.fingerprint import fingerprint
from grader.content import Challenge
from grader.sandbox import Sandbox

Make = Callable[..., Challenge]


def add_line(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\n")


@pytest.fixture
def noted(make: Make, tiny_sandbox: Sandbox) -> Challenge:
    """A challenge that passed the gate, with the note of it."""
    challenge = make()
    report = check_challenge(challenge, sets=3, sandbox=tiny_sandbox)
    note(challenge, report, gate_digest(challenge, sets=3))
    return challenge


def known(challenge: Challenge) -> bool:
    again = reload(challenge)
    return passed_before(again, gate_digest(again, sets=3)) is not None


def test_what_was_found_is_told_again(noted: Challenge, tiny_sandbox: Sandbox) -> None:
    again = passed_before(noted, gate_digest(noted, sets=3))
    fresh = check_challenge(noted, sets=3, sandbox=tiny_sandbox)
    assert again == dataclasses.replace(fresh, unchanged=True)


def test_a_note_is_no_part_of_what_it_rests_on_nor_of_a_batch(noted: Challenge) -> None:
    before = fingerprint(noted)
    noted.checked.unlink()
    assert fingerprint(noted) == before


@pytest.mark.parametrize(
    "name",
    [
        "challenges/{id}/brief.md",
        "challenges/{id}/bugs.json",
        "challenges/{id}/recorded/witnesses.json",
        "challenges/{id}/new.txt",
        "reference/other.py",
        "kernels/new/kernel.py",
        "tests/correct/{id}/another.py",
    ],
)
def test_any_file_that_changes_makes_it_forgotten(noted: Challenge, name: str) -> None:
    assert known(noted)
    add_line(noted.root / name.format(id=noted.id))
    assert not known(noted)


@pytest.mark.parametrize("name", [".swp", "__pycache__/driver.pyc"])
def test_what_no_author_wrote_changes_nothing(noted: Challenge, name: str) -> None:
    add_line(noted.folder / name)
    assert known(noted)


def test_more_sets_and_another_engine_are_something_else(
    noted: Challenge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert passed_before(noted, gate_digest(noted, sets=4)) is None
    monkeypatch.setattr(gate_record, "ENGINE", tmp_path / "grader")
    gate_record._engine.cache_clear()
    try:
        assert not known(noted)
    finally:
        gate_record._engine.cache_clear()


def test_every_room_that_the_gate_runs_counts() -> None:
    from tests.house.test_house import FLOORS

    below = {room.removeprefix("grader.") for room, floor in FLOORS.items() if floor >= 0}
    below = {name for name in below if FLOORS[f"grader.{name}"] < FLOORS["grader.author"]}
    assert below | {"author", "schemas"} == set(gate_record.ROOMS)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"made_from": 1}', '{"made_from": "?", "bugs": "many"}', "\udcff"]
)
def test_a_note_that_cannot_be_read_is_none(noted: Challenge, text: str) -> None:
    digest = gate_digest(noted, sets=3)
    text = text.replace("?", digest)
    noted.checked.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert passed_before(noted, digest) is None


def test_what_did_not_pass_is_not_noted(make: Make, tiny_sandbox: Sandbox) -> None:
    challenge = make(lambda files: files.update({"brief.md": "Nothing."}))
    report = check_challenge(challenge, sets=3, sandbox=tiny_sandbox)
    assert report.violations
    with pytest.raises(AssertionError, match="passed"):
        note(challenge, report, gate_digest(challenge, sets=3))
    assert not challenge.checked.exists()

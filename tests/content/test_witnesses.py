"""Recorded witnesses are read back as they were written, and damaged ones are told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.content import ContentError
from grader.content.witnesses import read_witnesses, witnesses_bytes


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "witnesses.json"
    for cases in ({}, {"a": ()}, {"b": ("x", "y"), "a": ("\u00e9",)}):
        path.write_bytes(witnesses_bytes("0c3f", cases))
        found = read_witnesses(path)
        assert (found.made_from, dict(found.cases)) == ("0c3f", cases)
        assert list(found.cases) == list(cases)


def test_before_the_first_recording_there_are_none(tmp_path: Path) -> None:
    assert read_witnesses(tmp_path / "witnesses.json").cases == {}


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"made_from": "a"}',
        '{"made_from": 3, "witnesses": {}}',
        '{"made_from": "a", "witnesses": []}',
        '{"made_from": "a", "witnesses": {"b": "c"}}',
        '{"made_from": "a", "witnesses": {"b": [1]}}',
        '{"made_from": "a", "witnesses": {}, "more": 1}',
    ],
)
def test_damaged_ones_are_told_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "challenges" / "tiny" / "recorded" / "witnesses.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ContentError) as told:
        read_witnesses(path)
    assert str(told.value).startswith(f"{path}: ")
    assert "\n" not in str(told.value)

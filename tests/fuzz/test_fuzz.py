"""A short, always equal round of fuzzing; `python -m benchmarks.fuzz --minutes N` goes on from other seeds.

Below it stands what longer rounds have found.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz import one_round
from benchmarks.fuzz_targets import EXAMPLE, TARGETS, _frame, _zip, close
from grader.classroom.archive_entries import SubmissionRefused, archive_entries
from grader.content import Catalogue, Challenge, ContentError, load_challenge
from grader.content.cases_schema import case_schema
from grader.content.entries import case_of
from grader.content.validation import schema_errors
from grader.ground.paths import ROOT
from grader.judge.oracle import Oracle

NAME = "decode_positions"
SIZES = {"challenge-files": 4, "sources": 10, "cases": 40, "results": 60}


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    close()


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_given_is_taken_or_refused(name: str) -> None:
    tally: Counter[str] = Counter()
    size = SIZES.get(name, 150)
    one_round(TARGETS[name], 1, size, tally)
    assert tally.total() >= min(size, 10)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("wire-frames", _frame()),
        ("results", EXAMPLE),
        ("archives", _zip()),
        ("json-bytes", json.dumps(EXAMPLE).encode()),
    ],
)
def test_what_is_changed_was_right_to_begin_with(name: str, given: Any) -> None:
    assert TARGETS[name](given)


def case(**changes: Any) -> dict[str, Any]:
    cases = load_challenge(NAME).case_entries
    return {**next(item for item in cases if item["id"] == "unit-slots"), **changes}


@pytest.mark.parametrize("value", [7.0, -0.0, True, "7"])
def test_a_seed_is_a_whole_number_and_nothing_like_one(value: Any) -> None:
    assert schema_errors(case(), case_schema(load_challenge(NAME)), "case") == []
    assert schema_errors(case(seed=value), case_schema(load_challenge(NAME)), "case")


@pytest.mark.parametrize(
    "step",
    [
        {
            "do": "slots",
            "positions": {"values": [[0], [5]]},
            "expect": {"slots": [[[0]], [[], [5]]]},
        },
        {"do": "slots", "positions": {"values": [[0], [5]]}, "expect": {"slots": "many"}},
        {"do": "slots", "positions": {"values": [[0], [5, 6]]}},
    ],
)
def test_ragged_arrays_in_a_case_are_the_authors_fault(sandbox_for, step: dict[str, Any]) -> None:
    challenge = load_challenge(NAME)
    with (
        pytest.raises(ContentError),
        Oracle(sandbox_for(NAME), challenge) as oracle,
    ):
        oracle.expect(case_of(case(steps=[step]), "case"))


@pytest.mark.parametrize("target", ["#/nowhere", "other.json", "#/$defs/loop"])
def test_a_schema_that_leads_nowhere_is_told(target: str) -> None:
    schema = {"$ref": target, "$defs": {"loop": {"$ref": "#/$defs/loop"}}}
    with pytest.raises(ContentError, match="cannot be followed"):
        schema_errors({}, schema, "case")


def test_an_id_that_is_no_text_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "challenges" / NAME
    folder.mkdir(parents=True)
    for path in (ROOT / "challenges" / NAME).glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "cases.json").write_text(json.dumps({"cases": [case(id={})]}))
    challenge: Challenge = Catalogue(tmp_path).load(NAME)
    with pytest.raises(ContentError):
        _ = challenge.cases


def archive(name: str = "a.py") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr(name, "x = 1\n")
    return stream.getvalue()


def test_an_archive_whose_directory_lies_is_refused() -> None:
    data = archive()
    at = data.index(b"PK\5\6") + 16  # where the directory is said to begin
    beyond = int.from_bytes(data[at : at + 4], "little") + 6
    (leaf,) = archive_entries(data[:at] + beyond.to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(SubmissionRefused):
        leaf.read(10)


def test_a_member_without_a_name_is_no_crash() -> None:
    data = bytearray(archive("a"))
    entry = data.index(b"PK\1\2")
    data[entry + 28], data[entry + 32] = 0, 1  # the length of the name becomes that of a comment
    assert [leaf.name for leaf in archive_entries(bytes(data), bulk=True)] in ([], ["unnamed"])

"""An entry is added to a file without touching what its author wrote."""

from __future__ import annotations

import json

import pytest

from grader.content import challenge_ids, load_challenge
from grader.content.jsonfile import with_entries

ENTRY = {"id": "new", "hints": ["a", "é"]}


@pytest.mark.parametrize("name", challenge_ids())
def test_the_rest_of_a_shipped_file_stays(name: str) -> None:
    text = (load_challenge(name).folder / "bugs.json").read_bytes()
    made = with_entries(text, "bugs", [ENTRY, {"id": "second"}])
    assert made.startswith(text.rstrip(b"]}\n "))
    assert json.loads(made)["bugs"] == [*json.loads(text)["bugs"], ENTRY, {"id": "second"}]


@pytest.mark.parametrize(
    "text",
    [
        '{"bugs": []}',
        '{"bugs": [\n]\n}\n',
        '{"bugs": [{"id": "a"}], "more": 1}',
        '\ufeff{"bugs": [{"id": "]}"}]}',
        '{\r\n"bugs": [\r\n{"id": "a"}\r\n]\r\n}\r\n',
    ],
)
def test_however_a_file_is_laid_out_the_entry_is_there(text: str) -> None:
    made = json.loads(with_entries(text.encode(), "bugs", [ENTRY]))
    old = json.loads(text.lstrip("\ufeff"))
    assert made == {**old, "bugs": [*old["bugs"], ENTRY]}

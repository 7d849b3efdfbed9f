"""`cases.json` in its short form means the same cases, whatever they hold, and stays as its author shortened it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.content import ContentError, challenge_ids, load_challenge
from grader.content.cases_document import cases_bytes, expand, free_sizes
from grader.content.jsonfile import parse_json, read_json

SIZES = st.dictionaries(
    st.sampled_from(["batch", "heads", "capacity"]),
    st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.sampled_from([1.0, 2.5]), st.text()),
)
CASES = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(),
            "setup": SIZES,
            "dtype": st.sampled_from(["float32", "bfloat16"]),
            "steps": st.lists(st.fixed_dictionaries({"do": st.text()}), min_size=1, max_size=2),
        },
        optional={"seed": st.integers(), "why": st.text(), "keep_because": st.text()},
    ),
    max_size=5,
    unique_by=lambda case: case["id"],
)


def plain(value: Any) -> str:
    """Tell 1 from 1.0 and from true, which Python calls equal."""
    return json.dumps(value, sort_keys=True)


@given(CASES, st.none() | SIZES)
def test_the_short_form_means_the_same_cases(
    cases: list[dict[str, Any]], usual: dict[str, Any] | None
) -> None:
    # no schema of a setup allows null, which here takes a default away
    nulls = {size for case in cases for size, value in case["setup"].items() if value is None}
    kept = {k: v for k, v in (usual or {}).items() if v is not None and k not in nulls}
    head = {"defaults": {"setup": kept}} if kept else {}
    text = cases_bytes(head, cases)
    assert plain(expand(json.loads(text), "cases.json")) == plain(cases)
    assert cases_bytes(json.loads(text), cases) == text


@pytest.mark.parametrize("name", challenge_ids())
def test_the_shipped_files_are_in_this_form(name: str) -> None:
    challenge = load_challenge(name)
    path = challenge.folder / "cases.json"
    text = path.read_bytes()
    assert cases_bytes(read_json(path), challenge.case_entries) == text
    assert text.count(b'\n    {"do"') == sum(len(case.steps) for case in challenge.cases.values())


def test_a_case_overrides_and_takes_away_what_is_usual() -> None:
    document = {
        "defaults": {"dtype": "float32", "setup": {"batch": 3, "capacity": 40}},
        "cases": [
            {"id": "a", "steps": []},
            {"id": "b", "steps": [], "dtype": "float16", "setup": {"batch": 1, "capacity": None}},
            {"id": "c", "steps": [], "setup": {"window": None}},
        ],
    }
    first, second, third = expand(document, "cases.json")
    assert first == {
        "id": "a",
        "steps": [],
        "dtype": "float32",
        "setup": {"batch": 3, "capacity": 40},
    }
    assert (second["dtype"], second["setup"]) == ("float16", {"batch": 1})
    assert third["setup"] == {"batch": 3, "capacity": 40, "window": None}


def test_the_author_s_defaults_are_kept() -> None:
    cases = [{"id": name, "steps": [], "setup": {"batch": 7}, "dtype": "float32"} for name in "abc"]
    made = json.loads(cases_bytes({"defaults": {"setup": {"batch": 2}}}, cases))
    assert made["defaults"] == {"setup": {"batch": 2}}
    assert [case["setup"] for case in made["cases"]] == [{"batch": 7}] * 3


def test_a_size_stated_on_purpose_is_kept_where_it_is_the_default() -> None:
    document = {
        "defaults": {"dtype": "float32", "setup": {"batch": 3}},
        "cases": [{"id": "a", "steps": []}, {"id": "b", "steps": [], "setup": {"batch": 3}}],
    }
    made = json.loads(cases_bytes(document, expand(document, "cases.json")))
    assert made["cases"] == document["cases"]
    assert free_sizes(made) == [{"batch"}, set()]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], r"\$\.cases"),
        ({"cases": {}}, r"\$\.cases"),
        ({"cases": [], "defaults": 3}, r"\$\.defaults"),
        ({"cases": [], "defaults": {"setup": []}}, r"\$\.defaults"),
        ({"defaults": {"dtype": "float32"}}, r"\$\.cases"),
        ({"cases": [], "defaults": True}, r"\$\.defaults"),
    ],
)
def test_what_has_no_cases_is_refused(document: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ContentError, match=f"^cases.json: {says}"):
        expand(document, "cases.json")
    (tmp_path / "cases.json").write_text(json.dumps(document))
    with pytest.raises(ContentError, match=rf"cases.json: {says}"):
        _ = replace(load_challenge("static_cache"), folder=tmp_path).cases


def test_half_a_character_is_written_as_an_escape() -> None:
    case = {"id": "a", "title": "\ud800", "setup": {}, "dtype": "float32", "steps": [{"do": "x"}]}
    assert parse_json(cases_bytes({}, [case]), "cases.json")["cases"][0]["title"] == "\ud800"

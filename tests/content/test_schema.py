"""Schema faults name file, path, what was expected and a close match; shipped JSON is valid."""

from __future__ import annotations

import json
import shutil

import pytest
from jsonschema import Draft202012Validator

from grader.content import Catalogue, ContentError, challenge_ids, load_challenge
from grader.content.cases_schema import case_schema, cases_errors, cases_schema, validate_challenge
from grader.content.jsonfile import read_json
from grader.content.validation import load_schema, schema_errors
from grader.ground.paths import ROOT

SCHEMAS = [
    *("challenge-v1", "case-v1", "bugs-v1", "impostors-v1", "result-v1", "equivalent-v1"),
    *("arena-task-v1", "arena-sealed-v1", "arena-run-v1"),
]
CASE = {
    "id": "a-case",
    "title": "t",
    "why": "w",
    "kind": "scenario",
    "setup": {"batch": 2, "d_model": 12, "num_heads": 3},
    "seed": 1,
    "dtype": "float32",
    "steps": [{"do": "forward", "tokens": 3}],
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_valid_and_describe_every_property(name: str) -> None:
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert not list(undescribed(schema, name))


def undescribed(schema, path):
    for key, part in schema.get("properties", {}).items():
        if "description" not in part:
            yield f"{path}.{key}"
        yield from undescribed(part, f"{path}.{key}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from undescribed(schema[key], f"{path}.{key}")
    for part in schema.get("$defs", {}).values():
        yield from undescribed(part, path)


@pytest.mark.parametrize("name", challenge_ids())
def test_shipped_content_is_valid_and_points_to_its_schema(name: str) -> None:
    challenge = load_challenge(name)
    validate_challenge(challenge)
    for path in challenge.folder.glob("*.json"):
        if path.name.endswith(".schema.json"):
            continue
        target = json.loads(path.read_text())["$schema"]
        assert (path.parent / target).resolve().exists(), f"{path}: {target}"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": [{"do": "forwrad", "tokens": 3}]}, ("$.steps[0].do", "Did you mean 'forward'")),
        ({"steps": [{"do": "forward", "token": 3}]}, ("$.steps[0]", "Did you mean 'tokens'")),
        ({"steps": [{"do": "forward", "tokens": 0}]}, ("$.steps[0].tokens", "minimum")),
        ({"steps": [{"do": "forward", "tokens": 10**9}]}, ("$.steps[0].tokens", "maximum")),
        ({"steps": []}, ("$.steps", "non-empty")),
        ({"dtype": "float31"}, ("$.dtype", "Did you mean 'float32'")),
        ({"id": "../escape"}, ("$.id", "does not match")),
        ({"titel": "x"}, ("$", "Did you mean 'title'")),
        ({"seed": -1}, ("$.seed", "minimum")),
    ],
)
def test_a_fault_is_told_with_path_and_close_match(change, says) -> None:
    schema = case_schema(load_challenge("multi_head_attention"))
    lines = schema_errors({**CASE, **change}, schema, "mine.json")
    assert lines
    assert any(all(part in line for part in says) for line in lines), lines
    assert all(line.startswith("mine.json: $") for line in lines)


def test_the_example_case_is_valid() -> None:
    schema = case_schema(load_challenge("multi_head_attention"))
    assert schema_errors(CASE, schema, "x") == []


@pytest.mark.parametrize("name", challenge_ids())
def test_an_editor_accepts_the_shipped_cases(name: str) -> None:
    challenge = load_challenge(name)
    schema = read_json(challenge.cases_schema)
    Draft202012Validator.check_schema(schema)
    assert schema_errors(read_json(challenge.folder / "cases.json"), schema, "cases.json") == []


def test_an_editor_wants_a_whole_case_where_there_are_no_defaults() -> None:
    schema = cases_schema(load_challenge("multi_head_attention"))
    short = {key: value for key, value in CASE.items() if key not in ("setup", "dtype")}
    assert schema_errors({"cases": [CASE]}, schema, "x") == []
    assert len(schema_errors({"cases": [short]}, schema, "x")) == 2
    defaults = {"setup": CASE["setup"], "dtype": "float32"}
    assert schema_errors({"defaults": defaults, "cases": [short]}, schema, "x") == []
    without = {**short, "setup": {"num_heads": None}}
    assert schema_errors({"defaults": defaults, "cases": [without]}, schema, "x") == []
    wrong = {**short, "setup": {"num_heads": "three"}}
    assert schema_errors({"defaults": defaults, "cases": [wrong]}, schema, "x")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({"defaults": {"dtype": "float31"}}, "$.defaults.dtype: 'float31'"),
        ({"defaults": {"setup": {"batch": 0}}}, "$.defaults.setup.batch: 0"),
        ({"defaults": {"seed": 3}}, "$.defaults: Additional"),
        ({"defaults": []}, "$.defaults: [] is not of type 'object'"),
        ({"cases": {}}, "$.cases: {} is not of type 'array'"),
        ({"case": []}, "$: Additional properties are not allowed ('case' was unexpected)"),
    ],
)
def test_a_fault_of_the_head_is_told_once(tmp_path, spoil, says) -> None:
    root = copied(tmp_path)
    path = root / "challenges" / "multi_head_attention" / "cases.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **spoil}))
    (line,) = cases_errors(Catalogue(root).load("multi_head_attention"))
    assert line.startswith(f"{path}: {says}")


def test_what_a_default_makes_wrong_is_told_at_the_case(tmp_path) -> None:
    root = copied(tmp_path)
    path = root / "challenges" / "multi_head_attention" / "cases.json"
    document = json.loads(path.read_text())
    document["defaults"].pop("dtype")
    path.write_text(json.dumps(document))
    lines = cases_errors(Catalogue(root).load("multi_head_attention"))
    assert lines[0] == f"{path}: $.cases[0]: 'dtype' is a required property"


def copied(root):
    shutil.copytree(
        ROOT / "challenges" / "multi_head_attention", root / "challenges" / "multi_head_attention"
    )
    return root


def test_broken_content_is_a_content_error(tmp_path) -> None:
    folder = tmp_path / "challenges" / "broken"
    folder.mkdir(parents=True)
    (folder / "challenge.json").write_text('{"id": "broken"')
    with pytest.raises(ContentError, match=r"challenge\.json: broken JSON at line 1"):
        Catalogue(tmp_path).load("broken")
    (folder / "challenge.json").write_text('{"id": "broken", "titel": "x"}')
    with pytest.raises(ContentError, match="'title' is a required property"):
        Catalogue(tmp_path).load("broken")


@pytest.mark.parametrize("name", ["../grader", "a/b", ".git", "multi_head_attentoin", ""])
def test_unknown_challenges_are_refused(name: str) -> None:
    with pytest.raises(ContentError):
        Catalogue(ROOT).load(name)

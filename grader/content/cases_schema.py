"""The schema of a challenge's cases, made from the engine's case schema and the challenge's own verbs.

The verbs' schemas are read from `recorded/verbs.schema.json`; they are themselves checked before anything is validated
with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from grader.content.cases_document import expand
from grader.content.catalogue import Challenge
from grader.content.content_errors import ContentError
from grader.content.jsonfile import read_json
from grader.content.validation import Schema, load_schema, schema_errors

DEFAULTED = ("setup", "dtype")  # what `defaults` of cases.json may hold
FORMATS = Draft202012Validator.FORMAT_CHECKER  # among them that a pattern can be compiled


@dataclass(frozen=True)
class Verbs:
    """Schemas of the setup and of each verb's own parameters."""

    setup: Schema
    verbs: Mapping[str, Schema]


def read_verbs(path: Path) -> Verbs:
    """Return what a case may say; raises ContentError naming the place of the fault."""
    definitions = _object(_object(read_json(path), path, "$").get("$defs"), path, "$.$defs")
    setup = _schema(definitions.get("setup"), path, "$.$defs.setup")
    own = _object(definitions.get("verbs"), path, "$.$defs.verbs")
    verbs = {name: _schema(verb, path, f"$.$defs.verbs.{name}") for name, verb in own.items()}
    return Verbs(setup, verbs)


def case_schema(challenge: Challenge) -> Schema:
    """Return the schema of one whole case: the engine's case schema with the challenge's own verbs in it."""
    case, definitions, setup, steps = _parts(challenge)
    whole = {**case, "properties": {**case["properties"], "setup": setup, "steps": steps}}
    return {"$ref": "#/$defs/case", "$defs": {**definitions, "case": whole}}


def cases_schema(challenge: Challenge) -> Schema:
    """Return the schema of `cases.json` for editors.

    Beside `defaults` a case may leave out what they say; without them, as in a file for `kvdojo case add`, it must be
    whole.
    """
    case, definitions, setup, steps = _parts(challenge)
    references = {"setup": {"$ref": "#/$defs/setup"}, "steps": {"$ref": "#/$defs/steps"}}
    whole = {**case, "properties": {**case["properties"], **references}}
    short = {
        **whole,
        "required": [name for name in case["required"] if name not in DEFAULTED],
        "properties": {**whole["properties"], "setup": {"$ref": "#/$defs/short_setup"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Cases of {challenge.id}",
        "type": "object",
        "required": ["cases"],
        "additionalProperties": False,
        "properties": {
            "$schema": {"type": "string", "description": "This schema, for editors."},
            "defaults": _defaults_schema(case, setup),
            "cases": {
                "type": "array",
                "description": "The cases, in the order in which they are run.",
            },
        },
        "if": {"required": ["defaults"]},
        "then": {"properties": {"cases": {"items": {"$ref": "#/$defs/short_case"}}}},
        "else": {"properties": {"cases": {"items": {"$ref": "#/$defs/case"}}}},
        "$defs": {
            **definitions,
            "case": whole,
            "short_case": short,
            "setup": setup,
            "short_setup": _short_setup(setup),
            "steps": steps,
        },
    }


def cases_errors(challenge: Challenge) -> list[str]:
    """Return one line per fault of `cases.json`, as `schema_errors` does."""
    path = challenge.folder / "cases.json"
    document, schema = read_json(path), case_schema(challenge)
    case, _, setup, _ = _parts(challenge)
    head = {
        "type": "object",
        "required": ["cases"],
        "additionalProperties": False,
        "properties": {
            "$schema": {"type": "string"},
            "defaults": _defaults_schema(case, setup),
            "cases": {"type": "array"},
        },
    }
    if lines := schema_errors(document, head, str(path)):
        return lines
    cases = {
        "type": "object",
        "properties": {"cases": {"items": {"$ref": "#/$defs/case"}}},
        "$defs": schema["$defs"],
    }
    return schema_errors({"cases": expand(document, str(path))}, cases, str(path))


def validate_challenge(challenge: Challenge) -> None:
    """Check every JSON file of the challenge; raises ContentError with all faults."""
    plan = {"challenge.json": "challenge-v1", "bugs.json": "bugs-v1"}
    if (challenge.folder / "impostors.json").exists():
        plan["impostors.json"] = "impostors-v1"
    lines: list[str] = []
    for name, schema in plan.items():
        path = challenge.folder / name
        lines += schema_errors(read_json(path), load_schema(schema), str(path))
    lines += cases_errors(challenge)
    if lines:
        raise ContentError("\n".join(lines))


def validate_cases(challenge: Challenge) -> None:
    """Check `cases.json` alone, before a grading; raises ContentError."""
    if lines := cases_errors(challenge):
        raise ContentError("\n".join(lines))


def cases_digest(challenge: Challenge, entries: Sequence[Any] | None = None) -> str:
    """Digest of the whole cases and of the schemas they must follow; how the file is laid out plays no part.

    `entries` stand in place of the cases that the challenge has.
    """
    cases = json.dumps(challenge.case_entries if entries is None else entries, sort_keys=True)
    common = files("grader").joinpath("schemas", "case-v1.schema.json").read_bytes()
    verbs = challenge.verbs_schema.read_bytes()
    return sha256(b"\0".join([common, cases.encode(), verbs])).hexdigest()[:32]


def _parts(challenge: Challenge) -> tuple[Schema, Schema, Schema, Schema]:
    """Return the schemas of a case without setup and steps, of its definitions, of the setup, and of the steps."""
    own = read_verbs(challenge.verbs_schema)
    case = deepcopy(load_schema("case-v1"))
    definitions = case.pop("$defs")
    common = definitions.pop("step")
    for key in ("$schema", "$id", "title"):
        case.pop(key, None)
    steps = case["properties"]["steps"]
    steps["items"] = {
        "type": "object",
        "required": ["do"],
        "properties": {"do": {**common["properties"]["do"], "enum": sorted(own.verbs)}},
        "allOf": [
            {
                "if": {"properties": {"do": {"const": name}}, "required": ["do"]},
                "then": _with_common(schema, common),
            }
            for name, schema in sorted(own.verbs.items())
        ],
    }
    return case, definitions, own.setup, steps


def _defaults_schema(case: Schema, setup: Schema) -> Schema:
    """What all cases of a file may share: some sizes of the setup, and the dtype."""
    sizes = {key: value for key, value in setup.items() if key != "required"}
    return {
        "type": "object",
        "description": "What every case has that says nothing else.",
        "additionalProperties": False,
        "properties": {"setup": sizes, "dtype": case["properties"]["dtype"]},
    }


def _short_setup(setup: Schema) -> Schema:
    """A setup of which any part may be left out, or taken away by null."""
    sizes = {
        name: {"anyOf": [schema, {"type": "null", "description": "Take the default away."}]}
        for name, schema in setup.get("properties", {}).items()
    }
    kept = {key: value for key, value in setup.items() if key != "required"}
    return {**kept, "properties": sizes}


def _schema(value: Any, path: Path, place: str) -> Schema:
    """Check one of them: for JSON Schema a verb's name is an unknown word, and nothing below it counts."""
    schema = _object(value, path, place)
    try:
        Draft202012Validator.check_schema(schema, format_checker=FORMATS)
    except SchemaError as error:
        raise ContentError(f"{path}: {place}{error.json_path[1:]}: {error.message[:300]}") from None
    return schema


def _object(value: Any, path: Path, place: str) -> Schema:
    if not isinstance(value, dict):
        raise ContentError(f"{path}: {place}: an object is expected")
    return value


def _with_common(verb: Mapping[str, Any], common: Mapping[str, Any]) -> Schema:
    """A verb's schema with the keys that every step may have."""
    return {**verb, "properties": {**common["properties"], **verb.get("properties", {})}}

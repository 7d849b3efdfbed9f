"""The schema of a challenge's cases, made from the engine's case schema and the challenge's own verbs.

What a verb's step may say follows from the driver (`grader.kit.json_schema`); the schema that is recorded is for
editors alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from hashlib import sha256
from importlib.resources import files
from typing import Any

from grader.content.cases_document import expand
from grader.content.catalogue import Challenge
from grader.content.content_errors import ContentError
from grader.content.driver_loading import checked_driver
from grader.content.jsonfile import read_json
from grader.content.validation import Schema, load_schema, schema_errors
from grader.kit.json_schema import setup_schema, verb_schemas

DEFAULTED = ("setup", "dtype")  # what `defaults` of cases.json may hold


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
    """Digest of the whole cases and of what they must follow; how the file is laid out plays no part.

    `entries` stand in place of the cases that the challenge has.
    """
    cases = json.dumps(challenge.case_entries if entries is None else entries, sort_keys=True)
    common = files("grader").joinpath("schemas", "case-v1.schema.json").read_bytes()
    return sha256(
        b"\0".join([common, cases.encode(), challenge.driver, challenge.reads_digest])
    ).hexdigest()[:32]


def _parts(challenge: Challenge) -> tuple[Schema, Schema, Schema, Schema]:
    """Return the schemas of a case without setup and steps, of its definitions, of the setup, and of the steps."""
    driver = checked_driver(challenge)
    verbs = sorted(verb_schemas(driver).items())
    case = deepcopy(load_schema("case-v1"))
    definitions = case.pop("$defs")
    common = definitions.pop("step")
    for key in ("$schema", "$id", "title"):
        case.pop(key, None)
    steps = case["properties"]["steps"]
    steps["items"] = {
        "type": "object",
        "required": ["do"],
        "properties": {"do": {**common["properties"]["do"], "enum": [name for name, _ in verbs]}},
        "allOf": [
            {
                "if": {"properties": {"do": {"const": name}}, "required": ["do"]},
                "then": _with_common(schema, common),
            }
            for name, schema in verbs
        ],
    }
    return case, definitions, setup_schema(driver), steps


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


def _with_common(verb: Mapping[str, Any], common: Mapping[str, Any]) -> Schema:
    """A verb's schema with the keys that every step may have."""
    return {**verb, "properties": {**common["properties"], **verb.get("properties", {})}}

"""The schema of a challenge's cases, made from the engine's case schema and the challenge's own verbs.

The verbs' schemas are read from `verbs.schema.json` and are themselves checked before anything is validated with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from grader.content.catalogue import Challenge
from grader.content.errors import ContentError
from grader.content.jsonfile import read_json
from grader.content.validation import Schema, load_schema, schema_errors

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


def cases_schema(challenge: Challenge) -> Schema:
    """Compose the schema of a challenge's cases: the case schema with the challenge's own verbs in it."""
    own = read_verbs(challenge.folder / "verbs.schema.json")
    case = deepcopy(load_schema("case-v1"))
    common = case["$defs"].pop("step")
    case["properties"]["setup"] = own.setup
    case["properties"]["steps"]["items"] = {
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
    definitions = {**case.pop("$defs"), "case": case}
    for key in ("$schema", "$id", "title"):
        case.pop(key, None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Cases of {challenge.id}",
        "type": "object",
        "required": ["cases"],
        "additionalProperties": False,
        "properties": {
            "$schema": {"type": "string", "description": "This schema, for editors."},
            "cases": {
                "type": "array",
                "description": "The cases, in the order in which they are run.",
                "items": {"$ref": "#/$defs/case"},
            },
        },
        "$defs": definitions,
    }


def case_schema(challenge: Challenge) -> Schema:
    """Return the schema of one case of the challenge."""
    whole = cases_schema(challenge)
    return {"$ref": "#/$defs/case", "$defs": whole["$defs"]}


def validate_challenge(challenge: Challenge) -> None:
    """Check every JSON file of the challenge; raises ContentError with all faults."""
    plan: list[tuple[str, Schema]] = [
        ("challenge.json", load_schema("challenge-v1")),
        ("bugs.json", load_schema("bugs-v1")),
        ("cases.json", cases_schema(challenge)),
    ]
    if (challenge.folder / "impostors.json").exists():
        plan.append(("impostors.json", load_schema("impostors-v1")))
    lines: list[str] = []
    for name, schema in plan:
        path = challenge.folder / name
        lines += schema_errors(read_json(path), schema, str(path))
    if lines:
        raise ContentError("\n".join(lines))


def cases_digest(challenge: Challenge) -> str:
    """Digest of the cases and of the schemas they must follow."""
    return digest_of(challenge, (challenge.folder / "cases.json").read_bytes())


def digest_of(challenge: Challenge, cases: bytes) -> str:
    """Digest of a text of `cases.json` and of the schemas it must follow."""
    text = files("grader").joinpath("schemas", "case-v1.schema.json").read_bytes()
    verbs = (challenge.folder / "verbs.schema.json").read_bytes()
    return sha256(b"\0".join([text, cases, verbs])).hexdigest()[:32]


def validate_cases(challenge: Challenge) -> None:
    """Check `cases.json` alone, before a grading; raises ContentError."""
    path = challenge.folder / "cases.json"
    lines = schema_errors(read_json(path), cases_schema(challenge), str(path))
    if lines:
        raise ContentError("\n".join(lines))


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

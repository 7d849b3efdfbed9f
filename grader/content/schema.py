"""Validate content against its JSON Schemas and say every fault with file, path and a close match.

Schemas speak of shape.  What they cannot express, such as ids that exist, is checked by `grader.author.gate`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable

from grader.content.challenge import Challenge
from grader.content.errors import ContentError
from grader.content.jsonfile import read_json
from grader.content.verbs import read_verbs

Schema = dict[str, Any]

# JSON Schema takes 3.0 for an integer; a size or a seed of that kind breaks what computes with it
_Strict = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


@lru_cache
def load_schema(name: str) -> Schema:
    """Return a schema shipped with the engine, such as `case-v1`."""
    text = files("grader").joinpath("schemas", f"{name}.schema.json").read_text("utf-8")
    schema: Schema = json.loads(text)
    return schema


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


def faults(document: Any, schema: Schema, name: str) -> list[str]:
    """Return one line per fault: file, JSON path, what was expected, and a close match; none if valid.

    Raises ContentError when the schema itself leads nowhere or in a circle.
    """
    try:
        errors = sorted(
            _Strict(schema).iter_errors(document),
            key=lambda error: ([_rank(part) for part in error.absolute_path], error.message),
        )
    except (Unresolvable, RecursionError) as error:
        raise ContentError(f"{name}: its schema cannot be followed: {error}"[:500]) from None
    return [f"{name}: {error.json_path}: {_say(error)}" for error in errors]


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
        lines += faults(read_json(path), schema, str(path))
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
    lines = faults(read_json(path), cases_schema(challenge), str(path))
    if lines:
        raise ContentError("\n".join(lines))


def _rank(part: str | int) -> tuple[int, str]:
    """Sort the steps of a path by number."""
    return (part, "") if isinstance(part, int) else (-1, part)


def _with_common(verb: Mapping[str, Any], common: Mapping[str, Any]) -> Schema:
    """A verb's schema with the keys that every step may have."""
    return {**verb, "properties": {**common["properties"], **verb.get("properties", {})}}


def _say(error: ValidationError) -> str:
    message = error.message
    if len(message) > 300:
        message = message[:200] + " ... " + message[-80:]
    close = next(iter(_close(error)), None)
    return f"{message}. Did you mean {close!r}?" if close else message


def _close(error: ValidationError) -> Iterator[str]:
    if error.validator == "enum" and isinstance(error.instance, str):
        names = [str(value) for value in error.validator_value]
        yield from get_close_matches(error.instance, names, n=1)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        for name in error.instance:
            if name not in known:
                yield from get_close_matches(name, known, n=1)

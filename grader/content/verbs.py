"""A challenge's own words: the schema of its setup and of each verb, from `verbs.schema.json`.

It is itself checked before anything is validated with it. Knows nothing of cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from grader.content.errors import ContentError
from grader.content.jsonfile import read_json

Schema = dict[str, Any]
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

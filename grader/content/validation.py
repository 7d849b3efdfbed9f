"""Check a JSON document against a JSON Schema; every error is a line with file, JSON path and a close match.

Schemas describe shape.  What they cannot express, such as ids that must exist, is checked by `grader.author.gate`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable

from grader.content.content_errors import ContentError
from grader.ground.nearest import nearest_name

Schema = dict[str, Any]
CLOSE = 0.6  # likeness of a name that is suggested

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


def schema_errors(document: Any, schema: Schema, name: str) -> list[str]:
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


def _rank(part: str | int) -> tuple[int, str]:
    """Sort the steps of a path by number."""
    return (part, "") if isinstance(part, int) else (-1, part)


def _say(error: ValidationError) -> str:
    message = error.message
    if len(message) > 300:
        message = message[:200] + " ... " + message[-80:]
    close = next(filter(None, _close(error)), None)
    return f"{message}. Did you mean {close!r}?" if close else message


def _close(error: ValidationError) -> Iterator[str | None]:
    if error.validator == "enum" and isinstance(error.instance, str):
        known = [str(value) for value in error.validator_value]
        yield nearest_name(error.instance, known, cutoff=CLOSE)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        for name in error.instance:
            if name not in known:
                yield nearest_name(name, known, cutoff=CLOSE)

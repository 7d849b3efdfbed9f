"""The beginning of a new case: an existing scenario's sizes and steps, with the words left to the author."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grader.content import Challenge, ContentError
from grader.content.driver_loading import checked_driver
from grader.ground.invocation import command_line
from grader.kit.driver import Driver
from grader.kit.json_schema import setup_schema, verb_schemas

Document = dict[str, Any]
WORDS = {  # left to the author: a case that still has one of them is refused
    "title": "What is done, as the learner reads it",
    "why": "The mistake this case finds, in one sentence.",
}


def skeleton(challenge: Challenge, file: Path) -> Document:
    """Return a document that is valid as it stands; its `$schema` leads from `file` to the challenge's schema."""
    schema = os.path.relpath(challenge.cases_schema, file.absolute().parent)
    name = _free("my-case", challenge)
    case = {
        "id": name,
        **WORDS,
        "points": 1,
        "kind": "scenario",
        "visibility": "public",
        "tags": [],
        **_recipe(challenge),
    }
    return {"$schema": Path(schema).as_posix(), "cases": [case]}


def refuse_untouched(case: Mapping[str, Any], file: str) -> None:
    """Raise ContentError for a case that still says what `skeleton` wrote; `file` stands in the error."""
    if left := [f"`{name}`" for name, text in WORDS.items() if case.get(name) == text]:
        says = "says" if len(left) == 1 else "say"
        raise ContentError(
            f"{file}: {' and '.join(left)} still {says} what `{command_line('case', 'new')}` wrote;"
            " say what your case does and finds, and change its sizes or steps"
        )


def verbs(challenge: Challenge) -> dict[str, tuple[str, dict[str, str]]]:
    """Return per verb its description, and its parameters with theirs; a required one is marked by a star."""
    known = verb_schemas(_driver(challenge))
    return {
        name: (str(schema.get("description", "")), _parameters(schema))
        for name, schema in known.items()
    }


def _driver(challenge: Challenge) -> Driver:
    return checked_driver(challenge)


def _parameters(schema: Mapping[str, Any]) -> dict[str, str]:
    required = schema.get("required", ())
    return {
        name + ("*" if name in required else ""): str(inner.get("description", ""))
        for name, inner in schema.get("properties", {}).items()
    }


def _recipe(challenge: Challenge) -> Document:
    """Take the sizes and steps of the shortest scenario that has several steps; without one, the first verb's least."""
    scenarios = [
        case
        for case in challenge.cases.values()
        if case.kind == "scenario" and case.visibility == "public"
    ]
    if scenarios:
        model = min(scenarios, key=lambda case: (len(case.steps) < 2, len(case.steps)))
        steps = [dict(step) for step in model.steps]
        return {
            "setup": dict(model.setup),
            "seed": 1 + max(case.seed for case in challenge.cases.values()),
            "dtype": model.dtype,
            "steps": steps,
        }
    driver = _driver(challenge)
    verb, schema = next(iter(verb_schemas(driver).items()))
    setup = _least(setup_schema(driver))
    return {
        "setup": setup,
        "seed": 1,
        "dtype": "float32",
        "steps": [{"do": verb, **_least(schema)}],
    }


def _least(schema: Mapping[str, Any]) -> Any:
    """Return a small value that fits a schema of the kinds that verbs use."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "oneOf" in schema:
        return _least(schema["oneOf"][0])
    kind = schema.get("type")
    if kind == "object":
        known = schema.get("properties", {})
        return {name: _least(known[name]) for name in schema.get("required", ()) if name in known}
    if kind == "array":
        return [_least(schema["items"])] * int(schema.get("minItems", 0))
    plain: dict[Any, Any] = {"boolean": False, "string": "name"}
    return plain.get(kind, max(schema.get("minimum", 1), 1))


def _free(name: str, challenge: Challenge) -> str:
    number, found = 1, name
    while found in challenge.cases:
        number += 1
        found = f"{name}-{number}"
    return found

"""The formats' own rules as JSON Schemas, written from each system's public description."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string", "minLength": 1}
POINTS = {"type": "number", "minimum": 0}
WHOLE = {"type": "integer", "minimum": 0}


def closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
OUTPUT_FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
GRADESCOPE = closed(
    {"tests": {"type": "array", "items": closed(
        {"name": TEXT, "score": POINTS, "max_score": POINTS},
        {"status": {"enum": ["passed", "failed"]}, "name_format": OUTPUT_FORMAT, "number": TEXT,
         "output": TEXT, "output_format": OUTPUT_FORMAT, "visibility": {"const": "visible"},
         "tags": {"type": "array", "items": TEXT}, "extra_data": {"type": "object"}},
    )}},
    {"score": POINTS, "execution_time": POINTS, "output": TEXT, "output_format": OUTPUT_FORMAT,
     "test_output_format": OUTPUT_FORMAT, "test_name_format": OUTPUT_FORMAT,
     "visibility": VISIBILITY, "stdout_visibility": VISIBILITY, "extra_data": {"type": "object"}},
)  # fmt: skip

INSTANT = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$"}
CLASSROOM50 = closed(
    {"schema": {"const": "classroom50/result/v1"}, "classroom": TEXT, "assignment": TEXT,
     "assignment_type": {"enum": ["individual", "group"]}, "owner": TEXT,
     "submission": {"type": "string", "pattern": "^submit/"}, "commit": TEXT, "release": TEXT,
     "review": TEXT, "datetime": INSTANT, "score": WHOLE, "max-score": WHOLE,
     "tests": {"type": "array", "items": {
         **closed({"test-name": TEXT, "passed": {"type": "boolean"}, "score": WHOLE, "max-score": WHOLE}),
         "additionalProperties": True}}},
    {"graded_at": INSTANT, "submitted_by": {"type": "object"}},
)  # fmt: skip

EXERCISM = {
    **closed(
        {"version": {"const": 3}, "status": {"enum": ["pass", "fail", "error"]}},
        {"message": {"type": ["string", "null"], "maxLength": 65535},
         "tests": {"type": "array", "items": {
             **closed(
                 {"name": TEXT, "status": {"enum": ["pass", "fail", "error"]}, "test_code": TEXT},
                 {"message": {"type": "string", "maxLength": 65535},
                  "output": {"type": "string", "maxLength": 500}, "task_id": WHOLE}),
             "if": {"properties": {"status": {"const": "pass"}}},
             "else": {"required": ["message"]}}}},
    ),
    "if": {"properties": {"status": {"const": "error"}}},
    "then": {"properties": {"message": TEXT, "tests": {"maxItems": 0}}},
    "else": {"properties": {"tests": {"minItems": 1}}},
}  # fmt: skip

CHECK50 = closed(
    {"slug": TEXT, "version": TEXT, "results": {"type": "array", "items": {
        **closed(
            {"name": TEXT, "description": TEXT, "passed": {"enum": [True, False, None]},
             "log": {"type": "array", "items": {"type": "string"}},
             "cause": {"type": ["object", "null"], "required": ["rationale"],
                       "properties": {"rationale": TEXT, "expected": {"type": "string"},
                                      "actual": {"type": "string"}},
                       "dependentRequired": {"expected": ["actual"], "actual": ["expected"]}},
             "data": {"type": "object"}, "dependency": {"type": ["string", "null"]}}),
        "if": {"properties": {"passed": {"const": True}}},
        "then": {"properties": {"cause": {"type": "null"}}},
        "else": {"properties": {"cause": {"type": "object"}}}}}},
)  # fmt: skip

PRAIRIELEARN = {
    **closed(
        {"gradable": {"type": "boolean"}},
        {"score": {"type": "number", "minimum": 0, "maximum": 1}, "message": TEXT,
         "format_errors": {"type": "array", "items": TEXT}, "output": TEXT,
         "tests": {"type": "array", "items": closed(
             {"name": TEXT, "points": POINTS, "max_points": POINTS},
             {"message": {"type": "string"}, "description": TEXT, "output": TEXT})}},
    ),
    "if": {"properties": {"gradable": {"const": True}}},
    "then": {"required": ["score"]},
    "else": {"required": ["format_errors"], "not": {"required": ["score"]}},
}  # fmt: skip

SHAPES = {
    "gradescope": GRADESCOPE,
    "classroom50": CLASSROOM50,
    "exercism": EXERCISM,
    "check50": CHECK50,
    "prairielearn": PRAIRIELEARN,
}

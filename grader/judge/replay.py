"""The instructor's record of a grading: the result document with the seeds of its secret inputs, and causes in parts.

With the seeds a file can be judged on the same inputs again (`kvdojo grade --replay`).  They are in no other document,
for whoever knows them can compute the answers.  With the parts any level of telling can be made of it afterwards, for a
learner's page or a course system.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grader.content import ContentError
from grader.content.jsonfile import read_json
from grader.content.validation import load_schema, schema_errors
from grader.ground.errors import Exit, KvdojoError
from grader.ground.invocation import command_line
from grader.judge.result import Result


class NoRecord(KvdojoError):
    """A file that is no record of a grading; the text is one line for the user."""

    exit_code = Exit.USAGE


def to_record(result: Result) -> dict[str, Any]:
    """Return the result document with the seeds in it, and with the parts of causes that are not hidden."""
    document = result.document()
    for case, entry in zip(result.cases, document["cases"], strict=True):
        if case.cause is not None and case.visibility == "public":
            entry["cause"]["parts"] = case.cause.parts()
    return {**document, "replay": {"seeds": dict(result.secrets)}}


def read_record(path: Path) -> dict[str, Any]:
    """Return a record as it was written; raises NoRecord."""
    try:
        document = read_json(path)
    except ContentError as error:
        raise NoRecord(str(error)) from None
    lines = schema_errors(document, load_schema("result-v1"), str(path))
    if lines:
        raise NoRecord(f"not a result of kvdojo: {lines[0]}")
    if "replay" not in document:
        grade = command_line("grade", "--record")
        raise NoRecord(f"{path} holds no seeds: only `{grade}` and `batch` write them")
    found: dict[str, Any] = document
    return found

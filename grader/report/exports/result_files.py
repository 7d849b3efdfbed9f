"""Read result documents for export, and take out what a learner must not see.

A document is checked against the schema `result-v1` first, whoever wrote it.  Text in it may come from a submission.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from grader.content import Challenge, ContentError, load_challenge
from grader.content.jsonfile import read_json
from grader.content.validation import load_schema, schema_errors
from grader.ground.errors import Exit, KvdojoError
from grader.ground.invocation import command_line
from grader.judge.result import SCHEMA, CaseResult, Result, redacted
from grader.judge.telling import at_most, told
from grader.sandbox.layers import isolating_names


class Unusable(KvdojoError):
    """A file or folder that holds no result; the text is one line for the user."""

    exit_code = Exit.USAGE


@dataclass(frozen=True)
class Exported:
    """One graded file as it is handed over.

    `name` is the learner's or the file's, unique among those exported together;
    `content` is the challenge, or None where this checkout does not have it; `marks` are the full ones where they
    follow no more from the cases.
    """

    name: str
    result: Result
    content: Challenge | None = None
    marks: float | None = None

    @property
    def full_marks(self) -> float:
        """Marks of all exported cases, skipped ones included: a course system expects the same for all."""
        if self.marks is not None:
            return self.marks
        if self.content is None:
            return self.result.max_score
        known = self.content.cases
        return sum(
            known[case.id].points if case.id in known else case.max_points
            for case in self.result.cases
        )


def read(path: Path) -> Iterator[Exported]:
    """Yield the results in a file, or in a folder and its folders by name; raises Unusable."""
    if not path.is_dir():
        yield _exported(_valid(_document(path), path), path.stem)
        return
    if (path / "batch.json").is_file() and (path / "results").is_dir():
        path = path / "results"
    empty = True
    for file in _files(path):
        document = _document(file)
        if isinstance(document, dict) and document.get("schema") == SCHEMA:
            empty = False
            name = file.relative_to(path).with_suffix("").as_posix()
            yield _exported(_valid(document, file), name)
    if empty:
        raise Unusable(f"{path}: no result of kvdojo in this folder")


def as_told(files: Iterable[Exported], level: str) -> Iterator[Exported]:
    """Yield the results as far as a level tells them, and no further than their challenge allows.

    A random scenario that failed comes behind the cases, as a case of no points: the verdict rests on it.
    """
    for one in files:
        allowed = at_most(level, one.content.tell) if one.content else level
        result = told(one.result, allowed, one.content)
        if (drawn := result.random.case) is not None:
            result = replace(result, cases=(*result.cases, drawn))
        yield replace(one, result=result, marks=one.full_marks)


def only_isolated(files: Iterable[Exported]) -> Iterator[Exported]:
    """Yield the results, with no verdict where the submission ran without isolation."""
    for one in files:
        confined = isolating_names() & set(one.result.isolation)
        yield one if confined else replace(one, result=replace(one.result, verdict="error"))


def _files(folder: Path) -> Iterator[Path]:
    """The JSON files below a folder, hidden ones and half-written ones left out."""
    for path in sorted(folder.rglob("*.json")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in parts):
            yield path


def _document(path: Path) -> Any:
    try:
        return read_json(path)
    except ContentError as error:
        raise Unusable(str(error)) from None


def _valid(document: Any, path: Path) -> dict[str, Any]:
    lines = schema_errors(document, load_schema("result-v1"), str(path))
    if lines:
        more = f" (and {len(lines) - 1} more faults)" if len(lines) > 1 else ""
        raise Unusable(f"not a result of `{command_line('grade', '--json')}`: {lines[0]}{more}")
    assert isinstance(document, dict), "the schema asks for an object"
    return document


def _exported(document: dict[str, Any], name: str) -> Exported:
    content = _content(document["challenge"])
    result = Result.from_document(document)
    return Exported(name, replace(result, cases=tuple(_hidden_numbered(result, content))), content)


@lru_cache
def _content(name: str) -> Challenge | None:
    try:
        challenge = load_challenge(name)
        _ = challenge.cases
    except ContentError:
        return None
    return challenge


def _hidden_numbered(result: Result, content: Challenge | None) -> Iterator[CaseResult]:
    """Rename hidden cases, since their names say what they test, and redact their causes."""
    number = 0
    for case in result.cases:
        known = content.cases.get(case.id) if content else None
        if (known or case).visibility == "public":
            yield case
            continue
        number += 1
        hidden = replace(
            case, id=f"hidden-{number}", title=f"Hidden case {number}", visibility="hidden"
        )
        if hidden.cause is not None and hidden.status != "error":
            hidden = replace(hidden, cause=redacted(hidden))
        yield hidden


def dump(document: Any) -> str:
    """Return JSON text, in ASCII so that no consumer meets a lone surrogate or a control character."""
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"

"""Read result documents back as typed values, and keep from them what a learner must not see.

A document is checked against `result-v1` first, whoever wrote it. Text in it may come from a submission.
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
from grader.ground.invocation import command_line
from grader.judge.result import BugStatus, CaseResult, Cause, Where, redacted
from grader.sandbox.layers import isolating_names

SCHEMA = "kvdojo/result/v1"


class Unusable(Exception):
    """A file or folder that holds no result; the text is one line for the user."""


@dataclass(frozen=True)
class Graded:
    """One graded file: its verdict and what may be said of each case."""

    name: str  # of the learner or the file, unique among those exported together
    file: str
    sha256: str
    challenge: str
    verdict: str
    score: float
    max_score: float
    seconds: float
    cases: tuple[CaseResult, ...]
    bugs: tuple[BugStatus, ...]
    isolation: tuple[str, ...]
    content: Challenge | None = None  # None when this checkout does not have the challenge

    @property
    def judged(self) -> bool:
        """Whether there is a verdict on the learner's work."""
        return self.verdict != "error"

    @property
    def share(self) -> float:
        """Reached marks over those that could be reached: what could not be judged takes none away."""
        judged = [case for case in self.cases if case.status in ("passed", "failed")]
        most = sum(case.max_points for case in judged)
        return sum(case.points for case in judged) / most if most else 0.0

    @property
    def full_marks(self) -> float:
        """Marks of all exported cases, skipped ones included: a course system expects the same for all."""
        if self.content is None:
            return self.max_score
        known = self.content.cases
        return sum(
            known[case.id].points if case.id in known else case.max_points for case in self.cases
        )

    @property
    def left(self) -> int:
        """How many planted bugs are still in the file as they were planted."""
        return sum(bug.status == "present" for bug in self.bugs)

    @property
    def changed(self) -> int:
        """How many planted bugs were edited into something that is not right either."""
        return sum(bug.status == "changed" for bug in self.bugs)


def read(path: Path) -> Iterator[Graded]:
    """Yield the results in a file, or in a folder and its folders by name; raises Unusable."""
    if not path.is_dir():
        yield _graded(_valid(_document(path), path), path.stem)
        return
    if (path / "batch.json").is_file() and (path / "results").is_dir():
        path = path / "results"
    empty = True
    for file in _files(path):
        document = _document(file)
        if isinstance(document, dict) and document.get("schema") == SCHEMA:
            empty = False
            name = file.relative_to(path).with_suffix("").as_posix()
            yield _graded(_valid(document, file), name)
    if empty:
        raise Unusable(f"{path}: no result of kvdojo in this folder")


def only_isolated(graded: Iterable[Graded]) -> Iterator[Graded]:
    """Yield the results, with no verdict where the submission ran without isolation."""
    for one in graded:
        yield one if isolating_names() & set(one.isolation) else replace(one, verdict="error")


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


def _graded(document: dict[str, Any], name: str) -> Graded:
    content = _content(document["challenge"])
    return Graded(
        name=name,
        file=document["submission"]["file"],
        sha256=document["submission"]["sha256"],
        challenge=document["challenge"],
        verdict=document["verdict"],
        score=document["score"],
        max_score=document["max_score"],
        seconds=document["seconds"],
        cases=tuple(_case(case, content) for case in _hidden_numbered(document, content)),
        bugs=tuple(BugStatus(**bug) for bug in document["bugs"]),
        isolation=tuple(document["environment"]["isolation"]),
        content=content,
    )


@lru_cache
def _content(name: str) -> Challenge | None:
    try:
        challenge = load_challenge(name)
        _ = challenge.cases
    except ContentError:
        return None
    return challenge


def _hidden_numbered(
    document: dict[str, Any], content: Challenge | None
) -> Iterator[dict[str, Any]]:
    """Rename hidden cases: their names say what they test."""
    number = 0
    for case in document["cases"]:
        known = content.cases.get(case["id"]) if content else None
        hidden = known.visibility == "hidden" if known else _was_redacted(case)
        if hidden:
            number += 1
            case = {**case, "title": f"Hidden case {number}", "hidden": f"hidden-{number}"}
        yield case


def _was_redacted(case: dict[str, Any]) -> bool:
    probe = CaseResult("", "", "failed", 0, 0, 0.0, Cause(None, ""), "hidden")
    return bool(case["cause"]) and case["cause"]["rationale"] == redacted(probe).rationale


def _case(case: dict[str, Any], content: Challenge | None) -> CaseResult:
    cause = case["cause"]
    if cause is not None:
        where = cause["where"]
        cause = Cause(**{**cause, "where": _where(where) if where else None})
    made = CaseResult(
        id=case.get("hidden", case["id"]),
        title=case["title"],
        status=case["status"],
        points=case["points"],
        max_points=case["max_points"],
        seconds=case["seconds"],
        cause=cause,
        visibility="hidden" if "hidden" in case else "public",
    )
    if cause is None or made.visibility == "public" or made.status == "error":
        return made
    return replace(made, cause=redacted(made))


def _where(where: dict[str, Any]) -> Where:
    index = where["index"]
    return Where(where["step"], where["output"], tuple(index) if index is not None else None)


def dump(document: Any) -> str:
    """Return JSON text, in ASCII so that no consumer meets a lone surrogate or a control character."""
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"

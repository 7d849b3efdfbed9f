"""The named points of a challenge, `points.json`: which methods' results are compared, and what each is called.

Where a file lacks a method, some points can be seen in torch's own softmax and products instead (`op`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.content import Challenge, ContentError
from grader.content.jsonfile import read_json
from grader.content.plant import line_span

OPS = ("softmax.in", "softmax.out", "context")
OUTPUT = "output"


@dataclass(frozen=True)
class Spec:
    """One point.

    `method` is the function or `Class.method` whose result it is; with `enter` it is argument number `enter` instead.
    `stage` is the part of the computation it belongs to, `family` the kind of mistake that usually shows here first,
    `settles` the points whose differences do not matter when this one agrees.
    """

    name: str
    title: str
    method: str
    stage: str
    family: str | None = None
    axes: tuple[str, ...] = ()
    enter: int | None = None
    self: tuple[str, ...] = ()
    op: str | None = None
    settles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fact:
    """Where a number of interest is found: a point, a part of its value, and the axis that counts."""

    point: str
    part: str = ""
    axis: int = -1


@dataclass(frozen=True)
class Points:
    """All points of a challenge in the order of the computation.

    `outputs` are stage and family of the outputs of a step, by the beginning of their names; `stages` names the stage
    of bugs whose edit stands elsewhere than where it acts.
    """

    specs: tuple[Spec, ...]
    outputs: Mapping[str, tuple[str, str | None]]
    stages: Mapping[str, str]
    cache_length: Fact | None = None
    weights: Fact | None = None

    def wanted(self) -> dict[str, dict[str, Any]]:
        """Return what the recorder has to write down, by method."""
        found: dict[str, dict[str, Any]] = {}
        for spec in self.specs:
            entry = found.setdefault(spec.method, {"args": [], "self": []})
            if spec.enter is not None:
                entry["args"].append(spec.enter)
            entry["self"] += [name for name in spec.self if name not in entry["self"]]
        return found

    def output_stage(self, name: str) -> tuple[str, str | None]:
        """Return stage and family of an output of a step, by the longest prefix that is known."""
        known = [prefix for prefix in self.outputs if name.startswith(prefix)]
        return self.outputs[max(known, key=len)] if known else (OUTPUT, None)


def load_points(challenge: Challenge) -> Points:
    """Read the points of a challenge; one without the file has its outputs alone."""
    path = challenge.folder / "points.json"
    if not path.exists():
        return Points((), {}, {})
    document = read_json(path)
    try:
        return _points(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise ContentError(f"{path}: {type(error).__name__}: {error}") from None


def stage_of(challenge: Challenge, points: Points, bug: str) -> str | None:
    """Return the stage of a bug: that of the method its first edit stands in, unless `stages` says otherwise."""
    if bug in points.stages:
        return points.stages[bug]
    lines = line_span(challenge.reference_text, challenge.bugs[bug].edits[0])
    owner = _function_at(challenge.reference_text, lines.start + 1)
    for spec in sorted(points.specs, key=lambda spec: spec.enter is not None):
        if owner is not None and spec.method in (owner, owner.rpartition(".")[2]):
            return spec.stage
    return None


def _points(document: Mapping[str, Any]) -> Points:
    specs = [
        Spec(
            name=entry["name"],
            title=entry.get("title", entry["name"]),
            method=entry["method"],
            stage=entry.get("stage", entry["name"]),
            family=entry.get("family"),
            axes=tuple(entry.get("axes", ())),
            enter=entry.get("enter"),
            self=tuple(entry.get("self", ())),
            op=entry.get("op"),
            settles=tuple(entry.get("settles", ())),
        )
        for entry in document["points"]
    ]
    facts = {name: Fact(**entry) for name, entry in document.get("facts", {}).items()}
    outputs = {
        name: (entry["stage"], entry.get("family"))
        for name, entry in document.get("outputs", {}).items()
    }
    return Points(tuple(specs), outputs, dict(document.get("stages", {})), **facts)


def _function_at(text: str, line: int) -> str | None:
    found: tuple[int, str] | None = None
    for node, name in _functions(ast.parse(text), ""):
        if node.lineno <= line <= (node.end_lineno or 0) and (
            found is None or node.lineno > found[0]
        ):
            found = node.lineno, name
    return found[1] if found else None


def _functions(node: ast.AST, prefix: str) -> list[tuple[ast.FunctionDef, str]]:
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            found.append((child, f"{prefix}{child.name}"))
        elif isinstance(child, ast.ClassDef):
            found += _functions(child, f"{child.name}.")
    return found


def lacking(points: Points, source: str) -> set[str]:
    """Return the methods of the points that a file does not define, wherever it defines them."""
    names = set(re.findall(r"\bdef\s+(\w+)", source))
    return {spec.method for spec in points.specs if spec.method.rpartition(".")[2] not in names}


RECORDER = Path(__file__).with_name("recorder.py")

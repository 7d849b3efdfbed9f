"""The named points of a challenge, `points.json`: which methods' results are compared, and what each is called.

Where a file lacks a method, some points can be seen in torch's own softmax and products instead (`op`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grader.content import Challenge, ContentError
from grader.content.jsonfile import read_json
from grader.content.planting import line_span

OPS = ("softmax.in", "softmax.out", "context")
ASIDE = ("self", "look", "writes", "apart")
FIELDS = {"settles": "supersedes"}  # keys of points.json whose fields have another name


@dataclass(frozen=True)
class CheckpointSpec:
    """One point.

    `method` is the function or `Class.method` whose result it is; with `enter` it is argument number `enter` instead,
    -1 being `self`.  Without a method it is seen in torch's own functions (`op`).
    `stage` is the part of the computation it belongs to, `family` the kind of mistake that usually shows here first,
    and `families` the kinds that certain patterns of a difference speak for (see `grader.diagnose.bug_class`).
    `self` and `look` are paths into the object and into the result whose values belong to the point, `writes` the
    arguments that a kernel writes to, `apart` what must not share memory or objects.  With `parts`, the point is only
    those parts of the value whose names begin so; `result` stands for the result itself.
    With `loop`, the number of visits is a part of the right answer.  Without `values`, only shapes and dtypes are.
    With `block`, the value says which block of the work that axis of the grid stands for.
    `filled` is the part that says how many slots of each batch row hold tokens; the others may hold anything.
    `supersedes` are the points whose differences do not matter when this one agrees.
    """

    name: str
    title: str
    method: str
    stage: str
    family: str | None = None
    families: Mapping[str, str] = field(default_factory=dict)
    axes: tuple[str, ...] = ()
    enter: int | None = None
    self: tuple[str, ...] = ()
    look: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    op: str | None = None
    supersedes: tuple[str, ...] = ()
    loop: bool = False
    block: int | None = None
    values: bool = True
    filled: str = ""

    @property
    def seen(self) -> bool:
        """Whether it is an output of a step, which callers see, and no point within it."""
        return not self.method and not self.op


OUTPUT = CheckpointSpec("output", "output", "", "output")


@dataclass(frozen=True)
class FactSource:
    """Where a number of interest is found: a part of a point's value, or an argument of the step.

    It is the length of `axis`, or the number itself where there is no axis.  With `tiles` every visit counts.
    """

    point: str = ""
    part: str = ""
    axis: int | None = None
    argument: str = ""
    tiles: bool = False


@dataclass(frozen=True)
class Checkpoints:
    """All points of a challenge in the order of the computation.

    `outputs` describe the outputs of a step, by the beginning of their names; `stages` names the stage
    of bugs whose edit stands elsewhere than where it acts.  `facts` are `cache_length` (tokens held after a step),
    `cached` (before it), `weights` (of the newest token), `scores` (a mask, or masked scores) and, of each batch row,
    `padding` (how much there is) or `lengths`.
    """

    specs: tuple[CheckpointSpec, ...]
    outputs: Mapping[str, CheckpointSpec]
    stages: Mapping[str, str]
    facts: Mapping[str, FactSource] = field(default_factory=dict)

    def wanted(self) -> dict[str, dict[str, Any]]:
        """Return what the recorder has to write down, by method."""
        found: dict[str, dict[str, Any]] = {}
        for spec in self.specs:
            if not spec.method:
                continue
            entry = found.setdefault(spec.method, {"args": {}, **{name: [] for name in ASIDE}})
            if spec.enter is not None:
                entry["args"].setdefault(spec.enter, []).extend(spec.look)
                continue
            for name in ASIDE:
                entry[name] += [item for item in getattr(spec, name) if item not in entry[name]]
        return found

    def output(self, name: str) -> CheckpointSpec:
        """Return the description of an output of a step, by the longest prefix that is known."""
        known = [prefix for prefix in self.outputs if name.startswith(prefix)]
        return self.outputs[max(known, key=len)] if known else OUTPUT


def load_checkpoints(challenge: Challenge) -> Checkpoints:
    """Read the points of a challenge; one without the file has its outputs alone."""
    path = challenge.folder / "points.json"
    if not path.exists():
        return Checkpoints((), {}, {})
    document = read_json(path)
    try:
        return _points(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise ContentError(f"{path}: {type(error).__name__}: {error}") from None


def stage_of(challenge: Challenge, points: Checkpoints, bug: str) -> str | None:
    """Return the stage of a bug: that of the method its first edit stands in, unless `stages` says otherwise."""
    if bug in points.stages:
        return points.stages[bug]
    lines = line_span(challenge.reference_text, challenge.bugs[bug].edits[0])
    owner = _function_at(challenge.reference_text, lines.start + 1)
    for spec in sorted(points.specs, key=lambda spec: spec.enter is not None):
        if owner is not None and spec.method in (owner, owner.rpartition(".")[2]):
            return spec.stage
    return None


def _points(document: Mapping[str, Any]) -> Checkpoints:
    facts = {name: FactSource(**entry) for name, entry in document.get("facts", {}).items()}
    outputs = {
        name: _spec({"name": "output", **entry})
        for name, entry in document.get("outputs", {}).items()
    }
    specs = tuple(_spec(entry) for entry in document["points"])
    return Checkpoints(specs, outputs, dict(document.get("stages", {})), facts)


def _spec(entry: Mapping[str, Any]) -> CheckpointSpec:
    given = {
        FIELDS.get(name, name): tuple(item) if isinstance(item, list) else item
        for name, item in entry.items()
    }
    name = entry["name"]
    return CheckpointSpec(**{"title": name, "method": "", "stage": name, **given})


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


def lacking(points: Checkpoints, source: str) -> set[str]:
    """Return the methods of the points that a file does not define, wherever it defines them."""
    names = set(re.findall(r"\bdef\s+(\w+)", source))
    return {spec.method for spec in points.specs if re.split("[.>]", spec.method)[-1] not in names}


# sent behind a challenge's driver as one text, in this order
RECORDER = [
    Path(__file__).parent / "in_worker" / f"{name}.py"
    for name in ("object_views", "kernel_recorder", "torch_recorder", "recorder")
]

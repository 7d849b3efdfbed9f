"""Check that a challenge's points.json names what exists: methods, families of bugs, bugs, points.

Whether its points tell mistakes apart is measured by `benchmarks.diagnosis`, not here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from grader.content import Challenge
from grader.content.jsonfile import read_json
from grader.content.validation import load_schema, schema_errors
from grader.diagnose.bug_class import ANYWHERE, IN_AFTER_MASK
from grader.diagnose.checkpoints import Checkpoints, CheckpointSpec, load_checkpoints

Faults = Iterator[tuple[str, str]]


def checkpoint_faults(challenge: Challenge) -> Faults:
    """Yield what is wrong with points.json as subject and text; a challenge may be without the file."""
    path = challenge.folder / "points.json"
    if not path.exists():
        return
    lines = schema_errors(read_json(path), load_schema("points-v1"), str(path))
    yield from (("points.json", line) for line in lines)
    if not lines:
        checkpoints = load_checkpoints(challenge)
        yield from _methods(challenge, checkpoints)
        yield from _words(challenge, checkpoints)
        yield from _names(challenge, checkpoints)


def _methods(challenge: Challenge, checkpoints: Checkpoints) -> Faults:
    defined = set(re.findall(r"\bdef\s+(\w+)", challenge.reference_text))
    for spec in checkpoints.specs:
        missing = [name for name in re.split("[.>]", spec.method)[-1:] if name not in defined]
        if spec.method and missing:
            text = f"point {spec.name!r}: {challenge.reference.name} defines no {spec.method!r}"
            yield "points.json", text


def _words(challenge: Challenge, checkpoints: Checkpoints) -> Faults:
    known = {bug.family for bug in challenge.bugs.values()} | {
        *ANYWHERE.values(),
        *IN_AFTER_MASK.values(),
    }
    for spec in (*checkpoints.specs, *checkpoints.outputs.values()):
        for family in (spec.bug_class, *spec.bug_class_by_kind.values()):
            if family is not None and family not in known:
                yield "points.json", f"point {spec.name!r}: no bug is of the family {family!r}"


def _names(challenge: Challenge, checkpoints: Checkpoints) -> Faults:
    names = Counter(spec.name for spec in checkpoints.specs)
    stages = {spec.stage for spec in (*checkpoints.specs, *checkpoints.outputs.values())}
    for name, count in names.items():
        if count > 1:
            yield "points.json", f"{count} points are called {name!r}; make the names unique"
    for fact, entry in checkpoints.facts.items():
        if entry.checkpoint and entry.checkpoint not in names:
            yield "points.json", f"fact {fact!r} names {entry.checkpoint!r}, which is no point"
    for bug, stage in checkpoints.stages.items():
        if bug not in challenge.bugs:
            yield "points.json", f"`stages` names {bug!r}, which is not in bugs.json"
        if stage not in stages:
            yield "points.json", f"`stages` names {stage!r}, which is the stage of no point"
    for spec in checkpoints.specs:
        yield from _settled(spec, names)


def _settled(spec: CheckpointSpec, names: Counter[str]) -> Faults:
    for other in spec.supersedes:
        if other not in names:
            yield "points.json", f"point {spec.name!r} settles {other!r}, which is no point"

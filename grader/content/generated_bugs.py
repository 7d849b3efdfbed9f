"""The generated bugs of a challenge: read from `recorded/generated.json`, drawn by a number, added to the others.

    {"schema": "kvdojo/generated/v1",
     "reference": "0c3f...",             digest of the reference's text that the edits belong to
     "cases": "91ab...",                 digest of the cases that judged them
     "proposed": 177, "dropped": {"no case refuses it": 24, ...},
     "apart": [["g-1f...", "g-77..."]],  pairs that undo each other
     "bugs": [{"id": "g-1f...", "edits": [...], "witnesses": [...], "score": 0.41, "level": "medium", ...}]}

They are bugs like those of `bugs.json` in all but this: nobody wrote them, and a challenge holds only those that were
drawn for a file.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import combinations
from typing import Any

from grader.content.catalogue import Challenge
from grader.content.content_errors import ContentError
from grader.content.entries import Bug, bug_of
from grader.content.jsonfile import read_json
from grader.content.planting import PlantError, goes_with, line_span
from grader.ground.invocation import command_line

SCHEMA = "kvdojo/generated/v1"
LEVELS = ("easy", "medium", "hard")
PREFIX = "g-"  # of the ids of generated bugs
OVERLAP = "they edit the same lines"
UNDO = "they undo each other"
ALIKE = "they make the same of the same lines, in two places"


@dataclass(frozen=True)
class GeneratedBug:
    """A generated bug, its difficulty between 0 and 1, its level, and the operators that made it."""

    bug: Bug
    score: float
    level: str
    operators: tuple[str, ...]


@dataclass(frozen=True)
class GeneratedBugs:
    """All generated bugs of a challenge, by id, and what the survey found; `digest` names this very set."""

    bugs: Mapping[str, GeneratedBug]
    cases: str
    proposed: int
    dropped: Mapping[str, int]
    digest: str


def text_digest(text: str) -> str:
    """Return the digest of a text that recorded files carry."""
    return sha256(text.encode()).hexdigest()[:32]


def read_generated(challenge: Challenge) -> GeneratedBugs:
    """Return the generated bugs; raises ContentError where none are recorded, or those of another reference."""
    path, again = challenge.generated, command_line("check", challenge.id, "--generate")
    if not path.exists():
        raise ContentError(f"{challenge.id!r} has no generated bugs; `{again}` makes some")
    document = read_json(path)
    try:
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {document['schema']!r}")
        if document["reference"] != text_digest(challenge.reference_text):
            raise ContentError(
                f"{path}: belongs to another {challenge.reference.name}; run `{again}`"
            )
        apart = {(str(one), str(other)): UNDO for one, other in document["apart"]}
        apart |= dict.fromkeys(_reading_alike(document["bugs"]), ALIKE)
        found = [_generated_bug(challenge, entry, apart) for entry in document["bugs"]]
        return GeneratedBugs(
            {entry.bug.id: entry for entry in found},
            str(document["cases"]),
            int(document["proposed"]),
            dict(document["dropped"]),
            text_digest(path.read_text("utf-8")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"{type(error).__name__}: {error}"
        raise ContentError(f"{path}: is not what was recorded ({text}); run `{again}`") from None


def _generated_bug(
    challenge: Challenge, entry: Mapping[str, Any], apart: Mapping[tuple[str, str], str]
) -> GeneratedBug:
    bug = bug_of(challenge.generated, {**entry, "kind": "bug", "sources": ()})
    if not bug.id.startswith(PREFIX) or entry["level"] not in LEVELS:
        raise ValueError(f"{bug.id!r} is no generated bug, or of an unknown level")
    if not bug.edits:
        raise ValueError(f"{bug.id!r} edits nothing")
    try:
        _lines(challenge, bug)
    except PlantError as error:
        raise ValueError(str(error)) from None
    others = {b if a == bug.id else a: why for (a, b), why in apart.items() if bug.id in (a, b)}
    return GeneratedBug(
        replace(
            bug,
            witnesses=tuple(map(str, entry["witnesses"])),
            excludes=dict(sorted(others.items())),
        ),
        float(entry["score"]),
        entry["level"],
        tuple(map(str, entry["operators"])),
    )


def _reading_alike(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Give the pairs that make the same lines of the same lines of one function, in two places.

    A file is compared with the reference statement by statement, wherever these stand, so that one of a pair would be
    taken for the other.
    """
    alike: dict[Any, list[str]] = {}
    for entry in entries:
        before = Counter(line for edit in entry["edits"] for line in edit["find"].splitlines())
        after = Counter(line for edit in entry["edits"] for line in edit["replace"].splitlines())
        changed = (frozenset((before - after).items()), frozenset((after - before).items()))
        alike.setdefault((entry["function"], *changed), []).append(str(entry["id"]))
    for names in alike.values():
        yield from combinations(names, 2)


def with_generated(challenge: Challenge, bugs: Collection[Bug]) -> Challenge:
    """Return the challenge with some generated bugs behind its own; entries that touch one line exclude each other."""
    made = copy(challenge)  # with all that was read already, private cases among it
    made.__dict__.pop("_known_bugs", None)
    lines = {name: _lines(challenge, bug) for name, bug in challenge.bugs.items()}
    known = dict(challenge.bugs)
    for bug in bugs:
        mine = _lines(challenge, bug)
        close = {name: OVERLAP for name, theirs in lines.items() if mine & theirs}
        known[bug.id] = replace(bug, excludes={**bug.excludes, **close})
        lines[bug.id] = mine
    made.__dict__["bugs"] = known
    return made


def draw_generated(
    challenge: Challenge,
    generated: GeneratedBugs,
    seed: int,
    count: int,
    level: str | None = None,
) -> tuple[list[str], list[str]]:
    """Return the ids of `count` generated bugs and up to half as many decoys, drawn by a number.

    No two of them edit one line, undo each other, read alike, or are caught by exactly the same cases, so that each one
    mended is seen.  Raises PlantError when there are not so many.
    """
    names = [n for n, entry in generated.bugs.items() if level is None or entry.level == level]
    draw = random.Random(sha256(f"fresh/{challenge.id}/{seed}".encode()).digest())
    draw.shuffle(names)
    picked: list[Bug] = []
    taken: set[int] = set()
    for name in names:
        bug = generated.bugs[name].bug
        mine = _lines(challenge, bug)
        apart = any(bug.id in o.excludes or o.witnesses == bug.witnesses for o in picked)
        if len(picked) < count and not mine & taken and not apart:
            picked.append(bug)
            taken |= mine
    if len(picked) < count:
        kind = f"{level} generated" if level else "generated"
        raise PlantError(
            f"only {len(picked)} {kind} bugs of {challenge.id!r} go together here, not {count}"
        )
    decoys = [bug for bug in challenge.bugs.values() if bug.kind == "decoy"]
    extra: list[Bug] = []
    for decoy in draw.sample(decoys, len(decoys)):
        mine = _lines(challenge, decoy)
        if len(extra) < (count + 1) // 2 and not mine & taken and goes_with(decoy, extra):
            extra.append(decoy)
            taken |= mine
    return sorted(bug.id for bug in picked), sorted(decoy.id for decoy in extra)


def draw_fresh(
    challenge: Challenge,
    generated: GeneratedBugs,
    seed: int,
    count: int | None = None,
    level: str | None = None,
) -> tuple[list[str], list[str]]:
    """Return what `draw_generated` does; without `count` as many bugs as the default preset has, or as go together.

    Raises PlantError where there are too few.
    """
    if count is not None:
        return draw_generated(challenge, generated, seed, count, level)
    for number in range(len(challenge.presets["default"].bugs), 1, -1):
        with suppress(PlantError):
            return draw_generated(challenge, generated, seed, number, level)
    return draw_generated(challenge, generated, seed, 1, level)


def _lines(challenge: Challenge, bug: Bug) -> set[int]:
    spans = (line_span(challenge.reference_text, edit) for edit in bug.edits)
    return {line for span in spans for line in span}

"""The entries of a challenge's JSON files as values: cases, bugs and decoys, trivial solutions, presets.

What an author writes into a field is described in the schemas (`grader/schemas/`); here stands what code must know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grader.content.content_errors import ContentError

# how much a learner is told, from the least on; what each level shows is decided in `judge/telling.py`
TELLING = VERDICT, SYMPTOM, PLACE, PATTERN, CAUSE = (
    "verdict",
    "symptom",
    "place",
    "pattern",
    "cause",
)


def tells(level: str, of: str) -> bool:
    """Whether a level tells what belongs to the level `of`."""
    return TELLING.index(level) >= TELLING.index(of)


@dataclass(frozen=True)
class Preset:
    """A named choice of bugs and decoys to plant, by their ids.

    - `minutes`: for how long it is meant, which a clock tells and nothing enforces;
    - `tell`: the most that is told of a file that was begun with it.
    """

    bugs: tuple[str, ...]
    decoys: tuple[str, ...]
    minutes: int | None = None
    tell: str = TELLING[-1]


@dataclass(frozen=True)
class Edit:
    """One replacement: `find` occurs exactly once in the reference."""

    find: str
    replace: str


@dataclass(frozen=True)
class Bug:
    """A bug or a decoy that can be planted in the reference, `kvdojo/bug/v1`.

    - `kind`: `bug` changes what the code does, `decoy` only looks wrong;
    - `family`: the class of mistake, which a trace may name;
    - `raises`: whether the planted code raises on its ordinary path, so that little else of it can be seen;
    - `excludes`: the reason by the id of each entry with which it is never planted;
    - `witnesses`: the ids of the cases that fail when the bug is planted alone (mutation testing calls them killing
      tests).  They are not in bugs.json: `Challenge.bugs` adds them from what was recorded.
    """

    id: str
    kind: str
    family: str
    difficulty: int
    title: str
    edits: tuple[Edit, ...]
    symptom: str
    explanation: str
    hints: tuple[str, ...]
    sources: tuple[Mapping[str, str], ...]
    witnesses: tuple[str, ...] = ()
    raises: bool = False
    excludes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrivialSolution:
    """An answer that needs no thought, such as zeros, as edits to the reference; some scenario must refuse it.

    They stand in `impostors.json`, and each is applied alone.
    """

    id: str
    title: str
    symptom: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Case:
    """A recipe of steps in the challenge's verbs, `kvdojo/case/v1`; it holds no tensor.

    `setup` are the sizes, such as `{"batch": 2, "capacity": 8}`; a step is the verb and what it is told, such as
    `{"do": "forward", "tokens": 3, "save": "a"}`.  `kind` is `unit`, which isolates one helper of the file, or
    `scenario`, which uses only what every file must define.  `visibility` is `public`, or `hidden` where the learner
    sees status and title only.  `keep_because` is the author's reason to keep a case that the gate would object to.
    `free` are sizes that the case has from the defaults of its file alone: on secret inputs they may differ.
    """

    id: str
    title: str
    why: str
    points: int
    kind: str
    visibility: str
    tags: tuple[str, ...]
    setup: Mapping[str, Any]
    seed: int
    dtype: str
    steps: tuple[Mapping[str, Any], ...]
    keep_because: str | None = None
    free: frozenset[str] = frozenset()


def case_of(entry: Mapping[str, Any], name: str, free: frozenset[str] = frozenset()) -> Case:
    """Build a case from its JSON object; raises ContentError."""
    try:
        return Case(
            id=entry["id"],
            title=entry["title"],
            why=entry["why"],
            points=entry.get("points", 1),
            kind=entry["kind"],
            visibility=entry.get("visibility", "public"),
            tags=tuple(entry.get("tags", ())),
            setup=entry.get("setup", {}),
            seed=entry.get("seed", 0),
            dtype=entry.get("dtype", "float32"),
            steps=tuple(entry["steps"]),
            keep_because=entry.get("keep_because"),
            free=free,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise explained(Path(name), "case-v1", entry, error) from None


def bug_of(path: Path, entry: Mapping[str, Any]) -> Bug:
    """Build a bug or decoy from its JSON object; raises ContentError."""
    try:
        return Bug(
            id=entry["id"],
            kind=entry["kind"],
            family=entry["family"],
            difficulty=entry["difficulty"],
            title=entry["title"],
            edits=_edits(entry),
            symptom=entry["symptom"],
            explanation=entry["explanation"],
            hints=tuple(entry["hints"]),
            sources=tuple(entry["sources"]),
            raises=entry.get("raises", False),
            excludes={pair["id"]: pair["because"] for pair in entry.get("excludes", ())},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise explained(path, "bugs-v1", {"bugs": [entry]}, error) from None


def trivial_solution_of(path: Path, entry: Mapping[str, Any]) -> TrivialSolution:
    """Build a trivial solution from its JSON object; raises ContentError."""
    try:
        return TrivialSolution(entry["id"], entry["title"], entry["symptom"], _edits(entry))
    except (KeyError, TypeError, AttributeError) as error:
        raise explained(path, "impostors-v1", {"impostors": [entry]}, error) from None


def _edits(entry: Mapping[str, Any]) -> tuple[Edit, ...]:
    return tuple(Edit(edit["find"], edit["replace"]) for edit in entry["edits"])


def explained(path: Path, schema: str, document: Any, error: Exception) -> ContentError:
    """Return an error that says by the schema what is wrong; jsonschema is imported only when something is."""
    from grader.content.validation import load_schema, schema_errors

    lines = schema_errors(document, load_schema(schema), str(path))
    return ContentError("\n".join(lines) or f"{path}: {type(error).__name__}: {error}")

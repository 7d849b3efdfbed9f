"""Work folders: where a learner's copy of a challenge lies, and what was planted in it.

A work folder holds the learner's file, the brief as README.md and the state in `.kvdojo.json`. The
state says how the file was made (a preset, or a seed and a number of bugs), not what the bugs are.
Knows nothing of grading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grader.ground.errors import Exit, KvdojoError
from grader.ground.files import write_atomically
from grader.ground.invocation import command_line
from grader.ground.strict_json import parse_strict

STATE = ".kvdojo.json"
SCHEMA = "kvdojo/work/v1"
# the ladder of help (`learner/ladder.py`)
RUNGS = ("place", "pattern", "unit case", "hint 1", "hint 2", "hint 3")
HINTS_FROM = 3  # hint 1 is one rung above


class WorkError(KvdojoError):
    """A work folder that cannot be used; the text is one line ending with what to do."""

    exit_code = Exit.USAGE


@dataclass(frozen=True)
class WorkFolder:
    """One work folder and its state.

    The file was planted from a `preset`, or from a `seed` and a number of bugs (`count`), or with `count` generated
    bugs of a `level`, drawn by `fresh` from the set with the digest `generated`, or with one bug of a `family`, drawn
    by `seed` from that set, from those of the challenge where the digest is empty.  `hints` are the levels of hints
    seen, and `rungs` how high the ladder of help was climbed (`learner/ladder.py`), by bug.
    """

    folder: Path
    challenge: str
    file: str
    preset: str | None = "default"
    seed: int | None = None
    count: int | None = None
    hints: Mapping[str, int] = field(default_factory=dict)
    fresh: int | None = None
    level: str | None = None
    generated: str = ""
    rungs: Mapping[str, int] = field(default_factory=dict)
    family: str | None = None

    @property
    def path(self) -> Path:
        """The learner's file."""
        return self.folder / self.file

    @property
    def label(self) -> str:
        """How the file was made, in a word: the preset's name, `seed-7`, `fresh-7` or `today-7`."""
        if self.family is not None:
            return f"today-{self.seed}"
        if self.preset is not None:
            return self.preset
        return f"seed-{self.seed}" if self.fresh is None else f"fresh-{self.fresh}"

    def is_made_as(self, other: WorkFolder) -> bool:
        """Whether the file of another work folder began with the same text."""
        mine, theirs = (replace(work, folder=Path(), hints={}, rungs={}) for work in (self, other))
        return mine == theirs

    def height(self, bug: str) -> int:
        """Return how many rungs of a bug's ladder were climbed, 0 to 6."""
        hints = self.hints.get(bug, 0)
        return min(len(RUNGS), max(self.rungs.get(bug, 0), hints and HINTS_FROM + hints))

    def with_hint(self, bug: str, level: int) -> WorkFolder:
        """Return the same state in which the hints of `bug` up to `level` have been seen."""
        seen = {**self.hints, bug: max(level, self.hints.get(bug, 0))}
        return replace(self, hints=seen)

    def with_rung(self, bug: str, rung: int) -> WorkFolder:
        """Return the same state in which the ladder of `bug` has been climbed up to `rung`."""
        return replace(self, rungs={**self.rungs, bug: max(rung, self.rungs.get(bug, 0))})

    def save(self) -> None:
        """Write the state; raises WorkError."""
        how: dict[str, Any] = {"preset": self.preset}
        if self.fresh is not None:
            how = {"fresh": self.fresh, "bugs": self.count, "generated": self.generated}
            how |= {"level": self.level} if self.level else {}
        elif self.family is not None:
            how = {"family": self.family, "seed": self.seed, "generated": self.generated}
        elif self.preset is None:
            how = {"seed": self.seed, "bugs": self.count}
        document = {
            "schema": SCHEMA,
            "challenge": self.challenge,
            "file": self.file,
            **how,
            "hints": dict(sorted(self.hints.items())),
        }
        if self.rungs:
            document["rungs"] = dict(sorted(self.rungs.items()))
        write_work_file(self.folder / STATE, json.dumps(document, indent=2) + "\n")


def write_work_file(path: Path, content: str) -> None:
    """Write one file of a work folder; raises WorkError."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise WorkError(f"{path} cannot be written: {error.strerror}") from None


def load_work_folder(folder: Path) -> WorkFolder | None:
    """Read the state of one folder; None when it has none. Raises WorkError."""
    path = folder / STATE
    document = read_state(path)
    if document is None:
        return None
    try:
        return _work(folder, document)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkError(_broken(path, str(error))) from None


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in `path`, None when there is no such file; raises WorkError."""
    try:
        document = parse_strict(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise WorkError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise WorkError(_broken(path, str(error))) from None
    if not isinstance(document, dict):
        raise WorkError(_broken(path, "it is not a JSON object"))
    return document


def _work(folder: Path, document: Mapping[str, Any]) -> WorkFolder:
    """Build the state from its document; raises KeyError, TypeError or ValueError."""
    if document.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {document.get('schema')!r}, not {SCHEMA!r}")
    file = _text(document, "file")
    if Path(file).name != file or file in {"", ".", ".."}:
        raise ValueError("`file` must be a plain file name")
    hints, rungs = _numbers(document, "hints"), _numbers(document, "rungs")
    return replace(_begun(folder, file, document, hints), rungs=rungs)


def _begun(
    folder: Path, file: str, document: Mapping[str, Any], hints: Mapping[str, int]
) -> WorkFolder:
    """Build the part of the state that says how the file was made."""
    challenge = _text(document, "challenge")
    if "preset" in document:
        return WorkFolder(folder, challenge, file, preset=_text(document, "preset"), hints=hints)
    if "fresh" in document:
        return _fresh(folder, challenge, file, document, hints)
    if "family" in document:
        return _of_family(folder, challenge, file, document, hints)
    seed, count = document.get("seed"), document.get("bugs")
    if not _is_count(seed) or not _is_count(count):
        raise ValueError("it names neither a `preset` nor a `seed` and a number of `bugs`")
    return WorkFolder(folder, challenge, file, None, seed, count, hints)


def _fresh(
    folder: Path, challenge: str, file: str, document: Mapping[str, Any], hints: Mapping[str, int]
) -> WorkFolder:
    """Build the state of a file with generated bugs; raises ValueError."""
    fresh, count, level = document.get("fresh"), document.get("bugs"), document.get("level")
    if not _is_count(fresh) or not _is_count(count) or not isinstance(level, str | None):
        raise ValueError("`fresh` and `bugs` must be numbers, and `level` a text")
    generated = _text(document, "generated")
    return WorkFolder(
        *(folder, challenge, file, None, None, count, hints),
        fresh=fresh, level=level, generated=generated,
    )  # fmt: skip


def _of_family(
    folder: Path, challenge: str, file: str, document: Mapping[str, Any], hints: Mapping[str, int]
) -> WorkFolder:
    """Build the state of a file with one bug of a family; raises ValueError."""
    family, seed, generated = (
        _text(document, "family"),
        document.get("seed"),
        _text(document, "generated"),
    )
    if not _is_count(seed):
        raise ValueError("`seed` must be a number")
    return WorkFolder(
        *(folder, challenge, file, None, seed, 1, hints),
        generated=generated, family=family,
    )  # fmt: skip


def _numbers(document: Mapping[str, Any], key: str) -> dict[str, int]:
    """Return a member that maps the ids of bugs to levels; an empty one where there is none."""
    found = document.get(key, {})
    if not isinstance(found, dict) or not all(_is_count(level) for level in found.values()):
        raise ValueError(f"`{key}` must map bug ids to levels")
    return found


def _text(document: Mapping[str, Any], key: str) -> str:
    if not isinstance(document.get(key), str):
        raise ValueError(f"`{key}` must be a string")
    return str(document[key])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _broken(path: Path, why: str) -> str:
    again = command_line("start", "CHALLENGE", "--force")
    return (
        f"{path} is damaged ({why}). Delete it, then run `{again}`; "
        "your own file is kept as a backup."
    )

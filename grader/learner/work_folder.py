"""Work folders: where a learner's copy of a challenge lies, and what was planted in it.

A work folder holds the learner's file, the brief as README.md and the state in `.kvdojo.json`. The
state says how the file was made (a preset, or a seed and a number of bugs), not what the bugs are.
Knows nothing of grading.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grader.ground.errors import Exit, KvdojoError
from grader.ground.files import write_atomically
from grader.ground.invocation import command_line
from grader.ground.paths import ROOT
from grader.ground.strict_json import parse_strict

STATE = ".kvdojo.json"
SCHEMA = "kvdojo/work/v1"
STARTED = ".started.json"  # in the work root: folders made by `start --to`
STARTED_SCHEMA = "kvdojo/started/v1"


class WorkError(KvdojoError):
    """A work folder that cannot be used; the text is one line ending with what to do."""

    exit_code = Exit.USAGE


@dataclass(frozen=True)
class WorkFolder:
    """One work folder and its state.

    The file was planted from a `preset`, or from a `seed` and a number of bugs (`count`), or with `count` generated
    bugs of a `level`, drawn by `fresh` from the set with the digest `generated`.  `hints` are the levels of hints seen,
    and `rungs` how high the ladder of help was climbed (`learner/ladder.py`), by bug.
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

    @property
    def path(self) -> Path:
        """The learner's file."""
        return self.folder / self.file

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


def work_root() -> Path:
    """Return the folder that holds the work folders: $KVDOJO_WORK, or `work` in the checkout."""
    return Path(os.environ.get("KVDOJO_WORK") or ROOT / "work").absolute()


def default_folder(challenge: str) -> Path:
    """Return where `start` puts a challenge by default."""
    return work_root() / challenge


def find_work_folder(challenge: str) -> WorkFolder | None:
    """Return the work folder of a challenge, or None when it was never started.

    The current folder comes first, then the one named by the last `start --to`, then the default.
    Raises WorkError for a state file that cannot be used.
    """
    for folder in (Path.cwd(), _started_folders().get(challenge), default_folder(challenge)):
        if folder is None:
            continue
        work = load_work_folder(folder)
        if work is not None and work.challenge == challenge:
            return work
    return None


def load_work_folder(folder: Path) -> WorkFolder | None:
    """Read the state of one folder; None when it has none. Raises WorkError."""
    path = folder / STATE
    document = _read(path)
    if document is None:
        return None
    try:
        return _work(folder, document)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkError(_broken(path, str(error))) from None


def remember_start(challenge: str, folder: Path | None) -> None:
    """Remember that `challenge` was started in `folder`; None: in the default place."""
    pointers = _started_folders()
    if folder is None and challenge not in pointers:
        return
    if folder is None:
        del pointers[challenge]
    else:
        pointers[challenge] = folder.absolute()
    folders = {name: str(path) for name, path in sorted(pointers.items())}
    document = {"schema": STARTED_SCHEMA, "folders": folders}
    write_work_file(work_root() / STARTED, json.dumps(document, indent=2) + "\n")


def _started_folders() -> dict[str, Path]:
    path = work_root() / STARTED
    document = _read(path)
    if document is None:
        return {}
    folders = document.get("folders")
    if document.get("schema") != STARTED_SCHEMA or not isinstance(folders, dict):
        raise WorkError(_broken(path, f"it is not a {STARTED_SCHEMA} document"))
    return {name: Path(folder) for name, folder in folders.items() if isinstance(folder, str)}


def _read(path: Path) -> dict[str, Any] | None:
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

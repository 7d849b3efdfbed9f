"""The challenges of a checkout, and one challenge as typed values, each part read when it is first asked for.

Reading is plain JSON, so that `kvdojo list` stays quick; `cases_schema.validate_challenge` is the thorough check.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from grader.content.brief import without_comments
from grader.content.cases_document import expand, free_sizes
from grader.content.content_errors import ContentError, UnknownChallenge
from grader.content.declared_files import locate_reads, reads_digest
from grader.content.entries import (
    TELLING,
    Bug,
    Case,
    Preset,
    TrivialSolution,
    bug_of,
    case_of,
    explained,
    trivial_solution_of,
)
from grader.content.jsonfile import read_json
from grader.content.witnesses import read_witnesses
from grader.ground.paths import ROOT

RECORDED = "recorded"
CASES_PER_BUDGET = 12  # of the full time of one, that a submission may use in all
_Entry = TypeVar("_Entry", "Bug", "TrivialSolution", "Case")


@dataclass(frozen=True)
class Challenge:
    """One challenge: the fields of its `challenge.json`, and the heavy parts, which are read on first use.

    - `root`, `folder`: the checkout, and `root/challenges/<id>`;
    - `file`: the name of the learner's file; `provides`: the names it must define; `helpers`: names of which the brief
      speaks and that it may leave out;
    - `reference`: the path of the right answer; `oracle`: that of the file that computes the golden, which is the
      reference unless `challenge.json` names another;
    - `seconds`, `total_seconds`, `memory_mb`: the CPU time of one case and of all together, and the MiB that the file
      may add to Python with torch imported;
    - `preload`, `environment`: modules that are imported before a worker is confined, and its environment variables;
    - `hint_costs`: points that a bug's first, second and third hint cost; they are shown, never taken off a score;
    - `tell`: the most that learners are told of a grading, a level of `TELLING`;
    - `declared`: paths from `root` of the files that the driver reads (`reads` of `challenge.json`); the property
      `reads` finds the files.
    """

    id: str
    title: str
    summary: str
    difficulty: int
    root: Path
    folder: Path
    file: str
    reference: Path
    oracle: Path
    provides: tuple[str, ...]
    helpers: tuple[str, ...]
    presets: Mapping[str, Preset]
    seconds: float
    memory_mb: int
    total_seconds: float
    preload: tuple[str, ...]
    environment: Mapping[str, str]
    hint_costs: tuple[int, ...] = (0, 0, 0)
    declared: tuple[str, ...] = ()
    tell: str = TELLING[-1]
    told_by: str = ""

    @property
    def teller(self) -> str:
        """What limits how much is told, as messages name it: the challenge, or the preset of a file."""
        return self.told_by or repr(self.id)

    def may_lack(self, name: str) -> bool:
        """Whether a correct file may lack a name for which a case asks; the case is then skipped, not failed.

        It may lack the `helpers` of challenge.json, of which the brief speaks, and all internals: names that begin
        with an underscore.
        """
        return name in self.helpers or self.is_internal(name)

    def is_internal(self, name: str) -> bool:
        """Whether a name is a private helper of the starter, which a file may lack or use for something of its own."""
        return name.startswith("_") and name not in self.helpers

    @property
    def recorded(self) -> Path:
        """The folder of all that `kvdojo check --record` makes from what an author wrote."""
        return self.folder / RECORDED

    @property
    def starter(self) -> Path:
        """The default starter: the reference with the default preset planted."""
        return self.recorded / "starter" / self.file

    @property
    def golden(self) -> Path:
        """The expected outputs of every case."""
        return self.recorded / "golden.safetensors"

    @property
    def cases_schema(self) -> Path:
        """The JSON Schema of `cases.json`, for editors."""
        return self.recorded / "cases.schema.json"

    @property
    def witnesses(self) -> Path:
        """Which cases catch which bug."""
        return self.recorded / "witnesses.json"

    @property
    def generated(self) -> Path:
        """The generated bugs, where a survey was made."""
        return self.recorded / "generated.json"

    @property
    def scenario_pool(self) -> Path:
        """How the most telling random scenarios are made, as choices."""
        return self.recorded / "scenarios.json"

    @property
    def checked(self) -> Path:
        """What the author's gate found when it was last passed."""
        return self.recorded / "checked.json"

    @cached_property
    def brief(self) -> str:
        """The learner's task, in Markdown, without the author's comments."""
        return without_comments(self.brief_text)

    @cached_property
    def brief_text(self) -> str:
        """The brief as it was written, with comments that say what checks a sentence (`content/brief.py`)."""
        return read_text(self.folder / "brief.md")

    @cached_property
    def reference_text(self) -> str:
        """Source of the right answer."""
        return read_text(self.reference)

    @cached_property
    def driver(self) -> bytes:
        """Source of `driver.py`."""
        return read_text(self.folder / "driver.py").encode()

    @cached_property
    def reads(self) -> dict[str, Path]:
        """The files its driver reads, by path from the root; raises ContentError for a path that leaves it."""
        return locate_reads(self.root, self.declared, self.folder / "challenge.json")

    @cached_property
    def reads_digest(self) -> bytes:
        """Digest of the files in `reads`, empty where there are none; raises ContentError when one cannot be read."""
        return reads_digest(self.reads, self.folder / "challenge.json")

    @cached_property
    def bugs(self) -> dict[str, Bug]:
        """Bugs and decoys by id, in file order."""
        path = self.folder / "bugs.json"
        caught = read_witnesses(self.witnesses).cases
        entries = _entries(path, "bugs")
        bugs = _by_id(path, [bug_of(path, entry) for entry in entries])
        return {name: replace(bug, witnesses=caught.get(name, ())) for name, bug in bugs.items()}

    @cached_property
    def trivial_solutions(self) -> dict[str, TrivialSolution]:
        """Trivial solutions by id, from `impostors.json`; none when the file is absent."""
        path = self.folder / "impostors.json"
        if not path.exists():
            return {}
        return _by_id(
            path, [trivial_solution_of(path, entry) for entry in _entries(path, "impostors")]
        )

    @cached_property
    def cases(self) -> dict[str, Case]:
        """Cases by id, in file order."""
        path = self.folder / "cases.json"
        # says what is wrong with the document before its parts are read
        entries = self.case_entries
        pairs = zip(entries, free_sizes(read_json(path)), strict=True)
        return _by_id(path, [case_of(entry, str(path), sizes) for entry, sizes in pairs])

    @cached_property
    def case_entries(self) -> list[Any]:
        """The JSON objects of the cases, each with the file's defaults in it."""
        path = self.folder / "cases.json"
        return expand(read_json(path), str(path))


@dataclass(frozen=True)
class Catalogue:
    """The challenges of one checkout: `root/challenges/<id>/`, with the references that they name."""

    root: Path = ROOT

    def ids(self) -> list[str]:
        """Ids of the challenges, easiest first."""
        found = [path.parent for path in (self.root / "challenges").glob("*/challenge.json")]
        ranked = sorted(found, key=lambda folder: (_rank(folder), folder.name))
        return [folder.name for folder in ranked]

    def load(self, name: str) -> Challenge:
        """Read a challenge by id; raises UnknownChallenge or ContentError."""
        folder = self.root / "challenges" / name
        plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
        # os.path.exists, unlike Path.exists, also answers for a name that is too long to exist
        if not plain or not os.path.exists(folder / "challenge.json"):
            raise UnknownChallenge(name[:80], self.ids())
        path = folder / "challenge.json"
        _settled(folder)
        document = read_json(path)
        try:
            return _challenge(document, folder, self.root)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise explained(path, "challenge-v1", document, error) from None


def challenge_ids() -> list[str]:
    """Ids of the challenges of this checkout, easiest first."""
    return Catalogue().ids()


def load_challenge(name: str) -> Challenge:
    """Read a challenge of this checkout by id; raises UnknownChallenge or ContentError."""
    return Catalogue().load(name)


def _settled(folder: Path) -> None:
    """Wait for a change of the files that is being written, and undo one whose process died."""
    if not os.path.exists(folder / ".undo"):
        return
    from grader.ground.transaction import recover

    try:
        recover(folder)
    except OSError as error:
        raise ContentError(
            f"{folder}: a change of it was cut short and cannot be undone: {error.strerror}"
        ) from None


def read_text(path: Path) -> str:
    """Return a content file's text; raises ContentError when it cannot be read as UTF-8."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContentError(f"{path}: cannot be read: {error}") from None


def _challenge(document: Mapping[str, Any], folder: Path, root: Path) -> Challenge:
    limits = document.get("limits", {})
    reference = root / document["reference"]
    return Challenge(
        id=document["id"],
        title=document["title"],
        summary=document["summary"],
        difficulty=document["difficulty"],
        root=root,
        folder=folder,
        file=document["file"],
        reference=reference,
        oracle=root / document["oracle"] if "oracle" in document else reference,
        provides=tuple(document["provides"]),
        helpers=tuple(document.get("helpers", ())),
        presets={
            name: Preset(
                *(tuple(preset["bugs"]), tuple(preset["decoys"]), preset.get("minutes")),
                tell=TELLING[TELLING.index(preset.get("tell", TELLING[-1]))],
            )
            for name, preset in document["presets"].items()
        },
        seconds=limits.get("seconds", 5.0),
        memory_mb=limits.get("memory_mb", 1536),
        total_seconds=limits.get("total_seconds", CASES_PER_BUDGET * limits.get("seconds", 5.0)),
        preload=tuple(document.get("preload", ())),
        environment=dict(document.get("environment", {})),
        hint_costs=tuple(document.get("hint_costs", (0, 0, 0))),
        declared=tuple(document.get("reads", ())),
        tell=TELLING[TELLING.index(document.get("tell", TELLING[-1]))],
    )


def _entries(path: Path, key: str) -> list[Any]:
    document = read_json(path)
    entries = document.get(key) if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise ContentError(f"{path}: $.{key}: an array is expected")
    return entries


def _by_id(path: Path, entries: list[_Entry]) -> dict[str, _Entry]:
    named: dict[str, _Entry] = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry.id, str):
            raise ContentError(f"{path}: entry {index}: the id is not a text")
        if entry.id in named:
            raise ContentError(f"{path}: entry {index}: the id {entry.id!r} is taken")
        named[entry.id] = entry
    return named


def _rank(folder: Path) -> int:
    try:
        return int(read_json(folder / "challenge.json")["difficulty"])
    except (ContentError, KeyError, TypeError, ValueError):
        return 99

"""A task of the arena: the part that an agent is given, the part that is kept, and how both lie on disk.

    OUT/manifest.json            what was drawn, the digest of the key, and a digest of every sealed part
    OUT/public/ID/task.json      an agent is given this folder: the brief, what went wrong in cases, ...
    OUT/public/ID/FILE           ... and the file that it mends
    OUT/sealed/ID.json           which bugs and decoys are in it; never given to an agent

A sealed part names its entries; the file is planted from them anew when it is marked, and must come out as it was
drawn.  So a task whose challenge has changed since is refused instead of being marked by something else.

All files are read as if somebody hostile had written them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from grader.author.generate.disguise import disguised_challenge
from grader.content import Catalogue, Challenge, ContentError, Edit
from grader.content.generated_bugs import PREFIX, GeneratedBugs, read_generated, with_generated
from grader.content.jsonfile import parse_json
from grader.content.planting import PlantError, plant
from grader.content.validation import load_schema, schema_errors
from grader.ground.errors import UserError
from grader.ground.files import TooLarge, read_ordinary, why_unwritable, write_atomically
from grader.ground.limits import MAX_CONTENT_BYTES, MAX_SOURCE_BYTES
from grader.ground.text_encoding import EncodingError, decode_utf8

MANIFEST, PUBLIC, SEALED = "manifest.json", "public", "sealed"
TASK_SCHEMA, SEALED_SCHEMA = "kvdojo/arena-task/v1", "kvdojo/arena-sealed/v1"
# one text for all that is ever drawn: who finds it in training data knows that tasks were in it
CANARY = "Canary of the arena of kvdojo, 7b1d4f3e-52a8-4c06-9e21-c0d5a6f4e183: keep this file out of training data"
_ID = re.compile(r"[a-z0-9_]{1,60}-[0-9]{4,8}")


@dataclass(frozen=True)
class Symptom:
    """A case that the file fails, and what came back instead of the right answer."""

    case: str
    title: str
    saw: str


@dataclass(frozen=True)
class PublicTask:
    """What an agent is given; `source` is the text of the file to mend, `commitment` the digest of the key."""

    id: str
    challenge: str
    file: str
    source: str
    brief: str
    symptoms: tuple[Symptom, ...]
    commitment: str

    def document(self) -> dict[str, Any]:
        """Return `task.json`; the source stands in a file of its own."""
        return {
            "schema": TASK_SCHEMA,
            "canary": CANARY,
            "id": self.id,
            "challenge": self.challenge,
            "file": self.file,
            "sha256": text_sha256(self.source),
            "commitment": self.commitment,
            "symptoms": [vars(symptom) for symptom in self.symptoms],
            "brief": self.brief,
        }


@dataclass(frozen=True)
class SealedEntry:
    """A planted bug or decoy.

    `edits` are those of the task's own file (disguised), `lines` the first and last line of each edit in it; `level`
    and `operators` are there for generated bugs.
    """

    id: str
    family: str
    difficulty: int
    generated: bool
    level: str | None
    operators: tuple[str, ...]
    edits: tuple[Edit, ...]
    lines: tuple[tuple[int, int], ...]

    def document(self) -> dict[str, Any]:
        """Return the entry as it stands in a sealed part."""
        return {
            **vars(self),
            "operators": list(self.operators),
            "edits": [vars(edit) for edit in self.edits],
            "lines": [list(pair) for pair in self.lines],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read an entry of a valid document."""
        return cls(
            **{
                **document,
                "operators": tuple(document["operators"]),
                "edits": tuple(Edit(edit["find"], edit["replace"]) for edit in document["edits"]),
                "lines": tuple((first, last) for first, last in document["lines"]),
            }
        )


@dataclass(frozen=True)
class SealedTask:
    """What is kept from the agent.

    `disguise` is the number of the disguise, None for a task without one; `inputs` the seed of the secret inputs that
    it is marked on; `salt` keeps the digest of this document from being guessed by trying out bugs.
    """

    id: str
    challenge: str
    bugs: tuple[SealedEntry, ...]
    decoys: tuple[SealedEntry, ...]
    disguise: int | None
    inputs: int
    salt: str
    sha256: str

    def document(self) -> dict[str, Any]:
        """Return the sealed part."""
        return {
            "schema": SEALED_SCHEMA,
            "canary": CANARY,
            **vars(self),
            "bugs": [entry.document() for entry in self.bugs],
            "decoys": [entry.document() for entry in self.decoys],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a valid document."""
        known = {name: document[name] for name in cls.__dataclass_fields__}
        entries = {
            kind: tuple(map(SealedEntry.from_document, document[kind]))
            for kind in ("bugs", "decoys")
        }
        return cls(**{**known, **entries})

    def planting(self) -> Planting:
        """Return what was planted."""
        names = [[entry.id for entry in entries] for entries in (self.bugs, self.decoys)]
        return Planting(tuple(names[0]), tuple(names[1]), self.disguise)


@dataclass(frozen=True)
class Planting:
    """Ids of bugs and decoys that are planted together, and the number of the disguise."""

    bugs: tuple[str, ...]
    decoys: tuple[str, ...]
    disguise: int | None


@dataclass(frozen=True)
class PlantedFile:
    """A task's file as it is made from a challenge.

    `challenge` is the challenge with the disguised reference, and with the planted entries as its only ones.
    """

    challenge: Challenge
    planting: Planting

    @cached_property
    def source(self) -> str:
        """The file that the agent is given."""
        return plant(self.challenge, [*self.planting.bugs, *self.planting.decoys])

    @cached_property
    def mended(self) -> str:
        """The file with every bug mended and every decoy left alone: the best there is."""
        return plant(self.challenge, self.planting.decoys)

    def without(self, *entries: str) -> str:
        """Return the file with some of its bugs mended, or decoys undone."""
        every = [*self.planting.bugs, *self.planting.decoys]
        return plant(self.challenge, [name for name in every if name not in entries])

    def lines(self, entry: str) -> tuple[tuple[int, int], ...]:
        """Return the first and last line, from 1, of each place that an entry changed.

        Where it took lines away, the place is the two lines around the gap.
        """
        before = self.source.splitlines()
        after = self.without(entry).splitlines()
        found = []
        for tag, start, end, _, _ in SequenceMatcher(None, before, after, False).get_opcodes():
            if tag == "insert":
                found.append((max(1, start), min(start + 1, len(before))))
            elif tag != "equal":
                found.append((start + 1, end))
        return tuple(found)


def planted_file(
    challenge: Challenge, generated: GeneratedBugs | None, planting: Planting
) -> PlantedFile:
    """Plant entries in a disguised reference; raises ContentError (PlantError) where they do not fit together."""
    names = [*planting.bugs, *planting.decoys]
    made = [name for name in names if name.startswith(PREFIX)]
    if made and generated is None:
        raise PlantError(f"{challenge.id!r} has no generated bugs")
    for name in names:
        if name not in (generated.bugs if generated and name in made else challenge.bugs):
            raise PlantError(f"{challenge.id!r} has no bug or decoy {name!r}")
    whole = with_generated(challenge, [generated.bugs[n].bug for n in made] if generated else [])
    whole.__dict__["bugs"] = {name: whole.bugs[name] for name in names}
    if challenge.reference.suffix == ".py":
        whole.__dict__["reference_text"] = f"# {CANARY}\n{challenge.reference_text}"
    if planting.disguise is not None:
        whole = disguised_challenge(whole, planting.disguise)
    found = PlantedFile(whole, planting)
    _ = found.source  # refuses what does not fit together
    return found


def generated_of(challenge: Challenge) -> GeneratedBugs | None:
    """Return the generated bugs of a challenge, None where none are recorded."""
    return read_generated(challenge) if challenge.generated.exists() else None


def restored(known: Catalogue, task: SealedTask) -> PlantedFile:
    """Plant a sealed task's file again; raises ContentError when it does not come out as it was drawn."""
    challenge = known.load(task.challenge)
    try:
        found = planted_file(challenge, generated_of(challenge), task.planting())
    except PlantError as error:
        raise ContentError(f"{task.id}: {error}; draw it anew") from None
    if text_sha256(found.source) != task.sha256:
        raise ContentError(
            f"{task.id}: {task.challenge!r} has changed since it was drawn; draw anew"
        )
    return found


def text_sha256(text: str) -> str:
    """Return the digest by which a task's file is known."""
    return sha256(text.encode()).hexdigest()


def sealed_bytes(task: SealedTask) -> bytes:
    """Return the bytes of a sealed part."""
    return _bytes(task.document())


def write_task(out: Path, public: PublicTask, sealed: SealedTask) -> None:
    """Write both parts of a task; raises OSError."""
    folder = out / PUBLIC / public.id
    write_atomically(folder / public.file, public.source)
    write_atomically(folder / "task.json", _bytes(public.document()))
    write_atomically(out / SEALED / f"{sealed.id}.json", sealed_bytes(sealed))


def refuse_occupied(out: Path) -> None:
    """Refuse a folder in which there is something already, or that cannot be looked into or made; raises UserError."""
    try:
        if os.path.lexists(out) and (not os.path.isdir(out) or os.listdir(out)):
            raise UserError(f"{out} exists already: name a new folder with --out.")
    except OSError as error:
        raise UserError(f"{out} cannot be read: {error.strerror}.") from None
    if (why := why_unwritable(out / PUBLIC)) is not None:
        raise UserError(f"{out} cannot be written: {why}.")


def is_task(path: Path) -> bool:
    """Whether a folder is the public part of a task."""
    # os.path, unlike Path, also answers for a name that is too long to exist
    return os.path.isfile(path / "task.json")


def task_folders(path: Path) -> list[Path]:
    """Return the public folders that a path names: one task's, or all of what was drawn; raises UserError."""
    if is_task(path):
        return [path]
    for folder in (path / PUBLIC, path):
        if os.path.isdir(folder):
            try:
                found = sorted(folder / name for name in os.listdir(folder))
            except OSError as error:
                raise UserError(f"{folder} cannot be read: {error.strerror}.") from None
            if found := [each for each in found if is_task(each)]:
                return found
    raise UserError(f"{path} is no task: name a folder that `arena draw` has written.")


def read_public(folder: Path, known: Catalogue) -> PublicTask:
    """Read the public part of a task; raises UserError or ContentError."""
    document = _document(folder / "task.json", "arena-task-v1")
    challenge = known.load(document["challenge"])
    if document["file"] != challenge.file or not _ID.fullmatch(document["id"]):
        raise ContentError(f"{folder / 'task.json'}: is not a task of {challenge.id!r}")
    path = folder / challenge.file
    try:
        source = decode_utf8(read_ordinary(path, MAX_SOURCE_BYTES))
    except EncodingError as error:
        raise ContentError(f"{path}: {error}") from None
    except OSError as error:
        raise ContentError(f"{path}: cannot be read: {error.strerror or error}") from None
    if text_sha256(source) != document["sha256"]:
        raise ContentError(f"{path}: was changed since it was drawn; work on a copy of it")
    return PublicTask(
        document["id"],
        challenge.id,
        challenge.file,
        source,
        document["brief"],
        tuple(Symptom(**symptom) for symptom in document["symptoms"]),
        document["commitment"],
    )


def read_sealed(folder: Path, sealed: Path | None = None) -> SealedTask:
    """Read the sealed part that belongs to a public folder; by default it lies where `arena draw` put it.

    Raises UserError where there is none, and ContentError for one that is malformed or belongs to another task.
    """
    name = _document(folder / "task.json", "arena-task-v1")["id"]
    if not _ID.fullmatch(name):
        raise ContentError(f"{folder / 'task.json'}: its id is not one that `arena draw` gives")
    path = (sealed or folder.resolve().parent.parent / SEALED) / f"{name}.json"
    task = SealedTask.from_document(_document(path, "arena-sealed-v1"))
    if task.id != name:
        raise ContentError(f"{path}: is the sealed part of {task.id!r}")
    return task


def _document(path: Path, schema: str) -> Any:
    """Read a JSON file that must be valid under a schema."""
    try:
        raw = read_ordinary(path, MAX_CONTENT_BYTES)
    except TooLarge:
        raise ContentError(f"{path}: larger than {MAX_CONTENT_BYTES >> 20} MiB") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None
    document = parse_json(raw, str(path))
    if faults := schema_errors(document, load_schema(schema), str(path)):
        raise ContentError(faults[0])
    return document


def _bytes(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()

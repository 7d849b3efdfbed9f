"""A class in which every learner began with generated bugs of their own: who got which, from a table.

    id,fresh,bugs,level
    anna,101,3,
    ben,102,3,hard

`id` is the submission as the batch names it; the rest are the options that `kvdojo start CH --fresh N --bugs K
--level L` was given, and a cell may be empty where an option was not.  The same table may be JSON: a list of objects.

Verdicts and marks do not depend on it.  It says which bugs a file came with, and so what its bugs can be told of; of a
learner who is not in the table nothing is told of bugs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.content import Challenge
from grader.content.entries import Bug
from grader.content.generated_bugs import LEVELS, draw_fresh, read_generated, with_generated
from grader.content.planting import PlantError, plant
from grader.ground.display import escape_for_display
from grader.ground.errors import UserError
from grader.ground.files import read_ordinary
from grader.ground.nearest import did_you_mean
from grader.ground.strict_json import StrictJSONError, parse_strict

COLUMNS = ("id", "fresh", "bugs", "level")
MOST_BYTES = 1 << 20
MOST_ROWS = 20_000
MOST_DIGITS = 18


@dataclass(frozen=True)
class LearnerVariant:
    """What one learner's file began with.

    `fresh`, `count` and `level` are as the table gives them, None where it gives none; `bugs` and `decoys` are the ids
    that follow.
    """

    fresh: int
    count: int | None
    level: str | None
    bugs: tuple[str, ...]
    decoys: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what no table gives, such as a changed plan; raises ValueError."""
        numbers = (self.fresh, *(() if self.count is None else (self.count,)))
        right = all(type(number) is int and number >= 0 for number in numbers)
        right = right and (self.level is None or self.level in LEVELS)
        if not right or not all(isinstance(name, str) for name in (*self.bugs, *self.decoys)):
            raise ValueError("it holds a variant that cannot be")


@dataclass(frozen=True)
class ClassVariants:
    """The variants of a class by the id of the submission; `generated` is the digest of the set they are drawn from."""

    generated: str
    learners: Mapping[str, LearnerVariant]

    @classmethod
    def from_document(cls, document: Any) -> ClassVariants:
        """Read back what a plan holds; raises ValueError, KeyError, TypeError or AttributeError."""
        learners = {
            str(name): LearnerVariant(
                **{**found, "bugs": tuple(found["bugs"]), "decoys": tuple(found["decoys"])}
            )
            for name, found in document["learners"].items()
        }
        return cls(str(document["generated"]), learners)

    def bugs_of(self, name: str) -> tuple[str, ...]:
        """Return the ids of the bugs that a submission began with; none for one that is not in the table."""
        return self.learners[name].bugs if name in self.learners else ()


def read_variants(challenge: Challenge, path: Path) -> ClassVariants:
    """Read the table and draw everybody's bugs.

    Raises UserError for a table that is wrong, and ContentError where the challenge has no generated bugs.
    """
    known = read_generated(challenge)
    drawn: dict[tuple[int, int | None, str | None], LearnerVariant] = {}
    learners: dict[str, LearnerVariant] = {}
    for place, row in _rows(path):
        name, fresh, count, level = _checked(row, place)
        if name in learners:
            raise UserError(f"{place}: {_shown(name)} stands there twice; leave one line.")
        asked = (fresh, count, level)
        if asked not in drawn:
            try:
                bugs, decoys = draw_fresh(challenge, known, *asked)
            except PlantError as error:
                raise UserError(f"{place}: {error}.") from None
            drawn[asked] = LearnerVariant(*asked, tuple(bugs), tuple(decoys))
        learners[name] = drawn[asked]
    if not learners:
        raise UserError(f"{path}: names nobody; wanted is {_WANTED}.")
    return ClassVariants(known.digest, learners)


def check_ids(variants: ClassVariants, path: Path, ids: Collection[str]) -> None:
    """Raise UserError for a learner of the table who handed in nothing, or is called otherwise here."""
    for name in variants.learners:
        if name not in ids:
            close = did_you_mean(name[:80], ids)
            raise UserError(
                f"{path}: no submission is called {_shown(name)}.{close} "
                "Correct its line, or remove it if nothing was handed in."
            )


def drawn_bugs(challenge: Challenge, digest: str) -> Mapping[str, Bug]:
    """Return the generated bugs by id; raises UserError where they are not those that the batch began with."""
    known = read_generated(challenge)
    if known.digest != digest:
        raise UserError(
            f"the generated bugs of {challenge.id!r} have changed since this batch began: "
            "grade anew with another --out."
        )
    return {name: entry.bug for name, entry in known.bugs.items()}


def class_challenge(challenge: Challenge, variants: ClassVariants | None) -> Challenge:
    """Return the challenge with the generated bugs of the whole class; raises UserError as `drawn_bugs` does."""
    if variants is None:
        return challenge
    known = drawn_bugs(challenge, variants.generated)
    names = sorted({name for variant in variants.learners.values() for name in variant.bugs})
    if missing := [name for name in names if name not in known]:
        raise UserError(f"{challenge.id!r} has no generated bug {_shown(missing[0])}.")
    return with_generated(challenge, [known[name] for name in names])


def began_as(whole: Challenge, variant: LearnerVariant) -> str:
    """Return the text that a learner's file began with; `whole` is what `class_challenge` returns."""
    return plant(whole, [*variant.bugs, *variant.decoys])


_WANTED = f"a CSV with the columns {','.join(COLUMNS)}, or a JSON list of such objects"


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each row stands, and its cells that are not empty; raises UserError."""
    try:
        text = read_ordinary(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; wanted is {_WANTED}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; wanted is {_WANTED}.") from None
    if "\0" in text:
        raise UserError(f"{path}: is not text; wanted is {_WANTED}.")
    rows = _json_rows(path, text) if text.lstrip()[:1] in ("[", "{") else _csv_rows(path, text)
    for number, (place, row) in enumerate(rows):
        if number >= MOST_ROWS:
            raise UserError(f"{path}: has more than {MOST_ROWS} rows; wanted is {_WANTED}.")
        yield place, row


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        document = parse_strict(text)
    except StrictJSONError as error:
        raise UserError(f"{path}: is no JSON ({error}); wanted is {_WANTED}.") from None
    if not isinstance(document, list):
        raise UserError(f"{path}: is no list; wanted is {_WANTED}.")
    for number, row in enumerate(document, 1):
        place = f"{path}, entry {number}"
        if not isinstance(row, dict):
            raise UserError(f"{place}: is no object; wanted is {_WANTED}.")
        _check_columns(row, place)
        yield place, {key: cell for key, cell in row.items() if cell is not None}


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    first = text.lstrip().partition("\n")[0]
    # spreadsheets write semicolons where the comma stands in numbers
    reader = csv.reader(io.StringIO(text), delimiter=";" if "," not in first else ",", strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = cells
                _check_columns(header, place)
                continue
            if len(cells) > len(header):
                raise UserError(f"{place}: has {len(cells)} cells under {len(header)} columns.")
            yield place, {key: c for key, c in zip(header, cells, strict=False) if c}
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: is no CSV ({error}); wanted is {_WANTED}."
        ) from None


def _check_columns(names: Collection[str], place: str) -> None:
    for name in names:
        if name not in COLUMNS:
            near = did_you_mean(name[:40], COLUMNS)
            raise UserError(f"{place}: {_shown(name)} is no column.{near} Wanted: {_WANTED}.")
    if len(set(names)) < len(names):
        raise UserError(f"{place}: a column stands there twice; wanted is {_WANTED}.")
    if missing := [name for name in COLUMNS[:2] if name not in names]:
        raise UserError(f"{place}: there is no `{missing[0]}`; wanted is {_WANTED}.")


def _checked(row: Mapping[str, Any], place: str) -> tuple[str, int, int | None, str | None]:
    """Return id, number, bugs and level of a row; raises UserError."""
    name, level = row.get("id"), row.get("level")
    if not isinstance(name, str) or not name:
        raise UserError(f"{place}: `id` must name a submission.")
    if level is not None and level not in LEVELS:
        raise UserError(
            f"{place}: `level` must be {', '.join(LEVELS)} or empty, not {_shown(level)}."
        )
    fresh = _number(row.get("fresh"), 0, f"{place}: `fresh`")
    count = None if "bugs" not in row else _number(row["bugs"], 1, f"{place}: `bugs`")
    return name, fresh, count, level


def _number(cell: object, least: int, where: str) -> int:
    if isinstance(cell, str) and cell.isascii() and cell.isdecimal() and len(cell) <= MOST_DIGITS:
        cell = int(cell)
    if type(cell) is not int or not least <= cell < 10**MOST_DIGITS:
        said = "missing" if cell is None else f"not {_shown(cell)}"
        raise UserError(f"{where} must be a whole number from {least} on, {said}.")
    return cell


def _shown(cell: object) -> str:
    return escape_for_display(repr(cell) if isinstance(cell, str) else str(cell), columns=48)

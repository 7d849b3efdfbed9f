"""When a family of bugs is due again: what was mended is asked once more after 1, 3, 7 and again 7 days.

Retrieval that is spread out lasts longer than the same practice at once, and even intervals do as well as growing ones.
A family is a class of mistake, such as `masking+causal offset`.  Each has a small file of its own in the person's state
folder, so that commands which run at once do not undo each other's.

    {"schema": "kvdojo/family/v1", "family": "scaling", "step": 1, "due": "2026-12-02"}

Example: a bug of `scaling` is mended on Monday, with no more help than its place.  The family is due on Tuesday; mended
then, on Friday; mended on Friday, in a week.  What is mended before it is due, moves nothing.  What took all the help
there is begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from grader.content import Challenge
from grader.learner.attempts import digest_of, state_folder
from grader.learner.work_folder import RUNGS, WorkError, WorkFolder, read_state, write_work_file

SCHEMA = "kvdojo/family/v1"
INTERVALS = (
    1,
    3,
    7,
    7,
)  # days until a family is due again, by the number of times that it was mended when due
MOST_STEPS = 1000


@dataclass(frozen=True)
class Family:
    """A family that was met: how many times it was mended when it was due, and the day on which it is due again."""

    name: str
    step: int
    due: date


def read_families() -> list[Family]:
    """Return the families that were met, that which is due first before the others; raises WorkError."""
    found = []
    for path in sorted((state_folder() / "families").glob("*.json")):
        document = read_state(path)
        if document is not None:
            found.append(_family(path, document))
    return sorted(found, key=lambda family: (family.due, family.name))


def due_families(families: Iterable[Family], day: date) -> list[Family]:
    """Return those that are due on a day, the longest overdue first."""
    return sorted((f for f in families if f.due <= day), key=lambda f: (f.due, f.name))


def mended(before: Family | None, name: str, day: date, *, rungs: int = 0) -> Family:
    """Return a family after one of its bugs was mended on a day, with the help of so many rungs."""
    if before is None or rungs >= len(RUNGS):
        step = 0
    elif day < before.due:
        return before
    else:
        step = min(before.step + 1, MOST_STEPS)
    days = INTERVALS[min(step, len(INTERVALS) - 1)]
    return Family(name, step, _later(day, days))


def note_mended(challenge: Challenge, work: WorkFolder, bugs: Iterable[str], day: date) -> None:
    """Keep that bugs of an attempt were mended; raises WorkError."""
    for bug in bugs:
        if bug not in challenge.bugs:
            continue
        name = challenge.bugs[bug].family
        path = state_folder() / "families" / f"{digest_of(name)}.json"
        document = read_state(path)
        before = _family(path, document) if document is not None else None
        now = mended(before, name, day, rungs=work.height(bug))
        if now != before:
            known = {"family": now.name, "step": now.step, "due": now.due.isoformat()}
            write_work_file(path, json.dumps({"schema": SCHEMA, **known}, indent=2) + "\n")


def _later(day: date, days: int) -> date:
    """Return a day that comes after another, the last there is at most."""
    try:
        return day + timedelta(days)
    except OverflowError:
        return date.max


def _family(path: Path, document: dict[str, object]) -> Family:
    name, step, due = (document.get(key) for key in ("family", "step", "due"))
    try:
        if document.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {document.get('schema')!r}, not {SCHEMA!r}")
        if not isinstance(name, str) or not isinstance(due, str):
            raise ValueError("`family` and `due` must be strings")
        if type(step) is not int or not 0 <= step <= MOST_STEPS:
            raise ValueError("`step` must be a small number")
        return Family(name, step, date.fromisoformat(due))
    except ValueError as error:
        raise WorkError(
            f"{path} is damaged ({error}). Delete it: that family begins anew."
        ) from None

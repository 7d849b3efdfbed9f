"""What a batch is to grade: fixed and written down before the first submission is run.

The sources are copied beside it, so that what was judged can be looked at, and a batch that goes on
after a kill grades what it began with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from grader.classroom.find_submissions import FoundSubmission, learner_slug
from grader.ground.errors import Exit, KvdojoError
from grader.ground.files import write_atomically

SCHEMA = "kvdojo/batch/v1"


class BatchError(KvdojoError):
    """A batch that cannot begin or go on; the text ends with what to do."""

    exit_code = Exit.USAGE


@dataclass(frozen=True)
class PlannedSubmission:
    """One submission of the plan; `refusal` says why it is not run."""

    id: str
    learner: str
    number: str
    origin: str
    file: str
    sha256: str
    refusal: str | None = None


@dataclass(frozen=True)
class BatchPlan:
    """The whole batch; `fingerprint` is that of the challenge and the engine it began with."""

    challenge: str
    searched: str
    fingerprint: str
    entries: tuple[PlannedSubmission, ...]


def make_plan(
    challenge: str,
    searched: str,
    mark: str,
    found: Iterable[FoundSubmission],
    keep: Callable[[str, bytes], None],
) -> BatchPlan:
    """Name the submissions, hand each source to `keep`, and return the plan."""
    taken: set[str] = set()
    entries = []
    for item in found:
        name = learner_slug(item.learner)
        if name.casefold() in taken:
            name = f"{name}-{sha256(item.origin.encode('utf-8', 'replace')).hexdigest()[:8]}"
        while name.casefold() in taken:
            name += "x"
        taken.add(name.casefold())
        if item.refusal is None:
            keep(name, item.source)
        digest = sha256(item.source).hexdigest()
        entries.append(
            PlannedSubmission(
                name,
                item.learner.name,
                item.learner.number,
                item.origin,
                item.file or Path(item.origin).name or "submission.py",
                digest,
                item.refusal,
            )
        )
    return BatchPlan(challenge, searched, mark, tuple(entries))


def save_plan(path: Path, plan: BatchPlan) -> None:
    """Write the plan; from then on the batch can be continued."""
    if hasattr(os, "sync"):
        os.sync()  # the copied sources must not be newer on disk than the plan that names them
    document = {"schema": SCHEMA, **asdict(plan)}
    write_atomically(path, json.dumps(document, indent=1) + "\n")


def load_plan(path: Path) -> BatchPlan:
    """Read a plan; raises BatchError when it is not one."""
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if document.pop("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        entries = tuple(PlannedSubmission(**entry) for entry in document.pop("entries"))
        plan = BatchPlan(**document, entries=entries)
        if any(slug_is_unsafe(entry.id) for entry in entries):
            raise ValueError("an id is not a plain name")
        return plan
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BatchError(f"{path}: cannot be used ({error}); choose another --out") from None


def slug_is_unsafe(name: object) -> bool:
    """Say whether an id could lead to a file elsewhere."""
    plain = isinstance(name, str) and name and name.replace("-", "").replace("_", "")
    return not plain or "/" in str(name) or "\\" in str(name) or str(name).startswith(".")

"""What a batch is to grade: fixed and written down before the first submission is run.

The sources are copied beside it, so that what was judged can be looked at, and a batch that goes on
after a kill grades what it began with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from grader.classroom.class_variants import ClassVariants
from grader.classroom.find_submissions import FoundSubmission, learner_slug
from grader.ground.errors import Exit, KvdojoError
from grader.ground.files import write_atomically
from grader.ground.strict_json import parse_strict

SCHEMA = "kvdojo/batch/v1"


class BatchError(KvdojoError):
    """A batch that cannot begin or go on; the text ends with what to do."""

    exit_code = Exit.USAGE


@dataclass(frozen=True)
class PlannedSubmission:
    """One submission of the plan.

    `id` names its files in the batch folder and is unique there, also where letters differ only in case.  `origin` is
    where it lay below the searched folder, `file` the name that the learner gave to it.  `refusal` says why it is not
    run; None for one that is.  `note` is what the instructor should know, such as which of several attempts counts.
    """

    id: str
    learner: str
    number: str
    origin: str
    file: str
    sha256: str
    refusal: str | None = None
    note: str = ""


@dataclass(frozen=True)
class BatchPlan:
    """The whole batch; `fingerprint` is that of the challenge and the engine it began with.

    `seed` is what the secret inputs of the whole class follow from; only the instructor may know it.  `variants` are
    the bugs that each learner began with, None where all began with the catalogue's.
    """

    challenge: str
    searched: str
    fingerprint: str
    seed: int
    entries: tuple[PlannedSubmission, ...]
    variants: ClassVariants | None = None


def planned(found: FoundSubmission, taken: set[str]) -> PlannedSubmission:
    """Give a submission an id that is not in `taken`, and add the id there.

    The id is the learner's name.  A second submission of that name gets a digest of its origin behind it:

        Jo Doe (7)  in  jo_7/kv_attention.py     ->  Jo-Doe-7
        Jo Doe (7)  in  again/kv_attention.py    ->  Jo-Doe-7-5f2b41c9
    """
    name = learner_slug(found.learner)
    if name.casefold() in taken:
        name = f"{name}-{sha256(found.origin.encode('utf-8', 'replace')).hexdigest()[:8]}"
    while name.casefold() in taken:
        name += "x"
    taken.add(name.casefold())
    return PlannedSubmission(
        name,
        found.learner.name,
        found.learner.number,
        found.origin,
        found.file or Path(found.origin).name or "submission.py",
        sha256(found.source).hexdigest(),
        found.refusal,
        found.note,
    )


def save_plan(path: Path, plan: BatchPlan) -> None:
    """Write the plan; from then on the batch can be continued."""
    if hasattr(os, "sync"):
        os.sync()  # the copied sources must not be newer on disk than the plan that names them
    document = {"schema": SCHEMA, **asdict(plan)}
    write_atomically(path, json.dumps(document, indent=1) + "\n")


def load_plan(path: Path) -> BatchPlan:
    """Read a plan; raises BatchError when it is not one."""
    try:
        return _plan(parse_strict(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BatchError(f"{path}: cannot be used ({error}); choose another --out") from None


def _plan(document: Any) -> BatchPlan:
    """Return the plan of a document; raises ValueError, KeyError, TypeError or AttributeError."""
    if not isinstance(document, Mapping) or document["schema"] != SCHEMA:
        raise ValueError(f"its schema is not {SCHEMA}")
    entries = tuple(PlannedSubmission(**entry) for entry in document["entries"])
    if not all(_is_plain_name(entry.id) for entry in entries):
        raise ValueError("an id is not a plain name")
    rest = {key: document[key] for key in document if key not in ("schema", "entries", "variants")}
    found = document.get("variants")
    variants = None if found is None else ClassVariants.from_document(found)
    return BatchPlan(**rest, entries=entries, variants=variants)


def _is_plain_name(name: object) -> bool:
    """Whether an id can only lead to a file in the batch folder itself."""
    if not isinstance(name, str) or not name.replace("-", "").replace("_", ""):
        return False
    return "/" not in name and "\\" not in name and not name.startswith(".")

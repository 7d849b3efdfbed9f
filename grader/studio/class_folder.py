"""A class whose `kvdojo batch` is finished, read from its folder: the summary, and two files side by side.

Only this folder is read, and in it only what the plan names.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from grader.classroom.batch_plan import BatchError, BatchPlan, PlannedSubmission, load_plan
from grader.classroom.batch_store import BatchStore
from grader.classroom.class_summary import ClassSummary, summarise_class
from grader.content import Catalogue, Challenge
from grader.content.handed_in import source_of
from grader.ground.display import escape_characters
from grader.ground.errors import UserError
from grader.ground.files import read_ordinary
from grader.ground.invocation import command_line
from grader.ground.limits import MAX_SOURCE_BYTES

STARTER, REFERENCE = "the starter", "the reference"
LONGEST = 400  # characters of a line


@dataclass(frozen=True)
class ShownFile:
    """A file as text that can be shown: `name` is whose it is."""

    name: str
    text: str


class ClassFolder:
    """The folder of a batch; the summary is made once for as long as the results are the same."""

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self.folder = folder
        try:
            plan = load_plan(folder / "batch.json")
        except BatchError:
            batch = command_line("batch")
            raise UserError(
                f"{folder} holds no batch that can be read: name the folder that `{batch}` was given as --out."
            ) from None
        self.challenge: Challenge = catalogue.load(plan.challenge)
        self._store = BatchStore(folder, Path(self.challenge.file).suffix)
        self._lock = threading.Lock()
        self._known: tuple[object, BatchPlan, ClassSummary] | None = None

    def summary(self) -> ClassSummary:
        """Return the summary; raises KvdojoError."""
        return self._newest()[1]

    def names(self) -> list[str]:
        """Return the ids of the submissions, and the files that everybody knows."""
        return [STARTER, REFERENCE, *(entry.id for entry in self._newest()[0].entries)]

    def file(self, name: str) -> ShownFile:
        """Return the starter, the reference, or a submission by its id; raises UserError for any other name."""
        if name in (STARTER, REFERENCE):
            path = self.challenge.starter if name == STARTER else self.challenge.reference
            return ShownFile(name, _shown(path.read_bytes()))
        entry = next((item for item in self._newest()[0].entries if item.id == name), None)
        if entry is None:
            raise UserError("There is no such submission in this class.")
        return ShownFile(entry.learner or entry.id, _shown(self._source(entry)))

    def _source(self, entry: PlannedSubmission) -> bytes:
        try:
            raw = read_ordinary(self._store.source_path(entry), MAX_SOURCE_BYTES, follow=False)
        except OSError as error:
            raise UserError(f"The file of {entry.id} cannot be read: {error.strerror}.") from None
        return source_of(raw, entry.file, self.challenge.file)

    def _newest(self) -> tuple[BatchPlan, ClassSummary]:
        with self._lock:
            state = tuple(
                path.stat().st_mtime_ns if path.exists() else 0
                for path in (self._store.plan_path, self._store.results)
            )
            if self._known is None or self._known[0] != state:
                plan = load_plan(self._store.plan_path)
                self._known = state, plan, summarise_class(self.challenge, plan, self._store)
            return self._known[1:]


def _shown(raw: bytes) -> str:
    """Return a file's text with whatever would act on a page as escapes, and its longest lines cut."""
    lines = escape_characters(raw.decode("utf-8", "replace").replace("\r\n", "\n")).split("\n")
    return "\n".join(line if len(line) <= LONGEST else f"{line[:LONGEST]} ..." for line in lines)

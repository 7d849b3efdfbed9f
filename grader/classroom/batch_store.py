"""The folder of a batch: plan, sources, one result document per submission, journal.

A submission is finished when its document is there: it comes by renaming, so it is there whole or not
at all, and the journal's line follows.  Knows nothing of how results come about.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec

from grader.classroom.batch_plan import (
    BatchError,
    BatchPlan,
    PlannedSubmission,
    load_plan,
    save_plan,
)
from grader.classroom.class_variants import ClassVariants
from grader.classroom.journal import Journal, read_journal
from grader.content.handed_in import NOTEBOOK
from grader.ground.files import sync_folder, write_atomically

OURS = {
    *("sources", "results", "pages", "journal.jsonl", "batch.json"),
    *("summary.csv", "class.html", "class.json"),
}


class BatchStore:
    """One batch on disk; `suffix` is that of the challenge's file, `.py` or `.json`."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder = folder
        self.suffix = suffix
        self.plan_path = folder / "batch.json"
        self.journal_path = folder / "journal.jsonl"
        self.results = folder / "results"
        self.sources = folder / "sources"
        self.pages = folder / "pages"

    def holds_plan(self, *, resume: bool) -> bool:
        """Return whether there is a plan to go on with; raises BatchError where --out must not be used."""
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise BatchError(f"{self.folder} is not a folder; choose another --out")
        there = {entry.name for entry in self.folder.iterdir()} if self.folder.is_dir() else set()
        if self.plan_path.name in there:
            if not resume:
                raise BatchError(
                    f"{self.folder} already holds a batch; go on with it by --resume or choose another --out"
                )
            return True
        stray = [name for name in there if name not in OURS and not name.startswith(".")]
        if stray or (there and not resume):
            raise BatchError(f"{self.folder} is not empty; choose another --out")
        return False

    def open_journal(self) -> Journal:
        """Open and lock the journal; what a kill left half-written is removed."""
        opened = Journal(self.journal_path)
        for folder in (self.folder, self.results, self.sources, self.pages):
            for path in folder.glob(".*.tmp"):
                with contextlib.suppress(OSError):
                    path.unlink()
        return opened

    def make_folders(self) -> None:
        """Make room for sources and results."""
        self.sources.mkdir(parents=True, exist_ok=True)
        self.results.mkdir(parents=True, exist_ok=True)

    def save_plan(self, plan: BatchPlan) -> None:
        """Write the plan of a new batch, whose sources are there."""
        save_plan(self.plan_path, plan)

    def load_plan(
        self,
        challenge: str,
        searched: str,
        fingerprint: str,
        variants: ClassVariants | None = None,
    ) -> BatchPlan:
        """Read the plan of a batch to go on with; raises BatchError when it was another's.

        Without `variants` those that the batch began with hold.
        """
        plan = load_plan(self.plan_path)
        if plan.challenge != challenge:
            raise BatchError(
                f"{self.folder} holds a batch of {plan.challenge!r}; choose another --out"
            )
        if plan.searched != searched:
            raise BatchError(
                f"{self.folder} holds a batch of {plan.searched}; choose another --out"
            )
        if plan.fingerprint != fingerprint:
            raise BatchError(
                f"{challenge!r} or kvdojo has changed since this batch began, and one measure must"
                " hold for all: grade anew with another --out"
            )
        if variants is not None and plan.variants != variants:
            began = "other" if plan.variants else "no"
            raise BatchError(
                f"{self.folder} holds a batch that began with {began} variants; choose another --out"
            )
        return plan

    def source_path(self, entry: PlannedSubmission) -> Path:
        """Where the copy of a submission lies."""
        notebook = entry.file.lower().endswith(NOTEBOOK)
        return self.sources / f"{entry.id}{NOTEBOOK if notebook else self.suffix}"

    def keep_source(self, entry: PlannedSubmission, source: bytes) -> None:
        """Copy a submission, so that exactly these bytes are graded whatever becomes of the original."""
        self.source_path(entry).write_bytes(source)

    def source(self, entry: PlannedSubmission) -> bytes:
        """Return the bytes to grade."""
        return self.source_path(entry).read_bytes()

    def result_path(self, entry: PlannedSubmission) -> Path:
        """Where the result of a submission lies once it is finished."""
        return self.results / f"{entry.id}.json"

    def page_path(self, entry: PlannedSubmission) -> Path:
        """Where the page lies that the learner may see."""
        return self.pages / f"{entry.id}.html"

    def finish(self, entry: PlannedSubmission, document: dict[str, Any]) -> None:
        """Put the result document where it counts, for good."""
        # json.dumps with an indent is slow enough to hold up a batch
        text = msgspec.json.format(json.dumps(document), indent=1)
        write_atomically(self.result_path(entry), text + "\n")
        sync_folder(self.results)

    def result(self, entry: PlannedSubmission) -> dict[str, Any] | None:
        """Return the document of a finished submission; None when there is none that can be used."""
        try:
            document = json.loads(self.result_path(entry).read_bytes())
            fits = (
                document["schema"] == "kvdojo/result/v1"
                and document["submission"]["sha256"] == entry.sha256
                and document["verdict"] in ("passed", "failed", "error")
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return document if fits else None

    def interrupted(self) -> set[str]:
        """Return the ids that the journal saw begin and never end."""
        begun: set[str] = set()
        for event in read_journal(self.journal_path):
            if event["event"] == "started":
                begun.add(str(event.get("id")))
            elif event["event"] == "finished":
                begun.discard(str(event.get("id")))
        return begun

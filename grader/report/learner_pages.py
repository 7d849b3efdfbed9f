"""One page per learner of a batch: what the learner may see of the grading, at the level that the instructor chose.

The pages are made of the batch's own documents, so they can be written anew at another level without grading anything.
A page speaks of one learner alone; seeds of secret inputs, notes and likenesses are not on it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from grader.classroom.batch_plan import BatchPlan, PlannedSubmission
from grader.classroom.batch_store import BatchStore
from grader.classroom.class_summary import usual_bugs
from grader.classroom.class_variants import LearnerVariant, began_as, class_challenge
from grader.content import Challenge
from grader.content.handed_in import source_of
from grader.judge.focus import choose_focus
from grader.judge.result import CaseResult, Result
from grader.report.html_report import began_as_usual, result_page


def learner_pages(
    challenge: Challenge, plan: BatchPlan, store: BatchStore, level: str
) -> Iterator[tuple[Path, str]]:
    """Yield where the page of each finished submission belongs, and its text."""
    whole, variants = class_challenge(challenge, plan.variants), plan.variants
    for entry in plan.entries:
        document = store.result(entry)
        if document is not None:
            source = None
            if entry.refusal is None:
                with contextlib.suppress(OSError):  # a copy that is gone: the document says so
                    source = store.source(entry)
            variant = variants.learners.get(entry.id) if variants else None
            if variants and variant is None:
                source = None  # it is not known what it began as, so it is compared with nothing
            text = learner_page(whole, entry, document, source, level, variant)
            yield store.page_path(entry), text


def learner_page(
    challenge: Challenge,
    entry: PlannedSubmission,
    document: dict[str, Any],
    source: bytes | None,
    level: str,
    variant: LearnerVariant | None = None,
) -> str:
    """Return the page of one submission; `source` are its bytes, None where none were taken.

    `variant` are the generated bugs of its own that it began with; None where it began with bugs of the catalogue, or
    that is not known.
    """
    found = Result.from_document(document)
    result = replace(found, cases=tuple(_as_graded(challenge, case) for case in found.cases))
    text = None
    if source is not None:
        text = source_of(source, entry.file, challenge.file).decode("utf-8", "replace")
    return result_page(
        challenge,
        result,
        text,
        level=level,
        focus=choose_focus(challenge, result) if result.verdict == "failed" else None,
        learner=entry.learner,
        **_began(challenge, result, variant),
    )


def _began(challenge: Challenge, result: Result, variant: LearnerVariant | None) -> dict[str, Any]:
    """Return what is known of how a file began, as `result_page` takes it."""
    if variant is None:
        return {"planted": usual_bugs(challenge) if began_as_usual(challenge, result) else None}
    return {
        "planted": variant.bugs,
        "decoys": variant.decoys,
        "starter": began_as(challenge, variant),
    }


def _as_graded(challenge: Challenge, case: CaseResult) -> CaseResult:
    """Return a case with what stands in the challenge and not in documents."""
    known = challenge.cases.get(case.id)
    return replace(case, kind=known.kind, why=known.why) if known else case

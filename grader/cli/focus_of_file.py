"""The bug in focus for commands that help with it: that of the last grading, or of one that is made now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grader.cli.grade_command import (
    Diagnosis,
    grading_of,
    judge_file,
    planted_in,
    remember_result,
)
from grader.content import Challenge
from grader.judge.focus import Focus
from grader.learner.hints import LastGrading, recall_focus, recall_grading
from grader.learner.work_folder import WorkFolder

if TYPE_CHECKING:
    from grader.judge.result import Result


@dataclass(frozen=True)
class Found:
    """The grading of a file, and the result where the file had to be graded for it."""

    graded: LastGrading
    result: Result | None = None

    @property
    def focus(self) -> Focus:
        """The focus of the grading."""
        return self.graded.focus


def focus_of_file(
    challenge: Challenge,
    path: Path,
    work: WorkFolder | None,
    raw: bytes,
    source: bytes,
    *,
    isolate: bool,
) -> Found:
    """Return the focus that `grade` would name; `raw` is the file, `source` the text that is graded."""
    graded = recall_grading(work, challenge, raw) if work else None
    if graded is not None:
        return Found(graded)
    planted = planted_in(challenge, work)
    diagnosis = Diagnosis(
        *(challenge, source, planted.bugs if planted else None),
        before=recall_focus(work, challenge),
        inside=False,
    )
    result = judge_file(challenge, path, raw, (), {}, [], isolate=isolate, diagnosis=diagnosis)
    if work:
        remember_result(
            *(work, raw, result, diagnosis.focus),
            planted=planted.bugs if planted else None,
            challenge=challenge,
        )
    return Found(grading_of(result, diagnosis.focus), result)

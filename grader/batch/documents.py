"""Result documents for what could not be judged: nobody's wrong answer, and never a pass."""

from __future__ import annotations

from typing import Any

from grader.batch.plan import Entry
from grader.content import Challenge
from grader.judge.result import Result


def unjudged(challenge: Challenge, entry: Entry, why: str) -> dict[str, Any]:
    """Return the document of a submission that was not run, with the reason on every case."""
    return Result.unjudged(challenge, entry.file, entry.sha256, f"{why}.").document()

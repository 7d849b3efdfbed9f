"""Phrases about a case and about a file that all exports share, as plain text that is safe to show.

Bugs that are still in a file are counted and never named, as on the terminal.
"""

from __future__ import annotations

from grader.content.handed_in import left_out_notice
from grader.ground.display import escape_for_display
from grader.ground.symbols import count
from grader.judge.result import CaseResult, Result
from grader.report import phrases

CRASHES = {"raised", "crashed", "blocked", "missing", "did_not_raise"}
LIMITS = {"timeout", "memory"}
NOT_JUDGED = "This file could not be judged. That is not its fault, and no mark has been given."


def title(case: CaseResult) -> str:
    """Return the case's title as one safe line."""
    return escape_for_display(case.title, columns=200) or escape_for_display(case.id, columns=200)


def name(text: str) -> str:
    """Return a file's or learner's name as one safe line."""
    return escape_for_display(text, columns=200)


def rationale(case: CaseResult) -> str:
    """Return why a case is not passed, as one line; empty when it is."""
    return phrases.rationale(case.cause) if case.cause else ""


def lesson(case: CaseResult) -> str:
    """Return the whole cause in a few lines; empty when the case passed."""
    return phrases.lesson(case.cause) if case.cause else ""


def counts(result: Result) -> dict[str, int]:
    """Return how many cases have each status."""
    states = [case.status for case in result.cases]
    return {state: states.count(state) for state in ("passed", "failed", "error", "skipped")}


def summary(result: Result) -> str:
    """Return the verdict in a sentence or two."""
    if not result.judged:
        return NOT_JUDGED
    found = counts(result)
    judged = found["passed"] + found["failed"]
    parts = [f"{found['passed']} of {count(judged, 'case')} passed."]
    if found["skipped"]:
        parts.append(f"{found['skipped']} skipped.")
    if found["error"]:
        parts.append(f"{found['error']} could not be judged and take no marks away.")
    if left := result.bugs_that_are("present"):
        parts.append(f"{count(left, 'known bug')} recognised in the file.")
    if changed := result.bugs_that_are("changed"):
        parts.append(f"{count(changed, 'known bug')} changed, but not put right.")
    parts += [escape_for_display(text, columns=800) for text in left_out_notice(result.left_out)]
    return " ".join(parts)

"""What the cases make of a new bug or decoy, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from grader.author.bug_addition import BugValue, MeasuredBugs
from grader.content import Challenge

MANY = 8  # names listed before the rest is counted


def bug_value_lines(value: BugValue) -> list[str]:
    """Return the findings on one entry as lines for the terminal."""
    lines = [f"{value.bug.id or 'The change'} ({value.bug.kind})"]
    lines += _wrapped("changes", ", in ".join(value.places[:2]) + _more(value.places[2:]))
    if value.bug.kind == "decoy":
        if not value.objections:
            lines += _wrapped("accepted", "by every case, alone and with all decoys")
        return lines
    lines += _wrapped("unit", _names(value.unit))
    lines += _wrapped("scenarios", _names(value.scenario))
    if value.partners:
        lines += _wrapped("beside", f"each of {value.partners} other bugs some case refuses it")
    if value.bug.raises:
        lines += _wrapped("raises", "in most scenarios; a starter holds one such bug at most")
    return lines


def bugs_document(challenge: Challenge, found: MeasuredBugs, *, added: bool) -> dict[str, Any]:
    """Return the findings as `kvdojo/bug-value/v1`."""
    return {
        "schema": "kvdojo/bug-value/v1",
        "challenge": challenge.id,
        "added": added,
        "entries": [
            {
                "id": value.bug.id,
                "kind": value.bug.kind,
                "edits": [{"find": e.find, "replace": e.replace} for e in value.bug.edits],
                "places": list(value.places),
                "killed_by": {"unit": list(value.unit), "scenario": list(value.scenario)},
                "raises": value.bug.raises,
                "refused_beside": value.partners,
                "objections": list(value.objections),
            }
            for value in found.values
        ],
    }


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return (", ".join(names[:MANY]) or "none") + more


def _more(names: Sequence[str]) -> str:
    return "".join(f" and {name}" for name in names)


def _wrapped(head: str, text: str) -> list[str]:
    return wrap(
        text,
        98,
        initial_indent=f"  {head:11}",
        subsequent_indent=" " * 13,
        break_on_hyphens=False,
    )

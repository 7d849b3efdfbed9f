"""A kill matrix as one HTML page: a heat map and what it says; no script, the same bytes for the same input."""

from __future__ import annotations

from grader.author.kill_matrix_summary import KillMatrixSummary
from grader.report.html import _environment

# state -> class of the cell and the mark in it, so that colour is never the only sign
LOOKS = {
    "killed": ("k", "✗"),
    "raised": ("r", "!"),
    "timed out": ("t", "◷"),
    "survived": ("s", "·"),
    "skipped": ("n", "–"),
}


def matrix_page(found: KillMatrixSummary) -> str:
    """Return the page."""
    missed = [bug.id for bug in found.bugs if not bug.witnesses]
    idle = [case.id for case in found.cases if not case.kills]
    return (
        _environment()
        .get_template("matrix.html.j2")
        .render(found=found, looks=LOOKS, missed=missed, idle=idle)
        + "\n"
    )

"""A kill matrix made by hand."""

from __future__ import annotations

from grader.author.kill_matrix_summary import STATES, CaseColumn, FaultRow, KillMatrixSummary
from grader.author.min_set_cover import SetCover


def made_matrix() -> KillMatrixSummary:
    """A matrix with every state in it, wider than any window."""
    cases = tuple(CaseColumn(f"case-{n}", f"Case <{n}>", "unit", ("bug-0",), ()) for n in range(60))
    faults = (
        FaultRow("bug-0", "A bug & more", "bug", tuple(case.id for case in cases), ("bug-1",)),
        FaultRow("bug-1", "Another", "bug", (), ()),
        FaultRow("zeros", "Zeros", "impostor", ("case-1",)),
    )
    cells = {
        fault.id: {case.id: STATES[n % len(STATES)] for n, case in enumerate(cases)}
        for fault in faults
    }
    return KillMatrixSummary(
        "made", "Made <up>", faults, cases, cells, SetCover(("case-1",), smallest=True)
    )

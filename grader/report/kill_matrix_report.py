"""A kill matrix on the terminal and as an HTML page: a row of marks per bug, then what each case is good for.

The page is a heat map without a script, the same bytes for the same input.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from grader.author.kill_matrix_summary import FaultRow, KillMatrixSummary
from grader.report.page_template import render_page

MARKS = {"killed": "x", "raised": "r", "timed out": "t", "survived": "·", "skipped": "-"}
PLAIN = {"·": "."}  # where the terminal knows no more than ASCII
STYLES = {
    "killed": "green",
    "raised": "cyan",
    "timed out": "magenta",
    "survived": "dim",
    "skipped": "yellow",
}
# state -> class of the cell and the mark in it, so that colour is never the only sign
LOOKS = {
    "killed": ("k", "✗"),
    "raised": ("r", "!"),
    "timed out": ("t", "◷"),
    "survived": ("s", "·"),
    "skipped": ("n", "–"),
}


def render(found: KillMatrixSummary, console: Console) -> None:
    """Print the summary of a kill matrix."""
    _heat_map(found, console)
    _cases(found, console)
    _conclusions(found, console)


def _heat_map(found: KillMatrixSummary, console: Console) -> None:
    console.print(
        f"{found.challenge}: {len(found.bugs)} bugs x {len(found.cases)} cases", style="bold"
    )
    legend = ", ".join(f"{_mark(state, console)} {state}" for state in MARKS)
    console.print(f"{legend}; one column per case, in the order of the list below\n", style="dim")
    width = max(len(fault.id) for fault in found.faults)
    fits = width + len(found.cases) + 6 <= console.width
    _rows(found, found.bugs, width, fits, console)
    if found.trivial_solutions:
        console.print("\nTrivial answers", style="bold")
        _rows(found, found.trivial_solutions, width, fits, console)
    if not fits:
        console.print("(The terminal is too narrow for the map; --html OUT has it.)", style="dim")


def _rows(
    found: KillMatrixSummary, faults: Sequence[FaultRow], width: int, fits: bool, console: Console
) -> None:
    for fault in faults:
        style = "" if fault.witnesses else "bold red"
        line = Text.assemble((f"{fault.id:{width}} {len(fault.witnesses):3}  ", style))
        if fits:
            for case in found.cases:
                state = found.cells[fault.id][case.id]
                line.append(_mark(state, console), STYLES[state])
        console.print(line, soft_wrap=True)


def _cases(found: KillMatrixSummary, console: Console) -> None:
    console.print(
        "\nCases, the bugs each catches, and those that no other case catches", style="bold"
    )
    width = max(len(case.id) for case in found.cases)
    for number, case in enumerate(found.cases, 1):
        alone = f"  alone: {', '.join(case.alone)}" if case.alone else ""
        style = "" if case.kills else "dim"
        text = f"{number:3} {case.id:{width}} {case.kind:8} {len(case.kills):3}{alone}"
        console.print(text, style=style, soft_wrap=True)


def _conclusions(found: KillMatrixSummary, console: Console) -> None:
    missed = [bug.id for bug in found.bugs if not bug.witnesses]
    if missed:
        _paragraph(console, "No case catches", missed)
    for names in found.twins:
        _paragraph(console, "Hide each other (the same cases catch them)", names)
    size = len(found.cover.cases)
    least = "The smallest set of cases" if found.cover.smallest else "A small set of cases"
    _paragraph(console, f"{least} that catches every bug has {size}", found.cover.cases)


def _paragraph(console: Console, head: str, names: Sequence[str]) -> None:
    console.print()
    text = f"{head}: {', '.join(names)}"
    for line in wrap(text, console.width - 2, subsequent_indent="  ", break_on_hyphens=False):
        console.print(line, soft_wrap=True)


def _mark(state: str, console: Console) -> str:
    mark = MARKS[state]
    return PLAIN.get(mark, mark) if console.options.ascii_only else mark


def matrix_page(found: KillMatrixSummary) -> str:
    """Return the page."""
    missed = [bug.id for bug in found.bugs if not bug.witnesses]
    idle = [case.id for case in found.cases if not case.kills]
    return render_page("matrix.html.j2", found=found, looks=LOOKS, missed=missed, idle=idle)

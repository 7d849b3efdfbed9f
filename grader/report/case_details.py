"""One case as the terminal shows it: its heading, and why it is not passed.

All text that may come from a submission goes through `escape_for_display`.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from grader.ground.display import escape_lines
from grader.ground.symbols import Symbols
from grader.judge.result import CaseResult, redacted
from grader.report.phrases import place

STYLES = {"passed": "green", "failed": "red", "error": "magenta", "skipped": "yellow"}


def heading(case: CaseResult, marks: Symbols) -> Text:
    """Return mark, id, title and points of a case."""
    return Text.assemble(
        (f"{marks.of(case.status)} {case.id}", f"bold {STYLES[case.status]}"),
        f"  {case.title} ",
        (f"({case.points}/{case.max_points})", "dim"),
    )


def details(case: CaseResult) -> Iterator[RenderableType]:
    """Yield why the case is there, and its cause; of a hidden case no more than that it is hidden."""
    if case.visibility != "public":
        yield line("A hidden case: its details are not shown.", 4, "dim")
        return
    if case.why:
        yield line(case.why, 4, "dim")
    yield from cause_of(case)


def cause_of(case: CaseResult) -> Iterator[RenderableType]:
    """Yield the cause of a case that is not passed: in words, then where, expected, got, and what more is told."""
    cause = redacted(case)
    yield line("\n".join(escape_lines(cause.rationale)), 4)
    pattern = None if cause.looks_like else cause.help  # a known mistake says more than a pattern
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (
        ("where", place(cause.where)),
        ("raised at", cause.raised_at),
        ("expected", cause.expected),
        ("got", cause.actual),
        ("inside", cause.divergence),
        ("pattern", "\n".join(text for text in (pattern, cause.manner) if text)),
        ("looks like", cause.looks_like),
    ):
        if value:
            table.add_row(name, Text("\n".join(escape_lines(value, lines=12)), overflow="fold"))
    if table.row_count:
        yield Padding(table, (0, 0, 0, 4), expand=False)


def line(text: str, indent: int = 0, style: str = "") -> RenderableType:
    """Return a line of text that is folded, never cut."""
    return Padding(Text(text, style, overflow="fold"), (0, 0, 0, indent), expand=False)

"""`kvdojo matrix`: which case catches which bug or trivial solution, and what that says about the cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument
from grader.cli.terminal import shown
from grader.content import Challenge
from grader.ground.errors import UserError

if TYPE_CHECKING:
    from grader.author.kill_matrix_summary import KillMatrixSummary


@click.command("matrix")
@challenge_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--html",
    "page",
    metavar="OUT",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the matrix as one HTML page.",
)
def command(challenge: str, as_json: bool, page: Path | None) -> None:
    """Run every case on every bug and on every trivial solution, each alone, and show which catches which.

    \b
    Example: kvdojo matrix CHALLENGE --html matrix.html
    """
    from grader.author.kill_matrix_summary import summary_document

    found = catalogue().load(challenge)
    if page is not None and not page.absolute().parent.is_dir():
        raise UserError(f"{shown(page.absolute().parent)} is no folder: {page} cannot be written.")
    summary = _summary(found)
    if page is not None:
        _write_page(summary, page)
    if as_json:
        terminal.document(summary_document(summary))
        return
    from grader.report.kill_matrix_report import render

    render(summary, terminal.console())
    if page is not None:
        terminal.out(f"\nThe page: {shown(page)}")


def _summary(challenge: Challenge) -> KillMatrixSummary:
    """Run the cases, in one sandbox; raises UserError where a package is missing, and GraderError."""
    from grader.author.kill_matrix import kill_matrix
    from grader.author.kill_matrix_summary import summarize
    from grader.content.cases_schema import validate_challenge
    from grader.judge import GraderError, start_sandbox
    from grader.judge.golden_check import usable_golden
    from grader.judge.missing_packages import missing_package, reason
    from grader.sandbox import SandboxError

    if package := missing_package(challenge):
        raise UserError(f"{challenge.id!r} cannot be run here: {reason(package)}")
    validate_challenge(challenge)
    golden = usable_golden(challenge, challenge.cases.values())
    try:
        with start_sandbox(challenge) as sandbox, _bar(challenge.id) as progress:
            sandbox.ready()
            return summarize(challenge, kill_matrix(sandbox, challenge, golden, progress=progress))
    except SandboxError as error:
        raise GraderError(str(error)) from error


def _write_page(summary: KillMatrixSummary, page: Path) -> None:
    from grader.report.kill_matrix_report import matrix_page

    terminal.write_file(page, matrix_page(summary))


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error while somebody watches; it counts bugs and trivial solutions."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = terminal.console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(f"{name}: wrong answers", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

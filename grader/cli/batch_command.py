"""`kvdojo batch`: grade a class of submissions and write the class report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument, tell_option
from grader.cli.grade_command import level_of
from grader.content import Challenge
from grader.content.entries import PLACE, tells
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line

if TYPE_CHECKING:
    from grader.classroom.batch_plan import BatchPlan
    from grader.classroom.batch_store import BatchStore
    from grader.classroom.class_summary import ClassSummary


@click.command("batch")
@challenge_argument
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Put results, journal and reports there.",
)
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 1024),
    help="Grade so many files side by side; as many as there are processors by default.",
)
@tell_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document.")
@click.option("--executor", metavar="dask://HOST:PORT", help="Grade on a Dask cluster.")
@click.option(
    "--variants",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A table of the `start --fresh` number of each learner.",
)
@click.option("--resume", is_flag=True, help="Go on with the batch in --out.")
@click.option("--no-isolation", is_flag=True, help="Run the files unconfined: only for your own.")
@click.pass_context
def command(
    ctx: click.Context,
    challenge: str,
    folder: Path,
    out: Path,
    jobs: int | None,
    tell: str | None,
    as_json: bool,
    executor: str | None,
    variants: Path | None,
    resume: bool,
    no_isolation: bool,
) -> None:
    """Grade all submissions in DIR: files, a folder per learner, or the archive of a course system.

    \b
    Examples: kvdojo batch CHALLENGE submissions.zip --out results
              kvdojo batch CHALLENGE submissions.zip --out results --variants numbers.csv
    """
    found = catalogue().load(challenge)
    level = level_of(found, tell)
    _check(folder, out)
    from grader.classroom.class_summary import summarise_class
    from grader.classroom.run_batch import BatchOptions, run_batch
    from grader.cli.batch_meter import BatchMeter

    order = BatchOptions(
        *(found, folder, out, jobs, executor, resume),
        isolate=not no_isolation,
        inside=tells(level, PLACE),
        variants=variants,
    )
    meter = BatchMeter(again=_again(ctx))
    try:
        plan, store = run_batch(order, meter)
        _write_pages(found, plan, store, level)
    except KeyboardInterrupt:
        meter.interrupted()
        raise
    summary = summarise_class(found, plan, store)
    _report(summary, out, level, as_json=as_json)
    ctx.exit(_code(summary))


def _check(folder: Path, out: Path) -> None:
    if not folder.exists():
        raise UserError(f"{folder} does not exist: name a folder or a zip archive of submissions.")
    if out.resolve() == folder.resolve():
        raise UserError("--out must be another folder than the one with the submissions.")


def _write_pages(challenge: Challenge, plan: BatchPlan, store: BatchStore, level: str) -> None:
    """Write the page of every learner who has a result; a page is there whole or not at all."""
    from grader.report.learner_pages import learner_pages

    progress = terminal.Progress("writing pages")
    try:
        for done, (path, text) in enumerate(learner_pages(challenge, plan, store, level)):
            progress(done, len(plan.entries))
            if not _holds(path, text):
                terminal.write_file(path, text)
    finally:
        progress.clear()


def _holds(path: Path, text: str) -> bool:
    """Whether a page stands there already, as after a batch that went on: a write is dearer than a look."""
    try:
        return not path.is_symlink() and path.read_bytes() == text.encode()
    except OSError:
        return False


def _report(summary: ClassSummary, out: Path, level: str, *, as_json: bool) -> None:
    from grader.report.class_report import class_csv, class_document, class_page, render

    page, document = out / "class.html", class_document(summary)
    terminal.write_file(page, class_page(summary, level))
    terminal.write_file(out / "summary.csv", class_csv(summary))
    terminal.write_file(out / "class.json", json.dumps(document, indent=1) + "\n")
    if as_json:
        terminal.document(document)
        return
    render(summary, terminal.console())
    terminal.out(f"{page}, {out / 'summary.csv'}, and {out / 'results'} with one document each")
    terminal.out(f"For the learners, at the level {level!r}: {out / 'pages'}")


def _code(summary: ClassSummary) -> Exit:
    """Worst first: our own failures, then files that did not pass or could not be read."""
    if any(row.state == "error" and row.entry.refusal is None for row in summary.rows):
        return Exit.INTERNAL
    return Exit.PASSED if summary.counts == {"passed": len(summary.rows)} else Exit.FAILED


def _again(ctx: click.Context) -> str:
    """Return the command that goes on with this batch."""
    given = {name: value for name, value in ctx.params.items() if value not in (None, False)}
    words = ["batch", given["challenge"], str(given["folder"]), "--out", str(given["out"])]
    for name in ("jobs", "tell", "executor", "variants"):
        if name in given:
            words += [f"--{name}", str(given[name])]
    return command_line(*words, "--resume")

"""`kvdojo export`: results for another system, or what that system needs to grade by itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import terminal
from grader.cli.arguments import complete_challenge
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line

if TYPE_CHECKING:
    from grader.report.exports.result_files import Graded

NAMES = (
    *("gradescope", "classroom50", "junit", "exercism"),
    *("check50", "prairielearn", "github", "csv"),
)


@click.command("export")
@click.argument("results", metavar="[RESULTS]", required=False, type=click.Path(path_type=Path))
@click.option("--format", "wanted", type=click.Choice(NAMES), help="The system to write for.")
@click.option(
    "--out",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Write there; a folder for a class in a format that holds one file each.",
)
@click.option(
    "--require-isolation",
    is_flag=True,
    help="Take results that were graded without isolation as not judged.",
)
@click.option(
    "--autograder",
    metavar="CHALLENGE",
    shell_complete=complete_challenge,
    help="Make the zip of a Gradescope autograder.",
)
@click.option(
    "--workflow",
    metavar="CHALLENGE",
    shell_complete=complete_challenge,
    help="Make a GitHub Actions workflow that grades a learner's repository.",
)
@click.option(
    "--dockerfile",
    metavar="CHALLENGE",
    shell_complete=complete_challenge,
    help="Make a Dockerfile whose container grades one file without a network.",
)
@click.pass_context
def command(
    ctx: click.Context,
    results: Path | None,
    wanted: str | None,
    out: Path | None,
    require_isolation: bool,
    autograder: str | None,
    workflow: str | None,
    dockerfile: str | None,
) -> None:
    """Hand over RESULTS, a file of `kvdojo grade --json` or a folder of them.

    \b
    Example: kvdojo export result.json --format gradescope --out results.json
             kvdojo export --autograder CHALLENGE --out autograder.zip
    """
    packages = {"autograder": autograder, "workflow": workflow, "dockerfile": dockerfile}
    asked = [(kind, challenge) for kind, challenge in packages.items() if challenge]
    if asked:
        if len(asked) > 1 or results is not None or wanted is not None:
            raise UserError(
                "ask for one of --autograder, --workflow, --dockerfile, without RESULTS."
            )
        ((kind, challenge),) = asked
        _package(kind, challenge, out)
        return
    if results is None or wanted is None:
        example = command_line("export", "result.json", "--format", "csv")
        raise UserError(f"name RESULTS and --format, e.g. `{example}`.")
    ctx.exit(_export(results, wanted, out, require_isolation))


def _package(kind: str, challenge: str, out: Path | None) -> None:
    from grader.content import load_challenge
    from grader.report import packages

    package = packages.make(kind, load_challenge(challenge))
    path = out or Path(package.name)
    if path.is_dir():
        path = path / package.name
    if out is None and path.exists():
        raise UserError(f"{path} exists already: name another file with --out.")
    _write(path, package.content)
    terminal.err(f"{path}: {package.use}")


def _export(results: Path, wanted: str, out: Path | None, require_isolation: bool) -> Exit:
    from grader.report.exports import FORMATS
    from grader.report.exports.result_files import Unusable, only_isolated, read

    if not results.exists():
        grade = command_line("grade", "CHALLENGE", "--json")
        raise UserError(f"{results} does not exist: make it with `{grade}`.")
    graded = only_isolated(read(results)) if require_isolation else read(results)
    form = FORMATS[wanted]
    try:
        if not form.many:
            return _each(graded, wanted, out, folder=results.is_dir())
        kept = list(graded) if wanted == "github" else None  # it is asked twice
        _put(form.render(kept or graded), out, github=kept)
    except Unusable as error:
        raise UserError(str(error)) from None
    return Exit.PASSED


def _put(text: str, out: Path | None, *, github: Sequence[Graded] | None) -> None:
    """Write one document; annotations always go to standard output, where the runner reads them."""
    if github is None:
        if out is None:
            terminal.out(text)
        else:
            _write(out, text)
        return
    from grader.report.exports.github import step_summary

    terminal.out(text)
    if out is not None:
        _write(out, step_summary(github))
    elif found := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with open(found, "a", encoding="utf-8") as stream:
                stream.write(step_summary(github))
        except OSError as error:
            raise UserError(f"{found}: cannot be written: {error.strerror}") from None


def _each(graded: Iterable[Graded], wanted: str, out: Path | None, *, folder: bool) -> Exit:
    """Write one document per file; those the format has no word for are told and make the exit code 4."""
    from grader.report.exports import FORMATS
    from grader.report.exports.classroom50 import NotJudged

    form = FORMATS[wanted]
    if folder and out is None:
        raise UserError(f"--format {wanted} is one document per file: name a folder with --out.")
    code = Exit.PASSED
    for one in graded:
        try:
            text = form.render([one])
        except NotJudged as error:
            terminal.err(f"kvdojo: {one.name}: not written. {error}")
            code = Exit.INTERNAL
            continue
        if out is None:
            terminal.out(text)
        else:
            _write(out / f"{one.name}{form.suffix}" if folder else out, text)
    return code


def _write(path: Path, content: str | bytes) -> None:
    from grader.ground.files import write_atomically

    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None

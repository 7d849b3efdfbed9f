"""`kvdojo export`: results for another system, or what that system needs to grade by itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, complete_challenge, tell_option
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line
from grader.judge.telling import DEFAULT
from grader.report.exports import FORMATS, Format, NotJudged

if TYPE_CHECKING:
    from grader.report.exports.result_files import Exported


@click.command("export")
@click.argument("results", metavar="[RESULTS]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--format", "wanted", type=click.Choice(tuple(FORMATS)), help="The system to write for."
)
@click.option(
    "--out",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Write there; a folder for a class in a format that holds one file each.",
)
@tell_option
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
@click.option(
    "--harbor",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Make task folders for Harbor of what `arena draw` wrote to DIR; by default in DIR/harbor.",
)
@click.pass_context
def command(
    ctx: click.Context,
    results: Path | None,
    wanted: str | None,
    out: Path | None,
    tell: str | None,
    require_isolation: bool,
    autograder: str | None,
    workflow: str | None,
    dockerfile: str | None,
    harbor: Path | None,
) -> None:
    """Hand over RESULTS, a file of `kvdojo grade --json` or a folder of them.

    \b
    Example: kvdojo export result.json --format gradescope --out results.json
             kvdojo export --autograder CHALLENGE --out autograder.zip
    """
    packages = {"autograder": autograder, "workflow": workflow, "dockerfile": dockerfile}
    if harbor is not None:
        if any((*packages.values(), results, wanted)):
            raise UserError("--harbor goes with --out alone.")
        _harbor(harbor, out or harbor / "harbor")
        return
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
    ctx.exit(_export(results, wanted, out, require_isolation, tell or DEFAULT))


def _harbor(drawn: Path, out: Path) -> None:
    from grader.report.exports.harbor import export_tasks

    tasks = export_tasks(drawn, out, catalogue())
    terminal.out(f"{len(tasks)} task{'' if len(tasks) == 1 else 's'}: {terminal.shown(out)}")
    for name in dict.fromkeys(task.challenge for task in tasks):
        folder = terminal.shown(out / "verifier" / name)
        terminal.out(f"Build once: docker build -t kvdojo-arena-{name} {folder}")
    terminal.out(f"Then: harbor run -p {terminal.shown(out / 'tasks')} -a AGENT")


def _package(kind: str, challenge: str, out: Path | None) -> None:
    from grader.report import packages

    package = packages.make(kind, catalogue().load(challenge))
    path = out or Path(package.name)
    if path.is_dir():
        path = path / package.name
    if out is None and path.exists():
        raise UserError(f"{path} exists already: name another file with --out.")
    terminal.write_file(path, package.content)
    terminal.err(f"{path}: {package.use}")


def _export(
    results: Path, wanted: str, out: Path | None, require_isolation: bool, level: str
) -> Exit:
    from grader.report.exports.result_files import as_told, only_isolated, read

    if not results.exists():
        grade = command_line("grade", "CHALLENGE", "--json")
        raise UserError(f"{results} does not exist: make it with `{grade}`.")
    files = only_isolated(read(results)) if require_isolation else read(results)
    form = FORMATS[wanted]
    if form.for_learners:
        files = as_told(files, level)
    if not form.many:
        return _each(files, wanted, out, folder=results.is_dir())
    if form.summary_variable is not None:
        _with_summary(form, list(files), out)
    elif out is None:
        terminal.out(form.render(files))
    else:
        terminal.write_file(out, form.render(files))
    return Exit.PASSED


def _with_summary(form: Format, files: list[Exported], out: Path | None) -> None:
    """Print the text for the runner; its summary goes to --out, or to the end of the file the runner names."""
    assert form.summary_variable is not None, "only some formats have a summary"
    terminal.out(form.render(files))
    if out is not None:
        terminal.write_file(out, form.summary(files))
    elif found := os.environ.get(form.summary_variable):
        try:
            with open(found, "a", encoding="utf-8") as stream:
                stream.write(form.summary(files))
        except OSError as error:
            raise UserError(f"{found}: cannot be written: {error.strerror}") from None


def _each(files: Iterable[Exported], wanted: str, out: Path | None, *, folder: bool) -> Exit:
    """Write one document per file; a file that the format cannot carry is reported and makes the exit code 4."""
    form = FORMATS[wanted]
    if folder and out is None:
        raise UserError(f"--format {wanted} is one document per file: name a folder with --out.")
    code = Exit.PASSED
    for one in files:
        try:
            text = form.render([one])
        except NotJudged as error:
            terminal.err(f"kvdojo: {one.name}: not written. {error}")
            code = Exit.INTERNAL
            continue
        if out is None:
            terminal.out(text)
        else:
            terminal.write_file(out / f"{one.name}{form.suffix}" if folder else out, text)
    return code

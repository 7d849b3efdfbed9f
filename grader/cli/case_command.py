"""`kvdojo case`: begin, check and add a test case, and say what it is worth."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument
from grader.cli.terminal import shown
from grader.content import Case, Challenge, ContentError
from grader.content.casefile import read_case, read_cases, semantic_errors
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line

if TYPE_CHECKING:
    from grader.author.case_addition import Measured

Path_ = click.Path(path_type=Path)


@click.group("case")
def command() -> None:
    """Begin, check and add test cases."""


@command.command("new")
@challenge_argument
@click.argument("file", type=Path_, default=Path("my-case.json"))
@click.option("--force", is_flag=True, help="Replace FILE.")
def new(challenge: str, file: Path, force: bool) -> None:
    """Write a case to begin with to FILE (my-case.json), and list the verbs.

    Its `$schema` lets editors complete and check it.
    """
    from grader.author.skeleton import skeleton

    found = catalogue().load(challenge)
    if file.is_dir() or (file.exists() and not force):
        raise UserError(f"{shown(file)} exists: name another file, or --force replaces it.")
    text = json.dumps(skeleton(found, file), indent=2, ensure_ascii=False) + "\n"
    terminal.write_file(file, text)
    _list_verbs(found)
    terminal.out(f"\nWritten to {shown(file)}. Change it, then:")
    for verb in ("lint", "add"):
        terminal.out(f"  {command_line('case', verb, challenge, shown(file))}")


@command.command("lint")
@challenge_argument
@click.argument("file", type=Path_, required=False)
def lint(challenge: str, file: Path | None) -> None:
    """Check the case in FILE, or all cases of the challenge, without running anything."""
    from grader.judge.cost import estimate_cost

    found = catalogue().load(challenge)
    own = found.folder / "cases.json"
    if file is None or (file.exists() and file.samefile(own)):
        cases = _own_cases(found)
    else:
        _exists(file)
        cases = [case for _, case in read_cases(file, found, found.cases)]
    lines = []
    for case in cases:
        try:
            price = estimate_cost(found, case)
        except ContentError as error:
            lines.append(str(error))
            continue
        if file is not None:
            terminal.out(f"{case.id}: {_cost(price.numbers, price.work)}")
    if lines:
        raise ContentError("\n".join(lines))
    count = f"{len(cases)} case{'' if len(cases) == 1 else 's'}"
    terminal.out(f"{shown(file or own)}: {count}, nothing wrong")


@command.command("add")
@challenge_argument
@click.argument("file", type=Path_)
@click.option("--force", is_flag=True, help="Add a weak case all the same; needs --because.")
@click.option("--because", metavar="TEXT", help="Why a weak case stays; recorded with it.")
@click.option("--dry-run", is_flag=True, help="Say what the case is worth and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def add(
    ctx: click.Context,
    challenge: str,
    file: Path,
    force: bool,
    because: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Measure the case in FILE and add it to the challenge.

    \b
    A case that catches no planted bug, or that a trivial answer passes, is refused.
    Example: kvdojo case add CHALLENGE my-case.json
    """
    from grader.author.case_addition import locking, write
    from grader.author.skeleton import refuse_untouched
    from grader.judge import GraderError, start_sandbox
    from grader.judge.missing_packages import missing_package, reason
    from grader.sandbox import SandboxError

    _agree(force, because)
    _exists(file)
    found = catalogue().load(challenge)
    if package := missing_package(found):
        raise UserError(f"{challenge!r} cannot be run here: {reason(package)}")
    entry, _ = read_case(file, found, found.cases)  # plain faults are told before torch is loaded
    refuse_untouched(entry, shown(file))
    try:
        with nullcontext() if dry_run else locking(found, _wait), start_sandbox(found) as sandbox:
            found = catalogue().load(challenge)
            entry, case = read_case(file, found, found.cases)
            measured = _measure(sandbox, found, case)
            refused = bool(measured.value.objections) and not force
            if not dry_run and not refused:
                write(
                    sandbox, found, entry, measured, because if measured.value.objections else None
                )
    except SandboxError as error:
        raise GraderError(str(error)) from error
    except OSError as error:
        raise UserError(f"{shown(found.folder)} cannot be changed: {error.strerror}.") from None
    added = not dry_run and not refused
    _tell(found, measured, added, dry_run, as_json)
    ctx.exit(Exit.CONTENT if refused else Exit.PASSED)


def _measure(sandbox: Any, challenge: Challenge, case: Case) -> Measured:
    from grader.author.case_addition import measure

    progress = terminal.Progress("running bugs")
    try:
        return measure(sandbox, challenge, case, progress)
    finally:
        progress.clear()


def _agree(force: bool, because: str | None) -> None:
    if force and len((because or "").strip()) < 10:
        raise UserError('--force needs a reason of 10 characters or more: --because "...".')
    if because and not force:
        raise UserError("--because goes with --force.")


def _exists(file: Path) -> None:
    if not file.exists():
        new = command_line("case", "new", "CHALLENGE", str(file))
        raise UserError(f"{shown(file)} does not exist. `{new}` begins one.")
    if file.is_dir():
        raise UserError(f"{shown(file)} is a folder: name a file.")


def _own_cases(challenge: Challenge) -> list[Case]:
    from grader.content.cases_schema import validate_cases

    validate_cases(challenge)
    cases = list(challenge.cases.values())
    lines = [f"{case.id}{text}" for case in cases for text in semantic_errors(case)]
    if lines:
        raise ContentError("\n".join(lines))
    return cases


def _wait() -> None:
    terminal.err("Another author is adding a case to this challenge; waiting.")


def _tell(challenge: Challenge, found: Measured, added: bool, dry_run: bool, as_json: bool) -> None:
    from grader.report.case_value_report import worth_document, worth_lines

    value = found.value
    if as_json:
        document = worth_document(challenge, value, added=added)
        terminal.document(document)
    else:
        terminal.out("\n".join(worth_lines(challenge, value)))
    if added:
        if not as_json:
            folder = shown(challenge.folder)
            terminal.out(f"\nAdded. Commit cases.json and recorded/ in {folder}.")
        return
    for line in value.objections:
        terminal.err(f"kvdojo: {line}")
    if value.objections:
        terminal.err('Not added. `--force --because "REASON"` adds it and records the reason.')
    elif dry_run:
        terminal.err("Nothing was written (--dry-run).")


def _list_verbs(challenge: Challenge) -> None:
    from rich.table import Table

    from grader.author.skeleton import verbs

    table = Table("verb", "parameter", "meaning", title="Verbs (* required)")
    for name, (text, parameters) in verbs(challenge).items():
        table.add_row(name, "", text, style="bold")
        for parameter, meaning in parameters.items():
            table.add_row("", parameter, meaning)
    terminal.console().print(table)


def _cost(numbers: int, work: int) -> str:
    return f"draws {numbers:,} numbers, at most some {work:,} multiplications"

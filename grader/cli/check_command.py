"""`kvdojo check`: the author's gate over one challenge or all, and the recording of what follows from content."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, complete_challenge
from grader.content import Catalogue, Challenge, ContentError, UnknownChallenge
from grader.ground.errors import Exit
from grader.ground.invocation import command_line

if TYPE_CHECKING:
    from grader.author.gate import Report


@click.command("check")
@click.argument("challenge", required=False, shell_complete=complete_challenge)
@click.option(
    "--record", "again", is_flag=True, help="Record goldens, witnesses, schema and starter first."
)
@click.option(
    "--generate", is_flag=True, help="Survey the reference for generated bugs; takes minutes."
)
@click.option(
    "--changed",
    is_flag=True,
    help="Run the gate only where a file or the engine changed since it was passed, and keep note of that.",
)
@click.option("--sets", default=60, show_default=True, help="Larger seeded sets of bugs to try.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="one for each processor",
    help="So many challenges at a time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(
    context: click.Context,
    challenge: str | None,
    again: bool,
    generate: bool,
    changed: bool,
    sets: int,
    jobs: int,
    as_json: bool,
) -> None:
    """Check that a challenge (or every challenge) is fit for learners.

    Exit status 3 when anything is not.
    """
    known = catalogue()
    names = [challenge] if challenge else known.ids()
    asked = Asked(known, again, generate, changed, sets)
    reports = _check_all(asked, names, min(jobs, len(names)))
    if as_json:
        click.echo(
            json.dumps({"schema": "kvdojo/check/v1", "challenges": [_plain(r) for r in reports]})
        )
    else:
        _show(reports)
    context.exit(Exit.CONTENT if any(r.violations for r in reports) else Exit.PASSED)


@dataclass(frozen=True)
class Asked:
    """What is asked of every challenge of `known`: the options of the command."""

    known: Catalogue
    again: bool
    generate: bool
    changed: bool
    sets: int


def _check_all(asked: Asked, names: list[str], jobs: int) -> list[Report]:
    """Return the report of each challenge, in the order of the names."""
    if jobs < 2:
        return [_check(asked, name) for name in names]
    # spawned, since PyTorch does not survive a fork; the longest first, so that none is left for the end alone
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    with pool:
        longest = sorted(names, key=lambda name: -_size(asked.known, name))
        begun = {name: pool.submit(_check, asked, name) for name in longest}
        try:
            return [begun[name].result() for name in names]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _size(known: Catalogue, name: str) -> int:
    """Return a number that grows with the time that a challenge takes; of one that cannot be read that is none."""
    try:
        challenge = known.load(name)
        return len(challenge.cases) * len(challenge.bugs)
    except ContentError:
        return 0


def _check(asked: Asked, name: str) -> Report:
    from grader.author.gate import Report, check_challenge
    from grader.author.gate_record import gate_digest, note, passed_before
    from grader.author.violation import Violation
    from grader.judge import GraderError
    from grader.sandbox import SandboxError

    try:
        challenge = asked.known.load(name)
        if asked.again:
            challenge = _record(challenge)
        if asked.generate:
            _generate(challenge)
        digest = gate_digest(challenge, sets=asked.sets)
        if asked.changed and (known := passed_before(challenge, digest)) is not None:
            return known
        report = check_challenge(challenge, sets=asked.sets, progress=lambda text: _say(name, text))
        if (asked.changed or asked.again) and not report.violations:
            note(challenge, report, digest)
        return report
    except UnknownChallenge:
        raise
    except ContentError as error:
        return Report(name, [Violation(name, "content", line) for line in str(error).splitlines()])
    except SandboxError as error:
        raise GraderError(str(error)) from error


def _record(challenge: Challenge) -> Challenge:
    from grader.author.generate.generated_file import bring_up_to_date, forget_stale
    from grader.author.recording import record, reload
    from grader.content.cases_schema import validate_challenge
    from grader.ground.transaction import locked
    from grader.judge import start_sandbox

    with locked(challenge.folder), start_sandbox(challenge) as sandbox:
        challenge = reload(challenge)
        validate_challenge(challenge)
        sandbox.ready()
        record(sandbox, challenge, lambda done, total: _say(challenge.id, f"record {done}/{total}"))
        if gone := bring_up_to_date(challenge):
            click.echo(
                f"{challenge.id}: {gone} generated bugs are made no more and were removed", err=True
            )
        if forget_stale(challenge):
            again = command_line("check", challenge.id, "--generate")
            text = f"{challenge.id}: its generated bugs fit no more and were removed; `{again}` makes new ones"
            click.echo(text, err=True)
    return reload(challenge)


def _generate(challenge: Challenge) -> None:
    from grader.author.generate.generated_file import record_generated
    from grader.ground.transaction import locked
    from grader.judge import start_sandbox
    from grader.judge.golden_check import usable_golden

    with locked(challenge.folder), start_sandbox(challenge) as sandbox:
        golden = usable_golden(challenge, challenge.cases.values())
        sandbox.ready()
        found = record_generated(sandbox, challenge, golden, lambda text: _say(challenge.id, text))
    _line("")
    click.echo(
        f"{challenge.id}: {len(found.kept)} generated bugs of {found.proposed} mutants", err=True
    )
    for reason, count in found.dropped.items():
        click.echo(f"{count:6}  {reason}", err=True)


def _say(name: str, text: str) -> None:
    _line(f"{name}: {text}")


def _line(text: str) -> None:
    """Rewrite the progress line, where standard error is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _plain(report: Report) -> dict[str, object]:
    return {
        "challenge": report.challenge,
        "bugs": report.bugs,
        "decoys": report.decoys,
        "cases": report.cases,
        "unchanged": report.unchanged,
        "weakest_margin": report.margin,
        "weakest": report.weakest,
        "random": report.random
        and {"bugs": report.random.bugs, "refused": list(report.random.refused)},
        "breaches": [
            {"file": b.file, "subject": b.subject, "text": b.text} for b in report.violations
        ],
    }


def _show(reports: list[Report]) -> None:
    from rich.table import Table

    _line("")
    out = terminal.console()
    table = Table(title="The author's gate")
    for head in ("challenge", "bugs", "decoys", "cases", "margin", "breaches"):
        justify: Literal["left", "right"] = "left" if head == "challenge" else "right"
        table.add_column(head, justify=justify, no_wrap=True)
    for report in reports:
        margin = "-" if report.margin is None else f"{report.margin:.3g}x"
        counts = (report.bugs, report.decoys, report.cases)
        table.add_row(report.challenge, *map(str, counts), margin, str(len(report.violations)))
    out.print(table)
    for report in reports:
        if report.margin is not None:
            out.print(
                f"{report.challenge}: the nearest wrong answer is {report.weakest}", soft_wrap=True
            )
        if report.random is not None:
            refused = ", ".join(map(str, report.random.refused))
            out.print(
                f"{report.challenge}: random scenarios refuse {refused} of {report.random.bugs} bugs",
                soft_wrap=True,
            )
    if unchanged := sum(report.unchanged for report in reports):
        again = command_line("check")
        out.print(
            f"{unchanged} of {len(reports)} are as they were when they passed; `{again}` runs the gate on all.",
            soft_wrap=True,
        )
    for report in reports:
        for violation in report.violations:
            where = violation.file or violation.challenge
            out.print(f"{where}: {violation.subject}: {violation.text}", soft_wrap=True)

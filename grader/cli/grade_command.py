"""`kvdojo grade`: judge one file and show the result."""

from __future__ import annotations

import json
import shlex
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import terminal
from grader.cli.arguments import (
    catalogue,
    challenge_argument,
    check_cases,
    complete_case,
    file_argument,
)
from grader.cli.device import on_device
from grader.cli.submission import locate, read
from grader.cli.variant import Variant, begun, of_work
from grader.content import Case, Challenge
from grader.content.handed_in import source_of
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line
from grader.learner.work_folder import WorkError, WorkFolder

if TYPE_CHECKING:
    from grader.diagnose.trace_model import Trace
    from grader.judge.golden import Golden
    from grader.judge.result import Result
    from grader.sandbox import Sandbox


@click.command("grade")
@challenge_argument
@file_argument
@click.option(
    "--case",
    "cases",
    metavar="ID",
    multiple=True,
    shell_complete=complete_case,
    help="Only this case; may be repeated.",
)
@click.option(
    "--cases",
    "private",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Also the cases in the JSON files of DIR.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--html",
    "page",
    metavar="OUT",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the result as one HTML page.",
)
@click.option(
    "--record",
    metavar="OUT",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the result with the seeds of its secret inputs; for instructors.",
)
@click.option(
    "--replay",
    metavar="RECORD",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Grade on the secret inputs of an earlier grading.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where kernels run; cuda takes --no-isolation.",
)
@click.option("--no-isolation", is_flag=True, help="Run FILE unconfined: only for your own code.")
@click.pass_context
def command(
    ctx: click.Context,
    challenge: str,
    file: Path | None,
    cases: tuple[str, ...],
    private: Path | None,
    as_json: bool,
    page: Path | None,
    record: Path | None,
    replay: Path | None,
    device: str,
    no_isolation: bool,
) -> None:
    """Grade FILE, or the file begun with `kvdojo start`.

    \b
    Example: kvdojo grade CHALLENGE my_file.py --case ID
    """
    asked = on_device(catalogue().load(challenge), device, isolated=not no_isolation)
    found, extra = _with_private(asked, private)
    check_cases(found, cases)
    path, work = locate(found, file)
    found = begun(found, work)
    source = read(path, found.id)
    seeds = _seeds(found, source, replay) if replay else {}
    text = source_of(source, path.name, found.file)
    diagnosis = _Diagnosis(found, text, pictures=page is not None)
    result = _judge(
        *(found, path, source, cases, seeds, extra),
        isolate=not no_isolation,
        diagnosis=diagnosis,
    )
    if work and not cases:
        remember_result(work, source, result)
    if page is not None:
        _write_page(found, result, text, page, diagnosis.traces, _planted(found, work))
    if record is not None:
        _write_record(result, record)
    if as_json:
        terminal.document(result.document())
    else:
        _show(found, result, work, named=file, some=bool(cases))
    ctx.exit(Exit.of_verdict(result.verdict))


def _with_private(challenge: Challenge, folder: Path | None) -> tuple[Challenge, list[Case]]:
    """Return the challenge with the cases of a folder, and these cases."""
    if folder is None:
        return challenge, []
    from grader.judge.private_cases import read_private, with_cases

    extra = read_private(challenge, folder)
    return with_cases(challenge, extra), extra


class _Diagnosis:
    """What is asked while the sandbox is still warm: where a failed file departs from the reference.

    With `pictures`, the first failed cases are traced for the page.
    """

    def __init__(self, challenge: Challenge, source: bytes, *, pictures: bool) -> None:
        self._challenge, self._source, self._pictures = challenge, source, pictures
        self.traces: dict[str, Trace] = {}

    def __call__(self, sandbox: Sandbox, golden: Golden, result: Result) -> Result:
        """Add the first divergence to a failed result."""
        if result.verdict != "failed":
            return result
        # a passing grade does not even read the code that traces
        from grader.diagnose.explain_failures import trace_failed_cases, with_first_divergence

        challenge, source = self._challenge, self._source
        result = with_first_divergence(sandbox, challenge, golden, source, result)
        if self._pictures:
            self.traces = trace_failed_cases(sandbox, challenge, result, source)
        return result


def _judge(
    challenge: Challenge,
    path: Path,
    source: bytes,
    cases: tuple[str, ...],
    seeds: dict[str, int],
    extra: list[Case],
    *,
    isolate: bool,
    diagnosis: _Diagnosis,
) -> Result:
    from grader.judge import grade_source
    from grader.judge.private_cases import grade_with

    progress = terminal.Progress()
    progress(0, len(set(cases) or challenge.cases))
    try:
        grade = partial(grade_with, extra) if extra else grade_source
        return grade(
            challenge,
            source,
            filename=path.name,
            cases=list(dict.fromkeys(cases)) or None,
            isolate=isolate,
            progress=progress,
            seeds=seeds,
            afterwards=diagnosis,
        )
    finally:
        progress.clear()


def _seeds(challenge: Challenge, source: bytes, replay: Path) -> dict[str, int]:
    """Return the seeds of an earlier grading; if it was of another file, a note says so."""
    from grader.judge.replay import read_record

    record = read_record(replay)
    if record["challenge"] != challenge.id:
        raise UserError(
            f"{replay} is a record of {record['challenge']!r}, not of {challenge.id!r}."
        )
    if record["submission"]["sha256"] != sha256(source).hexdigest():
        terminal.err(f"Note: {replay} is the record of another file; only its inputs are used.")
    seeds: dict[str, int] = record["replay"]["seeds"]
    return seeds


def _write_page(
    challenge: Challenge,
    result: Result,
    source: bytes,
    page: Path,
    traces: dict[str, Trace],
    planted: Variant | None,
) -> None:
    """Write the page; `planted` is what the file came with, where that is known."""
    from grader.report.html_report import result_page

    text = result_page(
        challenge,
        result,
        source.decode("utf-8", "replace"),
        traces=traces,
        planted=planted.bugs if planted else None,
        decoys=planted.decoys if planted else (),
        starter=planted.source(challenge) if planted else None,
    )
    terminal.write_file(page, text)


def _write_record(result: Result, record: Path) -> None:
    from grader.judge.replay import to_record

    text = json.dumps(to_record(result), indent=2, allow_nan=False) + "\n"
    terminal.write_file(record, text)


def remember_result(work: WorkFolder, source: bytes, result: Result) -> None:
    """Keep what failed beside the file, so that the next hint is about it."""
    from grader.judge.result import most_informative_first
    from grader.learner.hints import LastGrading, remember_grading

    passed = tuple(case.id for case in result.cases if case.status == "passed")
    remember_grading(
        work,
        source,
        LastGrading(tuple(case.id for case in most_informative_first(result.cases)), passed),
    )


def _show(
    challenge: Challenge,
    result: Result,
    work: WorkFolder | None,
    *,
    named: Path | None,
    some: bool,
) -> None:
    from grader.report.terminal_report import render

    levels = {bug.id: bug.difficulty for bug in challenge.bugs.values()}
    planted = _planted(challenge, work)
    bugs, decoys = (planted.bugs, planted.decoys) if planted else (None, ())
    again = f"{challenge.id} {shlex.quote(str(named))}" if named else challenge.id
    hint = command_line("hint", again)
    total = len(challenge.cases) if some else None
    console = terminal.console()
    render(result, console, bugs, levels=levels, hint=hint, decoys=decoys, total=total)


def _planted(challenge: Challenge, work: WorkFolder | None) -> Variant | None:
    """Return what was planted, where the work folder knows; a stale state is no reason not to grade."""
    try:
        return of_work(challenge, work) if work else None
    except (WorkError, UserError):
        return None

"""`kvdojo grade`: judge one file and show the result."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Collection
from dataclasses import replace
from datetime import date
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
    tell_option,
)
from grader.cli.device import on_device
from grader.cli.submission import locate, read
from grader.cli.variant import Variant, begun, of_work
from grader.content import Case, Challenge
from grader.content.entries import PLACE, SYMPTOM, tells
from grader.content.handed_in import source_of
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line
from grader.judge.focus import NO_FOCUS, Focus, choose_focus
from grader.judge.telling import DEFAULT, at_most, told
from grader.learner.families import note_mended
from grader.learner.hints import LastGrading, recall_focus, remember_grading
from grader.learner.history import (
    judged_suspicions,
    newly_fixed,
    note,
    note_grading,
    read_history,
)
from grader.learner.ladder import OF_LEVEL, climbed, height, help_taken
from grader.learner.preset_clock import clock_lines
from grader.learner.question import Question, question_after
from grader.learner.work_folder import WorkError, WorkFolder, load_work_folder

if TYPE_CHECKING:
    from grader.diagnose.trace_model import Trace
    from grader.judge.golden import Golden
    from grader.judge.result import Result
    from grader.report.stories import Success
    from grader.report.terminal_report import About
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
@tell_option
@click.option("--all", "everything", is_flag=True, help="Show every case, not only one.")
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
    tell: str | None,
    everything: bool,
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
    level = level_of(found, tell)
    source = read(path, found.id)
    seeds = _seeds(found, source, replay) if replay else {}
    text = source_of(source, path.name, found.file)
    planted = planted_in(found, work)
    diagnosis = Diagnosis(
        *(found, text, planted.bugs if planted else None),
        before=recall_focus(work, found),
        inside=as_json or record is not None or tells(level, PLACE),
        pictures=level if page is not None and tells(level, SYMPTOM) else None,
    )
    result = judge_file(
        *(found, path, source, cases, seeds, extra),
        isolate=not no_isolation,
        diagnosis=diagnosis,
    )
    story: tuple[str, ...] = ()
    success: Success | None = None
    question: Question | None = None
    if work and not cases:
        question = question_of(found, work, result, planted.bugs if planted else ())
        story = history_of(found, work, result, planted.bugs if planted else ())
        told = level if not as_json else DEFAULT
        remember_result(
            *(work, source, result, diagnosis.focus, told),
            planted=planted.bugs if planted else None,
            challenge=found,
        )
        work = load_work_folder(work.folder) or work
        if result.verdict == "passed":
            from grader.cli.explain_command import success_of

            success = success_of(found, work, text.decode("utf-8", "replace"))
    result = replace(result, help=help_taken(work, planted.bugs if planted else None))
    if page is not None:
        command = command_line("grade", command_target(found, file))
        _write_page(found, result, text, page, diagnosis, planted, level, command, success)
    if record is not None:
        _write_record(result, record)
    if as_json:
        terminal.document(result.document())
    else:
        named = command_target(found, file)
        shown = about(found, path, work, planted, diagnosis.focus, level, named=named)
        total = len(found.cases) if cases else None
        shown = replace(shown, everything=everything, total=total, story=story)
        _show(result, replace(shown, success=success if tells(level, SYMPTOM) else None))
        if question is not None and work is not None and tells(level, SYMPTOM):
            _ask(work, question)
    ctx.exit(Exit.of_verdict(result.verdict))


def level_of(challenge: Challenge, asked: str | None) -> str:
    """Return the level of telling; raises UserError for more than the challenge allows."""
    if asked is not None and not tells(challenge.tell, asked):
        raise UserError(f"{challenge.teller} tells at most {challenge.tell!r}, not {asked!r}.")
    return asked or at_most(DEFAULT, challenge.tell)


def _with_private(challenge: Challenge, folder: Path | None) -> tuple[Challenge, list[Case]]:
    """Return the challenge with the cases of a folder, and these cases."""
    if folder is None:
        return challenge, []
    from grader.judge.private_cases import read_private, with_cases

    extra = read_private(challenge, folder)
    return with_cases(challenge, extra), extra


class Diagnosis:
    """What is asked while the sandbox is still warm: the bug in focus, and where the file departs from the reference.

    With `inside` that is traced for the case in focus; with `pictures`, the level of a page, for several cases.
    """

    def __init__(
        self,
        challenge: Challenge,
        source: bytes,
        planted: Collection[str] | None,
        *,
        before: str | None = None,
        inside: bool = True,
        pictures: str | None = None,
    ) -> None:
        self._challenge, self._source, self._planted = challenge, source, planted
        self._before, self._inside, self._pictures = before, inside, pictures
        self.traces: dict[str, Trace] = {}
        self.focus = NO_FOCUS

    def __call__(self, sandbox: Sandbox, golden: Golden, result: Result) -> Result:
        """Choose the focus of a failed result, and add the first divergence to it."""
        if result.verdict != "failed":
            return result
        challenge, source = self._challenge, self._source
        self.focus = choose_focus(challenge, result, self._planted, self._before)
        if not (self._inside or self._pictures):
            return result
        # most gradings do not even read the code that traces
        from grader.diagnose.explain_failures import trace_failed_cases, with_first_divergence

        if self._inside:
            result = with_first_divergence(sandbox, challenge, golden, source, result, self.focus)
        if self._pictures:
            # below `place` the page shows what came back, which is that of the whole file
            whole = not tells(self._pictures, PLACE)
            shown = told(result, self._pictures, challenge)
            self.traces = trace_failed_cases(
                sandbox, challenge, shown, source, self.focus, whole=whole
            )
        return result


def judge_file(
    challenge: Challenge,
    path: Path,
    source: bytes,
    cases: tuple[str, ...],
    seeds: dict[str, int],
    extra: list[Case],
    *,
    isolate: bool,
    diagnosis: Diagnosis,
) -> Result:
    """Grade the bytes of a file, with a line of progress."""
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
    diagnosis: Diagnosis,
    planted: Variant | None,
    level: str,
    command: str,
    success: Success | None,
) -> None:
    """Write the page; `command` grades the file, and `planted` is what the file came with, where that is known."""
    from grader.report.html_report import result_page

    text = result_page(
        challenge,
        result,
        source.decode("utf-8", "replace"),
        level=level,
        focus=diagnosis.focus,
        traces=diagnosis.traces,
        planted=planted.bugs if planted else None,
        decoys=planted.decoys if planted else (),
        starter=planted.source(challenge) if planted else None,
        command=command,
        success=success,
    )
    terminal.write_file(page, text)


def _write_record(result: Result, record: Path) -> None:
    from grader.judge.replay import to_record

    text = json.dumps(to_record(result), indent=2, allow_nan=False) + "\n"
    terminal.write_file(record, text)


def grading_of(result: Result, focus: Focus) -> LastGrading:
    """Return what is remembered of a grading."""
    from grader.judge.result import most_informative_first

    passed = tuple(case.id for case in result.cases if case.status == "passed")
    failed = tuple(case.id for case in most_informative_first(result.cases))
    return LastGrading(failed, passed, focus)


def remember_result(
    work: WorkFolder,
    source: bytes,
    result: Result,
    focus: Focus,
    level: str = DEFAULT,
    *,
    planted: Collection[str] | None = None,
    challenge: Challenge | None = None,
) -> None:
    """Keep what failed and the focus beside the file, so that the next help is about it, and what was told of it."""
    remember_grading(work, source, grading_of(result, focus))
    with contextlib.suppress(WorkError):
        new = newly_fixed(read_history(work), result, planted or ())
        note_grading(work, source, result, planted)
        if challenge is not None and new:
            note_mended(challenge, load_work_folder(work.folder) or work, new, date.today())
    if focus.bug and (rung := OF_LEVEL.get(level)):
        remember_rung(work, focus.bug, rung)


def history_of(
    challenge: Challenge, work: WorkFolder, result: Result, planted: Collection[str]
) -> tuple[str, ...]:
    """Return what the attempt's history adds to a report: suspicions that can be judged now, and a preset's clock."""
    try:
        history = read_history(work)
    except WorkError:
        return ()
    gradings = history.of("graded")
    before = [name for name in gradings[-1]["fixed"] if name in planted] if gradings else []
    fixed = [bug.id for bug in result.bugs if bug.status == "fixed" and bug.id in planted]
    told = judged_suspicions(challenge, history, fixed, before)
    passes = result.verdict == "passed"
    return (*told, *clock_lines(challenge, work, history, passes=passes))


def question_of(
    challenge: Challenge, work: WorkFolder, result: Result, planted: Collection[str]
) -> Question | None:
    """Return the question about a bug that this result finds mended; ask before the result is remembered."""
    try:
        history = read_history(work)
    except WorkError:
        return None
    left = {bug.id for bug in result.bugs if bug.id in planted and bug.status != "fixed"}
    return question_after(challenge, newly_fixed(history, result, planted), left, history)


def _ask(work: WorkFolder, question: Question) -> None:
    """Ask somebody who sits at the terminal; Enter passes over it, and the exit status stays that of the verdict."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    from rich.padding import Padding
    from rich.text import Text

    screen = terminal.console()
    screen.print(Text(f"\n{question.text}"))
    for number, answer in enumerate(question.answers, 1):
        screen.print(Padding(Text(f"{number}  {answer}"), (0, 0, 0, 2), expand=False))
    try:
        typed = input(f"1 to {len(question.answers)}, never a mark; Enter passes over it: ").strip()
    except (EOFError, KeyboardInterrupt):
        terminal.out("")
        return
    if typed in [str(number) for number in range(1, len(question.answers) + 1)]:
        screen.print(Text(answered(work, question, int(typed))))


def answered(work: WorkFolder, question: Question, number: int) -> str:
    """Keep an answer, from 1, and return what is said to it."""
    with contextlib.suppress(WorkError):
        note(work, "answer", bug=question.bug, right=number == question.right)
    return question.reply(number)


def remember_rung(work: WorkFolder, bug: str, rung: int) -> None:
    """Keep how high the ladder of a bug was climbed; where it cannot be written, that is only not counted."""
    with contextlib.suppress(WorkError):
        # another command may have written the state since
        known = load_work_folder(work.folder) or work
        if rung > height(known, bug):
            note(known, "rung", bug=bug, rung=rung)
        climbed(known, bug, rung).save()


def about(
    challenge: Challenge,
    path: Path,
    work: WorkFolder | None,
    planted: Variant | None,
    focus: Focus,
    level: str,
    *,
    named: str,
) -> About:
    """Return what the terminal's report is told beside the result."""
    from grader.report.terminal_report import About

    return About(
        level=level,
        most=challenge.tell,
        focus=focus,
        planted=planted.bugs if planted else None,
        decoys=planted.decoys if planted else (),
        levels={bug.id: bug.difficulty for bug in challenge.bugs.values()},
        file=f"{work.folder.name}/{path.name}" if work else None,
        named=named,
    )


def command_target(challenge: Challenge, file: Path | None) -> str:
    """Return challenge and file as the learner named them, for the commands that are suggested."""
    return f"{challenge.id} {shlex.quote(str(file))}" if file else challenge.id


def nothing_explains(focus: Focus, named: str) -> str:
    """Return what is said where something fails and no bug is in focus; `named` is `command_target`."""
    trace = command_line("trace", named, "--case", focus.case or "ID")
    return f"No known bug explains what fails: `{trace}` shows where your file departs from the reference."


def _show(result: Result, shown: About) -> None:
    from grader.report.terminal_report import render

    render(result, terminal.console(), shown)


def planted_in(challenge: Challenge, work: WorkFolder | None) -> Variant | None:
    """Return what was planted, where the work folder knows; a stale state is no reason not to grade."""
    try:
        return of_work(challenge, work) if work else None
    except (WorkError, UserError):
        return None

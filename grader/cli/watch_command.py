"""`kvdojo watch`: grade a file again whenever it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument, file_argument, tell_option
from grader.cli.grade_command import (
    answered,
    history_of,
    level_of,
    question_of,
    remember_result,
    remember_rung,
)
from grader.cli.submission import locate, read
from grader.cli.variant import begun, of_work
from grader.content import Challenge
from grader.content.entries import CAUSE, PATTERN, PLACE, SYMPTOM, tells
from grader.content.handed_in import HandedIn, UnusableFile, handed_in
from grader.ground.display import escape_for_display
from grader.ground.errors import Exit, UserError
from grader.judge.focus import Focus
from grader.learner.hints import recall_focus
from grader.learner.ladder import OF_LEVEL, next_rung
from grader.learner.question import Question
from grader.learner.work_folder import HINTS_FROM, WorkError, WorkFolder, load_work_folder

if TYPE_CHECKING:
    from grader.diagnose.trace_model import Trace
    from grader.judge.result import CaseResult, Result
    from grader.learner.watch_options import WatchOptions
    from grader.report.stories import Success
    from grader.sandbox import Sandbox


@click.command("watch")
@challenge_argument
@file_argument
@tell_option
@click.option("--poll", is_flag=True, help="Look at the file now and then: for network folders.")
@click.option("--no-isolation", is_flag=True, help="Run FILE unconfined: only for your own code.")
@click.pass_context
def command(
    ctx: click.Context,
    challenge: str,
    file: Path | None,
    tell: str | None,
    poll: bool,
    no_isolation: bool,
) -> None:
    """Grade FILE, or the file begun with `kvdojo start`, at every save.

    On one screen, with keys: n next failed case, m one thing more about the bug in focus, h hint, t trace, r run again,
    p suspect a line, w a question after a fix, q quit. Where there is no terminal, one line per save; Ctrl-C ends it.
    """
    from grader.learner.watch_loop import watch_file

    found = catalogue().load(challenge)
    path, work = locate(found, file)
    found = begun(found, work)
    level = level_of(found, tell)
    read(path, found.id)
    setting = watch_options(found, path, work, level, isolate=not no_isolation, poll=poll)
    result = watch_file(setting, terminal.console())
    ctx.exit(Exit.of_verdict(result.verdict) if result else Exit.PASSED)


def watch_options(
    challenge: Challenge,
    path: Path,
    work: WorkFolder | None,
    level: str,
    *,
    isolate: bool = True,
    poll: bool = False,
) -> WatchOptions:
    """Return what a watch of a file is given, on the terminal or in the browser; the challenge is that of `begun`."""
    from grader.learner.watch_options import WatchOptions

    about = _About(challenge, work, path.name)
    return WatchOptions(
        challenge=challenge,
        path=path.absolute(),
        planted=about.planted,
        hint=about.hint,
        graded=about.remember,
        judged=about.judged if work else None,
        question=about.question if work and tells(level, SYMPTOM) else None,
        answer=about.answer if work else None,
        suspect=about.suspect if work else None,
        success=about.success if work and tells(level, SYMPTOM) else None,
        trace=about.trace if tells(challenge.tell, PATTERN) else None,
        more=about.more if tells(challenge.tell, PLACE) else None,
        level=level,
        named=f"{work.folder.name}/{path.name}" if work else path.name,
        before=partial(recall_focus, work, challenge) if work else None,
        isolate=isolate,
        poll=poll,
    )


class _About:
    """What the screen asks of other commands: hints, traces, and to remember a grading."""

    def __init__(self, challenge: Challenge, work: WorkFolder | None, name: str) -> None:
        self.challenge, self.work, self.name = challenge, work, name
        try:
            self.planted = of_work(challenge, work).bugs if work else None
        except (WorkError, UserError):
            self.planted = None  # a stale state is no reason not to grade
        self._seen: dict[str, int] = dict(work.hints) if work else {}
        self._rungs: dict[str, int] = dict(work.rungs) if work else {}
        self._cases: tuple[CaseResult, ...] = ()

    def remember(self, source: bytes, result: Result, focus: Focus) -> None:
        """Keep what failed, and the focus, beside the file."""
        self._cases = result.cases
        if self.work:
            remember_result(
                *(self.work, source, result, focus), planted=self.planted, challenge=self.challenge
            )

    def judged(self, result: Result) -> tuple[str, ...]:
        """Return what became of suspicions, before the result is remembered."""
        return (
            history_of(self.challenge, self.work, result, self.planted or ()) if self.work else ()
        )

    def question(self, result: Result) -> Question | None:
        """Return what is asked after a fix, before the result is remembered."""
        if self.work is None or not self.planted:
            return None
        return question_of(self.challenge, self.work, result, self.planted)

    def answer(self, question: Question, number: int) -> str:
        """Keep an answer, and return what is said to it."""
        return answered(self.work, question, number) if self.work else question.reply(number)

    def suspect(self, typed: str) -> tuple[str, ...]:
        """Note a line that was typed, and the reason behind it."""
        from grader.cli.suspect_command import note_suspicion

        assert self.work is not None, "without an attempt nothing can be noted"
        lines, _, why = typed.partition(" ")
        try:
            first, quoted = note_suspicion(
                self.challenge, self.work.path, self.work, lines, why.strip()
            )
        except (UserError, WorkError) as error:
            return (escape_for_display(str(error)),)
        noted = f"noted: line {first}  {escape_for_display(quoted)}"
        return noted, "whether it is right is told when a bug is mended"

    def success(self, source: bytes) -> Success | None:
        """Return the end of the attempt: the stories of its bugs, what it took, what is next."""
        from grader.cli.explain_command import success_of

        work = load_work_folder(self.work.folder) if self.work else None
        return success_of(self.challenge, work, self._read(source).text) if work else None

    def hint(self, source: bytes, case: CaseResult, focus: Focus) -> tuple[str, ...]:
        """Return the next hint: about the bug in focus, or about another case that was chosen."""
        from grader.learner.hints import LastGrading, next_hint

        if not tells(self.challenge.tell, CAUSE):
            return (f"{self.challenge.teller} gives no hints.",)
        text = self._read(source).text
        about = None if case.id == focus.case else case.id
        failed = tuple(dict.fromkeys([case.id, *filter(None, [focus.scenario, focus.unit])]))
        hint = next_hint(
            *(self.challenge, text),
            planted=self.planted, seen=self._seen, graded=LastGrading(failed, (), focus), case=about,
        )  # fmt: skip
        if hint is None:
            return ("No planted bug that can be recognised is found by the case above.",)
        self._keep(hint.bug.id, HINTS_FROM + hint.level)
        lines = [f"{hint.level} of {len(hint.bug.hints)}: {hint.text}"]
        if not hint.last:
            lines.append("h again for a plainer one")
        if any(self.challenge.hint_costs):
            lines.append(f"cost: {hint.cost}")
        return tuple(lines)

    def more(
        self, sandbox: Sandbox, source: bytes, case: CaseResult, focus: Focus
    ) -> tuple[str, ...]:
        """Return the next rung of the ladder for the bug in focus."""
        from grader.diagnose.explain_failures import trace_focus

        handed = self._read(source)
        if focus.bug is None:
            return ("No known bug explains what fails; t traces the case above.",)

        def trace(name: str) -> Trace:
            return trace_focus(sandbox, self.challenge, None, handed.source, focus, name)

        rung = next_rung(self.challenge, focus, self._reached(focus.bug), trace)
        if rung is None:
            return ("That was all there is to tell.",)
        self._keep(focus.bug, rung.number)
        return (rung.title, *rung.lines, *self._found_by(rung.case))

    def _found_by(self, case: str | None) -> Iterator[str]:
        """Yield what a case found in the last grading."""
        from grader.judge.result import redacted
        from grader.report.phrases import place

        judged = next((one for one in self._cases if one.id == case), None)
        if judged is None or judged.cause is None:
            return
        cause = redacted(judged)
        yield escape_for_display(cause.rationale)
        rows = (("where", place(cause.where)), ("expected", cause.expected), ("got", cause.actual))
        yield from (escape_for_display(f"{name}  {text}") for name, text in rows if text)

    def _reached(self, bug: str) -> int:
        hints = self._seen.get(bug, 0)
        return max(self._rungs.get(bug, 0), hints and HINTS_FROM + hints)

    def _keep(self, bug: str, rung: int) -> None:
        """Remember how high the ladder of a bug was climbed, in this run and beside the file."""
        self._rungs[bug] = max(rung, self._rungs.get(bug, 0))
        self._seen[bug] = max(rung - HINTS_FROM, self._seen.get(bug, 0))
        if self.work is not None:
            remember_rung(self.work, bug, rung)

    def trace(
        self, sandbox: Sandbox, source: bytes, case: CaseResult, focus: Focus
    ) -> tuple[str, ...]:
        """Return where the file first departs from the reference in this case."""
        from grader.cli.trace_command import lines
        from grader.diagnose.explain_failures import trace_focus

        if case.visibility != "public":
            return ("A hidden case is not traced.",)
        handed = self._read(source)
        made = trace_focus(sandbox, self.challenge, None, handed.source, focus, case.id)
        if focus.bug is not None and case.id == focus.case:
            self._keep(focus.bug, OF_LEVEL[PATTERN])
        return tuple(handed.in_cells(text) for text in lines(made))

    def _read(self, source: bytes) -> HandedIn:
        """Return a file that has been graded, so that it can be read."""
        try:
            return handed_in(source, self.name, self.challenge.file)
        except UnusableFile:
            return HandedIn(source)

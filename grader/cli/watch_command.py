"""`kvdojo watch`: grade a file again whenever it is saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument, file_argument
from grader.cli.submission import locate, read
from grader.cli.variant import begun, of_work
from grader.content import Challenge
from grader.content.handed_in import HandedIn, UnusableFile, handed_in
from grader.ground.errors import Exit, UserError
from grader.learner.work_folder import WorkError, WorkFolder, load_work_folder

if TYPE_CHECKING:
    from grader.judge.result import CaseResult, Result
    from grader.sandbox import Sandbox


@click.command("watch")
@challenge_argument
@file_argument
@click.option("--poll", is_flag=True, help="Look at the file now and then: for network folders.")
@click.option("--no-isolation", is_flag=True, help="Run FILE unconfined: only for your own code.")
@click.pass_context
def command(
    ctx: click.Context, challenge: str, file: Path | None, poll: bool, no_isolation: bool
) -> None:
    """Grade FILE, or the file begun with `kvdojo start`, at every save.

    On one screen, with keys: n next failed case, h hint, t trace, r run again, q quit. Where there is no terminal,
    one line per save; Ctrl-C ends it.
    """
    from grader.learner.watch_loop import watch_file
    from grader.learner.watch_options import WatchOptions

    found = catalogue().load(challenge)
    path, work = locate(found, file)
    found = begun(found, work)
    read(path, found.id)
    about = _About(found, work, path.name)
    setting = WatchOptions(
        challenge=found,
        path=path.absolute(),
        planted=about.planted,
        hint=about.hint,
        graded=about.remember,
        trace=about.trace,
        isolate=not no_isolation,
        poll=poll,
    )
    result = watch_file(setting, terminal.console())
    ctx.exit(Exit.of_verdict(result.verdict) if result else Exit.PASSED)


class _About:
    """What the screen asks of other commands: hints, traces, and to remember a grading."""

    def __init__(self, challenge: Challenge, work: WorkFolder | None, name: str) -> None:
        self.challenge, self.work, self.name = challenge, work, name
        try:
            self.planted = of_work(challenge, work).bugs if work else None
        except (WorkError, UserError):
            self.planted = None  # a stale state is no reason not to grade
        self._seen: dict[str, int] = dict(work.hints) if work else {}

    def remember(self, source: bytes, result: Result) -> None:
        """Keep what failed beside the file."""
        from grader.cli.grade_command import remember_result

        if self.work:
            remember_result(self.work, source, result)

    def hint(self, source: bytes, case: CaseResult) -> tuple[str, ...]:
        """Return the next hint about the case on the screen, else about any bug."""
        from grader.learner.hints import next_hint

        text = self._read(source).text
        for about in (case.id, None):
            hint = next_hint(
                self.challenge, text, planted=self.planted, seen=self._seen, case=about
            )
            if hint is not None:
                break
        else:
            return (
                "No planted bug that can be recognised is left: the case above tells the most.",
            )
        self._keep(hint.bug.id, hint.level)
        lines = [f"{hint.level} of {len(hint.bug.hints)}: {hint.text}"]
        if not hint.last:
            lines.append("h again for a plainer one")
        if any(self.challenge.hint_costs):
            lines.append(f"cost: {hint.cost}")
        return tuple(lines)

    def _keep(self, bug: str, level: int) -> None:
        self._seen[bug] = max(level, self._seen.get(bug, 0))
        if self.work is None:
            return
        try:
            # another command may have written the state since
            (load_work_folder(self.work.folder) or self.work).with_hint(bug, level).save()
        except WorkError:
            return

    def trace(self, sandbox: Sandbox, source: bytes, case: CaseResult) -> tuple[str, ...]:
        """Return where the file first departs from the reference in this case."""
        from grader.cli.trace_command import lines
        from grader.diagnose.trace_case import trace_case

        if case.visibility != "public":
            return ("A hidden case is not traced.",)
        handed = self._read(source)
        made = trace_case(sandbox, self.challenge, self.challenge.cases[case.id], handed.source)
        return tuple(handed.in_cells(text) for text in lines(made))

    def _read(self, source: bytes) -> HandedIn:
        """Return a file that has been graded, so that it can be read."""
        try:
            return handed_in(source, self.name, self.challenge.file)
        except UnusableFile:
            return HandedIn(source)

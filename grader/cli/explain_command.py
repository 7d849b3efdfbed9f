"""`kvdojo explain`: the stories of the bugs that are mended, in full."""

from __future__ import annotations

import contextlib
import shlex
from datetime import date
from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument
from grader.cli.submission import locate, readable
from grader.cli.terminal import shown
from grader.cli.variant import begun, of_work
from grader.content import Catalogue, Challenge, ContentError
from grader.ground.display import escape_for_display
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line
from grader.learner.attempts import all_attempts, progress_of
from grader.learner.families import due_families, read_families
from grader.learner.history import History, read_history
from grader.learner.ladder import help_by_bug, help_taken
from grader.learner.work_folder import WorkError, WorkFolder
from grader.report.stories import Story, Success, Suggestion, stories, what_next


@click.command("explain")
@challenge_argument
@click.argument("bug", metavar="[BUG]", required=False)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="The file of another attempt than the one `grade` takes.",
)
@click.pass_context
def command(ctx: click.Context, challenge: str, bug: str | None, file: Path | None) -> None:
    """Tell what the bugs were that you have fixed: how each looked, where it happened, your lines and the reference's.

    BUG is its number, its id, or a part of its title. Nothing is told of a bug that is still there.
    """
    found = catalogue().load(challenge)
    path, work = locate(found, file)
    if work is None:
        start = command_line("start", found.id)
        raise UserError(f"Stories belong to an attempt: begin one with `{start}`.")
    found = begun(found, work)
    planted = of_work(found, work)
    gradings = read_history(work).of("graded")
    if not gradings:
        grade = command_line("grade", found.id)
        raise UserError(f"Nothing was graded yet: `{grade}` says what is fixed.")
    text = readable(path, found).text
    fixed = gradings[-1]["fixed"]
    told = stories(
        found,
        planted.bugs,
        fixed,
        text,
        decoys=planted.decoys,
        rungs=help_by_bug(work, planted.bugs),
    )
    chosen = [story for story in told if bug is None or _is_meant(story, bug)]
    left = len(planted.bugs) - len(told)
    if bug is not None and not chosen:
        raise UserError(_not_told(bug, told, left))
    _print(chosen, path.name)
    if left and bug is None:
        terminal.out(
            f"{left} of {len(planted.bugs)} bugs were left at the last grading; their stories come when they are fixed."
        )
    ctx.exit(Exit.PASSED)


def success_of(
    challenge: Challenge,
    work: WorkFolder,
    text: str,
    history: History | None = None,
) -> Success | None:
    """Return the end of an attempt whose file, `text`, passes; None where what was planted is not known.

    `challenge` is as `begun` returns it.  A `history` that is given is used instead of the folder's.
    """
    try:
        planted = of_work(challenge, work)
        history = history or read_history(work)
    except (WorkError, UserError):
        return None
    told = stories(
        challenge,
        planted.bugs,
        planted.bugs,
        text,
        decoys=planted.decoys,
        rungs=help_by_bug(work, planted.bugs),
    )
    taken = help_taken(work, planted.bugs)
    next_ones = tuple(_suggestions(challenge, work))
    return Success(told, history.minutes, history.saves, taken.rungs, taken.of, next_ones)


def _suggestions(challenge: Challenge, work: WorkFolder) -> list[Suggestion]:
    """Return what to try next, from what this person has begun and passed.

    After an exercise of `today` that is the next one, where another is due.
    """
    if work.family is not None:
        with contextlib.suppress(WorkError):
            if due_families(read_families(), date.today()):
                return [Suggestion("another is due", ("today",))]
        return []
    known = Catalogue(challenge.root)
    challenges = []
    for name in known.ids():
        try:
            challenges.append(known.load(name))
        except ContentError:
            continue
    attempts: dict[str, dict[str, str]] = {}
    passed: dict[str, set[str]] = {}
    for other in all_attempts():
        folder = shlex.quote(shown(other.folder))
        attempts.setdefault(other.challenge, {})[other.label] = folder
        if progress_of(other).verdict == "passed":
            passed.setdefault(other.challenge, set()).add(other.label)
    return what_next(challenge, work.label, challenges, attempts, passed)


def _is_meant(story: Story, bug: str) -> bool:
    if bug.isdigit():
        return story.number == int(bug)
    return bug == story.bug or bug.casefold() in story.title.casefold()


def _not_told(bug: str, told: tuple[Story, ...], left: int) -> str:
    """Say that no story is told; whether there is such a bug is not."""
    shown = escape_for_display(bug, columns=40)
    if not told:
        return f"{shown!r} is no bug that you have fixed: none is, so far."
    names = ", ".join(f"{story.number} ({story.title})" for story in told)
    more = f"; {left} more come when they are fixed" if left else ""
    return f"{shown!r} is no bug that you have fixed. There is: {names}{more}."


def _print(told: list[Story], file: str) -> None:
    from rich.text import Text

    from grader.report.success_lines import full_story
    from grader.report.terminal_report import lines_without_blanks

    screen = terminal.console()
    for story in told:
        for segments in lines_without_blanks(screen, full_story(story, file)):
            screen.print(Text.assemble(*((part.text, part.style or "") for part in segments)))
        screen.print(Text(""))

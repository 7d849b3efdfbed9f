"""`kvdojo list`: the challenges there are, and how far each attempt of the learner has come.

Of a challenge only `challenge.json` is read, and nothing heavy is imported.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue
from grader.cli.terminal import shown
from grader.content import Challenge, ContentError
from grader.ground.display import escape_for_display
from grader.ground.errors import Exit
from grader.ground.invocation import command_line
from grader.ground.symbols import PLAIN, UNICODE, Symbols, count
from grader.learner.attempts import Progress, all_attempts, find_attempt, progress_of
from grader.learner.work_folder import WorkError, WorkFolder

if TYPE_CHECKING:
    from rich.text import Text

STATES = {"passed": "green", "failed": "red", "error": "magenta"}  # verdicts, and their colours


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the challenges, easiest first."""
    challenges, faults = _load()
    if as_json and faults:
        raise ContentError("\n".join(faults))
    if as_json:
        begun = _by_challenge()
        entries = [_entry(c, begun.get(c.id, [])) for c in challenges]
        document = {"schema": "kvdojo/list/v1", "challenges": entries}
        terminal.document(document)
    else:
        _print(challenges)
    for fault in faults:
        terminal.err(f"kvdojo: {fault}")
    ctx.exit(Exit.CONTENT if faults else Exit.PASSED)


def _load() -> tuple[list[Challenge], list[str]]:
    """Return the challenges that can be read, easiest first, and for each other one what is wrong with it."""
    challenges, faults = [], []
    for name in catalogue().ids():
        try:
            challenges.append(catalogue().load(name))
        except ContentError as error:
            faults.append(str(error))
    return challenges, faults


def _entry(challenge: Challenge, attempts: list[WorkFolder]) -> dict[str, Any]:
    taken = _taken(challenge.id)
    return {
        "id": challenge.id,
        "title": challenge.title,
        "summary": challenge.summary,
        "difficulty": challenge.difficulty,
        "file": challenge.file,
        "started": str(taken.folder) if taken else None,
        "attempts": [
            {"folder": str(work.folder), "made": work.label, **asdict(progress_of(work))}
            for work in attempts
        ],
    }


def _taken(challenge: str) -> WorkFolder | None:
    """Return the attempt that commands take; None where there is none, or none that can be read."""
    try:
        return find_attempt(challenge)
    except WorkError:
        return None


def _print(challenges: list[Challenge]) -> None:
    """Write one block per challenge: name, difficulty and title, the summary, a line for each attempt."""
    from rich.padding import Padding
    from rich.text import Text

    screen = terminal.console()
    marks = PLAIN if screen.options.ascii_only else UNICODE
    attempts = _by_challenge()
    reached = {name: [progress_of(work) for work in found] for name, found in attempts.items()}
    passed = {name for name, found in reached.items() if any(p.verdict == "passed" for p in found)}
    for challenge in challenges:
        level = f"difficulty {challenge.difficulty} of 5"
        tick = (f"  {marks.passed} passed", "green") if challenge.id in passed else ""
        screen.print(Text.assemble((challenge.id, "bold"), "  ", (level, "cyan"), tick))
        screen.print(Padding(Text(f"{challenge.title}. {challenge.summary}"), (0, 0, 0, 2)))
        taken = _taken(challenge.id)
        for work, progress in zip(
            attempts.get(challenge.id, []), reached.get(challenge.id, []), strict=True
        ):
            screen.print(_line(work, progress, marks, taken), soft_wrap=not screen.is_terminal)
    if attempts:
        known = passed & {challenge.id for challenge in challenges}
        screen.print(Text(f"{len(known)} of {count(len(challenges), 'challenge')} passed.", "bold"))
    if any(len(found) > 1 for found in attempts.values()):
        use = command_line("use", "CHALLENGE", "DIR")
        screen.print(
            Text(f"`>` is what commands take; `{use}` chooses another.", "dim"), soft_wrap=True
        )
    screen.print(
        Text(f"Begin one with `{command_line('start', 'CHALLENGE')}`.", "dim"), soft_wrap=True
    )


def _by_challenge() -> dict[str, list[WorkFolder]]:
    found: dict[str, list[WorkFolder]] = {}
    for work in all_attempts():
        found.setdefault(work.challenge, []).append(work)
    return found


def _line(work: WorkFolder, progress: Progress, marks: Symbols, taken: WorkFolder | None) -> Text:
    """Return the line of one attempt: its folder, its verdict, and how far it has come."""
    from rich.text import Text

    is_taken = taken is not None and taken.folder.absolute() == work.folder.absolute()
    mark = marks.of(progress.verdict) if progress.verdict in STATES else marks.dash
    colour = STATES.get(progress.verdict or "", "")
    return Text.assemble(
        f"  {'>' if is_taken else ' '} ",
        (f"{mark} {escape_for_display(shown(work.folder))}", colour),
        f" {marks.dash} ",
        f" {marks.dash} ".join(_numbers(progress)),
    )


def _numbers(progress: Progress) -> list[str]:
    """Return what an attempt has reached, in words."""
    if progress.verdict is None:
        return ["not graded yet"]
    parts = [f"{progress.passed} of {count(progress.cases, 'case')}"]
    if progress.planted is not None:
        parts.insert(0, f"{progress.mended} of {count(progress.planted, 'bug')}")
    if progress.rungs:
        parts.append(f"{count(progress.rungs, 'rung')} of help")
    return [*parts, count(progress.minutes, "minute")]

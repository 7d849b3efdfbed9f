"""`kvdojo list`: the challenges there are, and where the learner has begun one.

Of a challenge only `challenge.json` is read, and nothing heavy is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue
from grader.cli.terminal import shown
from grader.content import Challenge, ContentError
from grader.ground.errors import Exit
from grader.ground.invocation import command_line
from grader.learner.work_folder import WorkError, find_work_folder


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the challenges, easiest first."""
    challenges, faults = _load()
    if as_json and faults:
        raise ContentError("\n".join(faults))
    if as_json:
        document = {"schema": "kvdojo/list/v1", "challenges": [_entry(c) for c in challenges]}
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


def _entry(challenge: Challenge) -> dict[str, Any]:
    return {
        "id": challenge.id,
        "title": challenge.title,
        "summary": challenge.summary,
        "difficulty": challenge.difficulty,
        "file": challenge.file,
        "started": _started(challenge),
    }


def _started(challenge: Challenge) -> str | None:
    """Return the work folder of a challenge; None where there is none, or none that can be read."""
    try:
        work = find_work_folder(challenge.id)
    except WorkError:
        return None
    return str(work.folder) if work else None


def _print(challenges: list[Challenge]) -> None:
    """Write one block per challenge: name, difficulty and title, then the summary."""
    from rich.padding import Padding
    from rich.text import Text

    screen = terminal.console()
    for challenge in challenges:
        level = f"difficulty {challenge.difficulty} of 5"
        screen.print(Text.assemble((challenge.id, "bold"), "  ", (level, "cyan")))
        screen.print(Padding(Text(f"{challenge.title}. {challenge.summary}"), (0, 0, 0, 2)))
        started = _started(challenge)
        if started:
            screen.print(Text(f"  started in {shown(Path(started))}", "green"), soft_wrap=True)
    screen.print(
        Text(f"Begin one with `{command_line('start', 'CHALLENGE')}`.", "dim"), soft_wrap=True
    )

"""`kvdojo hint`: the next hint for the easiest planted bug that is still in the file.

Nothing is run: the file is only read, so a hint is there at once and a file that hangs can have one.
"""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.exits import UserError
from grader.cli.names import challenge_argument, file_argument
from grader.cli.submission import locate, text
from grader.cli.variant import of_work
from grader.content import Bug, Challenge, load_challenge
from grader.content.fragments import status
from grader.content.statements import statements
from grader.work import Work


@click.command("hint")
@challenge_argument
@file_argument
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    help="1 where to look, 2 which idea, 3 the line. Default: one more than last time.",
)
def command(challenge: str, file: Path | None, level: int | None) -> None:
    """Give a hint for a planted bug that is still in the file; ask again for a plainer one."""
    found = load_challenge(challenge)
    path, work = locate(found, file)
    source = text(path, found.id)
    if statements(source) is None:
        raise UserError(
            f"{path.name} is not valid Python yet: `kvdojo grade {found.id}` shows the line."
        )
    states = _planted(found, work, status(found, source))
    bug = _easiest(found, states, "present") or _easiest(found, states, "changed")
    if bug is None:
        terminal.out(_nothing_left(found, states))
        return
    seen = work.hints.get(bug.id, 0) if work else 0
    level = level or min(seen + 1, len(bug.hints))
    named = f"{found.id} {file}" if file else found.id
    _print(named, bug, level, changed=states[bug.id] == "changed")
    if work and level > seen:
        work.with_hint(bug.id, level).save()


def _planted(challenge: Challenge, work: Work | None, states: dict[str, str]) -> dict[str, str]:
    """Keep the states of the bugs that were planted, when that is known."""
    if work is None:
        return states
    return {bug: states[bug] for bug in of_work(challenge, work).bugs if bug in states}


def _easiest(challenge: Challenge, states: dict[str, str], wanted: str) -> Bug | None:
    bugs = [challenge.bugs[name] for name, state in states.items() if state == wanted]
    return min(bugs, key=lambda bug: bug.difficulty, default=None)


def _nothing_left(challenge: Challenge, states: dict[str, str]) -> str:
    rewritten = sum(state == "unknown" for state in states.values())
    if not rewritten:
        return f"No planted bug is left. `kvdojo grade {challenge.id}` has the last word."
    return (
        "None of the planted bugs can be recognised: the code was written anew. "
        f"`kvdojo grade {challenge.id}` says which cases fail, and where."
    )


def _print(named: str, bug: Bug, level: int, *, changed: bool) -> None:
    from rich.text import Text

    screen = terminal.console()
    screen.print(Text(f"Hint {level} of {len(bug.hints)}", "bold"))
    if changed:
        screen.print(
            Text(
                "You have changed this place, but not to what the reference has. "
                f"If `kvdojo grade {named}` passes, it is right all the same."
            )
        )
    screen.print(Text(bug.hints[level - 1]))
    if level < len(bug.hints):
        screen.print(Text(f"For a plainer one: `kvdojo hint {named} --level {level + 1}`.", "dim"))
    else:
        screen.print(Text(f"The answer: `kvdojo solution {named} --diff`.", "dim"))

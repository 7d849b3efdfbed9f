"""`kvdojo hint`: the next hint for a planted bug that is still in the file.

Nothing is run: the file is only read, so a hint is there at once and a file that hangs can have one.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import (
    catalogue,
    challenge_argument,
    check_cases,
    complete_case,
    file_argument,
)
from grader.cli.submission import locate, read, readable
from grader.cli.variant import begun, of_work
from grader.content import Challenge
from grader.content.statements import statements
from grader.ground.display import escape_for_display
from grader.ground.errors import UserError
from grader.ground.invocation import command_line
from grader.learner.hints import Hint, bug_states, next_hint, points_spent, recall_grading


@click.command("hint")
@challenge_argument
@file_argument
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    help="1 where to look, 2 which idea, 3 the line. Default: one more than last time.",
)
@click.option(
    "--case",
    metavar="ID",
    shell_complete=complete_case,
    help="About a bug that this case finds.",
)
def command(challenge: str, file: Path | None, level: int | None, case: str | None) -> None:
    """Give a hint for a planted bug that is still in the file; ask again for a plainer one.

    After a grading the hint is about what failed first in it.
    """
    found = catalogue().load(challenge)
    check_cases(found, [case] if case else [])
    path, work = locate(found, file)
    found = begun(found, work)
    source = readable(path, found).text
    if statements(source) is None:
        language = "JSON" if found.file.endswith(".json") else "Python"
        grade = command_line("grade", found.id)
        raise UserError(f"{path.name} is not valid {language} yet: `{grade}` shows the line.")
    planted = of_work(found, work).bugs if work else None
    seen = dict(work.hints) if work else {}
    graded = recall_grading(work, read(path, found.id)) if work else None
    hint = next_hint(
        found, source, planted=planted, seen=seen, graded=graded, case=case, level=level
    )
    if hint is None:
        states = bug_states(found, source, planted).values()
        passes = graded is not None and not graded.failed
        terminal.out(_nothing_left(found, [] if passes else list(states), case))
        return
    _print(
        f"{found.id} {escape_for_display(shlex.quote(str(file)))}" if file else found.id, hint, case
    )
    if work and hint.level > seen.get(hint.bug.id, 0):
        work.with_hint(hint.bug.id, hint.level).save()
        seen[hint.bug.id] = hint.level
    terminal.out(_cost(found, hint, seen))


def _nothing_left(challenge: Challenge, states: list[str], case: str | None) -> str:
    if case and {"present", "changed"}.intersection(states):
        return f"None of the bugs that are left is found by {case!r} alone: ask without --case."
    grade = command_line("grade", challenge.id)
    if not {"present", "changed", "unknown"}.intersection(states):
        return f"No planted bug is left. `{grade}` has the last word."
    return (
        "None of the planted bugs can be recognised: the code was written anew. "
        f"`{grade}` says which cases fail, and where."
    )


def _cost(challenge: Challenge, hint: Hint, seen: dict[str, int]) -> str:
    if not any(challenge.hint_costs):
        return "Cost: none."
    total = points_spent(challenge, seen)
    return f"Cost: {_points(hint.cost)}; all hints so far: {_points(total)}."


def _points(number: int) -> str:
    return f"{number} point{'s' * (number != 1)}"


def _print(named: str, hint: Hint, case: str | None) -> None:
    from rich.text import Text

    screen = terminal.console()
    screen.print(Text(f"Hint {hint.level} of {len(hint.bug.hints)}", "bold"))
    if hint.changed:
        screen.print(
            Text(
                "You have changed this place, but not to what the reference has. "
                f"If `{command_line('grade', named)}` passes, it is right all the same."
            )
        )
    screen.print(Text(hint.text))
    if not hint.last:
        choice = ["--case", case] if case else []
        again = command_line("hint", named, *choice, "--level", str(hint.level + 1))
        screen.print(Text(f"For a plainer one: `{again}`.", "dim"), soft_wrap=True)
    else:
        screen.print(
            Text(f"The answer: `{command_line('solution', named, '--diff')}`.", "dim"),
            soft_wrap=True,
        )

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
from grader.cli.grade_command import remember_rung
from grader.cli.submission import locate, read, readable
from grader.cli.variant import begun, of_work
from grader.content import Challenge
from grader.content.statements import statements
from grader.ground.display import escape_for_display
from grader.ground.errors import UserError
from grader.ground.invocation import command_line
from grader.judge.focus import Focus
from grader.judge.telling import CAUSE, tells
from grader.learner.hints import (
    Hint,
    bug_states,
    next_hint,
    points_spent,
    recall_focus,
    recall_grading,
    remember_focus,
)
from grader.learner.work_folder import HINTS_FROM


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
    """Give a hint for the bug in focus, the one of which `grade` shows the symptom; ask again for a plainer one.

    `kvdojo more` begins further below: it tells the place first.
    """
    found = catalogue().load(challenge)
    if not tells(found.tell, CAUSE):
        raise UserError(f"{found.id!r} tells at most {found.tell!r}, so it gives no hints.")
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
    graded = recall_grading(work, found, read(path, found.id)) if work else None
    before = recall_focus(work, found)
    hint = next_hint(
        *(found, source),
        planted=planted, seen=seen, graded=graded, before=before, case=case, level=level,
    )  # fmt: skip
    if hint is None:
        states = bug_states(found, source, planted).values()
        passes = graded is not None and not graded.failed
        terminal.out(_nothing_left(found, [] if passes else list(states), case))
        return
    _print(
        f"{found.id} {escape_for_display(shlex.quote(str(file)))}" if file else found.id, hint, case
    )
    if work and graded is None and case is None:
        remember_focus(work, Focus(hint.bug.id, "changed" if hint.changed else "present"))
    if work and hint.level > seen.get(hint.bug.id, 0):
        remember_rung(work, hint.bug.id, HINTS_FROM + hint.level)
        seen[hint.bug.id] = hint.level
    if any(found.hint_costs):
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

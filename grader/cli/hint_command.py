"""`kvdojo hint`: the next hint for a planted bug that is still in the file.

A file that was changed since it was graded is graded first, so that the hint is about the bug that the other commands
speak of.  Where it cannot be judged, the hint goes by its text alone.
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
from grader.cli.focus_of_file import focus_of_file
from grader.cli.grade_command import command_target, nothing_explains, remember_rung
from grader.cli.submission import locate, read, readable
from grader.cli.variant import begun, of_work
from grader.content import Challenge
from grader.content.entries import CAUSE, tells
from grader.content.statements import statements
from grader.ground.display import escape_for_display
from grader.ground.errors import KvdojoError, UserError
from grader.ground.invocation import command_line
from grader.learner.hints import (
    Hint,
    LastGrading,
    bug_states,
    next_hint,
    points_spent,
    unexplained,
)
from grader.learner.work_folder import HINTS_FROM, WorkFolder


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
@click.option("--no-isolation", is_flag=True, help="Run FILE unconfined: only for your own code.")
def command(
    challenge: str, file: Path | None, level: int | None, case: str | None, no_isolation: bool
) -> None:
    """Give a hint for the bug in focus, the one of which `grade` shows the symptom; ask again for a plainer one.

    `kvdojo more` begins further below: it tells the place first.
    """
    found = catalogue().load(challenge)
    check_cases(found, [case] if case else [])
    path, work = locate(found, file)
    found = begun(found, work)
    if not tells(found.tell, CAUSE):
        raise UserError(f"{found.teller} tells at most {found.tell!r}, so it gives no hints.")
    handed = readable(path, found)
    source = handed.text
    if statements(source) is None:
        language = "JSON" if found.file.endswith(".json") else "Python"
        grade = command_line("grade", found.id)
        raise UserError(f"{path.name} is not valid {language} yet: `{grade}` shows the line.")
    planted = of_work(found, work).bugs if work else None
    seen = dict(work.hints) if work else {}
    graded = _grading(found, path, work, handed.source, isolate=not no_isolation)
    hint = next_hint(
        *(found, source), planted=planted, seen=seen, graded=graded, case=case, level=level
    )
    if hint is None:
        states = bug_states(found, source, planted).values()
        passes = graded is not None and not graded.failed
        if graded is not None and unexplained(graded) and case is None:
            terminal.out(nothing_explains(graded.focus, command_target(found, file)))
        else:
            terminal.out(_nothing_left(found, [] if passes else list(states), case))
        return
    _print(
        f"{found.id} {escape_for_display(shlex.quote(str(file)))}" if file else found.id, hint, case
    )
    if work and hint.level > seen.get(hint.bug.id, 0):
        remember_rung(work, hint.bug.id, HINTS_FROM + hint.level)
        seen[hint.bug.id] = hint.level
    if any(found.hint_costs):
        terminal.out(_cost(found, hint, seen))


def _grading(
    challenge: Challenge, path: Path, work: WorkFolder | None, source: bytes, *, isolate: bool
) -> LastGrading | None:
    """Return the grading of the file as it is, None where it cannot be judged."""
    raw = read(path, challenge.id)
    try:
        known = focus_of_file(challenge, path, work, raw, source, isolate=isolate)
    except KvdojoError:
        return None
    judged = known.result is None or known.result.verdict != "error"
    return known.graded if judged else None


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

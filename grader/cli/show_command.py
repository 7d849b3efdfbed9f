"""`kvdojo show`: a challenge's brief, rendered for the terminal."""

from __future__ import annotations

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument
from grader.ground.invocation import command_line


@click.command("show")
@challenge_argument
def command(challenge: str) -> None:
    """Show the brief: what the file must do, and what it promises its callers."""
    from rich.markdown import Markdown
    from rich.text import Text

    found = catalogue().load(challenge)
    screen = terminal.console()
    facts = f"{found.file}, difficulty {found.difficulty} of 5, {len(found.cases)} cases"
    screen.print(Text.assemble((found.title, "bold"), f" ({facts})"))
    screen.print()
    screen.print(Markdown(found.brief))
    screen.print()
    screen.print(
        f"Your file has {found.total_seconds:g} s of CPU time for all cases together, its import included,"
        f" and {found.seconds:g} s for a single one; a right one needs a few.",
        soft_wrap=True,
    )
    screen.print(Text(f"Begin with `{command_line('start', found.id)}`.", "dim"), soft_wrap=True)

"""`kvdojo challenge new`: begin a whole challenge."""

from __future__ import annotations

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue
from grader.cli.terminal import shown
from grader.ground.errors import UserError
from grader.ground.invocation import command_line


@click.group("challenge")
def command() -> None:
    """Begin a challenge of your own."""


@command.command("new")
@click.argument("name", metavar="ID")
def new(name: str) -> None:
    """Write a small, sound challenge named ID to begin with.

    \b
    Example: kvdojo challenge new my_cache
    """
    from grader.author.scaffold import scaffold

    try:
        made = scaffold(name, catalogue().root)
    except OSError as error:
        raise UserError(f"{name} cannot be written: {error.strerror}.") from None
    terminal.out(f"Written: {shown(made.reference)} and {shown(made.folder)}/")
    for path in sorted(made.folder.iterdir()):
        terminal.out(f"  {path.name}")
    terminal.out("\nRecord its golden, witnesses and starter, and pass the author's gate:")
    terminal.out(f"  {command_line('check', name, '--record')}")
    terminal.out("How to make it yours: docs/instructors.md")

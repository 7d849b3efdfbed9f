"""`kvdojo log`: a whole attempt, line by line: what was suspected, graded and asked, and what it moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument, file_argument
from grader.cli.submission import locate
from grader.cli.variant import begun
from grader.content import Challenge
from grader.ground.display import escape_for_display
from grader.ground.errors import UserError
from grader.ground.invocation import command_line
from grader.learner.history import HISTORY, History, read_history
from grader.learner.preset_clock import clock_lines
from grader.learner.work_folder import RUNGS


@click.command("log")
@challenge_argument
@file_argument
def command(challenge: str, file: Path | None) -> None:
    """Tell an attempt from its start: suspicions, gradings, help, and what each moved."""
    found = catalogue().load(challenge)
    _, work = locate(found, file)
    if work is None:
        start = command_line("start", found.id)
        raise UserError(f"Only an attempt has a history: begin one with `{start}`.")
    found = begun(found, work)
    history = read_history(work)
    screen = terminal.console()
    for text in log_lines(found, history):
        # a line stays a line where it is piped into another program
        screen.print(Text(text), soft_wrap=not screen.is_terminal)
    for text in clock_lines(found, work, history):
        terminal.out(text)
    if not history.events:
        terminal.out(f"Nothing yet: `{command_line('grade', found.id)}` is the beginning.")
    if history.unread:
        terminal.err(f"kvdojo: {history.unread} lines of {work.folder / HISTORY} cannot be read.")


def log_lines(challenge: Challenge, history: History) -> Iterator[str]:
    """Yield a line per event: the time since the beginning, what it was, and what it says."""
    began = min((event["at"] for event in history.events), default=0)
    before: Mapping[str, Any] | None = None
    for event in history.events:
        text = ""
        if event["what"] == "graded":
            text, before = _graded(challenge, event, before), event
        elif event["what"] == "suspect":
            first, last = event["lines"]
            text = f"line {first}{f' to {last}' if last != first else ''}  {event['text']}"
            text += f"  ({event['why']})" if event["why"] else ""
        elif event["what"] == "rung":
            text = RUNGS[event["rung"] - 1] if 1 <= event["rung"] <= len(RUNGS) else ""
        elif event["what"] == "answer":
            word = "right" if event["right"] else "not it"
            text = f"{word}: {_title(challenge, event['bug'])}"
        minutes, seconds = divmod(max(0, event["at"] - began), 60)
        yield escape_for_display(f"{minutes:>4}:{seconds:02}  {event['what']:<8} {text}").rstrip()


def _graded(
    challenge: Challenge, event: Mapping[str, Any], before: Mapping[str, Any] | None
) -> str:
    """Say what a grading gave and what it moved; the bugs that the first one finds fixed were never there."""
    told = f"{event['passed']} of {event['cases']} cases pass"
    if before is None:
        return told
    told += _moved(event["passed"], before["passed"])
    now, old = set(event["fixed"]), set(before["fixed"])
    for word, names in (("fixed", now - old), ("wrong again", old - now)):
        if names:
            told += f"; {word}: {', '.join(_title(challenge, name) for name in sorted(names))}"
    return told


def _moved(now: int, before: int) -> str:
    return "" if now == before else f" ({now - before:+})"


def _title(challenge: Challenge, name: str) -> str:
    return challenge.bugs[name].title if name in challenge.bugs else name

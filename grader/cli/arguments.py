"""Arguments and options that name a challenge, a case or a bug, with shell completion.

Completion must answer at once and must never print an error: whatever goes wrong, it offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from grader.cli.variant import unknown
from grader.content import Catalogue, Challenge, ContentError
from grader.content.entries import TELLING
from grader.ground.errors import UserError

_F = TypeVar("_F", bound=Callable[..., Any])


def catalogue(ctx: click.Context | None = None) -> Catalogue:
    """Return the challenges that the running command is about: this checkout's, unless `main` was given others."""
    ctx = ctx or click.get_current_context(silent=True)
    given = ctx.find_object(Catalogue) if ctx else None
    return given or Catalogue()


def complete_challenge(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the challenges there are."""
    known = catalogue(ctx)
    return _items(incomplete, lambda: {name: _title(known, name) for name in known.ids()})


def challenge_argument(function: _F) -> _F:
    """Add the argument CHALLENGE, completed from the challenges there are."""
    return click.argument("challenge", metavar="CHALLENGE", shell_complete=complete_challenge)(
        function
    )


def file_argument(function: _F) -> _F:
    """Add the optional argument FILE; what may stand there is `submission.locate`'s business."""
    return click.argument(
        "file", metavar="[FILE]", required=False, type=click.Path(path_type=Path)
    )(function)


def tell_option(function: _F) -> _F:
    """Add the option --tell, how much is told of what failed."""
    return click.option(
        "--tell",
        "tell",
        metavar="LEVEL",
        type=click.Choice(TELLING),
        help=f"How much to tell: {', '.join(TELLING)}.  [default: symptom]",
    )(function)


def complete_case(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the cases of the challenge already on the command line."""
    return _offer(
        ctx, incomplete, lambda challenge: {c.id: c.title for c in challenge.cases.values()}
    )


def complete_preset(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the presets of the challenge already on the command line."""
    return _offer(ctx, incomplete, lambda challenge: dict.fromkeys(challenge.presets, ""))


def complete_ids(
    kind: str,
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return a completer of a comma-separated list of bugs or of decoys."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        done, comma, last = incomplete.rpartition(",")
        items = _offer(
            ctx,
            last,
            lambda challenge: {b.id: b.title for b in challenge.bugs.values() if b.kind == kind},
        )
        return [CompletionItem(done + comma + item.value, help=item.help) for item in items]

    return complete


def check_cases(challenge: Challenge, names: Sequence[str]) -> None:
    """Refuse a case id that does not exist; raises UserError with the nearest one."""
    for name in names:
        if name not in challenge.cases:
            raise UserError(unknown(f"case of {challenge.id!r}", name, challenge.cases))


def _offer(
    ctx: click.Context, incomplete: str, names: Callable[[Challenge], dict[str, str]]
) -> list[CompletionItem]:
    # after an option still without its value click leaves the arguments unparsed
    named = ctx.params.get("challenge") or next(iter(ctx.args), "")
    return _items(incomplete, lambda: names(catalogue(ctx).load(named)))


def _items(incomplete: str, names: Callable[[], dict[str, str]]) -> list[CompletionItem]:
    """Offer the names that begin as typed; an error would land in the line being typed."""
    try:
        found = names()
    except Exception:
        return []
    return [
        CompletionItem(name, help=title or None)
        for name, title in found.items()
        if name.startswith(incomplete)
    ]


def _title(known: Catalogue, name: str) -> str:
    try:
        return known.load(name).title
    except ContentError:
        return ""

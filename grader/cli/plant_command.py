"""`kvdojo plant`: make a variant of a challenge. Same ids or same seed, same bytes."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, challenge_argument, complete_ids
from grader.cli.terminal import shown
from grader.cli.variant import Variant, by_ids, by_seed
from grader.content import Challenge
from grader.ground.errors import UserError
from grader.ground.files import write_atomically


@click.command("plant")
@challenge_argument
@click.option(
    "--bugs",
    metavar="ID,ID|K",
    shell_complete=complete_ids("bug"),
    help="Ids of the bugs to plant; with --seed, how many to draw.",
)
@click.option(
    "--decoys",
    metavar="ID,ID",
    shell_complete=complete_ids("decoy"),
    help="Ids of the decoys to plant.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Draw bugs and decoys by this number.")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write here."
)
@click.option("--force", is_flag=True, help="Replace FILE when it holds something else.")
def command(
    challenge: str,
    bugs: str | None,
    decoys: str | None,
    seed: int | None,
    out: Path | None,
    force: bool,
) -> None:
    """Make a variant: the reference with chosen bugs and decoys planted.

    \b
    Examples: kvdojo plant CHALLENGE --bugs ID,ID --decoys ID --out FILE
              kvdojo plant CHALLENGE --seed 7 --bugs 3
    """
    found = catalogue().load(challenge)
    variant = _variant(found, bugs, decoys, seed)
    source = variant.source(found)
    if out is None:
        terminal.out(source)
        return
    _write(out, source, force=force)
    terminal.err(f"Bugs: {', '.join(variant.bugs) or 'none'}")
    terminal.err(f"Decoys: {', '.join(variant.decoys) or 'none'}")
    terminal.err(f"Written to {shown(out)}.")


def _variant(
    challenge: Challenge, bugs: str | None, decoys: str | None, seed: int | None
) -> Variant:
    """Read the two ways of choosing; raises UserError."""
    if seed is not None:
        if decoys is not None:
            raise UserError("--seed draws the decoys too: give either --seed or --decoys.")
        if bugs is None or not bugs.isdecimal():
            raise UserError("with --seed, --bugs is the number of bugs to draw: --seed 7 --bugs 3.")
        return by_seed(challenge, seed, int(bugs))
    if bugs is not None and bugs.isdecimal():
        raise UserError(f"--bugs {bugs} draws bugs and needs a --seed: --seed 7 --bugs {bugs}.")
    chosen = by_ids(challenge, _split(bugs), _split(decoys))
    if not chosen.bugs and not chosen.decoys:
        raise UserError("nothing to plant: give --bugs or --decoys, or --seed N --bugs K.")
    return chosen


def _split(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _write(path: Path, source: str, *, force: bool) -> None:
    """Write the variant; a different file is replaced only with --force."""
    try:
        if not force and path.exists() and path.read_bytes() != source.encode():
            raise UserError(f"{shown(path)} exists and differs: --force replaces it.")
        write_atomically(path, source)
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be written: {error.strerror}.") from None

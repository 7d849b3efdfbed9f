"""What the command lines of several benchmarks share; knows nothing of what is measured."""

from __future__ import annotations

import argparse

from grader.content import challenge_ids

FIRST = "multi_head_attention"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the module's docstring, as it is laid out there."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_challenge(made: argparse.ArgumentParser) -> None:
    """Let one challenge be named; the first is taken otherwise."""
    made.add_argument(
        "challenge", nargs="?", default=FIRST, choices=challenge_ids(), metavar="CHALLENGE"
    )


def add_think(made: argparse.ArgumentParser) -> None:
    """Let the time between two saves be named, which a person needs to think."""
    made.add_argument("--think", type=float, default=2.0, metavar="SECONDS")


def many(text: str) -> int:
    """Read a number of times, at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return number

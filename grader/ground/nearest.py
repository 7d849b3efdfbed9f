"""The known name that a misspelt one most resembles."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest_name(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """Return the known name that is most like `name`; None when none is like it.

    `cutoff` is the likeness that is asked for, from 0 (anything) to 1 (the same).

    >>> nearest_name("foward", ["forward", "reset"])
    'forward'
    """
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """Return the end of an error message that suggests a name, empty when none is near.

    >>> "No verb named 'foward'." + did_you_mean("foward", ["forward"])
    "No verb named 'foward'. Did you mean 'forward'?"
    """
    close = nearest_name(name, known, cutoff=cutoff)
    return f" Did you mean {close!r}?" if close else ""

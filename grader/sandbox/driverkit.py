"""The two words a challenge's driver needs; imported by drivers in the grader and in the worker.

It imports nothing, so that a driver can be read where torch is absent.
"""

from __future__ import annotations

from typing import Any


class Wrong(Exception):
    """An answer of the wrong structure: `kind` is wrong_value, wrong_shape, wrong_dtype or missing."""

    def __init__(self, kind: str, message: str, *, name: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.name = name


asked: list[str] = []  # names looked for since the list was last emptied


def need(obj: Any, name: str) -> Any:
    """Return the attribute `name` of `obj`, or report it missing."""
    asked.append(name)
    try:
        return getattr(obj, name)
    except AttributeError:
        raise Wrong("missing", f"`{name}` is not defined", name=name) from None

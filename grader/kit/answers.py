"""Look-ups in a submission and checks of what it returned, with the words for what is missing.

Used beside the submission.  It imports nothing, so that a driver can also be read where torch is absent.
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


asked: list[str] = []  # names looked for since the worker began the current request


def need(obj: Any, name: str) -> Any:
    """Return the attribute `name` of `obj`, or report it missing."""
    asked.append(name)
    try:
        return getattr(obj, name)
    except AttributeError:
        raise Wrong("missing", f"`{name}` is not defined", name=name) from None


def given(answer: Any) -> Any:
    """Return an answer, or say that the function last looked up forgot to return one."""
    if answer is None:
        raise Wrong("missing", f"`{_last()}` returned None; is a `return` missing?")
    return answer


def parts(answer: Any, *names: str) -> tuple[Any, ...]:
    """Return an answer of several things as a tuple, or say what the function last looked up must return."""
    several = given(answer)
    if isinstance(several, tuple | list) and len(several) == len(names):
        return tuple(several)
    raise Wrong("missing", f"`{_last()}` must return ({', '.join(names)})")


def _last() -> str:
    return asked[-1] if asked else "the function"

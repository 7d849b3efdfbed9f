"""An author's mistake in a driver, told in one line with the line of the driver where it stands."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any

KIT = str(Path(__file__).parent)


class DriverError(Exception):
    """A declaration that cannot be used.

    `line` is the author's; where only the name of the class is known that holds the mistake, `within` says it.
    """

    def __init__(self, message: str, line: int | None = None, within: str | None = None) -> None:
        super().__init__(message)
        self.message, self.line, self.within = message, line, within


def mistake(message: str, item: Callable[..., Any] | type | None = None) -> DriverError:
    """Return the error for a mistake in this function or class, or in the call that is made to the kit just now."""
    if isinstance(item, type):
        return DriverError(message, within=item.__name__)
    if item is not None:
        code = getattr(inspect.unwrap(item), "__code__", None)
        return DriverError(message, code.co_firstlineno if code else None)
    return DriverError(message, calling_line())


def calling_line() -> int | None:
    """Return the line outside of the kit (and of what dataclasses generate) from which the kit was called."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((KIT, "<")):
        frame = frame.f_back
    return frame.f_lineno if frame else None


def or_meant(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names a close match, or nothing."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""

"""Parse JSON strictly: no NaN or Infinity, no key twice in one object, nothing nested too deeply.

Used for content in the grader, and for submissions that are JSON documents in a worker beside learner code.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


class StrictJSONError(ValueError):
    """Text that is no strict JSON; `line` and `column` count from 1 where the place is known."""

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(reason)
        self.line, self.column = line, column


def parse_strict(text: str, *, finite: bool = False) -> Any:
    """Return the parsed document; raises StrictJSONError.

    With `finite`, a number that a float cannot hold (`1e999`) is refused instead of being read as infinity.

    >>> parse_strict('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    grader.ground.strict_json.StrictJSONError: the key 'a' stands twice in one object
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite if finite else None,
        )
    except json.JSONDecodeError as error:
        raise StrictJSONError(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise StrictJSONError("nested too deeply") from None
    except StrictJSONError:
        raise
    except ValueError as error:
        raise StrictJSONError(str(error)) from None  # such as an integer of too many digits


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise StrictJSONError(f"the key {twice[:40]!r} stands twice in one object")
    return document


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise StrictJSONError(f"the number {digits[:20]} is too large")
    return number


def _refuse(literal: str) -> NoReturn:
    raise StrictJSONError(f"{literal} is not a JSON number")

"""Turn, in the worker, a submission that is a JSON document into a module that holds it as `document`.

It is read strictly: no NaN, no infinity, no name twice in one object. What the document means is the driver's
business.
"""

from __future__ import annotations

import json
import math
from typing import Any


def as_python(filename: str, text: str) -> str:
    """Return the Python text that makes the module; a Python file's own text is left as it is.

    Raises SyntaxError, with the line where there is one, for text that is no JSON.
    """
    if not filename.endswith(".json"):
        return text
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refused, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        place = (filename, error.lineno, error.colno, None)
        raise SyntaxError(f"no valid JSON: {error.msg}", place) from None
    except RecursionError:
        raise SyntaxError("no valid JSON for us: nested too deeply") from None
    except ValueError as error:
        raise SyntaxError(f"no valid JSON for us: {error}") from None
    return f"document = {document!r}\n"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:40]!r} stands twice in one object")
    return made


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is too large")
    return number


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")

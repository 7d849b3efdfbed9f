"""Read a JSON file strictly: size capped, no NaN literals, no duplicate keys, errors with line and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from grader.content.errors import ContentError

MAX_BYTES = 8 << 20


def read_json(path: Path) -> Any:
    """Return the parsed document; raises ContentError naming the file, line and column."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ContentError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ContentError(f"{path}: larger than {MAX_BYTES >> 20} MiB")
    return parse_json(raw, str(path))


def parse_json(raw: bytes, name: str) -> Any:
    """Parse strict UTF-8 JSON; `name` stands in the error lines."""
    try:
        text = raw.decode("utf-8-sig")
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise ContentError(f"{name}: not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ContentError(f"{name}: broken JSON at {where}: {error.msg}") from None
    except RecursionError:
        raise ContentError(f"{name}: nested too deeply") from None
    except ValueError as error:
        raise ContentError(f"{name}: {error}") from None


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return document

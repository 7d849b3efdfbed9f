"""Read a JSON file of a challenge strictly: its size is capped, and an error names file, line and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grader.content.content_errors import ContentError
from grader.ground.files import TooLarge, read_ordinary
from grader.ground.limits import MAX_CONTENT_BYTES
from grader.ground.strict_json import StrictJSONError, parse_strict


def read_json(path: Path) -> Any:
    """Return the parsed document; raises ContentError naming the file, line and column."""
    try:
        raw = read_ordinary(path, MAX_CONTENT_BYTES)
    except TooLarge:
        raise ContentError(f"{path}: larger than {MAX_CONTENT_BYTES >> 20} MiB") from None
    except OSError as error:
        raise ContentError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_json(raw, str(path))


def parse_json(raw: bytes, name: str) -> Any:
    """Parse strict UTF-8 JSON; `name` stands in the error lines."""
    try:
        return parse_strict(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ContentError(f"{name}: not UTF-8 at byte {error.start}") from None
    except StrictJSONError as error:
        if error.line is not None:
            where = f"line {error.line} column {error.column}"
            raise ContentError(f"{name}: broken JSON at {where}: {error}") from None
        raise ContentError(f"{name}: {error}") from None

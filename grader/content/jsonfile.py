"""Read a JSON file of a challenge strictly, and add entries to one without changing the rest of its text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grader.content.content_errors import ContentError
from grader.ground.files import TooLarge, read_ordinary
from grader.ground.limits import MAX_CONTENT_BYTES
from grader.ground.strict_json import StrictJSONError, parse_strict
from grader.ground.text_encoding import EncodingError, decode_utf8


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
        return parse_strict(decode_utf8(raw))
    except EncodingError as error:
        raise ContentError(f"{name}: {error}") from None
    except StrictJSONError as error:
        if error.line is not None:
            where = f"line {error.line} column {error.column}"
            raise ContentError(f"{name}: broken JSON at {where}: {error}") from None
        raise ContentError(f"{name}: {error}") from None


def with_entries(text: bytes, key: str, entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the file's text with more entries at the end of its array `key`.

    The array must be the last member of the document, as in every file of a challenge; where the text is laid out so
    that it cannot be cut there, all of it is written anew.
    """
    old = parse_json(text, key)
    want = {**old, key: [*old[key], *entries]}
    body = text.decode("utf-8-sig").replace("\r\n", "\n")
    end = body.rstrip().removesuffix("}").rstrip().removesuffix("]").rstrip()
    shown = [json.dumps(entry, indent=2, ensure_ascii=False) for entry in entries]
    added = ",\n    ".join(text.replace("\n", "\n    ") for text in shown)
    comma = "," if old[key] else ""
    made = f"{end}{comma}\n    {added}\n  ]\n}}\n".encode()
    if _reads_as(made, want):
        return made
    return (json.dumps(want, indent=2, ensure_ascii=False) + "\n").encode()


def _reads_as(text: bytes, want: Any) -> bool:
    try:
        return bool(parse_json(text, "it") == want)
    except ContentError:
        return False

"""Add entries to a JSON file that an author wrote, and leave the rest of its text as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from grader.content.content_errors import ContentError
from grader.content.jsonfile import parse_json


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

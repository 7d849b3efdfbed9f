"""A JSON document as statements: each named entry of its lists is a scope, each of its members a statement.

So a planted flaw is told by the member it changes, wherever the entry stands and however it is laid out.
"""

from __future__ import annotations

import json
from typing import Any

Statements = dict[tuple[str, ...], list[str]]


def document_statements(text: str) -> Statements | None:
    """Return the statements of a JSON object; None when the text is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    found: Statements = {}
    for key, value in document.items():
        entries = value if isinstance(value, list) else []
        named = [e for e in entries if isinstance(e, dict) and isinstance(e.get("name"), str)]
        for entry in named:
            found.setdefault((key, entry["name"]), []).extend(_members(entry))
        if not named:
            found.setdefault((), []).append(_member(key, value))
    return found


def _members(entry: dict[str, Any]) -> list[str]:
    return [_member(key, value) for key, value in entry.items()]


def _member(key: str, value: Any) -> str:
    return f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}"

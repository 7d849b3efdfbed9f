"""Make text that a submission wrote safe to show: nothing in it acts on the terminal or the page.

Control characters, escape sequences, direction overrides, invisible and unassigned characters, and
blanks other than the space, are shown as escapes. Length and number of lines are bounded. Knows
nothing of markup: a renderer escapes its own.
"""

from __future__ import annotations

import unicodedata

MAX_COLUMNS = 400
MAX_LINES = 40
MAX_MARKS = 2  # combining marks on one character; more of them paint over the lines above


def visible(text: str, *, columns: int = MAX_COLUMNS) -> str:
    """Return `text` as one line."""
    return _clip(_escape(" ".join(text.split("\n"))), columns)


def visible_lines(text: str, *, lines: int = MAX_LINES, columns: int = MAX_COLUMNS) -> list[str]:
    """Return `text` as at most `lines` lines; the middle is left out, for errors stand at the end."""
    found = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if len(found) > lines:
        head, tail = lines // 2, lines - lines // 2 - 1
        left_out = f"... {len(found) - head - tail} lines left out ..."
        found = [*found[:head], left_out, *found[len(found) - tail :]]
    return [_clip(_escape(line), columns) for line in found]


def _clip(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 4]} ..."


def _escape(text: str) -> str:
    shown: list[str] = []
    marks = 0
    for character in text:
        if character.isascii() and character.isprintable():
            marks = 0
            shown.append(character)
            continue
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        if character == "\t":
            shown.append("    ")
        elif marks > MAX_MARKS or not character.isprintable():
            shown.append(character.encode("unicode_escape", "surrogatepass").decode())
        else:
            shown.append(character)
    return "".join(shown)

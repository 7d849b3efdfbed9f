r"""Make text that a submission wrote safe to show: nothing in it acts on a terminal or a page.

Control characters, escape sequences, direction overrides, invisible and unassigned characters, and blanks other than
the space are replaced by their Python escapes; a letter keeps at most two combining marks.  Length and number of lines
are bounded.  Nothing is known here of markup: a renderer escapes its own.

    >>> escape_for_display("a\x1b[2Jb\tc\nd")
    'a\\x1b[2Jb    c d'
    >>> escape_lines("first\nsecond\nthird\nlast", lines=3)
    ['first', '... 2 lines left out ...', 'last']
"""

from __future__ import annotations

import unicodedata

WIDEST = 120  # columns of a terminal that are used; longer lines are hard to read
MAX_COLUMNS = 400
MAX_LINES = 40
MAX_MARKS = 2  # combining marks on one character; more of them paint over the lines above


def escape_for_display(text: str, *, columns: int = MAX_COLUMNS) -> str:
    """Return `text` as one line of at most `columns` characters."""
    return _line(text.replace("\n", " "), columns)


def escape_lines(text: str, *, lines: int = MAX_LINES, columns: int = MAX_COLUMNS) -> list[str]:
    """Return `text` as at most `lines` lines; the middle is left out, for errors stand at the end."""
    found = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if len(found) > lines:
        head, tail = lines // 2, lines - lines // 2 - 1
        left_out = f"... {len(found) - head - tail} lines left out ..."
        found = [*found[:head], left_out, *found[len(found) - tail :]]
    return [_line(line, columns) for line in found]


def escape_characters(text: str) -> str:
    """Return the whole of `text` with its newlines and tabs, every other character that could do harm escaped."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        if character in "\n\t" or (character.isprintable() and marks <= MAX_MARKS):
            shown.append(character)
        else:
            shown.append(character.encode("unicode_escape", "surrogatepass").decode())
    return "".join(shown)


def _line(text: str, columns: int) -> str:
    # no character becomes shorter, so what lies behind these is not shown, and need not be looked at
    shown = escape_characters(text[: columns + 1]).replace("\t", "    ")
    return shown if len(shown) <= columns else f"{shown[: columns - 4]} ..."

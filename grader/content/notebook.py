"""Read a Jupyter notebook as the Python file that its code cells make.  Nothing of it is executed.

What only Jupyter understands is left out and named, as Jupyter itself would read it:

- lines that begin with `%` or `!` (or end with a question mark that asks for help), where a new statement may begin: a
  `%` within brackets or a string is Python's own;
- cells that begin with `%%`: those whose magic runs the rest of the cell as Python (`%%time`) lose the first line
  alone, the others (`%%bash`, `%%html`, `%%writefile`) all of it.

A line that is left out becomes a comment, so that the lines of a cell keep their numbers.

    >>> cells = [{"cell_type": "code", "source": ["%matplotlib inline\\n", "x = 1"]}]
    >>> made = read_notebook(json.dumps({"nbformat": 4, "metadata": {}, "cells": cells}).encode())
    >>> made.text
    '# cell 1\\n# left out\\nx = 1\\n'
    >>> made.left_out
    ('cell 1, line 1: %matplotlib inline',)
    >>> made.place(3)
    'cell 1, line 2'
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from grader.ground.limits import MAX_SOURCE_BYTES
from grader.ground.text_encoding import EncodingError, decode_utf8

# cell magics that run the rest of their cell as Python, where what it defines stays defined (`%%timeit`: nearly so)
PYTHON_MAGICS = {"capture", "debug", "memit", "mprun", "prun", "time", "timeit"}
AGAIN = "save it from Jupyter again"
# a statement that only Jupyter understands: a magic, a shell command, or either of them assigned to names
MAGIC = re.compile(r"[%!]")
ASSIGNED = re.compile(r"[\w.\[\]'\", ()*]+=[ \t]*(?:!|%(?=[A-Za-z]))")
HELP = re.compile(r"\?{1,2}[\w.*]*|[%\w.*\[\]'\"]+\?{1,2}")
# what a line of Python consists of, as far as it decides where a statement ends
PIECE = re.compile(
    r"""(?P<comment>\#.*)
      | (?P<triple>\"{3}|'{3})
      | (?P<string>"(?:\\.|[^"\\])*(?:"|\\?$) | '(?:\\.|[^'\\])*(?:'|\\?$))
      | (?P<open>[(\[{]) | (?P<close>[)\]}])""",
    re.VERBOSE | re.DOTALL,
)


class NotebookError(ValueError):
    """A notebook that cannot be read as a Python file; the text is one line that ends with what to do."""


@dataclass(frozen=True)
class Notebook:
    """The Python text that a notebook's code cells make.

    `left_out` names the lines that are not in it.  `cells` holds, for each code cell, the number of its first line in
    the text and the number of the cell, both from 1; cells of prose are counted, as editors count them.
    """

    text: str
    left_out: tuple[str, ...]
    cells: tuple[tuple[int, int], ...]

    def place(self, line: int) -> str:
        """Return where a line of the text stands in the notebook."""
        at = bisect_right(self.cells, (line, 1 << 62)) - 1
        if at < 0:
            return f"line {line}"
        first, cell = self.cells[at]
        return f"cell {cell}, line {line - first + 1}"


def is_notebook(data: bytes) -> bool:
    """Whether a file is a notebook whatever its name: a JSON object with what every notebook has.

    No Python file that could pass is one: it would be a single dictionary.
    """
    beginning = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not beginning.startswith(b"{") or b'"nbformat"' not in data:
        return False
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and not {"cells", "worksheets"}.isdisjoint(document)


def read_notebook(data: bytes) -> Notebook:
    """Return the Python text of a notebook of format 3 or 4; raises NotebookError."""
    try:
        # as Jupyter reads it: NaN in an output is no fault, and of a key that stands twice the last counts
        document = json.loads(decode_utf8(data))
    except EncodingError as error:
        raise NotebookError(f"the notebook is {error}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise NotebookError(f"the notebook is broken JSON at {place}: {AGAIN}") from None
    except RecursionError:
        raise NotebookError(f"the notebook is nested too deeply: {AGAIN}") from None
    except ValueError as error:
        raise NotebookError(f"the notebook is broken JSON ({error}): {AGAIN}") from None
    made = _Joined()
    for number, source, language in _code_cells(document):
        made.add(number, source, language)
    if not made.cells:
        raise NotebookError("the notebook has no code in it: put the code into code cells")
    return Notebook("\n".join(made.lines) + "\n", tuple(made.left_out), tuple(made.cells))


def _code_cells(document: Any) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each code cell, its text, and its language; of format 4, or of the worksheets of format 3."""
    if not isinstance(document, dict):
        raise NotebookError(f"the notebook is not a JSON object: {AGAIN}")
    usual = _language(document.get("metadata"))
    if usual != "python":
        raise NotebookError(f"the notebook is written in {usual[:40]!r}: Python is expected")
    cells = document.get("cells")
    if cells is None and isinstance(sheets := document.get("worksheets"), list):
        parts = [sheet.get("cells") if isinstance(sheet, dict) else None for sheet in sheets]
        cells = [cell for part in parts if isinstance(part, list) for cell in part]
    if not isinstance(cells, list):
        raise NotebookError(f"the notebook has no list of cells: {AGAIN}")
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict):
            raise NotebookError(f"cell {number} of the notebook is not a JSON object: {AGAIN}")
        if cell.get("cell_type") != "code":
            continue
        source = cell.get("source", cell.get("input"))
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            raise NotebookError(f"cell {number} of the notebook has no text: {AGAIN}")
        language = cell.get("language", "python")  # of a cell of format 3
        yield number, source, language.lower() if isinstance(language, str) else "unknown"


def _language(metadata: Any) -> str:
    """Return the language of a notebook; one that does not say is taken for Python."""
    if isinstance(metadata, dict):
        for part, key in (("language_info", "name"), ("kernelspec", "language")):
            found = metadata.get(part)
            if isinstance(found, dict) and isinstance(name := found.get(key), str):
                return re.sub(r"\d+$", "", name.lower()).removeprefix("i")
    return "python"


@dataclass
class _Joined:
    """The lines of the cells read so far."""

    lines: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    cells: list[tuple[int, int]] = field(default_factory=list)
    size: int = 0

    def add(self, number: int, source: str, language: str) -> None:
        """Add one cell; raises NotebookError when there is too much code, or a character that is none."""
        if not source.strip():
            return
        try:
            self.size += len(source.encode())
        except UnicodeEncodeError:
            raise NotebookError(
                f"cell {number} of the notebook holds half a character (a lone surrogate): {AGAIN}"
            ) from None
        if self.size > MAX_SOURCE_BYTES:
            most = MAX_SOURCE_BYTES >> 10
            raise NotebookError(
                f"the notebook holds more than {most} KiB of code: hand in less of it"
            )
        lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.lines.append(f"# cell {number}")
        self.cells.append((len(self.lines) + 1, number))
        first = next(at for at, line in enumerate(lines) if line.strip())
        magic = re.match(r"%%(\S*)", lines[first].lstrip())
        if language != "python":
            self._leave_all(number, lines, f"written in {language[:20]}")
        elif magic and magic[1] not in PYTHON_MAGICS:
            self._leave_all(number, lines, f"the whole cell, {lines[first].strip()[:60]}")
        else:
            self._add_python(number, lines, first if magic else None)

    def _leave_all(self, number: int, lines: list[str], why: str) -> None:
        self.left_out.append(f"cell {number}: {why}")
        self.lines += ["# left out"] * len(lines)

    def _add_python(self, number: int, lines: list[str], magic: int | None) -> None:
        """Add the lines of a cell without those that are not Python; `magic` is the index of its `%%` line."""
        first = next((line for line in lines if line.strip()), "")
        indent = first[: len(first) - len(first.lstrip())]  # Jupyter takes it off the whole cell
        state = _Lexer()
        goes_on = False
        for at, line in enumerate(lines):
            line = line.removeprefix(indent) if state.between else line
            bare = line.strip()
            begins = state.between and not goes_on
            if goes_on or at == magic or (begins and _only_jupyter(bare)):
                if not goes_on:
                    self.left_out.append(f"cell {number}, line {at + 1}: {bare[:60]}")
                goes_on = bare.endswith("\\")
                # a block that held nothing else stays a block
                space = line[: len(line) - len(line.lstrip())]
                self.lines.append(f"{space}pass  # left out" if space and begins else "# left out")
            else:
                self.lines.append(line)
                state.take(line)


def _only_jupyter(statement: str) -> bool:
    """Whether a statement, without the space around it, is none of Python's."""
    return bool(MAGIC.match(statement) or ASSIGNED.match(statement) or HELP.fullmatch(statement))


class _Lexer:
    """Where statements begin, line by line: not within brackets, strings of several lines, or behind a backslash."""

    def __init__(self) -> None:
        self._depth = 0
        self._quotes = ""
        self._continued = False

    @property
    def between(self) -> bool:
        """Whether the next line begins a statement."""
        return not (self._depth or self._quotes or self._continued)

    def take(self, line: str) -> None:
        """Go over one line of Python."""
        at = 0
        self._continued = False
        while True:
            if self._quotes:
                end = _end_of_string(line, at, self._quotes)
                if end is None:
                    if len(self._quotes) == 1 and not line.endswith("\\"):
                        self._quotes = ""  # no Python: the string was never closed
                    return
                at, self._quotes = end, ""
            piece = PIECE.search(line, at)
            if piece is None:
                break
            at = piece.end()
            if piece["triple"]:
                self._quotes = piece["triple"]
            elif piece["open"]:
                self._depth += 1
            elif piece["close"]:
                self._depth = max(0, self._depth - 1)
            elif piece["string"] and piece["string"].endswith("\\"):
                self._quotes = piece["string"][0]  # goes on in the next line
        self._continued = not self._quotes and line.endswith("\\")


def _end_of_string(line: str, at: int, quotes: str) -> int | None:
    """Return where a string that began in an earlier line ends, or None; a backslash takes the next character along."""
    found = re.compile(rf"(?:\\.|(?!{quotes}).)*{quotes}", re.DOTALL).match(line, at)
    return found.end() if found else None

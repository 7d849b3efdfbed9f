"""What a learner handed in, as the text that is graded: notebooks are joined, other encodings become UTF-8.

The bytes as they were handed in are what is stored and what `sha256` is of; what is run, compared and shown is
`source`.  A file that is UTF-8 Python already stays as it is, byte for byte.
"""

from __future__ import annotations

import codecs
import io
import re
import tokenize
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from grader.content.notebook import Notebook, NotebookError, is_notebook, read_notebook
from grader.ground.errors import Exit, KvdojoError
from grader.ground.limits import MAX_NOTEBOOK_BYTES, MAX_SOURCE_BYTES
from grader.ground.text_encoding import EncodingError, decode_utf8, wide_encoding

NOTEBOOK = ".ipynb"
UNBOUNDED = {"punycode", "idna"}  # encodings whose decoders take time that grows with the square
LINE = re.compile(r"(?P<before>^Line |\(line )(?P<number>\d{1,7})(?=[:)])", re.MULTILINE)
NAMED = 5  # lines left out that a notice names


class UnusableFile(KvdojoError):
    """A submission that cannot be read as text; the message is one line that ends with what to do."""

    exit_code = Exit.USAGE


@dataclass(frozen=True)
class HandedIn:
    """A submission: `source` is UTF-8, and `notebook` is given where it was made of one."""

    source: bytes
    notebook: Notebook | None = None

    @property
    def text(self) -> str:
        """The source as text, with plain line ends."""
        decoded = self.source.decode("utf-8-sig", "replace")
        return decoded.replace("\r\n", "\n").replace("\r", "\n")

    @property
    def left_out(self) -> tuple[str, ...]:
        """The lines of a notebook that are not graded."""
        return self.notebook.left_out if self.notebook else ()

    def in_cells(self, text: str) -> str:
        """Return a message with `Line 12:` or `(line 12)` told as a cell and its line, where this is a notebook."""
        notebook = self.notebook
        if notebook is None:
            return text

        def place(match: re.Match[str]) -> str:
            told = notebook.place(int(match["number"]))
            return f"({told}" if match["before"] == "(line " else told[:1].upper() + told[1:]

        return LINE.sub(place, text)


def left_out_notice(left_out: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence that names the lines of a notebook that are not graded, if there are any."""
    if not left_out:
        return ()
    more = len(left_out) - NAMED
    named = [*left_out[:NAMED], *([f"and {more} more"] if more > 0 else [])]
    return (f"Left out, since only Jupyter understands it: {'; '.join(named)}.",)


def most_bytes(name: str) -> int:
    """Return how large a file of this name may be: a notebook also holds pictures, which are not kept."""
    return MAX_NOTEBOOK_BYTES if name.lower().endswith(NOTEBOOK) else MAX_SOURCE_BYTES


def handed_in(data: bytes, name: str, expected: str) -> HandedIn:
    """Read a submission of the file name `name`, where `expected` is the challenge's; raises UnusableFile."""
    document = not expected.endswith(".py")
    if name.lower().endswith(NOTEBOOK) or is_notebook(data):
        if document:
            raise UnusableFile(f"this is a Jupyter notebook; {expected} is expected")
        try:
            notebook = read_notebook(data)
        except NotebookError as error:
            raise UnusableFile(str(error)) from None
        return HandedIn(notebook.text.encode(), notebook)
    try:
        if document or wide_encoding(data):
            decode_utf8(data)
            return HandedIn(data)
        return HandedIn(_python_as_utf8(data))
    except EncodingError as error:
        raise UnusableFile(f"the file is {error}") from None


def source_of(data: bytes, name: str, expected: str) -> bytes:
    """Return the source of a submission, or its bytes as they are where it cannot be read."""
    try:
        return handed_in(data, name, expected).source
    except UnusableFile:
        return data


def _python_as_utf8(data: bytes) -> bytes:
    """Return a Python file in UTF-8, whatever its coding line says; raises EncodingError, as Python would refuse it.

    The coding line stays where it is, for line numbers; who compiles text does not heed it.
    """
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(lines).readline)
        if encoding in ("utf-8", "utf-8-sig"):
            decode_utf8(data)
            return data
        if codecs.lookup(encoding).name in UNBOUNDED:
            raise EncodingError(f"written in {encoding!r}, which is not read; save it as UTF-8")
        with warnings.catch_warnings(action="ignore"):
            text = data.decode(encoding).encode()
        if len(text) > MAX_SOURCE_BYTES:
            most = MAX_SOURCE_BYTES >> 10
            raise EncodingError(f"larger than {most} KiB as UTF-8: not a submission")
        return text
    except EncodingError:
        raise
    except UnicodeDecodeError as error:
        raise EncodingError(
            f"not {error.encoding} at byte {error.start}, as its first lines say; save it as UTF-8"
        ) from None
    except SyntaxError:
        decode_utf8(data)  # without a coding line, the place of the first wrong byte is told
        told = "not readable: Python does not accept its coding line; save it as UTF-8 without one"
        raise EncodingError(told) from None
    except (LookupError, ValueError) as error:
        raise EncodingError(
            f"not readable by its coding line ({error}); save it as UTF-8"
        ) from None

"""The learner's file as the page edits it: read and replaced, but never over a change that the page has not seen.

A text travels with the digest of the bytes it was read from.  Saving says which bytes it replaces; where others lie by
now, nothing is written and the page shows both.  What a learner then gives up stays beside the file as a backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from grader.ground.errors import UserError
from grader.ground.files import NotOrdinary, TooLarge, read_ordinary, write_atomically
from grader.ground.limits import MAX_SOURCE_BYTES

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class FileText:
    """The bytes of a file, and its text for the editor: with plain line ends, None where the page cannot edit it."""

    raw: bytes
    text: str | None
    why: str = ""

    @property
    def digest(self) -> str:
        """What names these bytes."""
        return digest_of(self.raw)


class Conflict(Exception):
    """The file holds other bytes than those that were to be replaced; `found` is what it holds."""

    def __init__(self, found: FileText) -> None:
        super().__init__("the file was changed elsewhere")
        self.found = found


def digest_of(raw: bytes) -> str:
    """Return what names these bytes."""
    return sha256(raw).hexdigest()[:32]


def read_text_of(path: Path) -> FileText:
    """Read the learner's file; raises UserError for what is no ordinary file of a bearable size."""
    try:
        raw = read_ordinary(path, MAX_SOURCE_BYTES, follow=False)
    except NotOrdinary:
        raise UserError(f"{path.name} is not an ordinary file.") from None
    except TooLarge:
        raise UserError(
            f"{path.name} is larger than {MAX_SOURCE_BYTES >> 10} KiB: not a submission."
        ) from None
    except FileNotFoundError:
        raise UserError(f"{path.name} is not there any more.") from None
    except OSError as error:
        if path.is_symlink():
            raise UserError(
                f"{path.name} is a symbolic link; the studio edits only files in the attempt's folder."
            ) from None
        raise UserError(f"{path.name} cannot be read: {error.strerror}.") from None
    return text_of(raw)


def text_of(raw: bytes) -> FileText:
    """Return the text of these bytes, if saving it unchanged would give the same bytes again."""
    try:
        text = raw.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError:
        return FileText(raw, None, "It is not UTF-8, so it is edited in your own editor.")
    plain = text.replace("\r\n", "\n")
    if "\x00" in text or "\r" in plain or _as_bytes(plain, raw) != raw:
        return FileText(raw, None, "Its line ends are mixed, so it is edited in your own editor.")
    return FileText(raw, plain)


def save_text(path: Path, text: str, base: str) -> FileText:
    """Replace the bytes with the digest `base` by a text, and return the file as it then is.

    Raises Conflict where other bytes lie there, and UserError where the file cannot be read or written.
    """
    found = read_text_of(path)
    data = _as_bytes(text.replace("\r\n", "\n"), found.raw)
    if data == found.raw:
        return found
    if found.digest != base:
        raise Conflict(found)
    if found.text is None:
        raise UserError(found.why)
    _write(path, data)
    return text_of(data)


def keep_mine(path: Path, text: str, theirs: str) -> tuple[FileText, str]:
    """Put a text in place of the bytes with the digest `theirs`, which become a backup.

    Returns the file and the name of the backup.  Raises Conflict where the file was changed once more.
    """
    found = read_text_of(path)
    if found.digest != theirs:
        raise Conflict(found)
    data = _as_bytes(text.replace("\r\n", "\n"), found.raw)
    _bounded(path, data)
    kept = _aside(path, found.raw)
    _write(path, data)
    return text_of(data), kept


def put_aside(path: Path, text: str) -> str:
    """Keep a text that gives way to the file beside it, under the next free name of a backup, and return that."""
    data = _as_bytes(text, b"")
    _bounded(path, data)
    return _aside(path, data)


def _aside(path: Path, data: bytes) -> str:
    number = 1
    while True:
        aside = path.with_name(f"{path.name}.backup-{number}")
        try:
            with open(aside, "xb") as stream:
                stream.write(data)
            return aside.name
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UserError(f"{aside.name} cannot be written: {error.strerror}.") from None


def _write(path: Path, data: bytes) -> None:
    _bounded(path, data)
    try:
        write_atomically(path, data)
    except OSError as error:
        raise UserError(f"{path.name} cannot be written: {error.strerror}.") from None


def _bounded(path: Path, data: bytes) -> None:
    if len(data) > MAX_SOURCE_BYTES:
        raise UserError(
            f"{path.name} would be larger than {MAX_SOURCE_BYTES >> 10} KiB; it was not saved."
        )


def _as_bytes(text: str, like: bytes) -> bytes:
    """Return a text as bytes with the byte-order mark and the line ends of `like`."""
    if b"\r\n" in like:
        text = text.replace("\n", "\r\n")
    try:
        return (BOM if like.startswith(BOM) else b"") + text.encode()
    except UnicodeEncodeError:
        raise UserError(
            "The text holds half of a character, which no file can; it was not saved."
        ) from None

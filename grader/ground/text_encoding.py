"""Read text that people wrote with any editor: UTF-8 is read, and what is not is named so that it can be mended."""

from __future__ import annotations

import codecs

# the longer marks first: that of UTF-32 begins with that of UTF-16
MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# which bytes of each group are zero where plain ASCII text was written without a mark
ZEROS = {
    "UTF-32": {(False, True, True, True), (True, True, True, False)},
    "UTF-16": {(False, True, False, True), (True, False, True, False)},
}


class EncodingError(ValueError):
    """Text in an encoding that is not read; the message says which, or where, and what to do."""


def decode_utf8(data: bytes) -> str:
    r"""Return the text without a byte-order mark; raises EncodingError.

    >>> decode_utf8(b"\xef\xbb\xbfx = 1")
    'x = 1'
    >>> decode_utf8("x = 1".encode("utf-16"))
    Traceback (most recent call last):
    ...
    grader.ground.text_encoding.EncodingError: saved as UTF-16; save it as UTF-8
    """
    if wide := wide_encoding(data):
        raise EncodingError(f"saved as {wide}; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EncodingError(f"not UTF-8 at byte {error.start}; save it as UTF-8") from None


def wide_encoding(data: bytes) -> str | None:
    """Return `UTF-16` or `UTF-32` for bytes that are text in one of them, by their mark or by their zeros."""
    for mark, name in MARKS:
        if data.startswith(mark):
            return name
    for name, patterns in ZEROS.items():
        if len(data) >= 8 and all(_zeros(data, at) in patterns for at in (0, 4)):
            return name
    return None


def _zeros(data: bytes, at: int) -> tuple[bool, ...]:
    return tuple(byte == 0 for byte in data[at : at + 4])

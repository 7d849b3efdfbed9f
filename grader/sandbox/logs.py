"""A submission's own output: kept up to a size, and made harmless for a terminal."""

from __future__ import annotations

import os
import unicodedata

KEEP = 16 << 10
CHUNK = 64 << 10


def harmless(text: str) -> str:
    """Escape control and invisible format characters, keeping newlines and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


class Log:
    """The first `KEEP` bytes of a stream, and how many more there were."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """Keep what still fits, count the rest."""
        room = KEEP - len(self._kept)
        self._kept += data[:room]
        self._dropped += max(0, len(data) - room)

    def read_from(self, fd: int) -> bool:
        """Take one chunk from a non-blocking descriptor; False when nothing was there."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        self.add(data)
        return bool(data)

    def __str__(self) -> str:
        text = harmless(bytes(self._kept).decode("utf-8", "backslashreplace"))
        return text + (f"\n[{self._dropped} more bytes not kept]" if self._dropped else "")

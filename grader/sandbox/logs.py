"""A submission's own output: kept up to a size, and made harmless for a terminal."""

from __future__ import annotations

import os

from grader.ground.display import escape_characters

KEEP = 16 << 10
CHUNK = 64 << 10


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
        text = escape_characters(bytes(self._kept).decode("utf-8", "backslashreplace"))
        return text + (f"\n[{self._dropped} more bytes not kept]" if self._dropped else "")

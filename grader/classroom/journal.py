"""The diary of a batch: one line of JSON per event, appended and synced, never rewritten.

A kill can tear the last line; a torn line is skipped when read and fenced off before the next is written.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from grader.classroom.batch_plan import BatchError


class Journal:
    """Open for appending, and locked, so that two batches cannot write to one folder."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            _lock(self._fd, path)
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                os.write(self._fd, b"\n")
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def add(self, event: str, *, sync: bool = True, **facts: Any) -> None:
        """Append one event; when this returns it is on disk, unless `sync` was waived."""
        line = json.dumps({"event": event, **facts}) + "\n"
        os.write(self._fd, line.encode())
        if sync:
            os.fsync(self._fd)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events in order; damaged lines are left out."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            with contextlib.suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict) and isinstance(event.get("event"), str):
                    yield event


def _lock(handle: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two batches in one folder are then the user's to avoid
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise BatchError(f"another batch is writing to {path.parent}; wait until it ends") from None

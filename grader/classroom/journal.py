"""The journal of a batch: one line of JSON per event, appended and synced, never rewritten.

What it guarantees after a kill or a power cut, at any moment: a submission whose result is in `results/` is finished,
whether or not its line is here, for the result is renamed into place before the line is written.  A line that was torn
is skipped when the journal is read, and fenced off by a line break before the next line is written.

    {"event": "begin", "total": 3, "finished": 0, "interrupted": []}
    {"event": "started", "id": "anna"}
    {"event": "started", "id": "ben"}
    {"event": "started", "id": "carl"}
    {"event": "finished", "id": "anna", "verdict": "passed"}
    {"event": "finished", "id": "be

With results of anna and ben on disk, `--resume` counts both as finished and writes ben's line again; carl was cut off
and is graded anew.  Only `finished` is synced before grading goes on: losing a `started` costs nothing but the word
"cut off".
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from grader.classroom.batch_plan import BatchError
from grader.ground.locks import Locked, lock


class Journal:
    """Open for appending, and locked, so that two batches cannot write to one folder."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            lock(self._fd)
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                os.write(self._fd, b"\n")
        except Locked:
            os.close(self._fd)
            raise BatchError(
                f"another batch is writing to {path.parent}; wait until it ends"
            ) from None
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def add(self, event: str, *, sync: bool = True, **facts: Any) -> None:
        """Append one event; when this returns it is on disk, unless `sync` is false."""
        line = json.dumps({"event": event, **facts}) + "\n"
        os.write(self._fd, line.encode())
        if sync:
            os.fsync(self._fd)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events in order; damaged lines are left out, and a missing journal has none."""
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

"""Tell when a file has been saved, however the editor does it: in place, by rename, or deleted and made anew.

The system's news only wake us up; what counts is whether the bytes are other ones.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path
from typing import Self

from grader.learner.watch_events import EventQueue, FileGone, FileSaved

MAX_BYTES = 256 << 10
SETTLE_MS = 300  # a burst of changes is waited for at most so long ...
STEP_MS = 25  # ... and is over when nothing more comes for so long
LOOK_MS = 1000  # without news the file is looked at so often: network file systems send none
POLL_MS = 250
RETRY_SECONDS = 0.5


class FileWatcher:
    """A thread that puts `FileSaved` and `FileGone` on the queue; the first at once."""

    def __init__(self, path: Path, news: EventQueue, *, poll: bool = False) -> None:
        self._path, self._news, self._poll = path, news, poll
        self._stop = threading.Event()
        self._last: bytes | str | None = None
        self._thread = threading.Thread(target=self._run, name="saves", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2)

    def _run(self) -> None:
        self._look()
        while not self._stop.is_set():
            try:
                self._follow()
            except (OSError, RuntimeError):  # the folder is gone or cannot be watched
                self._stop.wait(RETRY_SECONDS)
            self._look()

    def _follow(self) -> None:
        """Look after every change in the file's folder, until the folder is another one."""
        from watchfiles import watch

        folders = {self._path.parent, self._path.resolve().parent}
        before = [_identity(folder) for folder in folders]
        for _ in watch(
            *folders,
            watch_filter=None,
            debounce=SETTLE_MS,
            step=STEP_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=False,
            force_polling=self._poll or None,
            poll_delay_ms=POLL_MS,
            recursive=False,
        ):
            self._look()
            after = {self._path.parent, self._path.resolve().parent}
            if after != folders or before != [_identity(folder) for folder in folders]:
                return

    def _look(self) -> None:
        try:
            found: bytes | str = _read(self._path)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            found = "it does not exist" if gone else f"it cannot be read: {error.strerror}"
        if found == self._last:
            return
        self._last = found
        if isinstance(found, str):
            self._news.put(FileGone(found))
        else:
            self._news.put(FileSaved(found, time.monotonic()))


def _read(path: Path) -> bytes:
    """Return the bytes of an ordinary file of ordinary size; raises OSError."""
    # a FIFO would block for ever when opened without O_NONBLOCK
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(0, "it is not an ordinary file")
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(0, f"it is larger than {MAX_BYTES >> 10} KiB")
    return data


def _identity(folder: Path) -> tuple[int, int]:
    """Return what tells a folder from another one of the same name; raises OSError when it is gone."""
    found = folder.stat()
    return found.st_dev, found.st_ino

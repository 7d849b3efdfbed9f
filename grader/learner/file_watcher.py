"""Notice when a file has been saved, however the editor does it: in place, by rename, or deleted and made anew.

A change that the operating system reports only leads to a look at the file; what counts is whether its bytes differ
from those seen before.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self

from grader.content.handed_in import most_bytes
from grader.ground.files import read_ordinary
from grader.learner.watch_events import EventQueue, FileGone, FileSaved

SETTLE_MS = 300  # a burst of changes is awaited for at most this long ...
STEP_MS = 25  # ... and is over when nothing more comes for this long
LOOK_MS = (
    1000  # the interval between looks where no change is reported: network file systems report none
)
POLL_MS = 250  # between looks at the folder where changes cannot be reported, or with `poll`
RETRY_SECONDS = 0.5  # until a folder that is gone is looked for again


class FileWatcher:
    """A thread that puts `FileSaved` and `FileGone` on the queue; the first event comes at once.

    With `poll` the operating system is not asked to report changes; without `follow` a symbolic link is not read.
    """

    def __init__(
        self, path: Path, queue: EventQueue, *, poll: bool = False, follow: bool = True
    ) -> None:
        self._path, self._queue, self._poll, self._follow_links = path, queue, poll, follow
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
        """Look at the file after every change in its folder, until the folder is replaced by another one."""
        from watchfiles import watch

        # of a symbolic link the folder it stands in, and that of the file it leads to
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
            most = most_bytes(self._path.name)
            found: bytes | str = read_ordinary(self._path, most, follow=self._follow_links)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            found = "it does not exist" if gone else f"it cannot be read: {error.strerror}"
        if found == self._last:
            return
        self._last = found
        if isinstance(found, str):
            self._queue.put(FileGone(found))
        else:
            self._queue.put(FileSaved(found, time.monotonic()))


def _identity(folder: Path) -> tuple[int, int]:
    """Return what distinguishes a folder from another one of the same name; raises OSError when it is gone."""
    found = folder.stat()
    return found.st_dev, found.st_ino

"""One attempt that is open in the browser: graded at every save, and told to every page that shows it.

It is the watch of the terminal with another display: the same events, the same view, the same keys.  What the display
draws is a piece of a page, numbered; a page that listens gets the newest one and none in between, so that a page that
reads slowly holds nothing up.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, replace
from queue import SimpleQueue

from grader.content import Challenge
from grader.content.entries import PLACE, tells
from grader.content.handed_in import source_of
from grader.judge.focus import Focus
from grader.judge.result import Result
from grader.learner import watch_events as events
from grader.learner.file_watcher import FileWatcher
from grader.learner.regrader import GradingFunctions, Regrader
from grader.learner.watch_loop import handle_events
from grader.learner.watch_options import WatchOptions
from grader.learner.watch_view import WatchView
from grader.learner.work_folder import WorkFolder, load_work_folder
from grader.sandbox import Sandbox
from grader.studio.attempt_view import Told, state_fragment
from grader.studio.editable_file import digest_of

PROGRESS_SECONDS = (
    0.5  # between two pieces that only count cases: drawing them takes time from the grading
)
MOST_LISTENERS = 16
KEYS = ("n", "m", "r")  # those of the terminal's watch that the page has buttons for
ANSWERS = ("1", "2", "3", "4")  # to the question after a fix
BROKEN = (
    "Something went wrong in kvdojo itself; the terminal shows what. Reload this page to go on."
)
CLOSED = "This attempt was put to sleep, for others are open. Reload this page to go on with it."


@dataclass(frozen=True)
class Piece:
    """A piece of a page, with the number of its state; `last` where no other will follow."""

    number: int
    html: str
    last: bool = False


class Listener:
    """One open page: wakes up in its own event loop when there is something new."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Say from any thread that there is something new."""
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._news.set)

    async def news(self, seconds: float) -> bool:
        """Wait for something new; False when nothing came in that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class LiveAttempt:
    """Use `start` and `close`; all else may be called from any thread.

    `saving` is held while the file is replaced from a page, and `turn` while a file is graded, so that one attempt at a
    time is.
    """

    def __init__(
        self,
        options: WatchOptions,
        work: WorkFolder,
        *,
        turn: threading.Lock,
        functions: GradingFunctions = GradingFunctions(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self.options = replace(options, graded=self._graded)
        self.work = work
        self._remember, self._turn = options.graded, turn
        self._functions = GradingFunctions(
            self._start_sandbox, self._in_turn, functions.unseen_inputs
        )
        self._grade, self._start = functions.grade_source, functions.start_sandbox
        self._sandbox: Sandbox | None = None
        self._graded_last: tuple[bytes, Focus] | None = None
        self._steps: tuple[object, bytes] | None = None
        self._queue: events.EventQueue = SimpleQueue()
        # whether nothing was known of it when it was opened: its brief is shown unfolded then
        self.is_new = options.before is None or options.before() is None
        self._view = WatchView(options.path.name, options.planted, options.level)
        self._told = Told()
        self._stack = ExitStack()
        self._thread = threading.Thread(target=self._run, name="attempt", daemon=True)
        self.saving = threading.Lock()
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._drawn = 0.0
        self.ended = False
        self.used = time.monotonic()
        self.piece = Piece(0, state_fragment(self._view, self.options, self._told, 0))

    def start(self) -> None:
        """Start the sandbox and the threads; the file is graded at once."""
        regrader = self._stack.enter_context(Regrader(self.options, self._queue, self._functions))
        self._regrader = regrader
        self._thread.start()
        watcher = FileWatcher(self.options.path, self._queue, poll=self.options.poll, follow=False)
        self._stack.enter_context(watcher)

    def close(self, why: str = CLOSED) -> None:
        """End the threads and the sandbox, and tell the pages why."""
        self._queue.put(events.KeyPressed("q"))
        self._stack.close()
        if self._thread.ident is not None:
            self._thread.join(5)
        self._end(why)

    def press(self, key: str) -> None:
        """Do what a key of the watch does; others are not heard."""
        if key in ANSWERS and not self._view.asking:
            self._queue.put(
                events.KeyPressed("w")
            )  # the page shows the question without being asked
        if key in (*KEYS, *ANSWERS):
            self._queue.put(events.KeyPressed(key))

    def listen(self) -> Listener | None:
        """Return a listener for a page, None where there are too many already; call it in the page's event loop."""
        with self._lock:
            if len(self._listeners) >= MOST_LISTENERS:
                return None
            listener = Listener()
            self._listeners.add(listener)
            return listener

    def forget(self, listener: Listener) -> None:
        """The page has gone."""
        with self._lock:
            self._listeners.discard(listener)

    @property
    def watched(self) -> bool:
        """Whether a page listens."""
        return bool(self._listeners)

    def show(self, view: WatchView, event: events.WatchEvent) -> None:
        """Draw the view anew; the display of `handle_events`."""
        now = time.monotonic()
        if isinstance(event, events.GradingProgress) and now - self._drawn < PROGRESS_SECONDS:
            return
        self._told.take(view, event)
        if isinstance(event, events.FileSaved):
            self._told.digest = digest_of(event.source)
        elif isinstance(event, events.FileGone):
            self._told.digest = ""
        self._drawn = now
        number = self.piece.number + 1
        self._publish(Piece(number, state_fragment(view, self.options, self._told, number)))

    def steps(self) -> bytes | None:
        """Return the steps of the case in focus as the slider draws them; None where nothing failed.

        They are those of the last grading, at the level that was told or climbed to. Raises KvdojoError.
        """
        from grader.studio.step_document import (
            encoded,
            level_of_height,
            step_document,
            trace_for_steps,
        )

        last, sandbox = self._graded_last, self._sandbox
        if last is None or sandbox is None or last[1].case is None:
            return None
        source, focus = last
        name, challenge = focus.case or "", self.options.challenge
        work = load_work_folder(self.work.folder) or self.work
        height = work.height(focus.bug) if focus.bug else 0
        level = level_of_height(challenge, self.options.level, height)
        asked = (source, focus, level)
        known = self._steps
        if known is None or known[0] != asked:
            text = source_of(source, self.options.path.name, challenge.file)
            with self._turn:
                trace = trace_for_steps(sandbox, challenge, None, text, focus, name, level)
            alone = focus.state == "present" and tells(level, PLACE)
            document = step_document(trace, challenge.cases[name], level, alone=alone)
            known = self._steps = asked, encoded(document)
        return known[1]

    def _start_sandbox(self, challenge: Challenge, *, isolate: bool) -> Sandbox:
        self._sandbox = self._start(challenge, isolate=isolate)
        return self._sandbox

    def _run(self) -> None:
        try:
            handle_events(self.options, self._queue, self._view, self._regrader, self)
        except Exception:
            # what the terminal's watch would show and end with; here other attempts go on
            traceback.print_exc()
            self._end(BROKEN)

    def _in_turn(self, *words: object, **named: object) -> Result:
        with self._turn:
            return self._grade(*words, **named)

    def _graded(self, source: bytes, result: Result, focus: Focus) -> None:
        self._graded_last = source, focus
        self._remember(source, result, focus)

    def _end(self, why: str) -> None:
        if not self.ended:
            self.ended = True
            self._told.ended = why
            number = self.piece.number + 1
            piece = state_fragment(self._view, self.options, self._told, number)
            self._publish(Piece(number, piece, last=True))

    def _publish(self, piece: Piece) -> None:
        with self._lock:
            self.piece = piece
            listeners = list(self._listeners)
        for listener in listeners:
            listener.wake()

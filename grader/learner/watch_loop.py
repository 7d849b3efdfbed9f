"""The loop of a watch: take an event, change the view, show it.  With a terminal one screen, else plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from rich.console import Console
from rich.live import Live

from grader.ground.display import WIDEST, escape_for_display
from grader.judge.result import Result
from grader.learner import watch_events as events
from grader.learner.file_watcher import FileWatcher
from grader.learner.keyboard import Keyboard, possible
from grader.learner.regrader import Regrader
from grader.learner.watch_options import WatchOptions
from grader.learner.watch_screen import WatchScreen, summary
from grader.learner.watch_view import WatchView, syntax_error
from grader.report.bug_status_lines import PLAIN, UNICODE

TICK = 0.5


class Display(Protocol):
    """Shows a view after every event."""

    def show(self, view: WatchView, event: events.WatchEvent) -> None:
        """Bring the view to the eye of the learner."""


class LineDisplay:
    """Plain lines: one per verdict and one per trouble, for pipes and simple terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._marks = PLAIN if console.options.ascii_only else UNICODE

    def show(self, view: WatchView, event: events.WatchEvent) -> None:
        """Print what is new."""
        if isinstance(event, events.GradingFinished) and view.result is not None:
            self._put(f"{ending(view, self._marks.dash)} {self._marks.dash} {view.seconds:.2f} s")
            for text in view.moved:
                self._put(f"  {escape_for_display(text)}")
            if view.case is not None:
                cause = view.case.cause if view.case.visibility == "public" else None
                reason = escape_for_display(cause.rationale) if cause else "a hidden case"
                self._put(f"  first failed case: {view.case.id}: {reason}")
        elif view.trouble is not None and not isinstance(event, events.WindowResized):
            self._put(f"{escape_for_display(view.file)}: {escape_for_display(view.trouble)}")

    def _put(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


class LiveDisplay:
    """The live screen."""

    def __init__(self, console: Console, live: Live, setting: WatchOptions) -> None:
        self._console, self._live, self._setting = console, live, setting

    def show(self, view: WatchView, event: events.WatchEvent) -> None:
        """Draw the view anew."""
        if isinstance(event, events.WindowResized):
            self._console.width = min(_columns(self._console), WIDEST)
        setting = self._setting
        page = WatchScreen(view, setting.challenge.id, traces=setting.trace is not None)
        self._live.update(page, refresh=True)


def watch(setting: WatchOptions, console: Console) -> Result | None:
    """Watch until the learner quits, and return the last result. KeyboardInterrupt passes through."""
    news: events.EventQueue = SimpleQueue()
    view = WatchView(setting.path.name, setting.planted)
    with ExitStack() as stack:
        regrader = stack.enter_context(Regrader(setting, news))
        if possible():
            live = Live(console=console, screen=True, auto_refresh=False)
            keys = stack.enter_context(Keyboard(news))
            stack.enter_context(live)
            show: Display = LiveDisplay(console, live, setting)
            pause: Callable[[], None] | None = _pause(live, keys)
        else:
            show, pause = LineDisplay(console), None
            console.print(
                f"Watching {escape_for_display(str(setting.path))}; Ctrl-C ends it.", soft_wrap=True
            )
        stack.enter_context(FileWatcher(setting.path, news, poll=setting.poll))
        _loop(setting, news, view, regrader, show, pause)
    if view.result is not None and pause is not None:
        console.print(ending(view, UNICODE.dash))
    return view.result


def ending(view: WatchView, dash: str) -> str:
    """Return file, verdict and numbers in one line."""
    assert view.result is not None, "there is no verdict yet"
    verdict = "could not be judged" if view.result.verdict == "error" else view.result.verdict
    return (
        f"{escape_for_display(view.file)}: {verdict}   {summary(view.result, view.planted, dash)}"
    )


def _loop(
    setting: WatchOptions,
    news: events.EventQueue,
    view: WatchView,
    regrader: Regrader,
    show: Display,
    pause: Callable[[], None] | None,
) -> None:
    saved: events.FileSaved | None = None
    while True:
        event = _next(news)
        match event:
            case events.InternalFailure(error):
                raise error
            case events.GradingFailed(message):
                view.stop(message)
            case events.SuspendRequested():
                if pause is not None:
                    pause()
            case events.FileSaved(source):
                saved = event
                _take(saved, view, regrader)
            case events.FileGone(why):
                view.stop(why)
            case events.GradingProgress(done, total):
                if view.busy is not None:
                    view.busy = (done, total)
            case events.GradingFinished(source, result, seconds):
                if view.trouble is None:
                    view.settle(source, result, seconds)
                    setting.graded(source, result)
            case events.AnswerReady(title, lines):
                view.panel = (title, lines)
            case events.KeyPressed("q"):
                return
            case events.KeyPressed("r") if saved is not None and view.trouble is None:
                _take(events.FileSaved(saved.source, time.monotonic()), view, regrader)
            case events.KeyPressed(name):
                _press(name, setting, view, regrader)
        show.show(view, event)


def _next(news: events.EventQueue) -> events.WatchEvent:
    while True:
        # a signal that comes just before a wait without end would be served only after the next event
        with suppress(Empty):
            return news.get(timeout=TICK)


def _take(saved: events.FileSaved, view: WatchView, regrader: Regrader) -> None:
    """Grade what was saved, unless it is still being typed."""
    if (error := syntax_error(saved.source)) is not None:
        view.stop(error)
        return
    view.begin()
    regrader.grade(saved)


def _press(name: str, setting: WatchOptions, view: WatchView, regrader: Regrader) -> None:
    case, source = view.case, view.source
    if name == "n":
        view.next()
    elif case is None or view.busy or view.trouble:
        return
    elif name == "h":
        view.panel = ("Hint", setting.hint(source, case))
    elif name == "t" and (trace := setting.trace) is not None:
        view.panel = ("Trace", ("tracing ...",))
        regrader.ask("Trace", lambda box: trace(box, source, case))


def _pause(live: Live, keys: Keyboard) -> Callable[[], None]:
    def pause() -> None:
        live.stop()
        keys.suspend()
        live.start()

    return pause


def _columns(console: Console) -> int:
    console._width = None  # the width was fixed once, and the window has another one now
    return console.width

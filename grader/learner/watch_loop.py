"""The main loop of `kvdojo watch`: take an event from the queue, change the view, show it.

On a terminal there is one screen; elsewhere there are plain lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from rich.console import Console
from rich.live import Live

from grader.content.handed_in import UnusableFile, handed_in
from grader.ground.display import WIDEST, escape_for_display
from grader.ground.symbols import PLAIN, UNICODE
from grader.judge.focus import choose_focus
from grader.judge.result import Result
from grader.learner import watch_events as events
from grader.learner.file_watcher import FileWatcher
from grader.learner.keyboard import GONE, Keyboard, is_interactive
from grader.learner.regrader import GradingFunctions, Regrader
from grader.learner.watch_options import WatchOptions
from grader.learner.watch_screen import WatchScreen, summary_line
from grader.learner.watch_view import WatchView, key_into, syntax_error

TICK = 0.5
NUMBERS = ("1", "2", "3", "4")  # keys that answer a question


class Display(Protocol):
    """Shows the view after every event."""

    def show(self, view: WatchView, event: events.WatchEvent) -> None:
        """Show the view as it is after the event."""


class LineDisplay:
    """Plain lines, one per verdict and one per problem, for pipes and simple terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._marks = PLAIN if console.options.ascii_only else UNICODE

    def show(self, view: WatchView, event: events.WatchEvent) -> None:
        """Print what is new."""
        if isinstance(event, events.GradingFinished) and view.result is not None:
            self._put(
                f"{final_line(view, self._marks.dash)} {self._marks.dash} {view.seconds:.2f} s"
            )
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

    def __init__(self, console: Console, live: Live, options: WatchOptions) -> None:
        self._console, self._live, self._options = console, live, options

    def show(self, view: WatchView, event: events.WatchEvent) -> None:
        """Draw the view anew."""
        if isinstance(event, events.WindowResized):
            self._console.width = min(_columns(self._console), WIDEST)
        options = self._options
        keys = {"t": options.trace, "p": options.suspect}
        without = frozenset(key for key, does in keys.items() if does is None)
        page = WatchScreen(view, options.challenge.id, without)
        self._live.update(page, refresh=True)


def watch_file(
    options: WatchOptions,
    console: Console,
    functions: GradingFunctions = GradingFunctions(),  # noqa: B008 - it cannot be changed
) -> Result | None:
    """Watch until the learner quits, and return the last result. KeyboardInterrupt passes through."""
    queue: events.EventQueue = SimpleQueue()
    view = WatchView(options.named or options.path.name, options.planted, options.level)
    with ExitStack() as stack:
        regrader = stack.enter_context(Regrader(options, queue, functions))
        if is_interactive():
            live = Live(console=console, screen=True, auto_refresh=False)
            keys = stack.enter_context(Keyboard(queue))
            stack.enter_context(live)
            show: Display = LiveDisplay(console, live, options)
            pause: Callable[[], None] | None = _pause(live, keys)
        else:
            show, pause = LineDisplay(console), None
            console.print(
                f"Watching {escape_for_display(str(options.path))}; Ctrl-C ends it.", soft_wrap=True
            )
        stack.enter_context(FileWatcher(options.path, queue, poll=options.poll))
        handle_events(options, queue, view, regrader, show, pause)
    if view.result is not None and pause is not None:
        console.print(final_line(view, UNICODE.dash))
    return view.result


def final_line(view: WatchView, dash: str) -> str:
    """Return file, verdict and numbers in one line."""
    assert view.result is not None, "there is no verdict yet"
    verdict = "could not be judged" if view.result.verdict == "error" else view.result.verdict
    return f"{escape_for_display(view.file)}: {verdict}   {summary_line(view.result, view.planted, dash)}"


def handle_events(
    options: WatchOptions,
    queue: events.EventQueue,
    view: WatchView,
    regrader: Regrader,
    show: Display,
    pause: Callable[[], None] | None = None,
) -> None:
    """Take events off the queue, change the view and show it, until `q` is pressed; `pause` gives the terminal up."""
    saved: events.FileSaved | None = None
    while True:
        event = _next(queue)
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
                _take(saved, options, view, regrader)
            case events.FileGone(why):
                view.stop(why)
            case events.GradingProgress(done, total):
                if view.busy is not None:
                    view.busy = (done, total)
            case events.GradingFinished(source, result, seconds):
                if view.trouble is None:
                    before = options.before() if options.before else view.focus.bug
                    focus = choose_focus(options.challenge, result, options.planted, before)
                    view.take_result(source, result, seconds, focus)
                    _ask_before_it_is_remembered(options, view, result)
                    options.graded(source, result, focus)
                    if result.verdict == "passed" and options.success is not None:
                        view.success = options.success(source)
            case events.AnswerReady(title, lines):
                view.panel = (title, lines)
            case events.KeyPressed(name) if name == GONE:
                return
            case events.KeyPressed(name) if view.typing is not None:
                _type(name, options, view)
            case events.KeyPressed("q"):
                return
            case events.KeyPressed("r") if saved is not None and view.trouble is None:
                again = events.FileSaved(saved.source, time.monotonic())
                _take(again, options, view, regrader)
            case events.KeyPressed(name):
                _press(name, options, view, regrader)
        show.show(view, event)


def _next(queue: events.EventQueue) -> events.WatchEvent:
    while True:
        # a signal that arrives just before a wait without a timeout would be handled only after the next event
        with suppress(Empty):
            return queue.get(timeout=TICK)


def _take(
    saved: events.FileSaved, options: WatchOptions, view: WatchView, regrader: Regrader
) -> None:
    """Grade what was saved, unless it is not Python yet because it is still being typed."""
    try:
        handed = handed_in(saved.source, options.path.name, options.challenge.file)
    except UnusableFile as unusable:
        view.stop(str(unusable))
        return
    if (error := syntax_error(handed)) is not None:
        view.stop(*error)
        return
    view.begin()
    regrader.grade(saved)


def _press(name: str, options: WatchOptions, view: WatchView, regrader: Regrader) -> None:
    case, source, focus = view.case, view.source, view.focus
    asked, was_asking = view.question, view.asking
    view.asking = False
    if asked is not None and was_asking and name in NUMBERS and options.answer is not None:
        view.question = None
        view.panel = ("Question", (options.answer(asked, int(name)),))
    elif name == "w" and asked is not None:
        view.panel, view.asking = None, not was_asking
    elif name == "n":
        view.next()
    elif case is None or view.busy or view.trouble:
        return
    elif name == "p" and options.suspect is not None:
        view.panel, view.typing = None, ""
    elif name == "h":
        view.panel = ("Hint", options.hint(source, case, focus))
    elif name == "t" and (trace := options.trace) is not None:
        view.panel = ("Trace", ("tracing ...",))
        regrader.ask("Trace", lambda box: trace(box, source, case, focus))
    elif name == "m" and (more := options.more) is not None:
        view.panel = ("More", ("looking ...",))
        regrader.ask("More", lambda box: more(box, source, case, focus))


def _ask_before_it_is_remembered(options: WatchOptions, view: WatchView, result: Result) -> None:
    """Show what became of suspicions, and the question after a fix."""
    if options.judged is not None:
        view.moved += options.judged(result)
    if options.question is not None:
        view.question = options.question(result)


def _type(name: str, options: WatchOptions, view: WatchView) -> None:
    """Take a key into the line that is typed; Enter hands it over, and an empty line is none."""
    assert view.typing is not None, "something is being typed"
    if name not in ("\n", "\r"):
        view.typing = key_into(view.typing, name)
        return
    typed, view.typing = view.typing.strip(), None
    if typed and options.suspect is not None:
        view.panel = ("Suspicion", options.suspect(typed))


def _pause(live: Live, keys: Keyboard) -> Callable[[], None]:
    def pause() -> None:
        live.stop()
        keys.suspend()
        live.start()

    return pause


def _columns(console: Console) -> int:
    console._width = None  # the width was fixed once, and the window has another one now
    return console.width

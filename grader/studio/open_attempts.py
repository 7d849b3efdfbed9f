"""The attempts that are open in the studio: each has a warm sandbox, so only a few are, the ones used last."""

from __future__ import annotations

import os
import secrets
import threading
import time

from grader.content import Challenge
from grader.ground.errors import UserError
from grader.learner.attempts import all_attempts, choose
from grader.learner.regrader import GradingFunctions
from grader.learner.work_folder import WorkFolder, load_work_folder
from grader.studio.live_attempt import LiveAttempt
from grader.studio.studio_services import StudioServices, Wish

MOST_OPEN = 2  # each holds some 250 MB


class NotOpen(UserError):
    """An attempt that a page speaks of and that is not open any more."""


class OpenAttempts:
    """Which attempt of a challenge is meant, and those that are open; leaving the block closes all.

    One file at a time is graded, whichever attempt it belongs to.
    """

    def __init__(
        self,
        services: StudioServices,
        functions: GradingFunctions = GradingFunctions(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self.services, self._functions = services, functions
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._live: dict[str, LiveAttempt] = {}
        self._begun: dict[str, WorkFolder] = {}
        self._closed = False

    def find(self, challenge: Challenge) -> WorkFolder | None:
        """Return the attempt at a challenge: what was begun here last, else what other commands would take."""
        begun = self._begun.get(challenge.id)
        work = load_work_folder(begun.folder) if begun else None
        if work is not None and work.challenge == challenge.id:
            return work
        return self.services.find(challenge)

    def begin(self, challenge: Challenge, wish: Wish) -> None:
        """Begin an attempt; raises KvdojoError where something is in its way."""
        with self._lock:
            work = self.services.begin(challenge, wish)
            self._begun[challenge.id] = work
            before = self._live.pop(challenge.id, None)
        if before is not None:
            before.close("Another attempt at this challenge was begun. Reload this page to see it.")

    def use(self, challenge: Challenge, folder: str) -> None:
        """Take another attempt from now on, as `kvdojo use` does; raises UserError for a folder that is none."""
        known = {
            os.path.abspath(w.folder): w for w in all_attempts() if w.challenge == challenge.id
        }
        work = known.get(folder)
        if work is None:
            raise UserError(f"There is no such attempt at {challenge.id!r}.")
        choose(work)
        with self._lock:
            self._begun[challenge.id] = work

    def open(self, name: str) -> LiveAttempt:
        """Return the open attempt at a challenge, opening it if it is not; raises KvdojoError."""
        challenge = self.services.catalogue.load(name)
        work = self.find(challenge)
        if work is None:
            raise UserError(f"{challenge.id!r} is not begun.")
        with self._lock:
            if self._closed:
                raise UserError("The studio is ending.")
            live = self._live.get(challenge.id)
            stale = live
            if live is not None and not live.ended and live.work.path == work.path:
                live.used = time.monotonic()
                return live
            options = self.services.watch(challenge, work)
            live = LiveAttempt(
                *(options, work),
                turn=self._turn,
                functions=self._functions,
            )
            live.start()
            self._live[challenge.id] = live
            over = self._over(live)
        for other in [*over, *([stale] if stale else [])]:
            other.close()
        return live

    def opened(self, name: str) -> LiveAttempt:
        """Return an attempt that is open; raises NotOpen."""
        live = self._live.get(name)
        if live is None or live.ended:
            raise NotOpen("This attempt is not open any more: reload its page.")
        live.used = time.monotonic()
        return live

    def any_number(self, below: int) -> int:
        """Return a number to begin a fresh attempt with."""
        return secrets.randbelow(below)

    def close(self) -> None:
        """Close all."""
        with self._lock:
            self._closed = True
            live, self._live = list(self._live.values()), {}
        for one in live:
            one.close("The studio was ended in the terminal.")

    def _over(self, newest: LiveAttempt) -> list[LiveAttempt]:
        """Take out those that are too many, the longest unused first, those that nobody looks at before others."""
        others = [(name, live) for name, live in self._live.items() if live is not newest]
        others.sort(key=lambda pair: (pair[1].watched, pair[1].used))
        over = others[: max(0, len(self._live) - MOST_OPEN)]
        for name, _ in over:
            del self._live[name]
        return [live for _, live in over]

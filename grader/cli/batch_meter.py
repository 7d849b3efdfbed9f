"""How a batch goes, on standard error: a bar with rate and remaining time, or plain lines without a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from grader.classroom.batch_plan import PlannedSubmission
from grader.classroom.run_batch import BatchObserver, BatchStart
from grader.cli import terminal
from grader.ground.symbols import count

LINE_SECONDS = 10.0
RECENT = 200  # submissions over which the rate is taken


class Rate(ProgressColumn):
    """Submissions per second and the time that remains at that pace."""

    def __init__(self) -> None:
        super().__init__()
        self.times: deque[float] = deque(maxlen=RECENT)

    def render(self, task: Task) -> Text:
        """Return, e.g., `21.4/s, 3:10 left`."""
        return Text(pace(self.times, int((task.total or 0) - task.completed)), "cyan")


def pace(times: deque[float], left: int) -> str:
    """Return rate and remaining time from the moments at which submissions were finished."""
    if len(times) < 2 or times[-1] == times[0]:
        return "starting" if left else ""
    rate = (len(times) - 1) / (times[-1] - times[0])
    minutes, seconds = divmod(round(left / rate), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f"{rate:.1f}/s, {clock} left"


class BatchMeter(BatchObserver):
    """Shows how a batch goes."""

    def __init__(self, again: str) -> None:
        self._again = again
        self._rate = Rate()
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._bar: Progress | None = None
        self._task: Any = None
        self._done = self._total = 0
        self._said = time.monotonic()
        self._counts: dict[str, int] = {}

    def grading_started(self, start: BatchStart) -> None:
        """Say what is there, and show the bar."""
        self._done, self._total = len(start.finished), start.total
        for verdict in start.finished.values():
            self._counts[verdict] = self._counts.get(verdict, 0) + 1
        self._greet(start)
        if self._live and self._done < self._total:
            self._bar = Progress(
                TextColumn("grading"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                self._rate,
                TextColumn("{task.fields[verdicts]}"),
                console=terminal.console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(
                "", total=self._total, completed=self._done, verdicts=self._verdicts()
            )
            self._bar.start()

    def submission_finished(self, entry: PlannedSubmission, verdict: str) -> None:
        """Count one more."""
        self._done += 1
        self._counts[verdict] = self._counts.get(verdict, 0) + 1
        self._rate.times.append(time.monotonic())
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, verdicts=self._verdicts())
        elif time.monotonic() - self._said > LINE_SECONDS:
            self._said = time.monotonic()
            left = pace(self._rate.times, self._total - self._done)
            terminal.err(f"{self._done} of {self._total} graded ({left})")

    def grading_ended(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def interrupted(self) -> None:
        """Say how far it came and how to go on."""
        if self._total:
            terminal.err(f"{self._done} of {self._total} graded and kept. Go on with:")
            terminal.err(f"  {self._again}")

    def _greet(self, start: BatchStart) -> None:
        if not start.resumed:
            terminal.err(f"{count(start.total, 'submission')} found")
            return
        cut = f"; {start.interrupted} were cut off and start anew" if start.interrupted else ""
        terminal.err(f"going on: {len(start.finished)} of {start.total} were finished{cut}")

    def _verdicts(self) -> str:
        return ", ".join(f"{self._counts[v]} {v}" for v in sorted(self._counts))

"""The clock of a preset that is meant for some minutes.  It only informs: nothing ends when they are over."""

from __future__ import annotations

import time

from grader.content import Challenge
from grader.learner.history import History
from grader.learner.work_folder import WorkFolder


def minutes_of(challenge: Challenge, work: WorkFolder) -> int | None:
    """Return for how many minutes an attempt is meant; None where its preset says nothing of it."""
    preset = challenge.presets.get(work.preset) if work.preset is not None else None
    return preset.minutes if preset else None


def clock_lines(
    challenge: Challenge,
    work: WorkFolder,
    history: History,
    *,
    passes: bool = False,
    now: float | None = None,
) -> tuple[str, ...]:
    """Return how many of an attempt's minutes have gone since it was last begun, in a sentence.

    `now` is in seconds since 1970, by default what the clock says, and `passes` says that the file does now.  From the
    first grading on that the file passed, the sentence stays as it was.  Without minutes there is none.

        "12 of the 45 minutes have gone."
        "The 45 minutes were over 7 minutes ago; nothing ends with them."
        "Passed after 31 of the 45 minutes."
    """
    minutes, begun = minutes_of(challenge, work), history.of("started")
    if minutes is None or not begun:
        return ()
    started = begun[-1]["at"]
    passed = [
        event["at"]
        for event in history.of("graded")
        if event.get("verdict") == "passed" and event["at"] >= started
    ]
    end = passed[0] if passed else time.time() if now is None else now
    gone = max(0, int(end - started) // 60)
    if passed or passes:
        return (f"Passed after {gone} of the {minutes} minutes.",)
    if gone < minutes:
        return (f"{gone} of the {minutes} minutes {'has' if gone == 1 else 'have'} gone.",)
    over = gone - minutes
    ago = f"{over} minute{'s' * (over != 1)} ago" if over else "just now"
    return (f"The {minutes} minutes were over {ago}; nothing ends with them.",)

"""The history of an attempt: what was graded, suspected and asked, one JSON object a line in `.history.jsonl`.

    {"at": 1764360000, "what": "graded", "file": "3f2a...", "passed": 20, "cases": 79, "fixed": ["seed-scale"]}
    {"at": 1764360100, "what": "suspect", "lines": [92, 92], "text": "offset = ...", "why": "", "stands": "decoy-x"}
    {"at": 1764360200, "what": "rung", "bug": "seed-scale", "rung": 1}

It lies in the work folder and is only ever added to.  Lines that cannot be read are passed over and counted; no verdict
and no help depends on the file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from grader.content import Challenge
from grader.content.planting import lines_in
from grader.ground.files import read_ordinary
from grader.ground.strict_json import parse_strict
from grader.learner.work_folder import WorkError, WorkFolder

if TYPE_CHECKING:
    from grader.judge.result import Result

HISTORY = ".history.jsonl"
MOST_BYTES = 4 << 20
KINDS: Mapping[str, Mapping[str, type]] = {
    "started": {},
    "graded": {"file": str, "passed": int, "cases": int, "fixed": list},
    "suspect": {"lines": list, "text": str, "why": str},
    "rung": {"bug": str, "rung": int},
    "answer": {"bug": str, "right": bool},
}  # what each kind of event holds


@dataclass(frozen=True)
class History:
    """The events of an attempt, the oldest first, and how many lines of the file could not be read."""

    events: tuple[Mapping[str, Any], ...] = ()
    unread: int = 0

    def of(self, what: str) -> list[Mapping[str, Any]]:
        """Return the events of one kind."""
        return [event for event in self.events if event["what"] == what]

    @property
    def saves(self) -> int:
        """How many gradings were of another file than the one before."""
        files = [event["file"] for event in self.of("graded")]
        return sum(one != other for one, other in zip(files, [None, *files], strict=False))

    @property
    def minutes(self) -> int:
        """How long the attempt has taken so far, by the clock."""
        times = [event["at"] for event in self.events]
        return round((max(times) - min(times)) / 60) if times else 0


NO_HISTORY = History()


def read_history(work: WorkFolder) -> History:
    """Return what is known of an attempt; nothing where there is no file. Raises WorkError where it cannot be read."""
    path = work.folder / HISTORY
    try:
        text = read_ordinary(path, MOST_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return History()
    except OSError as error:
        raise WorkError(f"{path} cannot be read: {error.strerror or 'it is too large'}") from None
    found = [_event(line) for line in text.splitlines() if line.strip()]
    events = tuple(event for event in found if event is not None)
    return History(events, len(found) - len(events))


def note(work: WorkFolder, what: str, **known: Any) -> None:
    """Add an event; raises WorkError where the file cannot be written."""
    path = work.folder / HISTORY
    line = json.dumps({"at": int(time.time()), "what": what, **known}) + "\n"
    try:
        # one write to the end of the file: two commands may do so at once
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise WorkError(f"{path} cannot be written: {error.strerror}") from None


def note_grading(
    work: WorkFolder, source: bytes, result: Result, planted: Collection[str] | None = None
) -> None:
    """Add a grading, unless it says the same of the same bytes as the one before.

    `planted` are the bugs that the file came with, where that is known.
    """
    event: dict[str, Any] = {
        "verdict": result.verdict,
        "file": sha256(source).hexdigest()[:16],
        "passed": sum(case.status == "passed" for case in result.cases),
        "cases": len(result.cases),
        "fixed": sorted(bug.id for bug in result.bugs if bug.status == "fixed"),
    }
    if planted is not None:
        event |= {
            "mended": len(set(planted) & set(event["fixed"])),
            "planted": len(planted),
        }
    last = read_history(work).of("graded")[-1:]
    if not last or any(last[0].get(name) != value for name, value in event.items()):
        note(work, "graded", **event)


def newly_fixed(history: History, result: Result, planted: Collection[str]) -> list[str]:
    """Return the planted bugs that a grading finds fixed and the one before, if there was one, did not."""
    gradings = history.of("graded")
    before = gradings[-1]["fixed"] if gradings else ()
    fixed = [bug.id for bug in result.bugs if bug.status == "fixed"]
    return [name for name in fixed if name in planted and name not in before]


def where_it_stands(
    challenge: Challenge, text: str, planted: Sequence[str], lines: tuple[int, int]
) -> str | None:
    """Return the id of the planted bug or decoy that stands on these lines of a file, a bug rather than a decoy."""
    asked = set(range(lines[0], lines[1] + 1))
    hit = [name for name in planted if asked & lines_in(challenge, challenge.bugs[name], text)]
    hit.sort(key=lambda name: challenge.bugs[name].kind != "bug")
    return next(iter(hit), None)


def judged_suspicions(
    challenge: Challenge, history: History, fixed: Sequence[str], before: Sequence[str]
) -> list[str]:
    """Return a sentence for each suspicion that can be judged since a bug was mended.

    A suspicion is right when the bug on its lines is mended, and was not it when the one that was in focus is mended.
    Whether another bug stands on its lines is not told.  `before` are the bugs that were fixed already.
    """
    new = set(fixed) - set(before)
    told = []
    for event in history.of("suspect"):
        stands, focus = event.get("stands"), event.get("focus")
        if not isinstance(stands, str | None) or not isinstance(focus, str | None):
            continue
        first, last = event["lines"]
        lines = f"Your suspicion of line {first}"
        lines += f" to {last}" if last != first else ""
        if stands in new:
            told.append(f"{lines} was right.")
        elif stands not in before and (focus in new or (focus is None and new)):
            entry = challenge.bugs.get(stands or "")
            decoy = entry is not None and entry.kind == "decoy"
            told.append(f"{lines} was not it{': what stands there is right' if decoy else ''}.")
    return told


def _event(line: str) -> Mapping[str, Any] | None:
    """Read one line; None for what is no event."""
    try:
        event = parse_strict(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or event.get("what") not in KINDS:
        return None
    fields: dict[str, type] = {"at": int, **KINDS[event["what"]]}
    if not all(type(event.get(name)) is kind for name, kind in fields.items()):
        return None
    lines = event.get("lines", [1, 1])
    if len(lines) != 2 or not all(type(number) is int for number in lines):
        return None
    return event if all(isinstance(name, str) for name in event.get("fixed", [])) else None

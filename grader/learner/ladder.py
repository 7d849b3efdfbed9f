"""The ladder of help: what `kvdojo more` tells of the bug in focus, one rung after the other.

    rung   0        1      2        3          4       5       6
    tells  symptom  place  pattern  unit case  hint 1  hint 2  hint 3

The symptom is what `grade` tells.  `hint` begins at rung 4, and `trace` of the case in focus and `grade --tell` climb
as high as what they show.  How high somebody climbed is remembered by bug in the work folder; it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grader.content import Challenge
from grader.content.entries import CAUSE, PATTERN, PLACE, tells
from grader.ground.display import escape_for_display
from grader.judge.focus import Focus
from grader.judge.result import HelpTaken
from grader.learner.work_folder import HINTS_FROM, RUNGS, WorkFolder

if TYPE_CHECKING:
    from grader.diagnose.trace_model import Trace

OF_LEVEL = {PLACE: 1, PATTERN: 2, CAUSE: 3}  # the rung that a level of telling reaches
LEVEL_OF = (PLACE, PATTERN, CAUSE, CAUSE, CAUSE, CAUSE)  # what a challenge must allow for each rung


@dataclass(frozen=True)
class Rung:
    """What one rung tells: its number, and lines of text that are safe to show.

    `case` is the unit case that the rung names, if it does.
    """

    number: int
    lines: tuple[str, ...]
    case: str | None = None

    @property
    def title(self) -> str:
        """Its name and number."""
        return f"{RUNGS[self.number - 1].capitalize()} (rung {self.number} of {len(RUNGS)})"


def next_rung(
    challenge: Challenge, focus: Focus, climbed_to: int, trace: Callable[[str], Trace]
) -> Rung | None:
    """Return the next rung for the bug in focus that has something to tell; None where there is none, or no more.

    `trace` traces a case of the file, seen without the other bugs (`explain_failures.trace_focus`).  It is asked for
    place and pattern alone.
    """
    for number in range(climbed_to + 1, len(RUNGS) + 1):
        if not tells(challenge.tell, LEVEL_OF[number - 1]):
            return None
        if lines := _lines(challenge, focus, number, trace):
            return Rung(number, tuple(lines), focus.unit if number == HINTS_FROM else None)
    return None


def _lines(
    challenge: Challenge, focus: Focus, number: int, trace: Callable[[str], Trace]
) -> list[str]:
    """Return what a rung tells, nothing where it has nothing to tell."""
    if focus.bug is None or focus.case is None:
        return []
    if number > HINTS_FROM:
        return [challenge.bugs[focus.bug].hints[number - HINTS_FROM - 1]]
    if number == HINTS_FROM:
        if focus.unit is None or focus.unit == focus.case:
            return []
        unit = challenge.cases[focus.unit]
        return [f"{unit.id}  {unit.title}", unit.why]
    first = trace(focus.case).divergence
    if first is None:
        return []
    if number == 1:
        return [escape_for_display(first.sentence())]
    said = first.sentence()
    return [escape_for_display(text) for text in first.checkpoint.sentences if text not in said]


def height(work: WorkFolder | None, bug: str) -> int:
    """Return how many rungs of a bug's ladder were climbed, 0 to 6."""
    return work.height(bug) if work is not None else 0


def climbed(work: WorkFolder, bug: str, rung: int) -> WorkFolder:
    """Return the state in which a bug's ladder was climbed to a rung; the hints below it have been seen then."""
    work = work.with_rung(bug, rung)
    return work.with_hint(bug, rung - HINTS_FROM) if rung > HINTS_FROM else work


def help_by_bug(work: WorkFolder, planted: Collection[str]) -> dict[str, int]:
    """Return how many rungs were climbed for each bug."""
    return {bug: height(work, bug) for bug in planted}


def help_taken(work: WorkFolder | None, planted: Collection[str] | None) -> HelpTaken:
    """Return how much of the help was taken, over all bugs that were planted."""
    if work is None or planted is None:
        return HelpTaken()
    return HelpTaken(sum(height(work, bug) for bug in planted), len(RUNGS) * len(planted))

"""An introduction to a challenge: one bug found step by step, then another whose last step is left to the learner.

Worked examples help beginners most where the last steps are left out one after the other.  Both bugs are planted alone,
beside lines that look wrong and are right; the last step is to say which of these lines to change, so that no editor is
needed.  Nothing is run or printed here.
"""

from __future__ import annotations

from dataclasses import dataclass

from grader.content import Challenge
from grader.content.bug_detection import detector_of
from grader.content.entries import Bug
from grader.content.planting import goes_with, line_span, plant
from grader.ground.errors import UserError
from grader.judge.focus import Focus, focus_of_text
from grader.report.stories import Comparison, comparisons

MOST_SHOWN = 3  # lines that a bug of a walk may take, so that four choices fit the screen
MOST_CHOICES = 4
MOST_WITNESSES = 12  # cases that prove the fix


@dataclass(frozen=True)
class Lesson:
    """One bug of a walk: its id, the decoys beside it, and the cases that show it."""

    challenge: Challenge
    bug: Bug
    decoys: tuple[str, ...]
    focus: Focus

    def source(self, mended: str | None = None) -> bytes:
        """Return the file of the lesson, one entry of it put back to what the reference has."""
        names = [name for name in (self.bug.id, *self.decoys) if name != mended]
        return plant(self.challenge, names).encode()

    @property
    def witnesses(self) -> list[str]:
        """The cases that prove that the bug is mended: some of those that it fails, the case in focus first."""
        known = [name for name in self.bug.witnesses if name in self.challenge.cases]
        known.sort(key=lambda name: name != self.focus.case)
        return known[:MOST_WITNESSES]

    def choices(self) -> list[Choice]:
        """Return the changes of which one mends the file, in the order of its lines.

        The others put a decoy back, which changes nothing, or spoil a line that is right.
        """
        text, right = self.source().decode(), self.challenge.reference_text
        found = []
        for name in (self.bug.id, *self.decoys):
            entry = self.challenge.bugs[name]
            if change := next(comparisons(right, entry, text), None):
                found.append(Choice(name, change, self.source(mended=name), entry.explanation))
        for entry in self._spoilers(MOST_CHOICES - len(found)):
            now = next(comparisons(right, entry, text), None)
            then = next(comparisons(right, entry, plant(self.challenge, [entry.id])), None)
            if now and then:
                change = Comparison(now.first, now.mine, then.mine)
                spoiled = plant(self.challenge, [self.bug.id, *self.decoys, entry.id]).encode()
                found.append(Choice(entry.id, change, spoiled, entry.explanation))
        return sorted(found, key=lambda choice: choice.change.first)

    def _spoilers(self, most: int) -> list[Bug]:
        """Return bugs that no preset plants, and whose lines are near those of the lesson's bug."""
        presets = self.challenge.presets.values()
        shown = {name for preset in presets for name in preset.bugs} | {self.bug.id}
        beside = [self.bug, *(self.challenge.bugs[name] for name in self.decoys)]
        fit = [
            bug
            for bug in self.challenge.bugs.values()
            if bug.id not in shown
            and bug.kind == "bug"
            and len(bug.edits) == 1
            and _is_short(bug)
            and not bug.raises
        ]
        here = _line(self.challenge, self.bug)
        fit.sort(key=lambda bug: abs(_line(self.challenge, bug) - here))
        found: list[Bug] = []
        taken = {_line(self.challenge, entry) for entry in beside}
        for bug in fit:
            line = _line(self.challenge, bug)
            apart = all(abs(line - other) > MOST_SHOWN for other in taken)
            if len(found) < most and apart and goes_with(bug, [*beside, *found]):
                found.append(bug)
                taken.add(line)
        return found


@dataclass(frozen=True)
class Choice:
    """A change that may be made: the lines of the file, what would stand there instead (`reference`), and what follows.

    `source` is the file after the change; `why` says why the entry's lines are right or wrong.
    """

    entry: str
    change: Comparison
    source: bytes
    why: str


def lessons(challenge: Challenge) -> tuple[Lesson, Lesson]:
    """Return the worked lesson and the one whose last step is left; raises UserError where a challenge has no two.

    The bugs are easy ones of different families that the default starter does not hold, where there are such.
    """
    default = challenge.presets["default"].bugs if "default" in challenge.presets else ()
    fit = [bug for bug in challenge.bugs.values() if _is_fit(challenge, bug)]
    fit.sort(key=lambda bug: (bug.id in default, bug.difficulty))
    if not fit:
        raise UserError(f"{challenge.id!r} has no bugs that are short enough for a walk.")
    first = fit[0]
    others = [bug for bug in fit[1:] if bug.family != first.family] or fit[1:]
    if not others:
        raise UserError(f"{challenge.id!r} has only one bug that is short enough for a walk.")
    return _lesson(challenge, first), _lesson(challenge, others[0])


def _is_fit(challenge: Challenge, bug: Bug) -> bool:
    """Whether a bug is one short change that gives wrong numbers in a scenario which learners see."""
    if bug.kind != "bug" or bug.raises or len(bug.edits) != 1:
        return False
    if not _is_short(bug):
        return False
    cases = [challenge.cases[name] for name in bug.witnesses if name in challenge.cases]
    return any(case.kind == "scenario" and case.visibility == "public" for case in cases)


def _line(challenge: Challenge, entry: Bug) -> int:
    """Return the first line of the reference that an entry with one edit touches."""
    return next(iter(line_span(challenge.reference_text, entry.edits[0])), 0)


def _is_short(entry: Bug) -> bool:
    return all(
        part.strip("\n").count("\n") < MOST_SHOWN
        for edit in entry.edits
        for part in (edit.find, edit.replace)
    )


def _lesson(challenge: Challenge, bug: Bug) -> Lesson:
    """Return the lesson of a bug, with decoys of code beside it that can be planted together."""
    known = detector_of(challenge).entries
    beside: list[Bug] = []
    for decoy in challenge.bugs.values():
        right = decoy.kind == "decoy" and decoy.id in known and len(decoy.edits) == 1
        if not right or not _is_short(decoy) or len(beside) == MOST_CHOICES - 1:
            continue
        apart = all(
            abs(_line(challenge, decoy) - _line(challenge, other)) > MOST_SHOWN
            for other in [bug, *beside]
        )
        if apart and goes_with(decoy, [bug, *beside]):
            beside.append(decoy)
    focus = focus_of_text(challenge, {bug.id: "present"})
    return Lesson(challenge, bug, tuple(decoy.id for decoy in beside), focus)

"""How much of an edit belongs to the bugs: statements that were changed, and those of them at a planted bug.

The file that was given and the file that came back are compared statement by statement within each function, as syntax
trees: layout, comments, prints and the order of methods play no part.  Names do: who pastes another text of the same
function has changed it.

Example: a bug made `scale = 1.0` of `scale = d**-0.5`.  Mending it changes two statements, one taken away and one put
there, and both stand at the bug: 2 of 2.  Whoever also writes another line of the function anew has 2 of 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from grader.arena.arena_task import PlantedFile
from grader.content.statements import Scope, VersionsOf

MORE = 4  # statements that a mend may need beyond those of the reference
Block = tuple[int, int, int, int]


@dataclass(frozen=True)
class EditCount:
    """Statements that were changed, and those of them that stand at a planted bug."""

    changed: int
    inside: int


@dataclass(frozen=True)
class BugPlace:
    """Statements `[start, end)` of a function that a bug put there, none where it took some away.

    `room` is the number of statements that the mended function has in their place.
    """

    start: int
    end: int
    room: int

    def meets(self, start: int, end: int) -> bool:
        """Whether a change of the statements `[start, end)` is at this place; it may be an insertion."""
        if start == end or self.start == self.end:
            return start <= self.end and self.start <= end
        return start < self.end and self.start < end


Places = Mapping[Scope, frozenset[BugPlace]]


def bug_places(file: PlantedFile, versions: VersionsOf) -> Places:
    """Return the places of the planted bugs by function of the task's file, of which `versions` are read."""
    given = versions.whole or {}
    found: dict[Scope, set[BugPlace]] = {}
    for bug in file.planting.bugs:
        mended = versions.statements(file.without(bug)) or {}
        for scope in given.keys() | mended.keys():
            for start, end, first, last in _blocks(given.get(scope, []), mended.get(scope, [])):
                found.setdefault(scope, set()).add(BugPlace(start, end, last - first))
    return {scope: frozenset(places) for scope, places in found.items()}


def count_edit(given: VersionsOf, places: Places, submitted: str) -> EditCount | None:
    """Count the statements that differ; None for a file that cannot be parsed."""
    before, after = given.whole or {}, given.statements(submitted)
    if after is None:
        return None
    changed = inside = 0
    for scope in before.keys() | after.keys():
        here = places.get(scope, frozenset())
        for block in _blocks(before.get(scope, []), after.get(scope, [])):
            changed += block[1] - block[0] + block[3] - block[2]
            inside += _inside(here, block)
    return EditCount(changed, inside)


def _inside(places: frozenset[BugPlace], block: Block) -> int:
    """Count what of a changed block stands at a bug: of what was added, no more than a mend may need."""
    start, end, first, last = block
    met = [place for place in places if place.meets(start, end)]
    theirs = {index for place in met for index in range(place.start, place.end)}
    removed = len(theirs.intersection(range(start, end)))
    room = sum(place.room for place in met)
    if met and removed == end - start:
        room += MORE  # another mend than the reference's, and nothing else was touched
    return removed + min(last - first, room)


def _blocks(before: Sequence[str], after: Sequence[str]) -> Iterator[Block]:
    """Yield the blocks in which two lists differ: a range of each."""
    if list(before) == list(after):
        return
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for tag, start, end, first, last in matcher.get_opcodes():
        if tag != "equal":
            yield start, end, first, last

"""Plant bugs and decoys into a reference: a pure function from text and edits to text.

The same ids or the same seed give the same bytes.  Entries that may be planted together edit different lines, so their
order does not matter.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from itertools import pairwise

from grader.content.catalogue import Challenge
from grader.content.content_errors import ContentError, UnknownName
from grader.content.entries import Bug, Edit


class PlantError(ContentError):
    """Entries that cannot be planted, or not together."""


def plant(challenge: Challenge, ids: Iterable[str]) -> str:
    """Return the reference with the named bugs and decoys planted; raises PlantError."""
    chosen = [_entry(challenge, name) for name in dict.fromkeys(ids)]
    _refuse_pairs(chosen)
    edits = [(entry.id, edit) for entry in chosen for edit in entry.edits]
    return apply_edits(challenge.reference_text, edits)


def apply_edits(text: str, edits: Sequence[tuple[str, Edit]]) -> str:
    """Replace each `find` once, from the end of the text backwards; raises PlantError."""
    spans = sorted(
        ((*_span(text, owner, edit), edit, owner) for owner, edit in edits), key=lambda s: s[:2]
    )
    for (_, end, _, first), (start, _, _, second) in pairwise(spans):
        if start < end:
            raise PlantError(f"{first!r} and {second!r} edit the same text")
    for start, end, edit, _ in reversed(spans):
        text = text[:start] + edit.replace + text[end:]
    return text


def choose(challenge: Challenge, seed: int, count: int) -> tuple[list[str], list[str]]:
    """Return the ids of `count` bugs and up to half as many decoys, drawn by seed; at most one bug raises.

    Raises PlantError when so many bugs do not go together.
    """
    bugs = [bug for bug in challenge.bugs.values() if bug.kind == "bug"]
    decoys = [bug.id for bug in challenge.bugs.values() if bug.kind == "decoy"]
    if not 1 <= count <= len(bugs):
        raise PlantError(f"--bugs takes a number from 1 to {len(bugs)} for {challenge.id!r}")
    draw = random.Random(sha256(f"{challenge.id}/{seed}".encode()).digest())
    draw.shuffle(bugs)
    picked: list[Bug] = []
    for bug in bugs:
        if len(picked) < count and goes_with(bug, picked):
            picked.append(bug)
    if len(picked) < count:
        raise PlantError(f"only {len(picked)} bugs of {challenge.id!r} go together, not {count}")
    decoys = [name for name in decoys if goes_with(challenge.bugs[name], picked)]
    extra: list[Bug] = []
    for name in draw.sample(decoys, min(len(decoys), (count + 1) // 2)):
        if goes_with(challenge.bugs[name], extra):
            extra.append(challenge.bugs[name])
    return sorted(bug.id for bug in picked), sorted(decoy.id for decoy in extra)


def line_span(text: str, edit: Edit) -> range:
    """Return the zero-based lines an edit touches in `text`."""
    start, end = _span(text, "edit", edit)
    body = edit.find[:-1] if edit.find.endswith("\n") else edit.find
    first = text.count("\n", 0, start)
    return range(first, first + body.count("\n") + 1) if end > start else range(0)


def changed_lines(text: str, edit: Edit) -> tuple[int, int] | None:
    """Return the lines of the reference, from 0, that an edit changes, the end excluded; None where it is not there."""
    if text.count(edit.find) != 1:
        return None
    at = text.index(edit.find)
    begin = text.rindex("\n", 0, at) + 1 if "\n" in text[:at] else 0
    end = text.find("\n", at + len(edit.find.rstrip("\n")))
    end = len(text) if end < 0 else end
    before = text[begin:end].split("\n")
    after = (text[begin:at] + edit.replace + text[at + len(edit.find) : end]).split("\n")
    after = after[:-1] if edit.find.endswith("\n") and after[-1:] == [""] else after
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    tail = 0
    while tail < min(len(before), len(after)) - same and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    first = text.count("\n", 0, begin)
    return first + same, first + len(before) - tail


def lines_in(challenge: Challenge, bug: Bug, text: str) -> set[int]:
    """Return the lines, from 1, on which an entry stands in a file as it was planted.

    Of an entry that takes lines away, these are the lines on both sides of the gap.  An edit that has been changed, or
    whose text stands in the file more than once, has none.
    """
    found: set[int] = set()
    for edit in bug.edits:
        if edit.replace.strip():
            found |= _stretch(text, edit.replace)
            continue
        reference = challenge.reference_text
        start, end = _span(reference, bug.id, edit)
        above = reference[:start].rstrip().rpartition("\n")[2]
        below = reference[end:].lstrip("\n").partition("\n")[0]
        for line in (above, below):
            found |= _stretch(text, f"\n{line}\n")
    return found


def _stretch(text: str, part: str) -> set[int]:
    """Return the lines, from 1, that a part of a text takes, if it stands there once; blank ones do not count."""
    if text.count(part) != 1:
        return set()
    first = text.count("\n", 0, text.index(part)) + 1
    return {first + row for row, line in enumerate(part.split("\n")) if line.strip()}


def goes_with(bug: Bug, picked: Collection[Bug]) -> bool:
    """Whether an entry may be planted beside others: at most one of them raises, and none excludes another."""
    if bug.raises and any(other.raises for other in picked):
        return False
    return not any(other.id in bug.excludes or bug.id in other.excludes for other in picked)


def _entry(challenge: Challenge, name: str) -> Bug:
    if name not in challenge.bugs:
        raise UnknownName(f"bug or decoy of {challenge.id!r}", name, challenge.bugs)
    return challenge.bugs[name]


def _refuse_pairs(chosen: list[Bug]) -> None:
    names = {entry.id for entry in chosen}
    for entry in chosen:
        for other in names & set(entry.excludes):
            because = entry.excludes[other]
            raise PlantError(f"{entry.id!r} and {other!r} cannot be planted together: {because}")


def _span(text: str, owner: str, edit: Edit) -> tuple[int, int]:
    count = text.count(edit.find) if edit.find else 0
    if count != 1:
        first = edit.find.strip().splitlines()[0] if edit.find.strip() else edit.find
        raise PlantError(f"{owner!r}: {first!r} occurs {count} times in the reference, not once")
    start = text.index(edit.find)
    return start, start + len(edit.find)

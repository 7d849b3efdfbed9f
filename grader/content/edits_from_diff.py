"""Edits of bugs and decoys, taken from an edited copy of the reference.

Every place in which the copy differs becomes one edit.  Its `find` is grown by whole lines, behind and before in turn,
until it stands once in the reference.  A mark at the end of a changed line says to which entry the change belongs:

    scores = scores / head_dim            # bug: scale-by-head-dim
    past = total - new + 1                # bug: mask-one-too-far
    # bug: rope-without-offset            (alone on a line: where lines were taken out)
    norm = x.pow(2).mean(dim=2)           # decoy: mean-over-axis-two

Marks are never planted.  A copy without marks holds one entry, whatever the number of places.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise

from grader.content.content_errors import ContentError
from grader.content.entries import Edit

MARK = re.compile(r"[ \t]*#\s*(bug|decoy):[ \t]*(\S+)[ \t]*$")
MAX_PLACES = 4  # of one entry; the shipped ones have two at most
MAX_LINES = 12  # of the reference that one entry takes away or changes
MAX_ENTRIES = 12  # of one file


@dataclass(frozen=True)
class Change:
    """Lines `[start, end)` of the reference, counted from 0, become `lines`; `kind` and `id` are those of its mark."""

    start: int
    end: int
    lines: tuple[str, ...]
    kind: str = ""
    id: str = ""

    @property
    def where(self) -> str:
        """The lines of the reference, for people."""
        last = max(self.end, self.start + 1)
        more = f" to {last}" if last > self.start + 1 else ""
        return f"line{'s' if more else ''} {self.start + 1}{more}"


@dataclass(frozen=True)
class Marked:
    """An entry found in an edited file; without a mark, `kind` and `id` are empty."""

    kind: str
    id: str
    changes: tuple[Change, ...]


def entries_in(reference: str, edited: str, name: str) -> list[Marked]:
    """Return the entries that a file holds, in the order of their first changes.

    `name` stands in errors.  Raises ContentError for a file that is the reference, or that is more than a few changes
    away from it, and for marks that do not say what belongs to whom.
    """
    old = reference.splitlines(keepends=True)
    lines, marks = _without_marks(edited)
    if abs(len(lines) - len(old)) > MAX_ENTRIES * MAX_LINES:
        # nor could so many lines be compared in a reasonable time
        raise ContentError(
            f"{name}: has {len(lines)} lines and the reference {len(old)}; edit a copy of the reference"
        )
    changes = _changes(old, lines, marks, name)
    if not changes:
        raise ContentError(f"{name}: is the reference; edit a copy of it")
    found: dict[str, Marked] = {}
    for change in changes:
        entry = found.get(change.id, Marked(change.kind, change.id, ()))
        if entry.kind != change.kind:
            raise ContentError(f"{name}: {change.id!r} is marked as a bug and as a decoy")
        found[change.id] = replace(entry, changes=(*entry.changes, change))
    if len(found) > 1 and "" in found:
        where = found[""].changes[0].where
        raise ContentError(
            f"{name}: the change at {where} of the reference has no mark, and others have;"
            " end one of its lines with `# bug: ID`"
        )
    _refuse_much(list(found.values()), name)
    return list(found.values())


def edits_of(
    reference: str, changes: Sequence[Change], taken: Mapping[int, str], name: str
) -> tuple[Edit, ...]:
    """Return edits that make the changes in the reference, each with a `find` that stands there once.

    `taken` says by line, counted from 0, which other entry edits it.  Such a line is used only where nothing else
    makes a `find` unique; then ContentError is raised.
    """
    old = reference.splitlines(keepends=True)
    spans = [_grown(reference, old, _Span((change,)), taken.keys()) for change in changes]
    while any(first.end > second.start for first, second in pairwise(spans)):
        at = next(i for i, (a, b) in enumerate(pairwise(spans)) if a.end > b.start)
        both = spans[at].joined(spans[at + 1])
        spans[at : at + 2] = [_grown(reference, old, both, taken.keys())]
    own = {line for change in changes for line in range(change.start, change.end)}
    for span in spans:
        for line in sorted(set(range(span.start, span.end)) & taken.keys() - own):
            raise ContentError(
                f"{name}: the change at {span.changes[0].where} cannot be told from other text without"
                f" line {line + 1}, which {taken[line]!r} edits; change a line that stands only once"
            )
    return tuple(Edit("".join(old[s.start : s.end]), s.text(old)) for s in spans)


class _Span:
    """Lines `[start, end)` of the reference that one edit replaces: those of its changes, and lines around them."""

    def __init__(self, changes: tuple[Change, ...], start: int = -1, end: int = -1) -> None:
        self.changes = changes
        self.start = changes[0].start if start < 0 else start
        self.end = changes[-1].end if end < 0 else end

    def joined(self, other: _Span) -> _Span:
        """Return a span of both, of which `other` begins later."""
        changes = (*self.changes, *other.changes)
        return _Span(changes, min(self.start, other.start), max(self.end, other.end))

    def text(self, old: Sequence[str]) -> str:
        """Return what the lines become."""
        made: list[str] = []
        at = self.start
        for change in self.changes:
            made += [*old[at : change.start], *change.lines]
            at = change.end
        return "".join([*made, *old[at : self.end]])


def _without_marks(text: str) -> tuple[list[str], dict[int, tuple[str, str]]]:
    """Return the lines without marks, and the marks by the index of their line (or of the next, for one alone)."""
    lines: list[str] = []
    marks: dict[int, tuple[str, str]] = {}
    for line in text.splitlines(keepends=True):
        body = line.rstrip("\n")
        if found := MARK.search(body):
            marks[len(lines)] = (found[1], found[2])
            body = body[: found.start()]
            if not body.strip():
                continue
            line = body + "\n" * line.endswith("\n")
        lines.append(line)
    return lines, marks


def _changes(
    old: Sequence[str], new: Sequence[str], marks: Mapping[int, tuple[str, str]], name: str
) -> list[Change]:
    changes: list[Change] = []
    used: set[int] = set()
    codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for _, a, b, c, d in (code for code in codes if code[0] != "equal"):
        # a mark alone on a line belongs to the change before it as well: nothing of that is left to carry one
        here = {at: mark for at, mark in marks.items() if c <= at < d or (c == d == at)}
        used |= here.keys()
        if len(set(here.values())) <= 1:
            kind, entry = next(iter(here.values()), ("", ""))
            changes.append(Change(a, b, tuple(new[c:d]), kind, entry))
        elif b - a == d - c:
            changes += _line_by_line(a, c, new[c:d], here)
        else:
            names = ", ".join(repr(entry) for _, entry in dict.fromkeys(here.values()))
            raise ContentError(
                f"{name}: lines {a + 1} to {b} of the reference change together and are marked {names};"
                " leave a line between two bugs as it is, or put each in a copy of its own"
            )
    for at in sorted(marks.keys() - used):
        raise ContentError(
            f"{name}: the mark of {marks[at][1]!r} stands beside nothing that differs from the reference"
        )
    return changes


def _line_by_line(
    start: int, first: int, lines: Sequence[str], marks: Mapping[int, tuple[str, str]]
) -> list[Change]:
    """Split a block in which each line replaces one; a line without a mark belongs to the mark before it."""
    known = [marks.get(first + offset) for offset in range(len(lines))]
    mark = next(filter(None, known))
    changes: list[Change] = []
    for offset, line in enumerate(lines):
        mark = known[offset] or mark
        at = start + offset
        if changes and (changes[-1].kind, changes[-1].id) == mark:
            last = changes[-1]
            changes[-1] = replace(last, end=at + 1, lines=(*last.lines, line))
        else:
            changes.append(Change(at, at + 1, (line,), *mark))
    return changes


def _refuse_much(found: Sequence[Marked], name: str) -> None:
    if len(found) > MAX_ENTRIES:
        raise ContentError(
            f"{name}: holds {len(found)} entries; at most {MAX_ENTRIES} are added at once"
        )
    for entry in found:
        places = len(entry.changes)
        lines = sum(max(c.end - c.start, len(c.lines)) for c in entry.changes)
        if places > MAX_PLACES or lines > MAX_LINES:
            raise ContentError(
                f"{name}: {entry.id or 'it'} differs from the reference in {places} places and {lines} lines;"
                f" a bug takes {MAX_PLACES} places and {MAX_LINES} lines at most."
                " Begin with a copy of the reference, and mark each of several bugs by `# bug: ID`"
            )


def _grown(text: str, old: Sequence[str], span: _Span, taken: Collection[int]) -> _Span:
    """Take in lines behind and before in turn until the old text stands once; lines of other entries come last."""
    start, end, behind = span.start, span.end, True
    while start == end or not _stands_once(text, old, start, end):
        after, before = end < len(old), start > 0
        if not after and not before:
            raise ContentError("the reference is empty")
        free_after = after and end not in taken
        free_before = before and start - 1 not in taken
        forward = after and (behind or not before)
        if free_after != free_before:
            forward = free_after
        start, end = (start, end + 1) if forward else (start - 1, end)
        behind = not behind
    return _Span(span.changes, start, end)


def _stands_once(text: str, old: Sequence[str], start: int, end: int) -> bool:
    """Whether some lines stand once in the text, and there: blank ones may be found within others."""
    find = "".join(old[start:end])
    return text.count(find) == 1 and text.index(find) == sum(map(len, old[:start]))

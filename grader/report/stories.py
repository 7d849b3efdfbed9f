"""What a learner is told of bugs that are mended, and of what to do next: plain values, the same for every front end.

A `Story` tells of one bug what it was, how it looked, where it happened in the real world, and the learner's lines
beside the reference's.  A `Success` is the end of an attempt: all its stories, what it took, and what to try next.
Nothing is run, read or printed here.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from textwrap import dedent
from types import MappingProxyType

from grader.content import Challenge
from grader.content.content_errors import ContentError
from grader.content.entries import Bug, Preset
from grader.content.planting import changed_lines, plant

MOST_COMPARED = 3000  # lines of a file
MOST_LINES = 8  # of one comparison; who rewrote a whole function sees its beginning
MOST_SUGGESTIONS = 3
GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+)/(?:pull|issues|discussions)/(\d+)\b.*")


@dataclass(frozen=True)
class Comparison:
    """Some lines of the learner's file, from line `first` on, beside those of the reference.

    Neither ends in a newline; the indentation that all have is taken off.  Either may be empty: a bug that only added
    lines leaves none in the reference.
    """

    first: int
    mine: tuple[str, ...]
    reference: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether the learner wrote what the reference has."""
        return [line.rstrip() for line in self.mine] == [line.rstrip() for line in self.reference]


@dataclass(frozen=True)
class Source:
    """Where a bug happened: a title, and an address where there is one."""

    title: str
    url: str | None = None

    @property
    def is_report(self) -> bool:
        """Whether it is the report or the fix of a bug."""
        return self.url is not None and GITHUB.fullmatch(self.url) is not None

    @property
    def short(self) -> str:
        """The shortest name by which it can be found, such as `pytorch/executorch#2010`."""
        if self.url is None:
            return self.title
        if found := GITHUB.fullmatch(self.url):
            return f"{found[1]}#{found[2]}"
        return self.url.split("://", 1)[-1].removeprefix("www.").rstrip("/")


@dataclass(frozen=True)
class Story:
    """One bug that is mended; `number` is its place among those of the attempt, from 1, and `rungs` the help taken."""

    number: int
    bug: str
    title: str
    symptom: str
    explanation: str
    sources: tuple[Source, ...]
    lines: tuple[Comparison, ...]
    rungs: int = 0

    @property
    def happened(self) -> Source | None:
        """The source that says most: a report of the bug itself, else one that can be looked up."""
        return min(
            self.sources, key=lambda source: (not source.is_report, not source.url), default=None
        )


@dataclass(frozen=True)
class Suggestion:
    """Something to try next: why, and the words of the command, such as `("start", "static_cache")`."""

    why: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Success:
    """The end of an attempt: its stories, minutes, saves that were graded, rungs of help of how many, what is next."""

    stories: tuple[Story, ...]
    minutes: int
    saves: int
    rungs: int
    of_rungs: int = 0
    suggestions: tuple[Suggestion, ...] = ()


def stories(
    challenge: Challenge,
    planted: Sequence[str],
    fixed: Collection[str],
    text: str,
    *,
    decoys: Collection[str] = (),
    rungs: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Story, ...]:
    """Return the stories of those planted bugs that are fixed, in the order of `planted`; `text` is the file's.

    `rungs` says how much help was taken, by bug.
    """
    reference = _reference(challenge, decoys)
    found = []
    for number, name in enumerate(planted, 1):
        if name not in fixed or name not in challenge.bugs:
            continue
        bug = challenge.bugs[name]
        found.append(
            Story(
                number,
                name,
                bug.title,
                bug.symptom,
                bug.explanation,
                tuple(Source(source["title"], source.get("url")) for source in bug.sources),
                tuple(comparisons(reference, bug, text)),
                rungs.get(name, 0),
            )
        )
    return tuple(found)


def comparisons(reference: str, bug: Bug, text: str) -> Iterator[Comparison]:
    """Yield the lines of a file that stand where a bug changed the reference, beside the reference's."""
    theirs, mine = reference.splitlines(), text.splitlines()
    pairs = _same_lines(theirs, mine)
    for edit in bug.edits:
        span = changed_lines(reference, edit)
        if span is None:
            continue
        start, end = span
        after = bisect_left(pairs, (start, -1))
        before = pairs[after - 1][1] + 1 if after else 0
        until = bisect_left(pairs, (end, -1))
        stop = pairs[until][1] if until < len(pairs) else len(mine)
        while before < stop and not mine[before].strip():
            before += 1
        yield Comparison(before + 1, _dedented(mine[before:stop]), _dedented(theirs[start:end]))


def what_next(
    challenge: Challenge,
    label: str,
    challenges: Sequence[Challenge],
    attempts: Mapping[str, Mapping[str, str]],
    passed: Mapping[str, Collection[str]],
) -> list[Suggestion]:
    """Return what to try after an attempt at `challenge` that was made as `label` says (`WorkFolder.label`).

    `challenges` are all there are, the easiest first; `attempts` the folders of all that was begun, by challenge and
    label, and `passed` the labels of those that were passed.  First comes a harder choice of bugs, then another
    challenge, then bugs that nobody wrote.
    """
    found = []
    done = {*passed.get(challenge.id, ()), label}
    if harder := _harder_preset(challenge, label, done):
        name, preset = harder
        begun = attempts.get(challenge.id, {}).get(name)
        start = ("start", challenge.id, "--preset", name)
        words = ("use", challenge.id, begun) if begun else start
        found.append(Suggestion(f"{len(preset.bugs)} bugs", words))
    others = [c for c in challenges if c.id != challenge.id and not passed.get(c.id)]
    others.sort(key=lambda other: (other.difficulty < challenge.difficulty, other.difficulty))
    if others:
        other = others[0]
        why = "harder" if other.difficulty > challenge.difficulty else "another one"
        found.append(Suggestion(why, ("grade" if attempts.get(other.id) else "start", other.id)))
    if challenge.generated.exists():
        known = [_number(made) for made in attempts.get(challenge.id, ())]
        number = str(max(known, default=0) + 1)
        found.append(Suggestion("new bugs", ("start", challenge.id, "--fresh", number)))
    return found[:MOST_SUGGESTIONS]


def _harder_preset(
    challenge: Challenge, label: str, done: Collection[str]
) -> tuple[str, Preset] | None:
    """Return the next harder preset that was not passed, by the sum of its bugs' difficulties."""

    def weight(preset: Preset) -> int:
        return sum(challenge.bugs[name].difficulty for name in preset.bugs)

    least = weight(challenge.presets[label]) if label in challenge.presets else 0
    known = [pair for pair in challenge.presets.items() if pair[0] not in done]
    harder = [pair for pair in known if weight(pair[1]) > least]
    return min(harder, key=lambda pair: weight(pair[1]), default=None)


def _number(label: str) -> int:
    """Return the number of a label such as `fresh-7`; 0 of another."""
    made, _, number = label.rpartition("-")
    return int(number) if made == "fresh" and number.isdigit() else 0


def _reference(challenge: Challenge, decoys: Collection[str]) -> str:
    """Return the reference as the learner could have reached it: with the decoys that were planted."""
    try:
        return plant(challenge, [name for name in decoys if name in challenge.bugs])
    except ContentError:
        return challenge.reference_text


def _same_lines(theirs: Sequence[str], mine: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pairs of lines, from 0, that are the same in both texts, in order.

    Lines behind the first few thousand count as other ones: to compare many that are alike takes long.
    """
    one, other = ([line.rstrip() for line in text[:MOST_COMPARED]] for text in (theirs, mine))
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return [(block.a + n, block.b + n) for block in blocks for n in range(block.size)]


def _dedented(lines: Sequence[str]) -> tuple[str, ...]:
    """Return some lines without the indentation that all have, and without blank ones around them."""
    kept = list(lines)
    while kept and not kept[-1].strip():
        kept.pop()
    while kept and not kept[0].strip():
        kept.pop(0)
    made = dedent("\n".join(kept)).split("\n") if kept else []
    more = [f"... {len(made) - MOST_LINES} more lines"] if len(made) > MOST_LINES else []
    return (*made[:MOST_LINES], *more)

"""What the pages about many challenges show: a card for each with its attempts; the bugs that were fixed, by family."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from grader.content import Challenge, ContentError
from grader.ground.errors import KvdojoError
from grader.ground.files import read_beginning
from grader.ground.limits import MAX_SOURCE_BYTES
from grader.ground.symbols import count
from grader.learner.attempts import all_attempts, progress_of
from grader.learner.history import read_history
from grader.learner.work_folder import WorkFolder
from grader.report.stories import Story, stories
from grader.studio.open_attempts import OpenAttempts


@dataclass(frozen=True)
class ShownAttempt:
    """An attempt in a list: its folder, how it was made, how far it has come; `taken` if it is gone on with."""

    folder: str
    label: str
    progress: str
    done: bool
    taken: bool


@dataclass(frozen=True)
class Card:
    """A challenge in the list, and the attempts at it; the one that is gone on with comes first."""

    id: str
    title: str
    summary: str
    difficulty: int
    attempts: list[ShownAttempt]

    @property
    def done(self) -> bool:
        """Whether some attempt passed."""
        return any(attempt.done for attempt in self.attempts)


@dataclass
class Family:
    """A kind of mistake, and the stories of the bugs of it that were fixed, each with the title of its challenge."""

    name: str
    stories: list[tuple[Story, str]] = field(default_factory=list)


def cards_of(attempts: OpenAttempts) -> tuple[list[Card], list[str]]:
    """Return a card for each challenge that can be read, easiest first, and what is wrong with the others."""
    cards, faults = [], []
    known = all_attempts()
    for name in attempts.services.catalogue.ids():
        try:
            challenge = attempts.services.catalogue.load(name)
            shown = attempts_at(attempts, challenge, known)
        except ContentError as error:
            faults.append(str(error))
            continue
        except KvdojoError as error:
            faults.append(str(error))
            shown = []
        about = (challenge.id, challenge.title, challenge.summary, challenge.difficulty)
        cards.append(Card(*about, shown))
    return cards, faults


def attempts_at(
    attempts: OpenAttempts, challenge: Challenge, known: list[WorkFolder]
) -> list[ShownAttempt]:
    """Return the attempts at a challenge, the one that is taken first; raises KvdojoError."""
    taken = attempts.find(challenge)
    found = {os.path.abspath(w.folder): w for w in known if w.challenge == challenge.id}
    if taken is not None:
        found[os.path.abspath(taken.folder)] = taken
    here = os.path.abspath(taken.folder) if taken else None
    shown = [_shown(folder, work, folder == here) for folder, work in found.items()]
    return sorted(shown, key=lambda attempt: not attempt.taken)


def families_of(attempts: OpenAttempts) -> list[Family]:
    """Return the bugs that were fixed in all attempts there are, by family; nothing of those that are left."""
    families: dict[str, Family] = {}
    seen = set()
    for work in all_attempts():
        try:
            challenge = attempts.services.catalogue.load(work.challenge)
            found = list(_mended(attempts, challenge, work))
        except KvdojoError:
            continue  # the list of challenges tells what is wrong
        for family, story in found:
            if (challenge.id, story.bug) in seen:
                continue
            seen.add((challenge.id, story.bug))
            families.setdefault(family, Family(family)).stories.append((story, challenge.title))
    return sorted(families.values(), key=lambda family: family.name)


def _mended(
    attempts: OpenAttempts, challenge: Challenge, work: WorkFolder
) -> Iterator[tuple[str, Story]]:
    """Yield family and story of each planted bug that some grading found fixed."""
    gradings = read_history(work).of("graded")
    fixed = {name for event in gradings for name in event["fixed"]}
    if not fixed:
        return
    options = attempts.services.watch(challenge, work)
    known = options.challenge
    try:
        raw = read_beginning(work.path, MAX_SOURCE_BYTES, follow=False)
    except OSError:
        raw = b""
    for story in stories(known, options.planted or (), fixed, raw.decode("utf-8", "replace")):
        yield known.bugs[story.bug].family, story


def _shown(folder: str, work: WorkFolder, taken: bool) -> ShownAttempt:
    """Say how far an attempt has come."""
    reached = progress_of(work)
    done = reached.verdict == "passed"
    parts = [work.label]
    if reached.verdict is not None:
        parts.append(f"{reached.passed} of {count(reached.cases, 'case')} passed")
    if reached.planted:
        parts.append(f"{reached.mended} of {count(reached.planted, 'planted bug')} fixed")
    if reached.verdict is None:
        parts.append("begun")
    progress = f"{'✓ ' if done else ''}{' · '.join(parts)}"
    return ShownAttempt(folder, work.label, progress, done, taken)

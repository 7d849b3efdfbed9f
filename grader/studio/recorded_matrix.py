"""Which case catches which bug, as it was recorded, and what is left of it by a filter; nothing is run.

`kvdojo check --record` writes down by which cases each bug is caught when it is planted alone.  `kvdojo matrix` runs
them all and says more: trivial answers, and how a case ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grader.content import Case, Challenge
from grader.content.entries import Bug

LONGEST = 80  # characters of a filter


@dataclass(frozen=True)
class MatrixFilter:
    """What is shown: bugs and cases whose id or title holds a text, a family, a kind of case.

    With `alone` only cases are shown that catch a bug which no other case of their kind catches, and only such bugs.

    >>> MatrixFilter.of({"bug": " Scale ", "alone": "1", "more": "x"})
    MatrixFilter(bug='scale', case='', family='', kind='', alone=True)
    """

    bug: str = ""
    case: str = ""
    family: str = ""
    kind: str = ""
    alone: bool = False

    @classmethod
    def of(cls, given: Mapping[str, str]) -> MatrixFilter:
        """Return the filter that a form asks for; what it does not know is passed over."""

        def text(name: str) -> str:
            return given.get(name, "")[:LONGEST].strip()

        return cls(
            text("bug").casefold(),
            text("case").casefold(),
            text("family"),
            text("kind"),
            bool(text("alone")),
        )

    def takes_bug(self, bug: Bug) -> bool:
        """Whether a bug is shown."""
        named = self.bug in f"{bug.id}\n{bug.title}".casefold()
        return named and self.family in ("", bug.family)

    def takes_case(self, case: Case) -> bool:
        """Whether a case is shown."""
        named = self.case in "\n".join((case.id, case.title, *case.tags)).casefold()
        return named and self.kind in ("", case.kind)


@dataclass(frozen=True)
class BugRow:
    """A bug, the ids of the cases that catch it, and those of the bugs that hide it.

    `alone` are the cases among them that no other case of the same kind stands beside: a bug should be caught by unit
    cases and by scenarios, so each kind is counted for itself.
    """

    bug: Bug
    witnesses: tuple[str, ...]
    alone: tuple[str, ...]
    hidden_by: tuple[str, ...]


@dataclass(frozen=True)
class CaseRow:
    """A case, how many of all bugs it catches, and the ids of those that no other case of its kind catches."""

    case: Case
    catches: int
    alone: tuple[str, ...]


@dataclass(frozen=True)
class RecordedMatrix:
    """The rows and columns that a filter leaves, of so many in all; `families` are all that there are."""

    bugs: tuple[BugRow, ...]
    cases: tuple[CaseRow, ...]
    all_bugs: int
    all_cases: int
    families: tuple[str, ...]

    @property
    def uncaught(self) -> list[str]:
        """Return the bugs, of those that are shown, that no case catches."""
        return [row.bug.id for row in self.bugs if not row.witnesses]


def recorded_matrix(challenge: Challenge, wanted: MatrixFilter) -> RecordedMatrix:
    """Return the part of a challenge's kill matrix that a filter leaves."""
    bugs = [bug for bug in challenge.bugs.values() if bug.kind == "bug"]
    caught = {
        bug.id: tuple(name for name in bug.witnesses if name in challenge.cases) for bug in bugs
    }
    alone = {name: _alone(challenge, cases) for name, cases in caught.items()}
    rows = [
        BugRow(bug, caught[bug.id], alone[bug.id], _hiding(caught, bug.id))
        for bug in bugs
        if wanted.takes_bug(bug) and (alone[bug.id] or not wanted.alone)
    ]
    columns = [
        CaseRow(
            case,
            sum(case.id in cases for cases in caught.values()),
            tuple(name for name, cases in alone.items() if case.id in cases),
        )
        for case in challenge.cases.values()
        if wanted.takes_case(case)
    ]
    if wanted.alone:
        columns = [column for column in columns if column.alone]
    families = tuple(dict.fromkeys(sorted(bug.family for bug in bugs)))
    return RecordedMatrix(tuple(rows), tuple(columns), len(bugs), len(challenge.cases), families)


def _alone(challenge: Challenge, cases: tuple[str, ...]) -> tuple[str, ...]:
    """Return the cases that stand alone in their kind."""
    kinds = [challenge.cases[name].kind for name in cases]
    return tuple(name for name, kind in zip(cases, kinds, strict=True) if kinds.count(kind) == 1)


def _hiding(caught: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    """Return the bugs that are caught by every case that catches this one, so that it shows in none while they last."""
    own = set(caught[name])
    return tuple(
        other for other, cases in caught.items() if own and other != name and own <= set(cases)
    )

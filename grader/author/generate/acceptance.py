"""Which mistakes become bugs: the rules that a mutant must meet once all cases have judged it.

A bug worth planting is silent, since what raises points at itself; it is seen by a case that isolates it and by a
scenario, by a clear margin and on other inputs too; and it is not a bug that is known already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from grader.author.generate.proposals import Proposal
from grader.author.kill_matrix import Judged
from grader.content import Challenge
from grader.content.statements import Scope, VersionsOf
from grader.judge.fault_dictionary import OutputSketch, nearly_equal
from grader.judge.golden import Golden

Said = TypeVar("Said")
SILENT = frozenset({"wrong_value", "not_finite", "mutated_input", "did_not_raise"})
STUCK = frozenset({"timeout", "memory", "crashed", "blocked"})
SILENT_SHARE = 0.8  # of the failed cases
MARGIN = 10.0  # tolerances by which a wrong number must miss
MOST_PER_LINE = 3  # bugs that are kept in one line of the reference
MOST_OF_A_KIND = 3  # bugs of one operator that are kept in one function

CRASHES = "raises, or answers in another shape"
SURVIVES = "no case refuses it"
NO_UNIT = "no unit case refuses it"
NO_SCENARIO = "no scenario refuses it"
NARROW = "misses by less than ten tolerances on fresh inputs"
KNOWN = "is a bug or decoy that is there already"
SAME = "behaves like another one that is kept"
CROWDED = "stands in a line or function that has enough of its kind"
UNSTEADY = "fails other cases, or otherwise, when it is run again"


@dataclass(frozen=True)
class Verdicts:
    """What the cases said of one mutant, by the ids of those that failed.

    `kinds` are the kinds of their causes, `excess` the tolerances by which a number of a wrong tensor missed,
    `sketches` the wrong tensors, `outputs` the names of what was wrong, `shown` what stood where another value belongs,
    and `steps` the steps at which they failed.  `judged` is the number of all cases.
    """

    kinds: Mapping[str, str]
    excess: Mapping[str, float]
    sketches: Mapping[str, OutputSketch]
    outputs: Mapping[str, str]
    shown: Mapping[str, str]
    steps: Mapping[str, int]
    judged: int

    @property
    def witnesses(self) -> tuple[str, ...]:
        """The cases that refuse the mutant, in their order."""
        return tuple(self.kinds)

    def of(self, cases: Collection[str]) -> Verdicts:
        """Return what some of the cases said."""

        def part(whole: Mapping[str, Said]) -> dict[str, Said]:
            return {name: value for name, value in whole.items() if name in cases}

        return Verdicts(
            part(self.kinds),
            part(self.excess),
            part(self.sketches),
            part(self.outputs),
            part(self.shown),
            part(self.steps),
            self.judged,
        )

    @property
    def median_excess(self) -> float:
        """By how many tolerances a wrong number typically misses; infinite where no number is compared."""
        found = [value for value in self.excess.values() if value > 0]
        return float(median(found)) if found else float("inf")


def verdicts_of(judged: Mapping[str, Judged]) -> Verdicts:
    """Sum up what the cases said of one mutant."""
    failed = {
        name: item
        for name, item in judged.items()
        if item.result.status == "failed" and item.result.cause is not None
    }
    causes = {name: item.result.cause for name, item in failed.items() if item.result.cause}
    return Verdicts(
        {name: cause.kind or "" for name, cause in causes.items()},
        {name: item.excess for name, item in failed.items() if item.result.sketch},
        {n: item.result.sketch for n, item in failed.items() if item.result.sketch},
        {name: cause.where.output or "" for name, cause in causes.items() if cause.where},
        {name: cause.actual or "" for name, cause in causes.items()},
        {
            name: -1 if cause.where is None or cause.where.step is None else cause.where.step
            for name, cause in causes.items()
        },
        len(judged),
    )


def is_loud(kinds: Iterable[str]) -> bool:
    """Whether too many of the failed cases end without a wrong number.

    >>> is_loud(["wrong_value"] * 4 + ["raised"]), is_loud(["raised"]), is_loud([])
    (False, True, False)
    """
    counts = Counter(kinds)
    silent = sum(count for kind, count in counts.items() if kind in SILENT)
    return silent < SILENT_SHARE * counts.total()


def objection(challenge: Challenge, verdicts: Verdicts) -> str | None:
    """Return what speaks against a mutant, of all that the cases' verdicts show; None when nothing does."""
    if not verdicts.kinds:
        return SURVIVES
    if STUCK & set(verdicts.kinds.values()) or is_loud(verdicts.kinds.values()):
        return CRASHES
    found = {challenge.cases[name].kind for name in verdicts.kinds}
    if "unit" not in found:
        return NO_UNIT
    return None if "scenario" in found else NO_SCENARIO


class KnownFaults:
    """The bugs and decoys that a challenge has, by text and by what they make of the cases."""

    def __init__(self, challenge: Challenge, golden: Golden, planted: Mapping[str, str]) -> None:
        self._challenge, self._golden = challenge, golden
        self._versions = VersionsOf(challenge.reference_text)
        self._changes = [_changes(self._versions, text) for text in planted.values()]

    def holds(self, proposal: Proposal) -> bool:
        """Whether a mutant is one of them, or a part of one, by its statements."""
        mine = _changes(self._versions, proposal.text)
        return bool(mine) and any(mine <= known for known in self._changes)

    def behaves(self, verdicts: Verdicts) -> bool:
        """Whether a mutant is one of the bugs by all its wrong outputs."""
        bugs = [bug for bug in self._challenge.bugs.values() if bug.kind == "bug"]
        return any(self._alike(bug.id, bug.witnesses, verdicts) for bug in bugs)

    def _alike(self, bug: str, witnesses: Sequence[str], verdicts: Verdicts) -> bool:
        if set(witnesses) != set(verdicts.witnesses):
            return False
        compared = 0
        for case, sketch in verdicts.sketches.items():
            known = self._golden.cases[case].symptoms.get(bug)
            if known is None or not _same_output(OutputSketch(*known), sketch):
                return False
            compared += 1
        return compared > 0


@dataclass
class Choice:
    """The mutants kept so far, and what of the others counts: behaviour that is kept already, places that are full."""

    kept: list[tuple[Proposal, Verdicts]]

    def objection(
        self, proposal: Proposal, verdicts: Verdicts, against: str | None = None
    ) -> str | None:
        """Return what speaks against a further mutant; `against` is what its verdicts alone say.

        A place that is full comes first, since nothing more need be known then.
        """
        if self.is_full(proposal):
            return CROWDED
        if against is None and any(behave_alike(other, verdicts) for _, other in self.kept):
            return SAME
        return against

    def is_full(self, proposal: Proposal, beside: Sequence[Proposal] = ()) -> bool:
        """Whether the line or the function of a mutant has enough of its kind; once it has, it stays so.

        Mutants `beside` are counted as if they were kept.
        """
        # another thread may be adding to those that are kept
        others = [*(other for other, _ in list(self.kept)), *beside]
        here = sum(other.line == proposal.line for other in others)
        alike = sum(
            (other.function, other.operators) == (proposal.function, proposal.operators)
            for other in others
        )
        return here >= MOST_PER_LINE or alike >= MOST_OF_A_KIND


def behave_alike(one: Verdicts, other: Verdicts) -> bool:
    """Whether two mutants fail the same cases, at the same steps, in the same way."""
    if (one.kinds, one.steps) != (other.kinds, other.steps):
        return False
    return all(
        _same_output(one.sketches[name], other.sketches[name])
        if name in one.sketches and name in other.sketches
        else one.shown[name] == other.shown[name]
        for name in one.kinds
    )


def _same_output(one: OutputSketch, other: OutputSketch) -> bool:
    same_place = (one.step, one.output) == (other.step, other.output)
    return same_place and nearly_equal(list(one.projections), list(other.projections))


def _changes(versions: VersionsOf, text: str) -> Counter[tuple[Scope, str, str]]:
    """Return the statements that a text has too many or too few, each with its function."""
    found: Counter[tuple[Scope, str, str]] = Counter()
    reference, other = versions.whole or {}, versions.statements(text) or {}
    for scope in reference.keys() | other.keys():
        before, after = Counter(reference.get(scope, ())), Counter(other.get(scope, ()))
        for sign, difference in (("-", before - after), ("+", after - before)):
            found.update({(scope, sign, text): n for text, n in difference.items()})
    return found

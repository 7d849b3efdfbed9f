"""The one bug that all of grade, more, hint, trace, watch and the page speak of.

Of the bugs that are still in a file, the focus is the one that its failing cases isolate best: the case that shows it
is failed by as few of the other remaining bugs as possible.  It follows from the result and the catalogue alone.  The
focus of the grading before is kept for as long as it is still there, so that one mistake more or less elsewhere does
not move it.

Example: the bugs `scale` and `mask` are left; `prefill` fails for both of them and `decode` for `scale` alone.

    bug      failing cases      other bugs in its best case     focus
    scale    prefill, decode    0                               yes, shown by `decode`
    mask     prefill            1

Where no known bug explains what fails, there is no bug in focus, and the first failing scenario is shown.  While some
scenario fails, a bug that shows in unit cases alone is not in focus.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from grader.content import Challenge, ContentError
from grader.content.entries import Bug
from grader.content.planting import plant
from grader.judge.result import CaseResult, Result, is_not_run, most_informative_first
from grader.judge.telling import is_told

TIERS = ("present", "changed", "unknown")  # the surest first


@dataclass(frozen=True)
class Focus:
    """The bug in focus, by id, and the failing cases that show it best: a scenario and a unit case.

    Each is None where there is none.  `state` is what is known of the bug: present, changed or unknown.
    """

    bug: str | None = None
    state: str | None = None
    scenario: str | None = None
    unit: str | None = None

    @property
    def case(self) -> str | None:
        """The case that a learner is shown first."""
        return self.scenario or self.unit


NO_FOCUS = Focus()


def choose_focus(
    challenge: Challenge,
    result: Result,
    planted: Collection[str] | None = None,
    before: str | None = None,
) -> Focus:
    """Return the focus of a result.

    `planted` are the bugs that the file came with, where that is known; `before` is the bug that was in focus.
    """
    ordered = most_informative_first(result.cases)
    failed = {case.id: case for case in ordered if case.status == "failed" and not is_not_run(case)}
    passed = {case.id for case in result.cases if case.status == "passed"}
    known = [bug for bug in result.bugs if planted is None or bug.id in planted]
    states = {
        bug.id: bug.status for bug in known if bug.status in TIERS and bug.id in challenge.bugs
    }
    # of code written anew a bug is told only where none of its cases passes
    states = {
        name: state
        for name, state in states.items()
        if state != "unknown" or passed.isdisjoint(challenge.bugs[name].witnesses)
    }
    found = _best(challenge, states, failed, before)
    if found is not None:
        return found
    public = [case for case in failed.values() if case.visibility == "public"]
    firsts = {
        kind: [case.id for case in public if case.kind == kind] for kind in ("scenario", "unit")
    }
    return Focus(None, None, next(iter(firsts["scenario"]), None), next(iter(firsts["unit"]), None))


def focus_of_text(
    challenge: Challenge,
    states: Mapping[str, str],
    before: str | None = None,
    failed: Collection[str] | None = None,
) -> Focus:
    """Return the focus of a file without a result, from what its text shows of each bug (`bug_detection`).

    `failed` are the cases that fail, where that is known; without them every bug is taken to fail all of its cases.
    """
    return _best(challenge, states, failed, before) or NO_FOCUS


def alone(challenge: Challenge, focus: Focus, source: bytes) -> bytes:
    """Return the text in which the bug in focus can be seen without the others: the reference with it alone.

    Where its code is not as planted, or no bug is in focus, that is the file itself.
    """
    if focus.bug is None or focus.state != "present":
        return source
    try:
        return plant(challenge, [focus.bug]).encode()
    except ContentError:
        return source


def told_cases(wrong: Iterable[CaseResult], level: str, focus: Focus) -> list[CaseResult]:
    """Return which of the cases that did not pass are told at a level, the others being counted.

    Where neither a known bug nor a public scenario explains what fails, every command speaks of a unit case. At a level
    that only counts that one a hidden scenario would be another subject, of which `trace` and `hint` say nothing.
    """
    named = [case for case in wrong if is_told(case, level)]
    unit = focus.unit if focus.bug is None and focus.scenario is None else None
    if unit is None or any(case.id == unit for case in named):
        return named
    return [case for case in named if case.visibility == "public" or case.status == "error"]


def shown_first(failed: Sequence[CaseResult], focus: Focus) -> CaseResult:
    """Return which of some cases that did not pass is told first: that of the focus, else a scenario, else the first.

    A case that the grader could not judge comes before those that no bug in focus explains.
    """
    scenarios = [c for c in failed if c.kind == "scenario" and c.visibility == "public"]
    chosen = [case for case in failed if case.id == focus.scenario]
    errors = [case for case in failed if case.status == "error"]
    unit = [case for case in failed if case.id == focus.unit]
    return (chosen or errors or scenarios or unit or failed)[0]


def _best(
    challenge: Challenge,
    states: Mapping[str, str],
    failed: Mapping[str, CaseResult] | Collection[str] | None,
    before: str | None,
) -> Focus | None:
    """Return the best focus among bugs with a case that fails; all their cases do where `failed` is None."""
    shown: dict[str, list[str]] = {}
    for name in states:
        bug = challenge.bugs[name]
        shows = [
            case
            for case in bug.witnesses
            if case in challenge.cases
            and challenge.cases[case].visibility == "public"
            and (failed is None or case in failed)
            and (not isinstance(failed, Mapping) or _speaks(failed[case], bug, challenge, states))
        ]
        if shows or failed is None:
            shown[name] = shows
    if not shown:
        return None
    # of a bug that unit cases alone show, a scenario that fails for something else would tell a wrong symptom
    if failed is not None and _has_scenario(challenge, failed):
        shown = {name: cases for name, cases in shown.items() if _has_scenario(challenge, cases)}
        if not shown:
            return None
    crowd = {case: [n for n, cases in shown.items() if case in cases] for case in _all(shown)}
    order = list(challenge.cases)

    def best(name: str, kind: str) -> tuple[int, int, str] | None:
        """Return of the bug's cases of a kind: bugs that share it, its place in the file, its id; the least of them."""
        cases = [case for case in shown[name] if challenge.cases[case].kind == kind]
        return min(((len(crowd[case]), order.index(case), case) for case in cases), default=None)

    def rank(name: str) -> tuple[int, int, int, int, int]:
        scenario, unit = best(name, "scenario"), best(name, "unit")
        many = len(states) + 1
        return (
            TIERS.index(states[name]),
            scenario[0] if scenario else many,
            unit[0] if unit else many,
            challenge.bugs[name].difficulty,
            list(challenge.bugs).index(name),
        )

    name = before if before in shown else min(shown, key=rank)
    scenario, unit = best(name, "scenario"), best(name, "unit")
    return Focus(name, states[name], scenario and scenario[2], unit and unit[2])


def _speaks(case: CaseResult, bug: Bug, challenge: Challenge, states: Mapping[str, str]) -> bool:
    """Whether a failing case may fail because of this bug, rather than another that certainly is what it shows.

    What the fault dictionary recognises is that bug's; an exception is that of a bug which raises, if one is left
    that the case would show.
    """
    looks = case.cause and case.cause.looks_like
    others = [challenge.bugs[name] for name in states if name != bug.id]
    if looks and looks != bug.symptom and any(looks == other.symptom for other in others):
        return False
    raised = case.cause is not None and case.cause.kind == "raised"
    if raised and not bug.raises:
        return not any(other.raises and case.id in other.witnesses for other in others)
    return True


def _has_scenario(challenge: Challenge, cases: Iterable[str]) -> bool:
    """Whether one of these cases is a scenario that a learner may see."""
    known = (challenge.cases[case] for case in cases if case in challenge.cases)
    return any(case.kind == "scenario" and case.visibility == "public" for case in known)


def _all(shown: Mapping[str, Sequence[str]]) -> Iterable[str]:
    return dict.fromkeys(case for cases in shown.values() for case in cases)

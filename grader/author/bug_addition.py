"""Add bugs or decoys to a challenge after running its cases on them, as the author's gate does.

An *entry* is a bug or a decoy.  `new_entries` has made its JSON and found nothing wrong with the text.  Then every case
is run on each new entry planted alone (`_alone` says what speaks against it) and, where nothing does, each new bug is
planted with others (`_beside`).  The files change together or not at all, and are those that recording the challenge
anew would make.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from grader.author.case_addition import measure
from grader.author.kill_matrix import Judged, first_kill, run_cases, telling_first
from grader.author.mutants import function_at
from grader.author.new_entries import extended
from grader.author.recording import caught_up, recorded, refuse_other_release
from grader.author.wrong_variants import MOST, bug_ids, compatible, decoy_ids, planted
from grader.content import Bug, Case, Challenge
from grader.content.cases_schema import cases_digest
from grader.content.edits_from_diff import entries_in
from grader.content.jsonfile import with_entries
from grader.ground.invocation import command_line
from grader.ground.transaction import replace_files
from grader.judge.fault_dictionary import nearly_equal
from grader.judge.golden import Golden
from grader.judge.grading import PARALLEL
from grader.judge.result import CaseResult
from grader.sandbox import Sandbox

SETS = 12  # sets of three or more bugs that are tried, each with the new one in it
NAMED = 4  # ids that one line names
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BugValue:
    """What the cases make of one new bug or decoy.

    - `places`: where the reference changes, such as `("line 42", "CachedAttention._mask")`;
    - `unit`, `scenario`: the cases that fail when it is planted alone;
    - `partners`: the number of other bugs beside which some case refuses it;
    - `objections`: reasons not to add it, one line each, to be read behind the id.
    """

    bug: Bug
    places: tuple[str, ...]
    unit: tuple[str, ...] = ()
    scenario: tuple[str, ...] = ()
    partners: int = 0
    objections: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeasuredBugs:
    """New entries and their value, with the golden and the witnesses as they are once they are added.

    `against_cases` are objections to cases that come with them.
    """

    values: tuple[BugValue, ...]
    against_cases: tuple[str, ...]
    golden: Golden
    witnesses: Mapping[str, Sequence[str]]

    @property
    def objections(self) -> list[str]:
        """All objections to entries and to cases that come with them, each beginning with the id."""
        told = [f"{value.bug.id!r} {text}" for value in self.values for text in value.objections]
        return [*told, *self.against_cases]


@dataclass
class _Row:
    """A new entry while it is measured: the results when it is planted alone, and what speaks against it."""

    bug: Bug
    judged: dict[str, Judged] = field(default_factory=dict)
    objections: list[str] = field(default_factory=list)
    partners: int = 0

    @property
    def failed(self) -> list[CaseResult]:
        return [item.result for item in self.judged.values() if item.result.status == "failed"]

    def kills(self, kind: str) -> list[str]:
        return [result.id for result in self.failed if result.kind == kind]


def measure_bugs(
    sandbox: Sandbox,
    challenge: Challenge,
    entries: Sequence[Mapping[str, Any]],
    cases: Sequence[tuple[Mapping[str, Any], Case]] = (),
    progress: Progress | None = None,
) -> MeasuredBugs:
    """Run every case on each new entry, and each new bug beside the others.

    `cases` are new ones that are added with the entries, as JSON and as a value.  Raises ContentError when the
    challenge is not recorded or a new case cannot be one, and GraderError when something cannot be judged.
    """
    golden, witnesses = caught_up(sandbox, challenge)
    both = extended(challenge, entries)
    rows = [_Row(both.bugs[entry["id"]]) for entry in entries]
    _run_rows(sandbox, both, golden, rows, list(challenge.cases.values()))
    known: Mapping[str, Sequence[str]] = {**witnesses, **_killers(rows)}
    golden = _with_wrong_outputs(golden, rows)
    against: list[str] = []
    for number, (_, case) in enumerate(cases):
        measured = measure(sandbox, both, case, progress, (golden, known))
        golden, known = measured.golden, measured.witnesses
        against += measured.value.objections
        both = extended(challenge, entries, cases[: number + 1])
        _run_rows(sandbox, both, golden, rows, [case])
    known = {**known, **_killers(rows)}
    for row in rows:
        row.objections += _alone(both, golden, row)
    if not against and not any(row.objections for row in rows):
        _beside(sandbox, both, golden, rows, known, progress)
    golden = replace(golden, content=cases_digest(both))
    return MeasuredBugs(tuple(_value(both, row) for row in rows), tuple(against), golden, known)


def write_bugs(
    sandbox: Sandbox,
    challenge: Challenge,
    entries: Sequence[Mapping[str, Any]],
    cases: Sequence[tuple[Mapping[str, Any], Case]],
    found: MeasuredBugs,
) -> None:
    """Put measured entries into the files of a challenge that is locked; raises ContentError and OSError."""
    refuse_other_release(sandbox, challenge, found.golden)
    both = extended(challenge, entries, cases)
    files = recorded(both, found.golden, found.witnesses, both.case_entries)
    text = (challenge.folder / "bugs.json").read_bytes()
    replace_files(challenge.folder, {**files, "bugs.json": with_entries(text, "bugs", entries)})


def readers_of_bugs(challenge: Challenge, others: Sequence[Challenge]) -> list[str]:
    """Return the other challenges whose driver reads this one's bugs.json: they must be recorded anew."""
    name = f"challenges/{challenge.id}/bugs.json"
    return [other.id for other in others if name in other.declared and other.id != challenge.id]


def _run_rows(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden,
    rows: Sequence[_Row],
    cases: Sequence[Case],
) -> None:
    """Run cases on each new entry planted alone, and add the results to its row."""
    jobs = [
        partial(run_cases, sandbox, challenge, golden, planted(challenge, row.bug.id), cases)
        for row in rows
    ]
    for row, judged in zip(rows, _run(jobs, None), strict=True):
        row.judged |= judged


def _killers(rows: Sequence[_Row]) -> dict[str, list[str]]:
    """Return the cases that fail on each new bug."""
    return {row.bug.id: [r.id for r in row.failed] for row in rows if row.bug.kind == "bug"}


def _alone(challenge: Challenge, golden: Golden, row: _Row) -> Iterator[str]:
    """Yield what speaks against an entry, from its results when it is planted alone."""
    if row.bug.kind == "decoy":
        for result in row.failed[:NAMED]:
            why = result.cause.rationale if result.cause else ""
            yield f"fails {result.id!r} ({why}), and a decoy changes no result; add it without --decoy"
        return
    if not row.failed:
        yield f"is caught by no case. {_advice(challenge, golden, row.bug)}"
        return
    if not row.kills("unit"):
        yield f"is caught by no unit case, so nothing shows where it is. {_advice(challenge, golden, row.bug)}"
    if not row.kills("scenario"):
        yield (
            "is caught by no scenario, so no user of the code would notice it."
            f" `{command_line('case', 'new', challenge.id)}` begins a scenario, and --case FILE adds it with the bug"
        )
    for other in bug_ids(challenge):
        if other != row.bug.id and _behaves_alike(challenge, golden, row, other):
            yield f"gives the outputs of {other!r} in every case; add a case that tells them apart first"


def _advice(challenge: Challenge, golden: Golden, bug: Bug) -> str:
    """Return the advice which unit case to add: one about the helper in which the edit stands."""
    helpers = {name.rsplit(".", 1)[-1] for name in _functions(challenge, bug)} - {""}
    new = command_line("case", "new", challenge.id)
    about = [
        case.id
        for case in challenge.cases.values()
        if case.kind == "unit"
        and helpers & {need.rsplit(".", 1)[-1] for need in golden.cases[case.id].needs}
    ]
    where = " and ".join(f"`{name}`" for name in sorted(helpers)) or "the module itself"
    if about:
        names = ", ".join(about[:NAMED])
        return (
            f"Give a unit case about {where} with other sizes than {names}, which accept it:"
            f" `{new}` begins one, and --case FILE adds it with the bug"
        )
    return (
        f"Give a unit case about {where}, of which no unit case asks yet: `{new}` lists the verbs,"
        " and --case FILE adds it with the bug"
    )


def _functions(challenge: Challenge, bug: Bug) -> list[str]:
    """Return the qualified names of the functions in which an entry's edits stand."""
    if not challenge.file.endswith(".py"):
        return []
    lines = sorted(_changed_lines(challenge, bug))
    found = [function_at(challenge.reference_text, line + 1) for line in lines]
    return list(dict.fromkeys(found))


def _changed_lines(challenge: Challenge, bug: Bug) -> set[int]:
    """Return the lines of the reference that an entry really changes: without what only makes its `find` unique."""
    (entry,) = entries_in(challenge.reference_text, planted(challenge, bug.id).decode(), bug.id)
    return {
        line
        for change in entry.changes
        for line in range(change.start, max(change.end, change.start + 1))
    }


def _behaves_alike(challenge: Challenge, golden: Golden, row: _Row, other: str) -> bool:
    """Whether every wrong output of a new bug is that of a known one, and no case tells them apart."""
    if sorted(challenge.bugs[other].witnesses) != sorted(result.id for result in row.failed):
        return False
    compared = 0
    for name, item in row.judged.items():
        known, seen = golden.cases[name].symptoms.get(other), item.result.sketch
        if (known is None) != (seen is None):
            return False
        if known is not None and seen is not None:
            step, output, projections = known
            compared += 1
            if (step, output) != (seen.step, seen.output):
                return False
            if not nearly_equal(projections, seen.projections):
                return False
    return compared > 0


def _beside(
    sandbox: Sandbox,
    challenge: Challenge,
    golden: Golden,
    rows: Sequence[_Row],
    known: Mapping[str, Sequence[str]],
    progress: Progress | None,
) -> None:
    """Plant each new bug with every other and in larger sets, and all decoys together; add what speaks against it."""
    groups: list[tuple[_Row, tuple[str, ...]]] = []
    for row in (row for row in rows if row.bug.kind == "bug"):
        others = [name for name in bug_ids(challenge) if name != row.bug.id]
        pairs = [(row.bug.id, other) for other in others]
        groups += [(row, pair) for pair in pairs if compatible(challenge, pair)]
        groups += [(row, group) for group in _sets(challenge, row.bug.id, others)]
    jobs = [
        partial(
            first_kill,
            *(sandbox, challenge, golden, planted(challenge, *group)),
            telling_first(challenge, known, group),
        )
        for _, group in groups
    ]
    for (row, group), kill in zip(groups, _run(jobs, progress), strict=True):
        names = [name for name in group if name != row.bug.id]
        if kill is None:
            shown = " and ".join(repr(name) for name in names)
            offer = f'; if they undo each other: --excludes {names[0]} "..."' * (len(names) == 1)
            row.objections.append(
                f"passes every case beside {shown}; add a case that refuses both{offer}"
            )
        elif len(names) == 1:
            row.partners += 1
    decoys = tuple(decoy_ids(challenge))
    if any(row.bug.kind == "decoy" for row in rows) and compatible(challenge, decoys):
        source = planted(challenge, *decoys)
        if kill := first_kill(sandbox, challenge, golden, source, telling_first(challenge, known)):
            rows[-1].objections.append(f"fails {kill.id!r} when all decoys are planted together")


def _sets(challenge: Challenge, name: str, others: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield seeded sets of three or more bugs, the new one among them, that may be planted together."""
    draw = random.Random(name)
    for _ in range(SETS if len(others) > 1 else 0):
        size = draw.randint(2, min(len(others), MOST - 1))
        group = (name, *sorted(draw.sample(list(others), size)))
        if compatible(challenge, group):
            yield group


def _run(jobs: Sequence[Callable[[], Any]], progress: Progress | None) -> list[Any]:
    results = []
    with ThreadPoolExecutor(PARALLEL) as pool:
        for result in pool.map(lambda job: job(), jobs):
            results.append(result)
            if progress:
                progress(len(results), len(jobs))
    return results


def _value(challenge: Challenge, row: _Row) -> BugValue:
    lines = sorted(line + 1 for line in _changed_lines(challenge, row.bug))
    names = _functions(challenge, row.bug)
    where = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
    places = (where, *(name for name in names if name))
    return BugValue(
        replace(row.bug, raises=_raises(row)),
        places,
        tuple(row.kills("unit")),
        tuple(row.kills("scenario")),
        row.partners,
        tuple(row.objections),
    )


def _raises(row: _Row) -> bool:
    """Whether the planted code raises on its ordinary path: in more than half of the scenarios."""
    scenarios = [i.result for i in row.judged.values() if i.result.kind == "scenario"]
    raised = [r for r in scenarios if r.cause and r.cause.kind in ("raised", "crashed")]
    return row.bug.kind == "bug" and 2 * len(raised) > len(scenarios)


def _with_wrong_outputs(golden: Golden, rows: Sequence[_Row]) -> Golden:
    """Return the golden with the wrong outputs of the new bugs in its fault dictionary."""
    cases = dict(golden.cases)
    for row in (row for row in rows if row.bug.kind == "bug"):
        for name, item in row.judged.items():
            if item.result.sketch:
                seen = {**cases[name].symptoms, row.bug.id: list(item.result.sketch)}
                cases[name] = replace(cases[name], symptoms=seen)
    return replace(golden, cases=cases)

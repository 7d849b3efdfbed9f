"""The part of the author's gate that only reads files, and follows the plans of cases; no submission is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from grader.author.checkpoint_rules import checkpoint_faults
from grader.author.draw_order import dependent_steps
from grader.author.driver_reads import undeclared_reads
from grader.author.generate.generated_file import generated_faults
from grader.author.recording import content_digest, schema_bytes, starter_bytes
from grader.author.violation import Violation
from grader.author.wrong_variants import bug_ids, planted, trivial_solution
from grader.content import Bug, Challenge, ContentError
from grader.content.brief import promises
from grader.content.casefile import semantic_errors
from grader.content.driver_loading import load_driver
from grader.content.planting import line_span, plant
from grader.content.witnesses import read_witnesses
from grader.ground.invocation import command_line
from grader.judge.cost import estimate_cost
from grader.judge.golden import recipe_of

GIVEAWAY = re.compile(r"#.*\b(bug|wrong|broken|incorrect|should be|fixme|xxx)\b", re.IGNORECASE)
NAME = re.compile(r"`([A-Za-z_][A-Za-z0-9_.]*)(?:\(\))?`")


def check(challenge: Challenge) -> list[Violation]:
    """Return every violation that shows without running anything."""
    found: list[Violation] = []
    for part in (
        _edits,
        _disjoint,
        _presets,
        _hints,
        _references,
        _generated,
        _brief,
        _promises,
        _trivial_solutions,
        _recipes,
        _reads,
        checkpoint_faults,
        generated_faults,
    ):
        try:
            found += [Violation(challenge.id, subject, text) for subject, text in part(challenge)]
        except ContentError as error:
            found.append(Violation(challenge.id, part.__name__.strip("_"), str(error)))
    return found


Faults = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class EntryFault:
    """What is wrong with the bug or decoy `id`.

    `other` is set where the fault is that another entry, of this id, edits one of the same lines.
    """

    id: str
    text: str
    other: str | None = None


def entry_faults(challenge: Challenge, ids: Collection[str]) -> list[EntryFault]:
    """Return what shows in some bugs or decoys without running anything."""
    found = [EntryFault(*fault) for fault in _edits(challenge)]
    found += _shared_lines(challenge)
    found += [EntryFault(*fault) for fault in _hints(challenge)]
    return [fault for fault in found if fault.id in ids]


def _edits(challenge: Challenge) -> Faults:
    for bug in challenge.bugs.values():
        try:
            text = plant(challenge, [bug.id])
        except ContentError as error:
            yield bug.id, f"{error}. Make each `find` unique in {challenge.reference.name}."
            continue
        try:
            ast.parse(text)
        except SyntaxError as error:
            yield bug.id, f"the planted file does not compile: {error.msg} (line {error.lineno})"
        except ValueError as error:  # of a null byte, before Python 3.11.4
            yield bug.id, f"the planted file does not compile: {error}"
        new = "\n".join(edit.replace for edit in bug.edits)
        if bug.kind == "bug" and GIVEAWAY.search(new):
            yield bug.id, "a planted comment gives the bug away; reword it"


def _disjoint(challenge: Challenge) -> Faults:
    """Check that entries change different lines, unless they exclude each other."""
    return ((fault.id, fault.text) for fault in _shared_lines(challenge))


def _shared_lines(challenge: Challenge) -> Iterator[EntryFault]:
    owners: dict[int, list[Bug]] = {}
    for bug in challenge.bugs.values():
        for line in sorted(lines_of(challenge, bug)):
            for other in owners.setdefault(line, []):
                if other.id not in bug.excludes and bug.id not in other.excludes:
                    text = f"touches line {line + 1}, which {other.id!r} edits too"
                    yield EntryFault(bug.id, text, other.id)
            owners[line].append(bug)


def lines_of(challenge: Challenge, bug: Bug) -> set[int]:
    """Return the lines of the reference that an entry edits, counted from 0."""
    spans = (line_span(challenge.reference_text, edit) for edit in bug.edits)
    return {line for span in spans for line in span}


def _presets(challenge: Challenge) -> Faults:
    for name, preset in challenge.presets.items():
        for kind, ids in (("bug", preset.bugs), ("decoy", preset.decoys)):
            for entry in ids:
                if entry not in challenge.bugs or challenge.bugs[entry].kind != kind:
                    yield name, f"preset {name!r} names {entry!r}, which is no {kind} in bugs.json"
    raising = [n for n in challenge.presets["default"].bugs if _raises(challenge, n)]
    if len(raising) > 1:
        yield "default", f"the starter would raise in {len(raising)} places: {', '.join(raising)}"


def _raises(challenge: Challenge, name: str) -> bool:
    return name in challenge.bugs and challenge.bugs[name].raises


def _hints(challenge: Challenge) -> Faults:
    for bug in challenge.bugs.values():
        for line in _added_lines(challenge, bug):
            told = {"the symptom": bug.symptom, "hint 1": bug.hints[0], "hint 2": bug.hints[1]}
            for name, text in told.items():
                if line in text:
                    yield bug.id, f"{name} quotes the answer `{line}`; keep that for hint 3"
        for level, later in ((1, 2), (1, 3), (2, 3)):
            if _plain(bug.hints[later - 1]) in _plain(bug.hints[level - 1]):
                yield bug.id, f"hint {level} says what hint {later} is for; let each say more"


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")


def _added_lines(challenge: Challenge, bug: Bug) -> list[str]:
    """Return the right lines that planting takes away: what a learner has to write."""
    wrong = {line.strip() for line in plant(challenge, [bug.id]).splitlines()}
    lines = [line.strip() for edit in bug.edits for line in edit.find.splitlines()]
    return [line for line in lines if len(line) > 12 and line not in wrong]


def _references(challenge: Challenge) -> Faults:
    for bug in challenge.bugs.values():
        for name in bug.excludes:
            if name not in challenge.bugs:
                yield bug.id, f"excludes {name!r}, which is not in bugs.json"
        for name in bug.witnesses:
            if name not in challenge.cases:
                yield bug.id, f"names the witness {name!r}, which is no case; record again"
        if bug.kind == "bug" and not bug.witnesses:
            yield (
                bug.id,
                f"has no witnesses; run `{command_line('check', challenge.id, '--record')}`",
            )


def _generated(challenge: Challenge) -> Faults:
    wanted = {
        challenge.starter: starter_bytes(challenge),
        challenge.cases_schema: schema_bytes(challenge),
    }
    again = f"run `{command_line('check', challenge.id, '--record')}`"
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            yield _within(challenge, path), f"is not what the content gives; {again}"
    recipes = {case.id: recipe_of(case, challenge) for case in challenge.cases.values()}
    if read_witnesses(challenge.witnesses).made_from != content_digest(challenge, recipes):
        yield _within(challenge, challenge.witnesses), f"was recorded from other content; {again}"
    known = {*wanted, challenge.golden, challenge.witnesses, challenge.scenario_pool}
    known |= {challenge.generated, challenge.checked}
    for path in challenge.recorded.rglob("*"):
        if path.is_file() and path not in known and "__pycache__" not in path.parts:
            yield _within(challenge, path), "is a stray file; nothing here is written by hand"


def _within(challenge: Challenge, path: Path) -> str:
    return path.relative_to(challenge.folder).as_posix()


def _recipes(challenge: Challenge) -> Faults:
    """Check that every case is affordable, and that it names nothing that no step saved."""
    for case in challenge.cases.values():
        for text in semantic_errors(case):
            yield case.id, text.removeprefix(".")
        try:
            estimate_cost(challenge, case)
        except ContentError as error:
            yield case.id, str(error)
            continue
        for step in dependent_steps(challenge, case):
            which = "the creation" if step < 0 else f"step {step}"
            yield (
                case.id,
                f"{which} draws other inputs when the steps are asked in another order; a driver must keep nothing",
            )


def _reads(challenge: Challenge) -> Faults:
    """Check that the driver reads nothing but what `challenge.json` declares."""
    _ = challenge.reads_digest  # raises for a file that cannot be read
    for name in undeclared_reads(challenge):
        yield (
            "driver.py",
            f"opens {name!r}, which challenge.json does not name under `reads`; add it there",
        )


def _brief(challenge: Challenge) -> Faults:
    """Check that the names of which the brief and challenge.json speak exist in the reference."""
    words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", challenge.reference_text))
    for name in challenge.provides:
        if name not in words:
            yield "challenge.json", f"`provides` names {name!r}, which the reference lacks"
    for name in NAME.findall(challenge.brief):
        leaf = name.rsplit(".", 1)[-1]
        if leaf.startswith("_") and leaf not in words:
            yield "brief.md", f"speaks of `{name}`, which the reference lacks"
    for name in challenge.helpers:
        if name.rsplit(".", 1)[-1] not in words:
            yield "challenge.json", f"`helpers` names {name!r}, which the reference lacks"
    for name in load_driver(challenge).driver.all_helpers():
        if name not in words:
            yield "driver.py", f"a verb looks up `{name}`, which the reference lacks"


def _promises(challenge: Challenge) -> Faults:
    """Check that every sentence of the brief is checked by a case or a range, and that no scenario asks for more."""
    ranges = load_driver(challenge).driver.range_names()
    asked: set[str] = set()
    for promise in promises(challenge.brief_text):
        where = f"line {promise.line}, {_beginning(promise.text)}:"
        if promise.fault:
            yield "brief.md", f"{where} {promise.fault}"
        for name in promise.cases:
            if name not in challenge.cases:
                yield "brief.md", f"{where} names the case {name!r}, which cases.json lacks"
        for name in promise.ranges:
            if name not in ranges:
                yield "brief.md", f"{where} names the range {name!r}, which the driver lacks"
        asked.update(promise.cases)
        if not (promise.kept or promise.fault):
            yield (
                "brief.md",
                f"{where} nothing checks this sentence; name cases or ranges behind it, <!-- cases: ID -->",
            )
    for case in challenge.cases.values():
        if case.kind == "scenario" and case.id not in asked:
            yield (
                "brief.md",
                f"no sentence names the case {case.id!r}: say what it asks, or drop it",
            )


def _beginning(text: str) -> str:
    return repr(text if len(text) <= 50 else f"{text[:47]}...")


def _trivial_solutions(challenge: Challenge) -> Faults:
    for name in challenge.trivial_solutions:
        try:
            ast.parse(trivial_solution(challenge, name))
        except (ContentError, SyntaxError, ValueError) as error:
            yield name, f"cannot be made: {error}"
    if not bug_ids(challenge):
        yield "bugs.json", "holds no bug"
    else:
        planted(challenge, *challenge.presets["default"].bugs)

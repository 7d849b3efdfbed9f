"""What a kill matrix says: which case catches which bug, which cases are needed, and which bugs hide one another.

A bug hides another one when every case that catches the other also fails on it: while it is in the file, mending the
other changes the status of no case.  Example, with the cases a, b, c:

    bug      caught by   hidden by
    scale    a b         order
    order    a b c       (none)
    append   c           order

Decoys have no part in it: no case fails on one.  A case that raises or times out on a bug catches it, too (`KILLS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grader.author.kill_matrix import KillMatrix
from grader.author.min_set_cover import SetCover, min_set_cover
from grader.author.wrong_variants import bug_ids
from grader.content import Challenge
from grader.judge.result import CaseResult

STATES = ("killed", "raised", "timed out", "survived", "skipped")
KILLS = STATES[:3]


@dataclass(frozen=True)
class FaultRow:
    """A bug or a trivial solution: the cases that catch it (`witnesses`), and the bugs that hide it.

    `kind` is `bug` or `impostor`, the word of `kvdojo/matrix/v1` for a trivial solution.
    """

    id: str
    title: str
    kind: str
    witnesses: tuple[str, ...]
    hidden_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseColumn:
    """A case: the bugs that it catches, and those that it alone catches."""

    id: str
    title: str
    kind: str
    kills: tuple[str, ...]
    alone: tuple[str, ...]


@dataclass(frozen=True)
class KillMatrixSummary:
    """The summary of a kill matrix; `cells` says per fault and case how the case ended (one of `STATES`)."""

    challenge: str
    title: str
    faults: tuple[FaultRow, ...]
    cases: tuple[CaseColumn, ...]
    cells: Mapping[str, Mapping[str, str]]
    cover: SetCover

    @property
    def bugs(self) -> list[FaultRow]:
        """The rows of planted bugs."""
        return [fault for fault in self.faults if fault.kind == "bug"]

    @property
    def trivial_solutions(self) -> list[FaultRow]:
        """The rows of trivial solutions."""
        return [fault for fault in self.faults if fault.kind == "impostor"]

    @property
    def twins(self) -> list[list[str]]:
        """Groups of bugs that hide each other: exactly the same cases catch them."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for bug in self.bugs:
            groups.setdefault(bug.witnesses, []).append(bug.id)
        return [names for cases, names in groups.items() if cases and len(names) > 1]


def summarize(challenge: Challenge, matrix: KillMatrix) -> KillMatrixSummary:
    """Return the summary of a challenge's kill matrix."""
    bugs = bug_ids(challenge)
    caught = {name: matrix.witnesses(name) for name in matrix.rows}
    faults = [
        FaultRow(
            name,
            challenge.bugs[name].title,
            "bug",
            tuple(caught[name]),
            tuple(other for other in bugs if other != name and _hides(caught, other, name)),
        )
        for name in bugs
    ]
    faults += [
        FaultRow(name, entry.title, "impostor", tuple(caught[name]))
        for name, entry in challenge.trivial_solutions.items()
    ]
    columns = []
    for case in challenge.cases.values():
        kills = tuple(name for name in bugs if case.id in caught[name])
        alone = tuple(name for name in kills if len(caught[name]) == 1)
        columns.append(CaseColumn(case.id, case.title, case.kind, kills, alone))
    return KillMatrixSummary(
        challenge.id,
        challenge.title,
        tuple(faults),
        tuple(columns),
        {name: {case: state_of(r) for case, r in row.items()} for name, row in matrix.rows.items()},
        min_set_cover({name: caught[name] for name in bugs}),
    )


def state_of(result: CaseResult) -> str:
    """Return how a case ended on a planted fault."""
    if result.status != "failed":
        return "survived" if result.status == "passed" else "skipped"
    kind = result.cause.kind if result.cause else None
    return {"timeout": "timed out", "raised": "raised", "crashed": "raised"}.get(
        kind or "", "killed"
    )


def summary_document(found: KillMatrixSummary) -> dict[str, Any]:
    """Return the summary as `kvdojo/matrix/v1`."""
    return {
        "schema": "kvdojo/matrix/v1",
        "challenge": found.challenge,
        "bugs": [
            {
                "id": bug.id,
                "title": bug.title,
                "witnesses": list(bug.witnesses),
                "hidden_by": list(bug.hidden_by),
            }
            for bug in found.bugs
        ],
        "impostors": [
            {"id": entry.id, "title": entry.title, "witnesses": list(entry.witnesses)}
            for entry in found.trivial_solutions
        ],
        "cases": [
            {
                "id": case.id,
                "title": case.title,
                "kind": case.kind,
                "kills": list(case.kills),
                "alone": list(case.alone),
            }
            for case in found.cases
        ],
        "cells": {fault: dict(row) for fault, row in found.cells.items()},
        "hide_each_other": found.twins,
        "cover": {"cases": list(found.cover.cases), "smallest": found.cover.smallest},
    }


def _hides(caught: Mapping[str, list[str]], other: str, name: str) -> bool:
    """Whether `other` hides `name`: every case that catches `name` fails on `other` as well."""
    return bool(caught[name]) and set(caught[name]) <= set(caught[other])

"""The value of one case: the bugs it catches, those only it catches, the cases it replaces, and what is against it.

Judged from results; runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grader.author.constant_answers import accepts_nan, constant_answers
from grader.author.kill_matrix import KillMatrix
from grader.author.wrong_variants import bug_ids
from grader.content import Case, Challenge
from grader.judge.cost import Cost
from grader.judge.golden import CaseGolden, Golden

MARGIN = 10.0  # a wrong answer must miss by so many tolerances, or else agree to a tenth of one
MOST = 0.9  # of the scenarios: a trivial solution that so many refuse needs no thought


@dataclass(frozen=True)
class CaseValue:
    """The findings on one case.  All names are ids of bugs, but for `refused` and `accepted` (trivial solutions) and
    `replaces` and `covered_by` (cases of the same kind).

    - `kills`: the bugs that it catches; `alone`: those that no other case catches; `new_kind`: those that only cases of
      the other kind caught, so that it is the first unit case or the first scenario to do so;
    - `replaces`: cases that catch nothing that it does not; `covered_by`: cases that catch all that it does;
    - `nearest`: the trivial solution that came nearest to being accepted, and by how many tolerances it missed;
    - `objections`: reasons not to add the case, one line each.
    """

    case: Case
    price: Cost
    seconds: float
    kills: tuple[str, ...]
    alone: tuple[str, ...]
    new_kind: tuple[str, ...]
    replaces: tuple[str, ...]
    covered_by: tuple[str, ...]
    refused: tuple[str, ...]
    accepted: tuple[str, ...]
    nearest: tuple[float, str] | None
    objections: tuple[str, ...]


def case_value(
    challenge: Challenge,
    golden: Golden,
    case: Case,
    made: CaseGolden,
    matrix: KillMatrix,
    price: Cost,
    witnesses: Mapping[str, Sequence[str]],
) -> CaseValue:
    """Return the value of a case; `matrix` holds its results on every bug and trivial solution.

    `golden` is that of the cases there are, `made` that of the new one, and `witnesses` says which of the cases there
    are catch each bug.
    """
    known = catches(challenge, witnesses)
    kills = tuple(name for name in bug_ids(challenge) if name in matrix.kills(case.id))
    others = {name: row for name, row in known.items() if name != case.id}
    alike = {name: row for name, row in others.items() if challenge.cases[name].kind == case.kind}
    caught = set().union(*others.values()) if others else set()
    caught_alike = set().union(*alike.values()) if alike else set()
    refused = [
        name
        for name in challenge.trivial_solutions
        if matrix.rows[name][case.id].status == "failed"
    ]
    margins = _margins(made, matrix, case, refused)
    objections = [] if kills else [_kills_nothing(case)]
    objections += _copied(challenge, case)
    objections += _trivial(challenge, golden, case, made, matrix, margins)
    return CaseValue(
        case=case,
        price=price,
        seconds=max((row[case.id].seconds for row in matrix.rows.values()), default=0.0),
        kills=kills,
        alone=tuple(name for name in kills if name not in caught),
        new_kind=tuple(name for name in kills if name in caught and name not in caught_alike),
        replaces=tuple(_newly_redundant(alike, set(kills))),
        covered_by=tuple(name for name, row in alike.items() if kills and set(kills) <= row),
        refused=tuple(refused),
        accepted=tuple(name for name in challenge.trivial_solutions if name not in refused),
        nearest=min(((ratio, name) for name, ratio in margins.items()), default=None),
        objections=tuple(objections),
    )


def _newly_redundant(rows: Mapping[str, set[str]], kills: set[str]) -> list[str]:
    """Return the cases that the new one makes redundant, and that no other case made so already."""
    return [
        name
        for name, row in rows.items()
        if row
        and row <= kills
        and not any(row <= other for also, other in rows.items() if also != name)
    ]


def catches(challenge: Challenge, witnesses: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Return per case the bugs it catches."""
    return {
        case: {bug for bug, cases in witnesses.items() if case in cases} for case in challenge.cases
    }


def _margins(
    made: CaseGolden, matrix: KillMatrix, case: Case, refused: Sequence[str]
) -> dict[str, float]:
    """Return by how many tolerances each trivial answer missed that was refused for its numbers."""
    seen = {
        name: matrix.excess[name][case.id] for name in refused if matrix.rows[name][case.id].sketch
    }
    return {**constant_answers(made), **seen}


def _copied(challenge: Challenge, case: Case) -> list[str]:
    """Object to a case with the sizes and steps of another one: whatever its seed, it asks nothing new."""
    return [
        f"{case.id!r} has the sizes and steps of {other.id!r}: only its numbers differ."
        " Change sizes or steps."
        for other in challenge.cases.values()
        if (other.setup, other.dtype, other.steps) == (case.setup, case.dtype, case.steps)
        and other.id != case.id
    ][:1]


def _kills_nothing(case: Case) -> str:
    return (
        f"{case.id!r} catches no planted bug: every one of them passes it."
        " Change sizes or steps until one fails, or drop the case."
    )


def _trivial(
    challenge: Challenge,
    golden: Golden,
    case: Case,
    made: CaseGolden,
    matrix: KillMatrix,
    margins: Mapping[str, float],
) -> list[str]:
    lines = []
    if accepts_nan(made):
        lines.append(f"{case.id!r} accepts NaN.")
    for name, ratio in margins.items():
        if ratio <= 1:
            lines.append(
                f"{case.id!r} passes for {name}: a file that answers so is called right."
                " Use inputs whose right answer is another."
            )
        elif ratio < MARGIN:
            lines.append(
                f"{case.id!r} refuses {name} by {ratio:.2g} tolerances only; {MARGIN:g} are needed."
                " Use larger numbers or other sizes."
            )
    for name in challenge.trivial_solutions:
        excess = matrix.excess[name][case.id]
        passed = matrix.rows[name][case.id].status == "passed"
        if passed and case.kind == "scenario" and name in _thoughtless(challenge, golden):
            lines.append(
                f"{case.id!r} passes for {name!r} ({challenge.trivial_solutions[name].title}),"
                " which other scenarios refuse. Use inputs whose right answer is another."
            )
        elif passed and excess > 1 / MARGIN:
            lines.append(f"{case.id!r} accepts {name!r}, which is off by {excess:.2g} tolerances.")
    return lines


def _thoughtless(challenge: Challenge, golden: Golden) -> list[str]:
    """Return the trivial solutions that nearly every scenario refuses for their numbers: each new one should too."""
    scenarios = [
        golden.cases[case.id].symptoms
        for case in challenge.cases.values()
        if case.kind == "scenario" and case.id in golden.cases and golden.cases[case.id].symptoms
    ]
    return [
        name
        for name in challenge.trivial_solutions
        if scenarios and sum(name in seen for seen in scenarios) >= MOST * len(scenarios)
    ]

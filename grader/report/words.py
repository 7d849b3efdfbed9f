"""Words and order that every report for people shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from grader.judge.result import BugStatus, CaseResult, Where

LEVELS = {1: "easy", 2: "easy", 3: "medium", 4: "hard", 5: "hard"}


def by_use(cases: Collection[CaseResult]) -> list[CaseResult]:
    """Return the cases that are errors or failed, the most telling first.

    Cases that isolate one method stand before scenarios, and of several that are wrong in the same
    way and place all but the first come later; those that were not even run come last.
    """
    order = {("error", "unit"): 0, ("error", "scenario"): 1, ("failed", "unit"): 2}
    wrong = [case for case in cases if case.status in {"error", "failed"}]
    wrong.sort(key=lambda case: order.get((case.status, case.kind), 3))
    firsts = {_fault(case): case for case in reversed(wrong)}
    return sorted(wrong, key=lambda case: (_not_run(case), firsts[_fault(case)] is not case))


def _not_run(case: CaseResult) -> bool:
    """Whether the case was given up before its turn: what runs out of time by itself has a place."""
    return bool(case.cause and case.cause.kind == "timeout" and case.cause.where is None)


def _fault(case: CaseResult) -> tuple[str | None, ...]:
    """Return what two cases share that are probably wrong for the same reason."""
    cause = case.cause
    if cause is None:
        return (case.status, case.id)
    return (case.status, cause.kind, cause.where.output if cause.where else cause.rationale)


def count(number: int, noun: str) -> str:
    """Return a number with its noun, e.g. `1 case`, `3 cases`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def spread(bugs: Collection[BugStatus], levels: Mapping[str, int]) -> str:
    """Return how hard the bugs are, e.g. ` (2 easy, 1 hard)`; empty when that is not known."""
    names = Counter(LEVELS[levels[bug.id]] for bug in bugs if bug.id in levels)
    parts = [f"{names[name]} {name}" for name in ("easy", "medium", "hard") if names[name]]
    return f" ({', '.join(parts)})" if parts else ""


def place(where: Where | None) -> str:
    """Return the first wrong place in words, e.g. `step 2, cache/key, at [0, 3, 1]`."""
    if where is None or where == Where():
        return ""
    parts = ["creation" if where.step is None else f"step {where.step + 1}"]
    if where.output:
        parts.append(where.output)
    if where.index is not None:
        parts.append(f"at [{', '.join(map(str, where.index))}]")
    return ", ".join(parts)
